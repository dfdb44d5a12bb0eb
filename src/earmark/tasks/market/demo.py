"""The whole chain of `market` on a simulated exchange, from nothing to predictions, without the network.

The exchange is a process of its own that speaks a venue's protocol over real sockets; the collector, the stores and the
models are those of every other day. A stage that is done is not done again: collecting is remembered in ``demo.json``
of the data folder, every other stage knows its own work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from earmark.errors import UsageError
from earmark.features.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from earmark.tasks.market.prepare import Prepared
    from earmark.tasks.market.training.train import TrainResult
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["DEMO_SETTINGS", "RECORD_FILE", "DemoResult", "demo"]

RECORD_FILE = "demo.json"

DEMO_SETTINGS: Mapping[str, Any] = {
    "market__symbols": "BTCUSDT,ETHUSDT",
    "market__collection_interval": 1,
    "market__use_legacy_format": True,
    "market__max_samples_per_file": 500,
    "market__flush_raw_s": 900,
}
"""Settings that the demo has its own of: with a sample every 3 s an hour and a half is enough to train on."""

HORIZON_S = 10  # as far as the book of the simulated market tells its price
SEQUENCE_LENGTH = 20
SPEED = 1_000.0  # more than any machine reaches: the exchange waits for its readers
ALGORITHMS: Mapping[str, Mapping[str, Any]] = {
    "logistic": {},
    "gbm": {},
    "hybrid_cnn_lstm": {"preset": "quick_experiment", "epochs": 2, "export_onnx": False},
}
"""Model -> its settings; the last only where torch is installed."""

Result = TypeVar("Result")


@dataclass
class DemoResult:
    """What each stage gave, as JSON has it, and how long it took in seconds."""

    collected: dict[str, Any] = field(default_factory=dict)
    migrated: dict[str, Any] = field(default_factory=dict)
    labelled: dict[str, Any] = field(default_factory=dict)
    readiness: list[dict[str, Any]] = field(default_factory=list)
    prepared: list[dict[str, Any]] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    best: str = ""
    report: Path | None = None
    predicted: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the command."""
        return {"task": "market", **vars(self)}


def demo(
    settings: EffectiveSettings,
    *,
    hours: float = 1.5,
    tell: ProgressCallback | None = None,
    on_compile: Callable[[], None] | None = None,
) -> DemoResult:
    """Collect, migrate, label, validate, prepare, train, evaluate and predict in a project folder.

    Parameters
    ----------
    settings : EffectiveSettings
        With `DEMO_SETTINGS`.
    hours : float
        Of the simulated market, where it has not been collected before.
    tell : callable, optional
        Told of the progress of each stage.
    on_compile : callable, optional
        As of `earmark.tasks.market.collect.verb.collect`.

    Raises
    ------
    UsageError
        The project has samples that are not the demo's.
    KeyboardInterrupt
        Collecting was ended by a signal; what had come is kept.
    """
    return _Demo(settings, tell or _silent, on_compile).run(hours)


