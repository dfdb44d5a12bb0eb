"""`earmark evaluate market --ab`: how champion and challenger stand, by the labels that have come since."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earmark.tasks.market.prepare import data_folder
from earmark.tasks.market.serving.challenge import Challenge, Experiment
from earmark.tasks.market.serving.live import CHALLENGE_FILE

__all__ = ["judge_duel", "side_rows"]


def judge_duel(project: str | Path, *, apply: bool = False) -> Experiment:
    """Grade the answers of the newest experiment and judge it.

    Parameters
    ----------
    project : path
    apply : bool
        Do what the rule says: promote the challenger, or end the experiment.

    Raises
    ------
    InputError
        There is no experiment.
    """
    from earmark.store.label_sets import LabelSets
    from earmark.tasks.settings import load_settings
    from earmark.training.production import promote
    from earmark.training.runs import load_run

    data = data_folder(project)
    challenge = Challenge.newest(data / CHALLENGE_FILE)
    set_id, horizon_s = challenge.label_source()
    span = challenge.span_ms()
    if span is not None:
        labels = LabelSets(data / "feature_store").scan(
            set_id, start=span[0], end=span[1], columns=[f"future_direction_{horizon_s}s"]
        )
        challenge.resolve(labels.select("symbol", "timestamp", f"future_direction_{horizon_s}s").collect())
    found = challenge.state()
    if apply and found.outcome != "continue":
        if found.outcome == "promote":
            root = load_settings(project).path("runs")
            promote(root, load_run(challenge.challenger, root=root, task="market"), reason=found.reason)
        challenge.end(found.outcome, found.reason, time.time_ns() // 1_000_000)
    return found


def side_rows(found: Experiment) -> list[dict[str, Any]]:
    """A row per variant."""
    return [asdict(side) for side in found.sides]
