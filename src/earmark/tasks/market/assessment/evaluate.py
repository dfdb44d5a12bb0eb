"""`earmark evaluate market`: a run on windows that it did not learn from, and the report of it.

``test`` is the newest part before the sealed period; training never read it, but the gate of promotion has. ``val`` is
the part that chose the epoch, so its scores flatter and stand in for nothing. ``sealed`` is the sealed period: the
ledger records its opening before a row of it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from earmark.errors import RunError, UsageError
from earmark.tasks.market.assessment.sections import class_warnings, market_sections
from earmark.tasks.market.prepare import FOLDER, Prepared, data_folder, load_prepared, load_sealed
from earmark.tasks.market.serving.model import dataset_record
from earmark.tasks.market.training.scoring import Part, baselines_of, evaluation_of, predict_part

if TYPE_CHECKING:
    from earmark.data.windows import Windows
    from earmark.evaluation.result import Evaluation, Opening
    from earmark.training.runs import Run

__all__ = ["SPLITS", "Assessed", "evaluate", "require_same_data"]

Split = Literal["test", "val", "sealed"]

SPLITS: Mapping[str, tuple[str, str]] = {
    "test": (
        "newest part",
        "Scored on the newest part before the sealed period: no training step read it. The gate of promotion judges "
        "runs on it, so the best of many runs looks a little too good here.",
    ),
    "val": (
        "validation part",
        "Scored on the part that chose the epoch and stopped the training: these scores flatter, and stand in for no "
        "test.",
    ),
    "sealed": (
        "sealed period",
        "Scored on the sealed period, the newest data, which nothing read before this opening was recorded.",
    ),
}
"""Split -> title and sentence of a report."""


@dataclass(frozen=True, eq=False)
class Assessed:
    """An evaluation, its windows with their answers, and the folder of its report (None where none was written)."""

    evaluation: Evaluation
    part: Part
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """What ``--format json`` prints: the evaluation with the tables of its sections."""
        tables = {
            section.name: {name: list(rows) for name, rows in section.tables.items()}
            for section in self.evaluation.analyses
        }
        return self.evaluation.to_json() | {
            "confusion": self.evaluation.confusion.tolist(),
            "left_out": self.part.n_left_out,
            "warnings": list(self.evaluation.warnings),
            "tables": tables,
        }


def evaluate(
    project: str | Path,
    run: Run,
    *,
    split: Split = "test",
    reason: str | None = None,
    cost: float = 0.0,
    save: bool = True,
    output: Path | None = None,
) -> Assessed:
    """Score a run on windows of its dataset.

    Parameters
    ----------
    project : path
    run : Run
    split : {"test", "val", "sealed"}
    reason : str, optional
        Why the seal is opened; needed for ``sealed``.
    cost : float
        Of one position in and out, as a fraction, for what the predictions would have earned.
    save : bool
        Write the report, into ``evaluation/<split>`` of the run.
    output : Path, optional
        Another folder for it.

    Raises
    ------
    RunError
        The run was trained on another division of the data: its training windows may lie in what would be scored.
    SealError
        The opening cannot be recorded.
    UsageError
        There is no such split, or no reason for opening the seal.
    """
    _check(split, reason)
    prepared = load_prepared(project)
    require_same_data(run, prepared)
    classifier = run.series_classifier()
    windows, openings = _windows(project, run, prepared, split, reason)
    part = predict_part(classifier, split, windows)
    evaluation = evaluation_of(
        part,
        baselines_of(run.algorithm, prepared.train, part, run.classes),
        run=run.name,
        classes=run.classes,
        facts=_facts(run, prepared, part),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=int(run.config["settings"].get("seed", 42)),
        warnings=(*prepared.warnings, *class_warnings(part, run.classes)),
    )
    title, words = SPLITS[split]
    evaluation = replace(
        evaluation,
        split="test" if split == "sealed" else "val",
        scored_on=title,
        scored_words=words,
        openings=openings,
        analyses=market_sections(part, run.classes, cost=cost),
    )
    folder = (output or run.path / "evaluation" / split) if save or output is not None else None
    if folder is not None:
        _write(evaluation, folder)
    return Assessed(evaluation, part, folder)


def _check(split: str, reason: str | None) -> None:
    if split not in SPLITS:
        raise UsageError(f"There is no split `{split}`; expected one of {', '.join(SPLITS)}.")
    if (split == "sealed") != bool(reason and reason.strip()):
        raise UsageError("--sealed opens the sealed period, and --reason says why. Give both or neither.")


def require_same_data(run: Run, prepared: Prepared) -> None:
    """Refuse data other than those that a run was trained on: the message names what differs."""
    then, now = run.config["hashes"], prepared.record["hashes"]
    differing = [name for name in ("series", "train", "test") if then.get(name) != now[name]]
    if differing:
        there = dataset_record(run)
        raise RunError(
            f"`{run.name}` was trained on another division of the data ({', '.join(differing)} differ; its labels are "
            f"{there['source']['label_set']} at {there['source']['horizon_s']} s, its rows end at {there['end_ms']}). "
            "Scores on today's parts could count windows that it learned from. Prepare the same data again, or train "
            "on these: earmark train market"
        )


def _windows(
    project: str | Path, run: Run, prepared: Prepared, split: str, reason: str | None
) -> tuple[Windows, tuple[Opening, ...]]:
    if split != "sealed":
        return (prepared.test if split == "test" else prepared.validation), _openings(project)
    sealed = load_sealed(project, run=run.name, reason=reason or "", commit=run.config["hashes"].get("code"))
    if not len(sealed.windows):
        raise UsageError(
            "Insufficient data: the sealed period holds no labelled window behind its embargo. Label its rows "
            "(earmark label market), or seal a longer period."
        )
    return sealed.windows, _openings(project)


def _openings(project: str | Path) -> tuple[Opening, ...]:
    """All openings of the sealed period so far."""
    from earmark.data.ledger import LEDGER_FILE, read_ledger
    from earmark.evaluation.result import Opening

    events = read_ledger(data_folder(project) / FOLDER / LEDGER_FILE)
    return tuple(
        Opening(event["when"], event["run"], event["reason"]) for event in events if event["event"] == "open"
    )


def _facts(run: Run, prepared: Prepared, part: Part) -> dict[str, dict[str, object]]:
    source, windows = prepared.record["source"], part.windows
    return {
        "Model": {"algorithm": run.algorithm, "run": run.name, "key": run.key},
        "Data": {
            "group": source["group"],
            "view": source["view"],
            "labels": f"{source['label_set']} at {source['horizon_s']} s",
            "symbols": list(windows.table.symbols),
            "windows": len(windows),
            "windows left out for missing values": part.n_left_out,
            "rows of a window": windows.length,
            "hash": prepared.hash,
        },
        "Versions": dict(run.config.get("versions", {})),
    }


def _write(evaluation: Evaluation, folder: Path) -> None:
    """The report, and the tables of its sections as CSV."""
    from earmark.data.parquet import write_bytes_atomic
    from earmark.evaluation.report import write_report
    from earmark.evaluation.tables import csv_text

    write_report(evaluation, folder)
    for section in evaluation.analyses:
        for name, rows in section.tables.items():
            write_bytes_atomic(folder / name, csv_text(rows, tuple(rows[0]) if rows else ()).encode())
