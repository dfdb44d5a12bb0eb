"""A project: a task, a folder and its settings; what every verb starts from.

Folder layout, below the project folder (names from the settings)::

    earmark.toml                    settings
    .earmark/cache/                 the feature cache
    data/<task>/manifest.parquet    items; splits.parquet, sealed.parquet, ledger.jsonl beside it
    data/<task>/features/           datasets that `extract` writes for other tools
    runs/<task>/<run>/              what a training leaves
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from earmark.audio.fragment import split_fragment
from earmark.cache.entries import FeatureCache
from earmark.data.dataset import Dataset
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import MANIFEST_FILE, SPLITS_FILE, SealedLabels
from earmark.data.splits import Splits
from earmark.errors import UsageError
from earmark.features.extractor import Extractor
from earmark.features.group import FeatureGroup, fingerprints
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable, joined
from earmark.inference.inputs import expand_inputs
from earmark.tasks.registry import load_task
from earmark.tasks.settings import EffectiveSettings, load_settings
from earmark.tasks.task import Task

__all__ = ["Project"]


class Project:
    """The folders, cache and data of one task in one project folder.

    Parameters
    ----------
    task : Task
    settings : EffectiveSettings
        Of the project folder; `open` loads both.
    spelled : str, optional
        How the command line names the task, for messages that say what to run.
    """

    def __init__(self, task: Task, settings: EffectiveSettings, spelled: str | None = None) -> None:
        self.task = task.configured(settings)
        self.spelled = spelled or task.name
        self.effective = settings
        self.settings = settings.settings

    @classmethod
    def open(
        cls, task: str | Task, root: str | Path = ".", overrides: Mapping[str, object] | None = None
    ) -> Project:
        """A project by the task's name, file or object; `overrides` are settings given on the command line."""
        loaded = task if isinstance(task, Task) else load_task(task)
        return cls(loaded, load_settings(root, overrides), task if isinstance(task, str) else None)

    @property
    def root(self) -> Path:
        """The project folder, absolute."""
        return self.effective.root.absolute()

    @property
    def data_folder(self) -> Path:
        """Where manifest, splits and sealed labels of this task lie."""
        return self.effective.path("data") / self.task.name

    @property
    def runs_folder(self) -> Path:
        """Folder of the runs of all tasks."""
        return self.effective.path("runs")

    @cached_property
    def cache(self) -> FeatureCache:
        """The feature cache; opened on first use."""
        return FeatureCache(self.effective.path("cache"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the task, or else the labels of the manifest, sorted."""
        if self.task.classes:
            return self.task.classes
        found = {label for label in self.manifest.table["label"] if label}
        return tuple(sorted(found))

    @property
    def manifest(self) -> Manifest:
        """The prepared manifest, with the labels of test rows removed."""
        self._require_prepared()
        return Manifest.read(self.data_folder / MANIFEST_FILE)

    @property
    def splits(self) -> Splits:
        """The prepared splits."""
        self._require_prepared()
        return Splits.read(self.data_folder / SPLITS_FILE)

    @property
    def sealed(self) -> SealedLabels:
        """The guard of the test labels."""
        return SealedLabels(self.data_folder)

    @property
    def is_prepared(self) -> bool:
        """Whether `prepare` has run."""
        return (self.data_folder / SPLITS_FILE).is_file()

    @property
    def split_policy(self) -> SplitPolicy:
        """The task's policy with what the settings replace."""
        chosen = self.settings.split
        given = {
            "test_fraction": chosen.test_fraction,
            "n_folds": chosen.folds,
            "group_on": chosen.group_on,
            "stratify_on": chosen.stratify_on,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(self.task.split, seed=self.settings.seed, **changes)

    def items(self, sources: Sequence[str] = ()) -> list[Item]:
        """The inputs that `sources` name, or without any the items of the manifest.

        Raises
        ------
        UsageError
            A source leads nowhere, or none holds audio.
        """
        if not sources:
            return list(self.manifest)
        found = expand_inputs(sources)
        if found.failures or not found.uris:
            problems = " ".join(failed.error for failed in found.failures)
            raise UsageError(problems or f"there are no audio files in {', '.join(sources)}.")
        return list(Manifest.from_paths(found.uris))

    def feature_sets(self, names: Sequence[str] | None = None) -> list[FeatureSet]:
        """Feature sets by name, from the settings, or the task's default one."""
        return [
            self.task.features(name)
            for name in names or self.settings.features or [self.task.default_features]
        ]

    def extract(
        self,
        groups: Sequence[FeatureGroup],
        items: Iterable[Item],
        *,
        workers: int | None = None,
        limit: int | None = None,
        use_cache: bool = True,
        retry_failed: bool = False,
        progress: ProgressCallback | None = None,
    ) -> FeatureTable:
        """Features of items through this project's cache, workers and cluster."""
        if workers is None and self.settings.workers != "auto":
            workers = self.settings.workers
        extractor = Extractor(
            groups, self.cache if use_cache else None, workers=workers, cluster=self.settings.cluster
        )
        return extractor.run(items, limit=limit, progress=progress, retry_failed=retry_failed)

    def digests(self, groups: Sequence[FeatureGroup]) -> dict[str, bytes]:
        """Fingerprint of each group's code as it is now, by name; code that they share is walked once."""
        found = fingerprints(groups, self.cache.reads())
        return {name: fingerprint.digest for name, fingerprint in found.items()}

    def training_data(
        self, features: FeatureSet, progress: ProgressCallback | None = None
    ) -> tuple[Dataset, FeatureTable]:
        """The training rows of a feature set; no test item is even extracted for it."""
        manifest, splits = self.manifest, self.splits
        if not features.columns:
            raise UsageError(
                f"feature set `{features.name}` holds frames only; a model needs one row per item."
            )
        table = self.features_or_tables(features, list(manifest.subset(splits.train_ids)), progress)
        dataset = Dataset.build(
            manifest,
            splits,
            table,
            self.classes,
            columns=features.columns,
            soft_labels=self.task.soft_labels,
        )
        return dataset, table

    def auxiliary_data(
        self, features: FeatureSet, progress: ProgressCallback | None = None
    ) -> Dataset | None:
        """The rows of a feature set that only train, of another source than the scored one; None without any.

        Items whose features come from somebody else's tables are read by the task's `table_files`. Beside items
        with audio they are left out, and listed in ``absent``: one mapping cannot serve two units.

        Raises
        ------
        SchemaError
            Such a table cannot give the feature set's columns.
        """
        manifest, splits = self.manifest, self.splits
        if not splits.auxiliary_ids:
            return None
        items = list(manifest.subset(splits.auxiliary_ids))
        audio = [item for item in items if not self._is_table(item)]
        table = self.features_or_tables(features, audio or items, progress)
        return Dataset.build(
            manifest,
            splits,
            table,
            self.classes,
            columns=features.columns,
            split="auxiliary",
            soft_labels=self.task.soft_labels,
        )

    def needs_mapping(self, features: FeatureSet) -> tuple[str, ...]:
        """Columns of auxiliary rows that are not in the unit of the scored ones: pooling them needs a mapping."""
        items = list(self.manifest.subset(self.splits.auxiliary_ids)) if self.splits.auxiliary_ids else []
        if not all(self._is_table(item) for item in items):
            return ()
        kinds = sorted({_suffix(item) for item in items})
        return tuple(
            column
            for column in features.columns
            if not all(self.task.table_files[kind].comparable.get(column, False) for kind in kinds)
        )

    def _is_table(self, item: Item) -> bool:
        return _suffix(item) in self.task.table_files

    def table_gaps(self, features: FeatureSet, items: Iterable[Item]) -> tuple[str, ...]:
        """Columns of a feature set that the tables among `items` cannot give."""
        kinds = {_suffix(item) for item in items} & self.task.table_files.keys()
        known = [self.task.table_files[kind].comparable for kind in kinds]
        return tuple(column for column in features.columns if any(column not in kind for kind in known))

    def features_or_tables(
        self, features: FeatureSet, items: Sequence[Item], progress: ProgressCallback | None = None
    ) -> FeatureTable:
        """Features of items with audio, and what tables say of the others; rows in the order of the items' kinds."""
        files = self.task.table_files
        audio = [item for item in items if not self._is_table(item)]
        if len(audio) == len(items):
            return self.extract(features.groups, items, progress=progress)
        parts = (
            [self.extract(features.groups, audio, progress=progress).select(features.columns)]
            if audio
            else []
        )
        for suffix in sorted({_suffix(item) for item in items} & files.keys()):
            own = [item for item in items if _suffix(item) == suffix]
            parts.append(files[suffix].read(own, features.columns))
        return joined(parts)

    def _require_prepared(self) -> None:
        if not self.is_prepared:
            raise UsageError(
                f"`{self.data_folder}` holds no manifest; expected one made from your labels. "
                f"Run: earmark prepare {self.spelled} {self.task.sources_noun}"
            )


def _suffix(item: Item) -> str:
    return os.path.splitext(split_fragment(item.uri)[0])[1].lower()  # noqa: PTH122  # a URI is no path
