"""The decision rules, written a second time from their formulas: lists, loops and logarithms, nothing shared."""

from __future__ import annotations

import itertools
import math
import statistics


def state(facts, priority):
    for name in priority:
        if facts[name]:
            return f"{name}-on"
    return {1: f"{priority[0]}-off", 2: "both-off"}.get(len(priority), "all-off")


def debounced(states, k):
    """Stable state after each of the instant states (None is no answer): the same one K times."""
    stable, out = None, []
    for i in range(len(states)):
        last = states[max(0, i - k + 1) : i + 1]
        if len(last) == k and None not in last and len(set(last)) == 1:
            stable = last[-1]
        out.append(stable)
    return out


def median_states(rows, names, limits, n, k):
    facts, instant = dict.fromkeys(names, False), []
    for i in range(len(rows)):
        if i + 1 < n:
            instant.append(None)
            continue
        for d, name in enumerate(names):
            m = statistics.median(row[d] for row in rows[i + 1 - n : i + 1])
            t_on, t_off = limits[name]
            facts[name] = m > t_off if facts[name] else m >= t_on
        instant.append(state(facts, names))
    return instant, debounced(instant, k)


def settled_sides(instant, names, masks, k):
    """Sides of all devices after each window (facts of None are no answer): K times the same, all of them heard."""
    sides, out = {}, []
    for i in range(len(instant)):
        last = instant[max(0, i - k + 1) : i + 1]
        for name in names:
            hiders = [by for by, hides in masks if hides == name]
            heard = [facts is not None and not any(facts[by] for by in hiders) for facts in last]
            if len(last) == k and all(heard) and len({facts[name] for facts in last}) == 1:
                sides[name] = last[-1][name]
        out.append(dict(sides))
    return out


def event_switches(values, hop, n, tau, t_on, t_off, on_s, off_s, cooldown_s):
    """(step, kind) of one device."""
    a = math.exp(-hop / tau)
    smooth = []
    for i in range(len(values)):
        m = statistics.median(values[max(0, i + 1 - n) : i + 1])
        smooth.append(m if i == 0 else a * smooth[-1] + (1 - a) * m)
    found, is_on, since, free_from = [], False, 0, 0
    for i, _ in enumerate(smooth):
        need = max(1, math.ceil((off_s if is_on else on_s) / hop - 1e-9))
        run = 0  # windows in a row beyond the limit that end here, none from before the last switch
        while i - run >= since and (smooth[i - run] <= t_off if is_on else smooth[i - run] >= t_on):
            run += 1
        if run >= need and i >= free_from:
            is_on = not is_on
            found.append((i, "on" if is_on else "off"))
            since, free_from = i + 1, i + math.ceil(cooldown_s / hop - 1e-9)
    return found, smooth


def vote_facts(values, n, first, on, off):
    votes, facts = [], []
    for i, p in enumerate(values):
        if i == 0:
            votes.append(p >= first)
        elif votes[-1]:
            votes.append(not p <= off)
        else:
            votes.append(p >= on)
        last = votes[-n:]
        facts.append(sum(last) > len(last) / 2)
    return facts


def _term(p, prior, weight):
    p = min(max(p, 1e-4), 1 - 1e-4)
    return weight * (math.log(p / (1 - p)) - math.log(prior / (1 - prior)))


def joint_log_likelihood(row, facts, names, priors, g, masks, masked_weight):
    total = 0.0
    for name, p, prior, gain in zip(names, row, priors, g, strict=True):
        if not facts[name] or math.isnan(p):
            continue
        is_hidden = any(hides == name and facts[by] for by, hides in masks)
        total += _term(p, prior, gain * (masked_weight if is_hidden else 1.0))
    return total


def paths(n_windows, names):
    every = [
        dict(zip(names, bits, strict=True)) for bits in itertools.product([False, True], repeat=len(names))
    ]
    return itertools.product(every, repeat=n_windows)


def path_log_probability(path, rows, names, priors, g, hop, dwell, masks, masked_weight):
    stay = math.exp(-hop / dwell)
    total = sum(
        math.log(prior if path[0][name] else 1 - prior) for name, prior in zip(names, priors, strict=True)
    )
    for before, after in itertools.pairwise(path):
        total += sum(math.log(stay if before[name] == after[name] else 1 - stay) for name in names)
    return total + sum(
        joint_log_likelihood(row, facts, names, priors, g, masks, masked_weight)
        for row, facts in zip(rows, path, strict=True)
    )
