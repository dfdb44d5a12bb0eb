"""One training from settings to run folder: folds, final model, baselines, scores, files.

``<root>/appliance/<time>-<model>/`` holds

======================= ================================================================================================
``run.toml``            ``kind = "detector"``: settings, hashes, versions
``card.json``           what the detector must be asked with, its folds' scores and the baselines beside them
``model/``              a classifier per device and their calibration; or, of a network, ``model.safetensors`` (all that
                        was trained), ``head.safetensors`` (pooling and head) and the calibration
``folds/<n>/``          the same of each fold
``out_of_fold.parquet`` probabilities of windows that no fold had seen, see `records`
``best_metrics.json``   scores; ``metrics.jsonl``: a line per epoch and per fold; ``train_config.json``: all settings
======================= ================================================================================================

The same training twice is found by its key. One that was killed goes on with the folds, and of networks the epochs,
that it had finished; its state is in ``<root>/appliance/.work/<key>/``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.audio.augment import Augmentation
from earmark.errors import UsageError
from earmark.features.table import FeatureTable
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.layers import HeadLayer, Layer, load_layer
from earmark.tasks.appliance.lengths import Part, groups_of_parts, parts_of, table_of_part
from earmark.tasks.appliance.protocols import Fold, folds
from earmark.tasks.appliance.references import OfRecordings
from earmark.tasks.appliance.training.baselines import baseline_rows, columns_fit
from earmark.tasks.appliance.training.by_length import FitByLength
from earmark.tasks.appliance.training.folds import Fitted, OutOfFold, final_model, fit_folds, taught
from earmark.tasks.appliance.training.records import (
    card_of,
    config_of,
    config_record,
    hashes_of,
    key_of,
    metric_lines,
    out_of_fold_table,
    write_best_metrics,
)
from earmark.tasks.appliance.training.rows import Rows, read_rows
from earmark.tasks.appliance.training.scoring import metrics_of, summary_of
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.starts import Starts, require_same_folds
from earmark.training.runs import Run, RunWriter, find_run, load_run
from earmark.training.work import locked, work_folder

if TYPE_CHECKING:
    from earmark.features.group import FeatureGroup
    from earmark.features.progress import ProgressCallback
    from earmark.models.beats.checkpoint import BeatsCheckpoint
    from earmark.tasks.project import Project

__all__ = ["Trained", "Training", "train"]

TASK = "appliance"
Ints = npt.NDArray[np.int64]
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """A finished run, and whether it was found rather than made."""

    run: Run
    reused: bool


def train(
    project: Project,
    settings: TrainSettings,
    *,
    reuse: bool = True,
    resume: bool = True,
    with_baselines: bool = True,
    progress: ProgressCallback | None = None,
    on_event: OnEvent | None = None,
) -> Trained:
    """Train a detector on the unsealed windows of a prepared room.

    Parameters
    ----------
    reuse : bool
        Return a finished run of the same key instead of training.
    resume : bool
        Go on with what a killed training of the same key left.
    with_baselines : bool
        Score the baselines beside it.

    Raises
    ------
    UsageError
        Nothing is prepared, or the protocol does not fit the recordings.
    RunError
        Another process trains the same key.
    """
    training = Training.open(project, settings, with_baselines=with_baselines, progress=progress)
    return training.run(reuse=reuse, resume=resume, on_event=on_event)


@dataclass(eq=False)
class Training:
    """What a training works on; `open` reads it.

    Parameters
    ----------
    rows : Rows
    table : FeatureTable
        Features of the rows, aligned with them.
    groups : tuple of FeatureGroup
        What the model reads of a window, of whichever length.
    folds : tuple of Fold
    key : str
    warnings : tuple of str
        Windows that were left out, and why.
    """

    project: Project
    settings: TrainSettings
    rows: Rows
    table: FeatureTable
    groups: tuple[FeatureGroup, ...]
    folds: tuple[Fold, ...]
    hashes: dict[str, str]
    key: str
    warnings: tuple[str, ...]
    with_baselines: bool
    progress: ProgressCallback | None = None

    @classmethod
    def open(
        cls,
        project: Project,
        settings: TrainSettings,
        *,
        with_baselines: bool = True,
        progress: ProgressCallback | None = None,
    ) -> Training:
        """Read windows and features, and divide them."""
        rows = read_rows(project, settings.only_device)
        planned_folds(rows, settings)  # a protocol that does not fit is told before minutes of features
        groups = _groups(project, settings)
        heard = groups_of_parts(groups, parts_of(settings.lengths, rows.devices, rows.room.window_s))
        table = project.extract(heard, rows.items(), progress=progress)
        rows, warnings = _with_features(rows, table)
        if settings.kind.is_relative:
            table = OfRecordings(rows.recordings).over(table)
        hashes = hashes_of(rows, project.digests(heard)) | _start_hash(project, settings)
        key = key_of(settings, hashes, has_baselines=with_baselines)
        divided = planned_folds(rows, settings)
        return cls(
            project,
            settings,
            rows,
            table,
            groups,
            divided,
            hashes,
            key,
            warnings,
            with_baselines,
            progress,
        )

    @property
    def root(self) -> Path:
        """Folder of all runs."""
        return self.project.runs_folder

    def run(self, *, reuse: bool = True, resume: bool = True, on_event: OnEvent | None = None) -> Trained:
        """Fit, score and write; see `train`."""
        found = find_run(self.root, TASK, self.key) if reuse else None
        if found is not None:
            return Trained(found, reused=True)
        work, start = work_folder(self.root, TASK, self.key), perf_counter()
        with locked(work.with_suffix(".lock")):
            if not resume:
                shutil.rmtree(work, ignore_errors=True)
            fit = self.fit(on_event)
            out = fit_folds(
                self.rows,
                self.table,
                self.folds,
                fit,
                self.settings,
                work=work,
                on_event=on_event,
                load=load_layer,
            )
            fitted, layer = self._final(out, fit, work)
            written = self._write(out, fitted, layer, start)
            shutil.rmtree(work, ignore_errors=True)
        return Trained(written, reused=False)

    def fit(self, on_event: OnEvent | None = None) -> Callable[..., Fitted]:
        """What fits a layer on some of the rows."""
        parts = parts_of(self.settings.lengths, self.rows.devices, self.rows.room.window_s)
        if parts[1:] or parts[0].seconds is not None:
            fits = [(part, self._part(part)._fit(on_event)) for part in parts]
            return FitByLength(fits, self.rows.devices.names)
        return self._fit(on_event)

    def _part(self, part: Part) -> Training:
        """The same training on the features of one length of window."""
        return replace(self, table=table_of_part(self.table, self.groups, part))

    def _fit(self, on_event: OnEvent | None) -> Callable[..., Fitted]:
        if self.settings.kind.network is None:
            return columns_fit(self.rows, self.table, self.groups, self.settings)
        from earmark.tasks.appliance.training.altered import Altered
        from earmark.tasks.appliance.training.networks import NetworkFit, head_settings

        total = head_settings(self.settings).epochs

        def tell(epoch: dict[str, Any]) -> None:
            if on_event is not None:
                on_event({"event": "epoch", "total_epochs": total, **epoch})

        rows, settings, checkpoint = self.rows, self.settings, self._checkpoint()
        is_altered = settings.augmentation != Augmentation()
        altered = Altered(self.project, rows, settings, checkpoint) if is_altered else None
        starts = self._starts(checkpoint)
        return NetworkFit(rows, self.table, self.groups[0], settings, checkpoint, altered, starts, tell)

    def _checkpoint(self) -> BeatsCheckpoint | None:
        """Of the encoder whose tokens a network reads."""
        if self.settings.view != "tokens":
            return None
        from earmark.tasks.appliance.configured import project_beats

        return project_beats(self.project.effective)

    def _starts(self, checkpoint: BeatsCheckpoint | None) -> Starts | None:
        """The heads of the run that is gone on from."""
        if self.settings.from_run is None:
            return None
        assert checkpoint is not None
        run = load_run(self.settings.from_run, root=self.root, task=TASK)
        require_same_folds(run, self.settings, self.hashes["data"])
        return Starts(run.path, self.rows, self.folds, checkpoint)

    def _final(self, out: OutOfFold, fit: Callable[..., Fitted], work: Path) -> tuple[Fitted, Layer]:
        """The model of all windows; of the earlier system's single split, the one model there is."""
        if self.settings.protocol == "single":
            return out.results[0].fitted, out.results[0].layer
        return final_model(self.rows, out, fit, self.settings, work=work)

    def _learnt(self) -> Ints:
        """The windows that the final model learnt."""
        single = self.settings.protocol == "single"
        return taught(self.rows, self.folds[0].train if single else np.arange(len(self.rows)))

    def _baselines(self) -> list[dict[str, Any]]:
        if not self.with_baselines:
            return []

        def extract(name: str) -> tuple[FeatureTable, tuple[FeatureGroup, ...]]:
            features = self.project.task.features(name)
            table = self.project.extract(features.groups, self.rows.items(), progress=self.progress)
            if table.failures:
                raise UsageError(
                    f"{len(table.failures)} windows have no features, the first: {table.failures[0].error}"
                )
            return table, features.groups

        return baseline_rows(self.rows, self.folds, self.settings, extract)

    def _write(self, out: OutOfFold, fitted: Fitted, layer: Layer, start: float) -> Run:
        rows, settings = self.rows, self.settings
        metrics, summary = metrics_of(rows, out), summary_of(rows, out)
        summary = summary | {"trimmed": metrics_of(rows, out, trimmed=True)}
        card = card_of(
            rows,
            settings,
            layer,
            fitted,
            self.hashes,
            floor_dbfs=rows.floor_dbfs(self._learnt()),
            summary=summary,
            baselines=self._baselines(),
            protocol_note=_note(self.folds),
        )
        room = rows.room
        if settings.full_state and isinstance(layer, HeadLayer):
            layer = replace(layer, full_state=True)
        detector = Detector(
            rows.devices, room.window_s, room.hop_s, room.sample_rate, layer, card["floor_dbfs"], card
        )
        slug = f"{settings.model}-leaky" if settings.is_leaky else settings.model
        with RunWriter(self.root, TASK, slug) as writer:
            detector.save(writer.path)
            for number, result in enumerate(out.results):
                folder = writer.path / "folds" / str(number)
                folder.mkdir(parents=True)
                result.layer.save(folder)
            writer.write_out_of_fold(out_of_fold_table(rows, out))
            writer.write_metrics(metrics, metric_lines(out, fitted, metrics))
            n_files = len(np.unique(rows.recordings[out.positions]))
            write_best_metrics(writer.path, metrics, rows, fitted, n_files)
            text = json.dumps(config_record(settings), indent=1) + "\n"
            (writer.path / "train_config.json").write_text(text, encoding="utf-8")
            warnings, seconds = self._all_warnings(fitted), perf_counter() - start
            hashes, key = self.hashes, self.key
            writer.write_config(
                config_of(rows, settings, out, fitted, key, hashes, warnings=warnings, seconds=seconds)
            )
        assert writer.run is not None
        return writer.run

    def _all_warnings(self, fitted: Fitted) -> list[str]:
        model = getattr(fitted.layer, "model", None)
        return [*self.warnings, *(model.warnings if model is not None else ())]


