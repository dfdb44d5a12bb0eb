"""The decoder that tells a change soonest without telling one that was not.

Every combination of `EVIDENCE`, `DWELL_S` and `CONFIDENCE` is played over traces with known changes. Fewest mistakes
come first, a change that is missed counting as much as one that is told and was none, for both leave a wrong state;
then the shortest delay: the mean over devices and directions of the median. Among equals the one that changes least
from the rule given is kept. Rivals, such as the medians with the limits that were chosen, are played as well: `hmm` is
used where it wins. Validation audio is short: settings without a false event in half an hour may have some in a day, so
the hours are told with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.evaluation.changes import ChangeScores, Trace, follow, pooled, score_changes
from earmark.tasks.appliance.schema import Devices

__all__ = ["CONFIDENCE", "DWELL_S", "EVIDENCE", "DecoderFit", "compare_rules", "fit_decoder", "score_rule"]

EVIDENCE = (1.0, 2.0, 4.0)
DWELL_S = (600.0, 300.0, 1200.0)
CONFIDENCE = (0.90, 0.80, 0.95, 0.99)


@dataclass(frozen=True)
class DecoderFit:
    """The rule that was chosen, how it scored, and how the rule before it did."""

    rule: Rule
    scores: ChangeScores
    before: ChangeScores

    @property
    def warning(self) -> str | None:
        """What to warn of: false events that no setting avoids, or changes that none finds."""
        n_false, n_missed = len(self.scores.false_events), self.scores.n_missed
        if not n_false and not n_missed:
            return None
        return (
            f"no decoder finds every change without a false event: the best, `{self.rule.name}`, has {n_false} false "
            f"and {n_missed} missed in {self.scores.hours:.1f} hours of spliced audio"
        )


def score_rule(traces: Sequence[Trace], rule: Rule, devices: Devices) -> ChangeScores:
    """A rule over all traces, from a fresh start in each."""
    return pooled(score_changes(trace, follow(trace, rule, devices), devices) for trace in traces)


def compare_rules(traces: Sequence[Trace], rules: dict[str, Rule], devices: Devices) -> list[dict[str, Any]]:
    """A row per rule and kind of change, with its false events: which decoder tells a change soonest."""
    rows = []
    for name, rule in rules.items():
        scores = score_rule(traces, rule, devices)
        totals = {"false_events": len(scores.false_events), "false_per_hour": scores.false_per_hour}
        rows += [{"decoder": name, **row, **totals} for row in scores.rows(devices)]
    return rows


def fit_decoder(
    traces: Sequence[Trace], rule: Rule, devices: Devices, *, rivals: Sequence[Rule] = ()
) -> DecoderFit:
    """Choose evidence, dwell and confidence of a rule whose decoder is `hmm`, or else the best of `rivals`.

    Raises
    ------
    UsageError
        Another decoder, or no trace with a change.
    """
    before = score_rule(traces, rule, devices)
    if not isinstance(rule.settings, HmmSettings) or not before.changes:
        reason = f"the decoder is `{rule.name}`" if before.changes else "nothing switches in the audio"
        raise UsageError(
            f"there is nothing to fit: {reason}; expected `hmm`, and recordings of several states."
        )
    tried = [rule, *(replace(rule, settings=settings) for settings in _around(rule.settings)), *rivals]
    scores = [score_rule(traces, one, devices) for one in tried]
    best = min(range(len(tried)), key=lambda number: (*_cost(scores[number]), number))
    return DecoderFit(tried[best], scores[best], before)


def _around(settings: HmmSettings) -> list[HmmSettings]:
    """All combinations, nearest to the plain one first."""
    return [
        replace(settings, evidence=evidence, dwell_s=dwell_s, confidence=confidence)
        for evidence, dwell_s, confidence in itertools.product(EVIDENCE, DWELL_S, CONFIDENCE)
    ]


def _cost(scores: ChangeScores) -> tuple[int, float]:
    kinds = {(change.device, change.kind) for change in scores.changes}
    medians = [np.median(delays) for kind in sorted(kinds) if len(delays := scores.delays_s(*kind))]
    n_mistakes = len(scores.false_events) + scores.n_missed
    return n_mistakes, round(float(np.mean(medians)), 6) if medians else 0.0
