"""What a trial does: train on the training windows, score the validation windows.

An objective never holds the test part, so nothing it holds can tell the search of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data import timeline
from earmark.data.windows import Windows
from earmark.tasks.market.dataset import series_hash, windows_hash
from earmark.tasks.market.search.scoring import scores_of

if TYPE_CHECKING:
    from earmark.models.estimator import OnEpoch
    from earmark.models.sequence.classifier import SequenceClassifier
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["ScoredParts", "TrainingObjective", "fit_and_score", "project_objective"]


@dataclass(frozen=True, eq=False)
class ScoredParts:
    """Windows that a search may see.

    Attributes
    ----------
    train, validation : Windows
        Of one table, which ends before the test part.
    """

    train: Windows
    validation: Windows

    @classmethod
    def before_test(cls, train: Windows, validation: Windows, test_ms: int) -> ScoredParts:
        """The two parts on a table without rows from `test_ms` on, and without labels decided from then on.

        Parameters
        ----------
        train, validation : Windows
        test_ms : int
            First instant of the test part.
        """
        kept = train.table.time_ms < test_ms
        place = kept.cumsum() - 1
        table = timeline.until(train.table, test_ms)
        return cls(*(Windows(table, place[part.ends], part.length) for part in (train, validation)))

    @property
    def fingerprint(self) -> str:
        """Hash of the rows, and of which of them are windows."""
        hashes = (series_hash(self.train.table), windows_hash(self.train), windows_hash(self.validation))
        return "-".join(text[:8] for text in hashes)


@dataclass
class TrainingObjective:
    """Trains with settings.

    Attributes
    ----------
    make : callable
        Settings -> an unfitted classifier.
    parts : callable
        Settings -> `ScoredParts`; settings that decide the labels give others.
    base : mapping
        Settings before any is searched.
    """

    make: Callable[[Mapping[str, Any]], SequenceClassifier]
    parts: Callable[[Mapping[str, Any]], ScoredParts]
    base: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the windows of the base settings."""
        return self.parts(self.base).fingerprint

    def __call__(self, settings: Mapping[str, Any], on_epoch: OnEpoch) -> dict[str, float]:
        """Scores of the validation windows."""
        return fit_and_score(self.make(settings), self.parts(settings), on_epoch)


def project_objective(project: Path, model_name: str, base: Mapping[str, Any]) -> TrainingObjective:
    """The objective of a project's own data, labelled and divided as a training would have them.

    Parameters
    ----------
    project : Path
    model_name : str
    base : mapping
        Settings that are given.
    """
    from earmark.tasks.market.training.config import train_config

    def configured(settings: Mapping[str, Any]) -> TrainConfig:
        return train_config(settings, {"model_name": model_name})

    def make(settings: Mapping[str, Any]) -> SequenceClassifier:
        from earmark.tasks.market.prepare import CLASSES
        from earmark.tasks.market.training.recipe import series_recipe

        return series_recipe(configured(settings)).make(CLASSES)

    # Barriers alone, of all that is searched, decide the labels; parts of other barriers are not kept.
    known: dict[tuple[Any, ...], ScoredParts] = {}

    def parts(settings: Mapping[str, Any]) -> ScoredParts:
        barriers = tuple(sorted((name, value) for name, value in settings.items() if name.startswith("tb_")))
        if barriers not in known:
            known.clear()
            known[barriers] = _obtained(project, configured(settings))
        return known[barriers]

    return TrainingObjective(make, parts, base)


def _obtained(project: Path, config: TrainConfig) -> ScoredParts:
    from earmark.tasks.market.training.obtain import obtain

    prepared = obtain(project, config).prepared
    test_ms = int(prepared.record["split"]["instants_ms"][1])
    return ScoredParts.before_test(prepared.train, prepared.validation, test_ms)


def fit_and_score(
    classifier: SequenceClassifier, parts: ScoredParts, on_epoch: OnEpoch | None = None
) -> dict[str, float]:
    """Fit on the training windows, score those validation windows that can be predicted.

    Parameters
    ----------
    classifier : SequenceClassifier
        Unfitted.
    parts : ScoredParts
    on_epoch : callable, optional
        As in `SequenceEstimator.fit`; it may end the fit.
    """
    classifier.fit(parts.train, parts.validation, on_epoch=on_epoch)
    scored = parts.validation.take(classifier.usable(parts.validation))
    return scores_of(scored.y, classifier.predict(scored).probabilities)
