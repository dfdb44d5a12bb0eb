"""The verb `train`: from a configuration to a run, and to a promotion where it passes the gate.

Steps: load, model, trainer, train, test, save and register, ONNX. A training is known by its key, a hash of the model's
parameters, the data, the code and the versions: a finished run of the key is found again, a killed one goes on at the
epoch. Everything a run holds is written at once, or nothing is.

Who watches is told by dicts: ``{"event": "step", "step": ...}``, ``{"event": "note", "text": ...}``, and per epoch
``{"event": "epoch", "epoch": ..., "total_epochs": ..., **numbers}``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from earmark.errors import MissingExtraError, UsageError
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.tasks.market.prepare import Prepared
from earmark.tasks.market.training import records
from earmark.tasks.market.training.gate import GateOutcome, judge
from earmark.tasks.market.training.obtain import obtain
from earmark.tasks.market.training.recipe import SeriesRecipe, series_recipe
from earmark.tasks.market.training.scoring import (
    Part,
    baselines_of,
    evaluation_of,
    predict_part,
    scores_of,
)
from earmark.tasks.market.training.tracking import Tracked, track
from earmark.training.runs import Run, RunWriter, clean_partial, find_run
from earmark.training.work import WORK_AGE_S, locked, work_folder

if TYPE_CHECKING:
    from earmark.models.estimator import Epoch
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["STEPS", "AfterTraining", "Fitted", "OnEvent", "TrainResult", "plan", "train"]

STEPS = ("load", "model", "trainer", "train", "test", "save", "onnx")

TASK = "market"
EXPERIMENT = "model_training"
"""Experiment of a training in MLflow, unless another is asked for."""

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model with its data, before its run is written: what `after_training` is given.

    ``folder`` is that of the run to be; files written there are part of it. ``project`` is the project's.
    """

    config: TrainConfig
    recipe: SeriesRecipe
    prepared: Prepared
    classifier: SequenceClassifier
    validation: Part
    test: Part
    folder: Path
    project: Path