class _Demo:
    def __init__(
        self, settings: EffectiveSettings, tell: ProgressCallback, on_compile: Callable[[], None] | None
    ) -> None:
        self.settings, self.tell, self.on_compile = settings, tell, on_compile
        self.root, self.data = settings.root, settings.path("data")
        self.result = DemoResult()

    def run(self, hours: float) -> DemoResult:
        result = self.result
        result.collected = self._timed("collect", lambda: self._collected(hours))
        result.migrated = self._timed("migrate", self._migrate)
        result.labelled = self._timed("label", self._label)
        result.readiness = self._timed("validate", self._validate)
        prepared = self._timed("prepare", self._prepare)
        result.prepared = prepared.record["parts"]
        trained = self._timed("train", self._train)
        result.trained = [each.to_json() for each in trained]
        best = min(trained, key=lambda each: _loss(each))
        result.best = best.run.name
        result.report = self._timed("evaluate", lambda: self._evaluate(best))
        result.predicted = self._timed("predict", lambda: self._predict(best))
        return result

    def _timed(self, stage: str, action: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        self.tell(Progress(stage, 0, 1, message="begins"))
        found = action()
        self.result.seconds[stage] = time.perf_counter() - started
        self.tell(Progress(stage, 1, 1, message="done"))
        return found

    def _collected(self, hours: float) -> dict[str, Any]:
        """The record of the collecting, made now or before."""
        from earmark.data.parquet import write_bytes_atomic
        from earmark.tasks.market.legacy.writer import json_bytes

        path = self.data / RECORD_FILE
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return found | {"reused": True}
        self._require_empty()
        record = self._collect(hours)
        write_bytes_atomic(path, json_bytes(record))
        return record | {"reused": False}

    def _require_empty(self) -> None:
        """A simulated market must not come among the rows of a real one."""
        for folder in (self.data / "raw", self.data / "feature_store"):
            if folder.exists():
                raise UsageError(
                    f"`{folder}` holds data that no finished demo has collected. Expected a project folder of its "
                    "own: earmark -C DIR demo market"
                )

    def _collect(self, hours: float) -> dict[str, Any]:
        from earmark.store.raw import RawStore
        from earmark.tasks.market.collect.reconcile import reconcile
        from earmark.tasks.market.collect.verb import Simulation, collect

        symbols = self.settings.settings.market.symbols
        due = int(hours * 1200) * len(symbols)  # a sample every 3 s
        ledgers: list[dict[str, Any]] = []

        def show(found: dict[str, Any]) -> None:
            self.tell(Progress("collect", min(found["total_samples"], due), due))

        finished = collect(
            self.settings,
            duration_s=3600 * hours,
            simulation=Simulation(SPEED),
            on_status=show,
            on_compile=self.on_compile,
            on_ledger=ledgers.append,
        )
        if finished.n_samples < due - 10 * len(symbols):
            raise KeyboardInterrupt
        balances = reconcile(ledgers[0], RawStore(self.data / "raw"), symbols)
        return {
            "hours": hours,
            "samples": finished.n_samples,
            "raw_rows": finished.n_raw_rows,
            "skipped": {name: row["skipped"] for name, row in finished.statistics["symbols"].items()},
            "balances": [balance.to_json() for balance in balances],
        }

    def _migrate(self) -> dict[str, Any]:
        """The npy and json files that were written beside, as if they were an earlier program's."""
        from earmark.store.offline import FeatureStore
        from earmark.tasks.market.legacy.migrate import migrate_legacy
        from earmark.tasks.market.sample_sources import LEGACY_GROUP

        files = self.root / self.settings.settings.market.storage_path
        report = migrate_legacy(files, FeatureStore(self.store), group=LEGACY_GROUP, tell=self.tell)
        found = report.to_json()
        return {name: found[name] for name in ("batches", "already", "read", "migrated", "rejected")}

    @property
    def store(self) -> Path:
        """Folder of the feature store."""
        return self.data / "feature_store"

    def _label(self) -> dict[str, Any]:
        from earmark.tasks.market.labels.label import LabelRequest, label_group

        report = label_group(self.store, self.data / "raw", LabelRequest(), tell=self.tell)
        return {"set": report.set_id, "rows": report.rows, "coverage": report.coverage}

    def _validate(self) -> list[dict[str, Any]]:
        from earmark.store.offline import FeatureStore
        from earmark.tasks.market.validation.checks import check_rows, read_selection
        from earmark.tasks.market.validation.readiness import readiness

        selection = read_selection(
            FeatureStore(self.store), label_set=self.result.labelled["set"], horizon_s=HORIZON_S
        )
        checks = check_rows(selection, now_ms=time.time_ns() // 1_000_000)
        return [vars(requirement) for requirement in readiness(selection, checks).requirements]

    def _prepare(self) -> Prepared:
        from earmark.tasks.market.prepare import PrepareOptions, prepare

        options = PrepareOptions(
            label_set=self.result.labelled["set"],
            horizon_s=HORIZON_S,
            sequence_length=SEQUENCE_LENGTH,
        )
        return prepare(self.root, options, tell=self.tell)

    def _train(self) -> list[TrainResult]:
        from importlib.util import find_spec

        from earmark.tasks.market.training.config import train_config
        from earmark.tasks.market.training.train import train

        found: list[TrainResult] = []
        for name, settings in ALGORITHMS.items():
            if name == "hybrid_cnn_lstm" and find_spec("torch") is None:
                continue
            config = train_config({"model_name": name, **settings})
            self.tell(Progress("train", len(found), len(ALGORITHMS), message=name))
            found.append(train(self.root, config, on_event=self._epoch))
        return found

    def _epoch(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "epoch" and event["total_epochs"]:
            done = min(int(event["epoch"]) + 1, int(event["total_epochs"]))
            self.tell(Progress("epochs", done, int(event["total_epochs"])))

    def _evaluate(self, best: TrainResult) -> Path | None:
        from earmark.tasks.market.assessment.evaluate import evaluate

        folder = evaluate(self.root, best.run).folder
        return None if folder is None else folder / "report.html"

    def _predict(self, best: TrainResult) -> dict[str, Any]:
        """The newest answer per symbol, and how many rows were answered how."""
        from collections import Counter

        from earmark.tasks.market.serving.answers import Answerer
        from earmark.tasks.market.serving.model import served_model
        from earmark.tasks.market.serving.stored import predict_store

        counts: Counter[str] = Counter()
        newest: dict[str, dict[str, Any]] = {}
        for record in predict_store(Answerer(served_model(best.run)), self.store):
            counts[record["reason"] or record["signal_type"]] += 1
            newest[record["symbol"]] = record
        return {"rows": sum(counts.values()), "answers": dict(counts), "newest": newest}


def _loss(trained: TrainResult) -> float:
    """Log loss of the validation part: the test part chooses nothing."""
    score = trained.run.validation_metrics["log_loss"]["value"]
    return float("inf") if score is None else float(score)


def _silent(event: Progress) -> None:
    """Tell nobody."""
