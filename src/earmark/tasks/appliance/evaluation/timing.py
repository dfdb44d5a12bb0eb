"""How soon a switch is told, and what is told without one: decoders over recordings of known switch times.

Rooms of steady recordings are spliced; recordings in which a device switches are taken as they are. Steady recordings
by themselves say how often a decoder tells what is not so. Every decoder has the limits of the run's thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from earmark.tasks.appliance.decoding.presets import DECODERS, Rule, default_rule
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.changes import ChangeScores, Trace, follow, pooled, score_changes
from earmark.tasks.appliance.evaluation.scored import Scored
from earmark.tasks.appliance.evaluation.traces import spliced_trace, steady_stretches
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.thresholds.run import unseen_rows

__all__ = [
    "Timing",
    "as_final",
    "natural_traces",
    "on_spans_of",
    "rules_of",
    "spliced_of",
    "steady_traces",
    "time_rules",
]

N_PIECES = 24
STAY_S = (20.0, 40.0)
SHORT_STAY_S = (12.0, 24.0)
_GAP_S = 1e-3
_EDGE_S = 1e-6

Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class Timing:
    """A rule by name, how it does over traces with switches, and over steady ones."""

    name: str
    rule: Rule
    switching: ChangeScores
    steady: ChangeScores

    def row(self) -> dict[str, Any]:
        """One line of a table."""
        delays_s = self.switching.delays_s()
        median, p90 = np.quantile(delays_s, (0.5, 0.9)).tolist() if len(delays_s) else (None, None)
        return {
            "decoder": self.name,
            "changes": len(self.switching.changes),
            "missed": self.switching.n_missed,
            "delay_s": median,
            "delay_p90_s": p90,
            "false_events": len(self.switching.false_events),
            "false_per_hour": self.switching.false_per_hour,
            "hours": self.switching.hours,
            "steady_false_events": len(self.steady.false_events),
            "steady_false_per_day": 24 * self.steady.false_per_hour,
            "steady_hours": self.steady.hours,
        }

    def to_json(self, devices: Devices) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self.row(),
            "switching": self.switching.to_json(devices),
            "steady": self.steady.to_json(devices),
        }


def rules_of(own: Rule) -> dict[str, Rule]:
    """The run's rule first, then every decoder in its plain form with the run's windows and limits."""
    plain = {name: replace(own, settings=default_rule(name).settings) for name in DECODERS}
    return {f"{own.name} (chosen)": own} | {
        name: rule for name, rule in plain.items() if rule.settings != own.settings
    }


def time_rules(
    rules: Mapping[str, Rule],
    switching: Sequence[Trace],
    steady: Sequence[Trace],
    devices: Devices,
    *,
    steady_hop_s: float,
) -> list[Timing]:
    """Every rule over all traces; those of steady recordings have the hop of the windows that were prepared."""
    return [
        Timing(
            name,
            rule,
            _pooled(switching, rule, devices),
            _pooled(steady, replace(rule, hop_s=steady_hop_s), devices),
        )
        for name, rule in rules.items()
    ]


def spliced_of(scored: Scored, final: Detector, *, n_pieces: int = N_PIECES, seed: int = 0) -> list[Trace]:
    """A splice per fold that has two states, answered by the model that had not heard its recordings.

    Windows follow each other by the hop of `final`, and are calibrated as it is.
    """
    uris = dict(zip(scored.ids, scored.uris, strict=True))
    traces: list[Trace] = []
    for number in np.unique(scored.fold):
        stretches = steady_stretches(_with_truths(scored.take(scored.fold == number)), uris, scored.devices)
        if len({tuple(one.facts.items()) for one in stretches}) < 2:
            continue
        shortest = min(one.end_s - one.start_s for one in stretches)
        stay_s = STAY_S if shortest >= STAY_S[1] else SHORT_STAY_S
        asked = scored.detector(int(number), final).calibrated_as(final)
        traces.append(
            spliced_trace(stretches, asked, n_pieces=n_pieces, stay_s=stay_s, seed=seed + len(traces))
        )
    return traces


def as_final(scored: Scored, final: Detector) -> Scored:
    """The windows calibrated as the final model's are, which the rules were chosen for; those of the test are so."""
    if scored.split == "test":
        return scored
    unseen = unseen_rows(scored.run.out_of_fold(), final)
    at = {key: number for number, key in enumerate(unseen.select("id", "fold").iter_rows())}
    rows = [at[id, int(fold)] for id, fold in zip(scored.ids, scored.fold, strict=True)]
    p = unseen.select(f"p_{name}" for name in scored.devices.names).to_numpy()[rows]
    return replace(scored, p=p.astype(np.float64))