def _groups(project: Project, settings: TrainSettings) -> tuple[FeatureGroup, ...]:
    """What is extracted: what the model reads, and what its second stage does."""
    groups = project.task.features(settings.view).groups
    return (*groups, fbank) if settings.unfreeze_blocks else groups


def _start_hash(project: Project, settings: TrainSettings) -> dict[str, str]:
    """What decides the heads that a second stage starts from."""
    if settings.from_run is None:
        return {}
    return {"start": load_run(settings.from_run, root=project.runs_folder, task=TASK).config["key"]}


def planned_folds(rows: Rows, settings: TrainSettings) -> tuple[Fold, ...]:
    """The folds of the protocol on these rows; raises UsageError where it does not fit them."""
    given = dict(settings.protocol_settings)
    if settings.val_daypart is not None:
        given["val_daypart"] = settings.val_daypart
    if settings.is_leaky:
        given["demonstrate"] = True
    return folds(rows.table, settings.protocol, **given)


def _with_features(rows: Rows, table: FeatureTable) -> tuple[Rows, tuple[str, ...]]:
    """The rows that have features, in the table's order, and a sentence on those that have none."""
    if not table.failures:
        return rows, ()
    import polars as pl

    left_out = {failure.id for failure in table.failures}
    kept = rows.table.filter(~pl.col("id").is_in(list(left_out)))
    if not len(kept):
        raise UsageError(f"No window has features; the first problem: {table.failures[0].error}")
    sentence = f"{len(left_out)} windows were left out; the first: {table.failures[0].error}"
    return Rows(kept, rows.room, rows.devices), (sentence,)


def _note(divided: Sequence[Fold]) -> str:
    return "; ".join(dict.fromkeys(fold.note for fold in divided if fold.note))