AfterTraining = Callable[[Fitted], Mapping[str, Any]]
"""Further analyses (CPCV, PBO); what it returns is kept in run.toml as ``analyses``."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What came of a training.

    Attributes
    ----------
    run : Run
    metrics : dict
        Of the test part, name -> value; None where undefined.
    promoted : bool
    gate : GateOutcome
    onnx : Path or None
    reused : bool
        Whether the run was there before.
    messages : tuple of str
        Sentences for the user, in order.
    """

    run: Run
    metrics: dict[str, float | None]
    promoted: bool
    gate: GateOutcome
    onnx: Path | None
    reused: bool = False
    mlflow_run: str | None = None
    messages: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the command and the page."""
        return {
            "run": self.run.name,
            "path": str(self.run.path),
            "model": self.run.algorithm,
            "metrics": self.metrics,
            "promoted": self.promoted,
            "gate": self.gate.to_json(),
            "onnx": None if self.onnx is None else str(self.onnx),
            "mlflow_run": self.mlflow_run,
            "reused": self.reused,
            "messages": list(self.messages),
        }


def train(
    project: str | Path,
    config: TrainConfig,
    *,
    resume: bool = True,
    reuse: bool = True,
    on_event: OnEvent | None = None,
    after_training: AfterTraining | None = None,
    experiment: str = EXPERIMENT,
) -> TrainResult:
    """Train a model as `config` says and leave a run.

    Parameters
    ----------
    project : path
        Project folder.
    config : TrainConfig
    resume : bool
        Go on where a killed training of the same key stopped; otherwise it is discarded.
    reuse : bool
        Return a finished run of the same key instead of training.
    on_event : callable, optional
        Told of steps, notes and epochs; may raise `StopTraining` at an epoch to keep the best so far.
    after_training : callable, optional
        Default: that of the analyses asked for (``use_cpcv``, ``calculate_pbo``).
    experiment : str
        Name in MLflow.

    Raises
    ------
    UsageError
        No data, too few, no labels, or a setting that cannot be met; the message names the next command.
    RunError
        Another process trains the same key.
    """
    hook = after_training or _analyses(config)
    return _Training(Path(project), config, on_event, hook, experiment).run(resume=resume, reuse=reuse)


def plan(project: str | Path, config: TrainConfig) -> dict[str, Any]:
    """What `train` would do, without fitting: data are loaded, labelled and divided where they have to be."""
    obtained = obtain(project, config)
    recipe = series_recipe(obtained.config)
    key = records.key_of(recipe, obtained.prepared, obtained.config)
    found = find_run(records.runs_folder(project), TASK, key)
    return {
        "key": key,
        "finished_run": None if found is None else found.name,
        "recipe": recipe.settings(),
        "settings": obtained.config.record(),
        "parts": obtained.prepared.record["parts"],
        "notes": list(obtained.notes),
    }


@dataclass
class _Training:
    project: Path
    asked: TrainConfig
    on_event: OnEvent | None
    hook: AfterTraining | None
    experiment: str
    messages: list[str] = field(default_factory=list)

    def run(self, *, resume: bool, reuse: bool) -> TrainResult:
        self._step("load")
        obtained = obtain(self.project, self.asked)
        self.config, self.prepared = obtained.config, obtained.prepared
        for text in (*obtained.notes, *records.sentences(self.prepared)):
            self._note(text)
        self._step("model")
        self.recipe = series_recipe(self.config)
        self.root = records.runs_folder(self.project)
        self.key = records.key_of(self.recipe, self.prepared, self.config)
        found = find_run(self.root, TASK, self.key) if reuse else None
        if found is not None:
            self._note(f"Run {found.name} has this data, configuration and code: it is not trained again.")
            return self._finish(found, reused=True)
        return self._finish(self._trained(resume), reused=False)

    def _trained(self, resume: bool) -> Run:
        self._step("trainer")
        work, start = work_folder(self.root, TASK, self.key), perf_counter()
        with locked(work.with_suffix(".lock")):
            if not resume:
                shutil.rmtree(work, ignore_errors=True)
            classifier = self._fit(work)
            run = self._written(classifier, work, start)
            shutil.rmtree(work, ignore_errors=True)
        clean_partial(work.parent, older_than_s=WORK_AGE_S, pattern="*")
        return run

    def _fit(self, work: Path) -> SequenceClassifier:
        self._step("train")
        classifier = self.recipe.make(records.CLASSES, records.schema_text())
        settings = self.recipe.settings()["params"]
        total = settings.get("epochs", settings.get("n_trees"))

        def tell(entry: Epoch) -> None:
            self._tell({"event": "epoch", "total_epochs": total, **entry})

        prepared = self.prepared
        return classifier.fit(prepared.train, prepared.validation, checkpoint=work, on_epoch=tell)

    def _written(self, classifier: SequenceClassifier, work: Path, start: float) -> Run:
        """Test, and write everything."""
        self._step("test")
        parts = {
            name: predict_part(classifier, name, windows)
            for name, windows in self.prepared.parts().items()
            if name != "train"
        }
        test = parts["test"]
        baselines = baselines_of(self.recipe.algorithm, self.prepared.train, test, records.CLASSES)
        self._step("save")
        with RunWriter(self.root, TASK, self.recipe.algorithm) as writer:
            folder = writer.path
            classifier.save(folder)
            records.keep_checkpoints(work, folder)
            for part in parts.values():
                writer.write_part(part.name, part.table(records.CLASSES))
            records.write_curve(classifier.estimator, folder)
            evaluation = evaluation_of(
                test,
                baselines,
                run=records.final_name(folder),
                classes=records.CLASSES,
                facts=records.facts(self.config, self.recipe, self.prepared, classifier),
                created=records.now(),
                seed=self.config.seed,
                warnings=self.prepared.warnings,
            )
            gate = judge(evaluation, self.config.min_accuracy)
            records.write_evaluation(evaluation, folder)
            scores = {name: scores_of(part) for name, part in parts.items()}
            writer.write_metrics(
                scores["test"], records.lines(classifier, scores), validation=scores["validation"]
            )
            analyses = self._analysed(classifier, parts, folder)
            self._export(classifier, folder)
            record = records.config_of(self.config, self.recipe, self.prepared, self.key, classifier, parts)
            record |= {
                "gate": gate.to_json(),
                "analyses": dict(analyses),
                "baselines": records.baseline_scores(evaluation),
            }
            writer.write_config(record | {"seconds": round(perf_counter() - start, 3)})
        assert writer.run is not None
        return writer.run

    def _analysed(
        self, classifier: SequenceClassifier, parts: Mapping[str, Part], folder: Path
    ) -> Mapping[str, Any]:
        if self.hook is None:
            return {}
        return self.hook(
            Fitted(
                self.config,
                self.recipe,
                self.prepared,
                classifier,
                parts["validation"],
                parts["test"],
                folder,
                self.project,
            )
        )

    def _export(self, classifier: SequenceClassifier, folder: Path) -> None:
        """ONNX beside the model; a model that has no ONNX form, or a missing package, is said and stops nothing."""
        if not self.config.export_onnx:
            return
        self._step("onnx")
        try:
            from earmark.models.sequence.export import export_onnx, quantise

            sample = self.prepared.validation
            path = folder / records.ONNX_FILE
            done = export_onnx(classifier, path, sample.take(classifier.usable(sample)))
            self._note(
                f"ONNX opset {done.opset}: {done.n_bytes} bytes, at most {done.difference:.1g} from the model."
            )
            if self.config.int8:
                quantise(path, folder / records.INT8_FILE)
        except MissingExtraError as error:
            self._note(f"No ONNX file: {error}")
        except UsageError as error:
            if self.config.int8 or "export_onnx" in self.config.given:
                raise
            self._note(f"No ONNX file: {error}")

    def _finish(self, run: Run, *, reused: bool) -> TrainResult:
        """Gate, promotion and tracking of a run, new or found."""
        gate = GateOutcome.from_json(run.config["gate"] | {"min_accuracy": self.config.min_accuracy})
        self._note(gate.sentence())
        promoted = self._promoted(run, gate)
        tracked = self._tracked(run) if not reused else Tracked(None, ())
        for warning in tracked.warnings:
            self._note(warning)
        onnx = run.path / records.ONNX_FILE
        return TrainResult(
            run,
            {name: score["value"] for name, score in run.metrics.items()},
            promoted,
            gate,
            onnx if onnx.is_file() else None,
            reused,
            tracked.run_id,
            tuple(self.messages),
        )

    def _promoted(self, run: Run, gate: GateOutcome) -> bool:
        from earmark.training.production import history, promote

        if not gate.passed or not self.config.auto_promote:
            self._note(
                f"Run {run.name} is kept and not promoted"
                + (
                    "."
                    if gate.passed
                    else f"; to use it all the same: earmark runs promote {run.name} --force"
                )
            )
            return False
        in_force = history(self.root, TASK)
        if not in_force or in_force[-1]["run"] != run.name:
            promote(self.root, run, reason="passed the gate of `train`")
        self._note(f"Run {run.name} is in production.")
        return True

    def _tracked(self, run: Run) -> Tracked:
        if self.config.mlflow_uri is None:
            return Tracked(None, ())
        return track(run, self.config.mlflow_uri, self.experiment)

    def _step(self, name: str) -> None:
        self._tell({"event": "step", "step": name, "number": STEPS.index(name) + 1, "of": len(STEPS)})

    def _note(self, text: str) -> None:
        self.messages.append(text)
        self._tell({"event": "note", "text": text})

    def _tell(self, event: Mapping[str, Any]) -> None:
        if self.on_event is not None:
            self.on_event(event)


def _analyses(config: TrainConfig) -> AfterTraining | None:
    """The analyses that were asked for, of the module beside; None where none was."""
    if not (config.use_cpcv or config.calculate_pbo):
        return None
    from earmark.tasks.market.training.analyses import after_training

    return after_training