def steady_traces(scored: Scored) -> list[Trace]:
    """Every steady recording that was scored, where its windows follow each other without a break."""
    hop_s, devices = scored.rows.room.hop_s, scored.devices
    found = []
    for at in _runs(scored, hop_s):
        facts = scored.rows.y[at]
        if (facts < 0).any() or (facts != facts[0]).any():
            continue
        ends_s = scored.rows.table["end_sec"].to_numpy()[at]
        first_s = float(scored.rows.table["start_sec"].to_numpy()[at[0]])
        truth = {name: bool(on) for name, on in zip(devices.names, facts[0], strict=True)}
        found.append(Trace(scored.p[at], ends_s - first_s, (0.0,), (truth,), float(ends_s[-1]) - first_s))
    return found


def natural_traces(scored: Scored) -> list[Trace]:
    """Every recording in which the device switches at known times, where its windows follow without a break."""
    hop_s, (device,) = scored.rows.room.hop_s, scored.devices.names
    spans, table = on_spans_of(scored), scored.rows.table
    starts, ends = table["start_sec"].to_numpy(), table["end_sec"].to_numpy()
    found = []
    for at in _runs(scored, hop_s):
        first_s, last_s = float(starts[at[0]]), float(ends[at[-1]])
        times_s, facts = _switches(spans[str(scored.rows.recordings[at[0]])], device, first_s, last_s)
        found.append(Trace(scored.p[at], ends[at] - first_s, times_s, facts, last_s - first_s))
    return found


def on_spans_of(scored: Scored) -> dict[str, Spans]:
    """Recording -> the spans in which its device is on, seconds, as far as the windows know them."""
    found: dict[str, Spans] = {}
    for name, flat in scored.rows.table.select("recording_id", "on_spans").iter_rows():
        own = found.setdefault(name, [])
        own += zip((flat or [])[::2], (flat or [])[1::2], strict=True)
    return {name: _merged(spans) for name, spans in found.items()}


def _merged(spans: Spans) -> Spans:
    merged: Spans = []
    for on, off in sorted(spans):
        if merged and on <= merged[-1][1] + _EDGE_S:
            merged[-1] = (merged[-1][0], max(off, merged[-1][1]))
        else:
            merged.append((on, off))
    return merged


def _switches(
    spans: Spans, device: str, first_s: float, last_s: float
) -> tuple[tuple[float, ...], tuple[dict[str, bool], ...]]:
    """When the facts begin to hold, from the start of a trace; spans may be cut by its ends."""
    is_on = any(on <= first_s + _EDGE_S and off > first_s for on, off in spans)
    times_s, facts = [0.0], [{device: is_on}]
    for at_s, on in sorted([(on, True) for on, _ in spans] + [(off, False) for _, off in spans]):
        if first_s + _EDGE_S < at_s < last_s - _EDGE_S and facts[-1][device] != on:
            times_s.append(at_s - first_s)
            facts.append({device: on})
    return tuple(times_s), tuple(facts)


def _runs(scored: Scored, hop_s: float) -> list[list[int]]:
    """Positions of windows that one model answered of one recording, a hop apart."""
    table = scored.rows.table
    starts, names = table["start_sec"].to_numpy(), table["recording_id"].to_list()
    order = sorted(range(len(scored)), key=lambda at: (int(scored.fold[at]), names[at], starts[at]))
    block, blocks = 0, []
    for place, at in enumerate(order):
        before = order[place - 1]
        follows = place and scored.fold[at] == scored.fold[before] and names[at] == names[before]
        block += not (follows and abs(starts[at] - starts[before] - hop_s) <= _GAP_S)
        blocks.append((block, at))
    return [[at for _, at in group] for _, group in groupby(blocks, key=lambda pair: pair[0])]


def _pooled(traces: Sequence[Trace], rule: Rule, devices: Devices) -> ChangeScores:
    return pooled(score_changes(trace, follow(trace, rule, devices), devices) for trace in traces)


def _with_truths(scored: Scored) -> Any:
    """The windows with ``y_<device>``, null where unknown."""
    import polars as pl

    columns = {
        f"y_{name}": pl.Series([int(y) if y >= 0 else None for y in scored.rows.y[:, k]], dtype=pl.Int64)
        for k, name in enumerate(scored.devices.names)
    }
    return scored.rows.table.with_columns(**columns)
