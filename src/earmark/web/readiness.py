"""Whether a task has what a training needs, and which command is next where it has not.

Of `market` the verdict is that of ``earmark store validate market --ready``; of the others it is what ``prepare`` left.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from earmark.errors import EarmarkError
from earmark.web.forms import OFFERED, commands_of

if TYPE_CHECKING:
    from earmark.tasks.market.validation.readiness import Requirement
    from earmark.tasks.project import Project

__all__ = ["Line", "Readiness", "Step", "next_step", "readiness_of"]

_COMMAND = re.compile(r"earmark ((?:[a-z_]+ ?)+)")


@dataclass(frozen=True)
class Line:
    """One thing that is counted."""

    item: str
    value: str
    wanted: str = ""
    status: Literal["ok", "low", "missing"] = "ok"


@dataclass(frozen=True)
class Step:
    """A command that a message asks for."""

    command: str
    task: str

    @property
    def words(self) -> str:
        """As it is typed."""
        return f"earmark {self.command} {self.task}"


@dataclass(frozen=True)
class Readiness:
    """What there is, and what is missing: sentences, each with the command that helps, if one does."""

    is_ready: bool
    lines: tuple[Line, ...] = ()
    missing: tuple[tuple[str, Step | None], ...] = ()


def next_step(sentence: str, task: str) -> Step | None:
    """The command that a message ends with (``Run: earmark label market``), where a page can start it."""
    offered = commands_of(task)
    for words in reversed(_COMMAND.findall(sentence)):
        typed = words.split()
        for n in (2, 1):
            command = " ".join(typed[:n])
            if command in OFFERED and command in offered:
                return Step(command, task)
    return None


def readiness_of(project: Project) -> Readiness:
    """Judge what a training of this task would read."""
    try:
        judged = _of_market(project) if project.task.name == "market" else _of_prepared(project)
    except EarmarkError as error:
        judged = Readiness(False, (), ((str(error), None),))
    task = project.spelled
    return Readiness(
        judged.is_ready,
        judged.lines,
        tuple((sentence, step or next_step(sentence, task)) for sentence, step in judged.missing),
    )


def _of_prepared(project: Project) -> Readiness:
    import polars as pl

    table = project.manifest.table
    splits = project.splits.table
    training = splits.filter(pl.col("split") == "train")
    n_folds = training.filter(pl.col("fold") >= 0)["fold"].n_unique()
    labelled = table.join(training.select("id"), on="id", how="semi")["label"].drop_nulls()
    classes = labelled.filter(labelled != "").value_counts(sort=True)
    n_labelled = int(classes["count"].sum()) if classes.height else 0
    noun = project.task.item_noun
    lines = [
        Line(noun.capitalize(), f"{table.height:,}"),
        Line("To train on", f"{training.height:,}"),
        Line("Sealed for the test", f"{splits.filter(pl.col('split') == 'test').height:,}"),
        Line("Folds", str(n_folds), "at least 2", "ok" if n_folds >= 2 else "low"),
    ]
    if n_labelled:
        lines += [Line(f"Labelled {label}", f"{count:,}") for label, count in classes.iter_rows()]
    missing = () if training.height else ((_nothing_to_train(project), None),)
    return Readiness(not missing, tuple(lines), missing)


def _nothing_to_train(project: Project) -> str:
    return (
        f"None of the prepared {project.task.item_noun} is left to train on. Prepare more. "
        f"Run: earmark prepare {project.spelled} {project.task.sources_noun}"
    )


def _of_market(project: Project) -> Readiness:
    from earmark.store.offline import DEFAULT_ROOT, FeatureStore
    from earmark.tasks.market.schema import market_store_schemas
    from earmark.tasks.market.validation.checks import check_rows, read_selection
    from earmark.tasks.market.validation.readiness import readiness

    store = FeatureStore(project.root / DEFAULT_ROOT, schemas=market_store_schemas())
    selection = read_selection(store)
    judged = readiness(selection, check_rows(selection, now_ms=time.time_ns() // 1_000_000))
    lines = [_line(requirement) for requirement in judged.requirements]
    lines.append(
        Line("Score", f"{judged.score} of 100", "at least 75", "ok" if judged.score >= 75 else "low")
    )
    return Readiness(judged.ready, tuple(lines), tuple((sentence, None) for sentence in judged.missing))


_ITEMS = {
    "samples": "Samples",
    "features": "Features that are there",
    "symbols": "Symbols",
    "period_h": "Hours of data",
    "labels": "Share of rows with a label",
}


def _line(requirement: Requirement) -> Line:
    status: Literal["ok", "low", "missing"] = (
        "missing" if requirement.status == "fail" else "low" if requirement.status == "minimum" else "ok"
    )
    return Line(
        _ITEMS.get(requirement.item, requirement.item),
        f"{requirement.value:,g}",
        f"at least {requirement.minimum:,g}, better {requirement.recommended:,g}",
        status,
    )
