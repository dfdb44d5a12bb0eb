"""Whether a task has what a training needs, and which command is next where it has not.

Of `market` it is what the statistics of its store tell (``earmark store validate market --ready`` reads all rows); of
the others, what ``prepare`` left.
"""

from __future__ import annotations

import re
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


def readiness_of(project: Project, task: str) -> Readiness:
    """Judge what a training of a task, as it is spelled in commands, would read."""
    try:
        judged = _of_market(project) if project.task.name == "market" else _of_prepared(project)
    except EarmarkError as error:
        judged = Readiness(False, (), ((str(error), None),))
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
    from earmark.tasks.market.validation.glance import glance, store_of

    store = store_of(project.effective.path("data") / "feature_store")
    seen = glance(store, project.settings.market.feature_store_group)
    lines = tuple(_line(requirement) for requirement in seen.requirements)
    return Readiness(seen.has_minimum, lines, tuple((sentence, None) for sentence in seen.messages))


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
