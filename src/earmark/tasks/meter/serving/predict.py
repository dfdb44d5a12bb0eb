"""`predict meter`: files, folders and lists, each as a whole; an input that fails does not stop the others.

Inputs are read in batches, so a library of any size is answered in bounded memory, and its first answers come before
its last file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from earmark.errors import SilentError, UsageError
from earmark.features.progress import ProgressCallback
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed
from earmark.tasks.meter.analysis.document import document
from earmark.tasks.meter.analysis.recording import Analysis
from earmark.tasks.meter.configured import project_slots
from earmark.tasks.meter.serving.answers import answer
from earmark.tasks.meter.serving.failures import NOT_FOUND, Failure
from earmark.tasks.meter.serving.model import Answerer, answerer_for
from earmark.tasks.meter.serving.reading import Reader, Reading, groups_to_read
from earmark.tasks.meter.trackers.registry import Slot
from earmark.tasks.project import Project

__all__ = ["Analyst", "analyst_for", "document_of"]

BATCH = 64
"""Inputs that are read together."""

Outcome = Analysis | Failure


@dataclass(frozen=True)
class Analyst:
    """Answers about recordings; `analyst_for` makes one.

    Parameters
    ----------
    project : Project
    answerer : Answerer
    slots : tuple of Slot
    """

    project: Project
    answerer: Answerer
    slots: tuple[Slot, ...]

    @property
    def reader(self) -> Reader:
        """A reader without cache and workers, with every group that an answer needs."""
        return Reader(groups_to_read(self.answerer.groups, self.slots), self.slots)

    def files(
        self,
        sources: Sequence[str],
        *,
        workers: int | None = None,
        use_cache: bool = True,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Outcome]:
        """Answer files, folders, lists, patterns and URIs; one outcome per input, in order.

        Raises
        ------
        UsageError
            No source was given.
        """
        if not sources:
            raise UsageError("no input was given; name audio files, folders or playlists.")
        cache = self.project.cache if use_cache else None
        reader = replace(self.reader, cache=cache, workers=workers, progress=progress, _known={})
        entries = iter(expand_inputs(sources))
        while batch := list(islice(entries, BATCH)):
            yield from self._batch(batch, reader)

    def of(self, reading: Reading | Failure, **how: object) -> Outcome:
        """The answer about one recording, or why there is none."""
        if isinstance(reading, Failure):
            return reading
        try:
            return answer(reading, self.answerer, self.slots, self.project.settings.meter, **how)
        except SilentError as problem:
            return Failure.of(reading.path, problem)

    def _batch(self, batch: Sequence[str | Failed], reader: Reader) -> Iterator[Outcome]:
        readings = iter(reader.read([one for one in batch if isinstance(one, str)]))
        for one in batch:
            if isinstance(one, Failed):
                yield Failure(one.path, NOT_FOUND, one.error)
            else:
                yield self.of(next(readings))


def analyst_for(
    project: Project, *, run: str | None = None, fallback: str | None = None, threshold: float | None = None
) -> Analyst:
    """What answers for a project; parameters and errors as in `answerer_for`."""
    answerer = answerer_for(project, run=run, fallback=fallback, threshold=threshold)
    return Analyst(project, answerer, project_slots(project.effective))


def document_of(outcome: Outcome) -> dict[str, Any]:
    """The JSON object of an answer, or of a failure."""
    return outcome.to_json() if isinstance(outcome, Failure) else document(outcome)
