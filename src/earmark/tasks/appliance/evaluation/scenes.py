"""How well a machine is heard by the second, in recordings in which it switches: overall, by SNR, by kind of machine.

Four ways from windows to seconds (`earmark.tasks.appliance.evaluation.seconds`): the probability as `predict` has it,
of all windows around the second; as a stream has it, of the last window that ended by then; smoothed over the
recording; and after the recording has taught its own two states (`earmark.tasks.appliance.scene_adaptation`). The last
two read the whole recording and are *offline*: no live stream has them. Nor has it the first, of a model that compares
windows with their recording.

Probabilities of folds are calibrated as the final model's are: a fold calibrates on few recordings, and seconds of all
folds are ranked together.

Intervals draw whole recordings with replacement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.evaluation.domain_shift import source_auc
from earmark.evaluation.intervals import Interval, bootstrap_interval
from earmark.tasks.appliance.evaluation.scored import Scored
from earmark.tasks.appliance.evaluation.seconds import (
    auroc_by,
    latest_per_second,
    probability_per_second,
    truth_per_second,
)
from earmark.tasks.appliance.evaluation.streamed import as_stream
from earmark.tasks.appliance.evaluation.timing import as_final, on_spans_of
from earmark.tasks.appliance.scene_adaptation import adapted_posterior, log_odds, sticky_posterior

if TYPE_CHECKING:
    from earmark.tasks.appliance.detector import Detector
    from earmark.tasks.project import Project

__all__ = ["OFFLINE", "PLAIN", "STREAMED", "Seconds", "score_seconds", "seconds_of"]

Doubles = npt.NDArray[np.float64]

PLAIN = "as heard"
STREAMED = "as a stream"
SMOOTHED = "smoothed (offline)"
ADAPTED = "adapted to the recording (offline)"
OFFLINE = (SMOOTHED, ADAPTED)

SNR = "snr_db"
KINDS = ("machine_kind", "machine")
"""Columns that may say what kind of machine a recording has."""

N_REPLICATES = 500
_BANDS = "appliance.spectrum.third_octave_mean_"


@dataclass(frozen=True, eq=False)
class Seconds:
    """Every second of every recording whose truth is known; ``p`` by way, NaN where no window holds the second."""

    recording: npt.NDArray[np.str_]
    second: npt.NDArray[np.int64]
    is_on: npt.NDArray[np.bool_]
    p: Mapping[str, Doubles]
    columns: Mapping[str, npt.NDArray[np.str_]]


def seconds_of(project: Project, scored: Scored, final: Detector) -> Seconds:
    """Truth and probabilities by the second; what tells recordings apart comes along from the manifest."""
    scored = as_final(scored, final)
    bands, spans, table = _bands(project, scored), on_spans_of(scored), scored.rows.table
    kept = [name for name in (SNR, *KINDS) if name in table.columns and name not in scored.devices.names]
    names, parts = scored.rows.recordings, []
    streamed = as_stream(project, scored, final, own=methodcaller("calibrated_as", final)).p[:, 0]
    for name in dict.fromkeys(names.tolist()):
        at = np.flatnonzero(names == name)
        n = int(table["duration_s"][int(at[0])])
        starts, ends = (table[column].to_numpy()[at] for column in ("start_sec", "end_sec"))
        known = _known(scored, at, starts, ends, n)
        ways = {
            way: probability_per_second(p, starts, ends, n)[known]
            for way, p in _ways(scored.p[at, 0], bands[at], scored.rows.room.hop_s).items()
        }
        ways[STREAMED] = latest_per_second(streamed[at], ends, n)[known]
        free = {column: np.full(known.sum(), str(table[column][int(at[0])])) for column in kept}
        parts.append((name, np.flatnonzero(known), truth_per_second(spans[name], n)[known], ways, free))
    return Seconds(
        recording=np.concatenate([np.full(len(second), name) for name, second, *_ in parts]),
        second=np.concatenate([part[1] for part in parts]),
        is_on=np.concatenate([part[2] for part in parts]),
        p={way: np.concatenate([part[3][way] for part in parts]) for way in (PLAIN, STREAMED, *OFFLINE)},
        columns={column: np.concatenate([part[4][column] for part in parts]) for column in kept},
    )


def score_seconds(seconds: Seconds, *, seed: int = 42) -> list[dict[str, Any]]:
    """A row per way and cut: ``way``, ``by``, ``value``, ``auroc`` with its bounds, ``recordings``, ``seconds``."""
    rows = []
    for way, p in seconds.p.items():
        for by, keys in {"": np.full(len(p), "all"), **seconds.columns}.items():
            found = auroc_by(seconds.is_on, p, keys.tolist())
            for value in sorted(set(keys.tolist()), key=_numerically):
                chosen = keys == value
                interval = _interval(seconds, p, chosen, found[value]["auroc"], seed)
                rows.append(
                    {
                        "way": way,
                        "by": by,
                        "value": value,
                        "auroc": interval.value,
                        "low": interval.low,
                        "high": interval.high,
                        "recordings": len(np.unique(seconds.recording[chosen])),
                        "seconds": int(found[value]["seconds"]),
                    }
                )
    return rows


def _ways(p: Doubles, bands: Doubles, hop_s: float) -> dict[str, Doubles]:
    return {
        PLAIN: p,
        SMOOTHED: sticky_posterior(log_odds(p), hop_s),
        ADAPTED: adapted_posterior(p, bands, hop_s),
    }


def _bands(project: Project, scored: Scored) -> Doubles:
    """Third octaves of each window in dB, shape (n, 26)."""
    from earmark.tasks.appliance.groups.spectrum import spectrum

    table = project.extract((spectrum,), scored.rows.items())
    if table.failures:
        from earmark.errors import RunError

        raise RunError(
            f"{len(table.failures)} windows have no spectrum, the first: {table.failures[0].error}"
        )
    names = [name for name in table.columns if name.startswith(_BANDS)]
    return table.select(names).values.astype(np.float64)


def _known(scored: Scored, at: npt.NDArray[np.int64], starts: Doubles, ends: Doubles, n: int) -> Any:
    """Which seconds have a known truth: those within a window whose spans are known, shape (n,)."""
    spans = scored.rows.table["on_spans"]
    told = np.array([spans[int(one)] is not None for one in at])
    second = np.arange(n)[:, None]
    return ((starts <= second) & (second + 1 <= ends) & told).any(axis=1)


def _interval(
    seconds: Seconds, p: Doubles, chosen: npt.NDArray[np.bool_], value: float, seed: int
) -> Interval:
    """95 % bounds over recordings; NaN with fewer than eight, of which no interval is claimed."""
    from earmark.tasks.appliance.evaluation.evaluate import FEWEST_RECORDINGS

    rows = chosen & ~np.isnan(p)
    names, on, values = seconds.recording[rows], seconds.is_on[rows].astype(np.int64), p[rows]
    if len(np.unique(names)) < FEWEST_RECORDINGS or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    both = np.stack([1 - values, values], axis=1)
    return bootstrap_interval(source_auc, on, both, names, seed, n_replicates=N_REPLICATES)


def _numerically(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return np.inf, text
