"""A model beside a collector: its signals are the predictions, and nothing it does stops or delays collecting."""

from __future__ import annotations

import json
import shutil
import threading
import time

import numpy as np
import polars as pl
import pytest

pytest.importorskip("aiohttp")
from collecting import collect as collect_until
from collecting import options, reached
from serving_runs import trained_project

from earmark.cli.main import run as program
from earmark.cli.market.watching import table_of
from earmark.errors import RunError
from earmark.store.offline import FeatureStore
from earmark.tasks.market.collect.pipeline import Sample
from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX
from earmark.tasks.market.collect.signals import Signal
from earmark.tasks.market.collect.verb import Simulation, collect, options_of
from earmark.tasks.market.serving.answers import WARMING_UP, Answerer
from earmark.tasks.market.serving.model import chosen_run, served_model
from earmark.tasks.market.serving.series import Row
from earmark.tasks.market.serving.signals import FAILED, LATE, ModelSignals, model_signals
from earmark.tasks.market.serving.stored import predict_store
from earmark.tasks.market.serving.worker import Worker
from earmark.tasks.settings import load_settings

SYMBOLS, GROUP = ("BTCUSDT", "4USDT"), "signalled"
COLUMNS = ["symbol", "timestamp", *Signal._fields]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return trained_project(tmp_path_factory, "signals")


@pytest.fixture(scope="module")
def model(project):
    return served_model(chosen_run(project, "latest"))


@pytest.fixture(scope="module")
def collected(project):
    """Some minutes of a simulated exchange with a model beside, in files of three samples."""
    settings = load_settings(
        project,
        {
            "market.symbols": SYMBOLS,
            "market.feature_store_group": GROUP,
            "market.max_samples_per_file": 3,
            "market.use_legacy_format": True,
        },
    )
    return collect(settings, duration_s=240, simulation=Simulation(speed=20), model="latest")


def signals_in(data, group=GROUP):
    table = FeatureStore(data / "feature_store").table(group)
    return table.scan(columns=COLUMNS).collect().sort("symbol", "timestamp")


def predicted(model, data, group=GROUP):
    """Signals of `earmark predict market` for the same rows, as float32."""
    rows = [
        {name: record[name] for name in COLUMNS}
        for record in predict_store(Answerer(model), data / "feature_store", group=group)
    ]
    dtypes = dict.fromkeys(Signal._fields[1:], pl.Float32) | {"signal_type": pl.String}
    return pl.DataFrame(rows, schema_overrides=dtypes).sort("symbol", "timestamp")


def test_signals_are_the_predictions_bit_for_bit(project, model, collected):
    found, expected = signals_in(project / "data"), predicted(model, project / "data")
    assert len(found) == collected.n_samples and found["signal_type"].null_count() < len(found) - 4
    told = collected.statistics["model"]
    late = told["unanswered"].get(LATE, 0)
    answered = found.filter(pl.col("signal_type").is_not_null())
    assert answered.equals(expected.join(answered, ["symbol", "timestamp"], "semi"))
    assert len(expected.filter(pl.col("signal_type").is_not_null())) <= len(answered) + late
    assert told["answered"] == len(answered) and told["error"] is None and told["waiting"] == 0
    assert told["unanswered"][WARMING_UP] >= 2 * len(SYMBOLS)
    assert told["answered"] + sum(told["unanswered"].values()) == collected.n_samples
    assert signals_in(project / "data", GROUP + V2_GROUP_SUFFIX).equals(found)


def test_the_earlier_layout_has_the_same_signals(project, collected):
    folder = project / "data" / "ml_training"
    for part in ("labels", "metadata"):
        rows = []
        for path in sorted(folder.glob(f"*/{part}/*.json")):
            found = json.loads(path.read_text())
            samples = found if part == "labels" else found["samples"]
            rows += [{"symbol": path.parts[-3], **row} for row in samples]
        stored = signals_in(project / "data")
        again = pl.DataFrame(rows, infer_schema_length=None).select(COLUMNS).cast(dict(stored.schema))
        assert again.sort("symbol", "timestamp").equals(stored)


def test_a_restart_takes_its_history_from_what_was_collected(project, model, collected):
    """The rows of the first process are the window of the second's first sample, as they are for `predict`."""
    data = project / "data"
    stored = FeatureStore(data / "feature_store").table(GROUP).scan(symbols=["BTCUSDT"]).collect()
    stored = stored.sort("timestamp")
    last = stored.row(-1, named=True)
    names = model.columns
    step = model.interval_ms
    values = np.array([last[name] for name in names], np.float32)
    following = sample("BTCUSDT", last["timestamp"] + step, values, last["current_mid_price"])
    settings = load_settings(project, {"market.symbols": SYMBOLS, "market.feature_store_group": GROUP})
    with model_signals(settings, options_of(settings), "latest") as signals:
        signals.take([following])
        (said,) = signals.of([following]).values()
    told = Answerer(model)
    rows = stored.select(names).to_numpy()
    told.push(
        Row("BTCUSDT", time_ms, row, np.empty(0, np.float32), 1.0)
        for time_ms, row in zip(stored["timestamp"].to_list(), rows, strict=True)
    )
    (record,) = told.take([following])
    assert record["signal_type"] is not None
    assert said == Signal(*(record[name] for name in Signal._fields))


def sample(symbol, time_ms, features, mid=100.0):
    return Sample(symbol, time_ms, 0, time_ms, features, np.empty(0, np.float32), mid, 0.1, 0.5, 0, False)


def told_by(caplog):
    return [r.getMessage() for r in caplog.records if "has failed" in r.getMessage()]


def test_a_slow_model_delays_nothing_and_its_samples_have_no_signals(model, tmp_path):
    class Slow(Answerer):
        def take(self, samples):
            time.sleep(1.5)
            return super().take(samples)

    signals = ModelSignals(Slow(model), lambda _: ())
    chosen = options(tmp_path, ("BTCUSDT",), collection_interval=1)
    begun = time.monotonic()
    _, finished, _ = collect_until(chosen, reached(150), speed=30, signals=signals)
    took_s = time.monotonic() - begun
    signals.close()
    told = finished.statistics["model"]
    assert finished.n_samples > 30 and took_s < 1.5 * finished.n_samples / 2
    assert told["unanswered"][LATE] > finished.n_samples / 2 and told["waiting"] == 0
    assert told["answered"] + sum(told["unanswered"].values()) == finished.n_samples
    found = signals_in(tmp_path / "data", "training_features")
    assert len(found) == finished.n_samples
    assert found["signal_type"].null_count() == finished.n_samples - told["answered"]


def test_a_model_that_was_late_answers_like_one_that_was_not(model):
    """What it is not asked about is its history all the same."""
    gate, rng = threading.Event(), np.random.default_rng(3)

    class Held(Answerer):
        def take(self, samples):
            gate.wait(10)
            return super().take(samples)

    def tick(number):
        return sample("A", 30_000 * number, rng.exponential(size=112).astype(np.float32))

    ticks = [tick(number) for number in range(1, 21)]
    signals, alone = ModelSignals(Held(model), lambda _: ()), Answerer(model)
    for each in ticks:
        signals.take([each])
    gate.set()
    found = signals.of(ticks)
    told = signals.statistics()
    signals.close()
    expected = [alone.take([each])[0] for each in ticks]
    by_key = {(r["symbol"], r["timestamp"]): Signal(*(r[name] for name in Signal._fields)) for r in expected}
    assert 1 <= len(found) < 10 and told["unanswered"][LATE] > 5
    assert all(by_key[key] == said for key, said in found.items())
    assert ("A", ticks[-1].book_ms) in found
    assert signals.of(ticks) == {}


def test_a_broken_model_is_told_once_and_collecting_goes_on(model, tmp_path, caplog):
    class Broken(Answerer):
        n = 0

        def take(self, samples):
            self.n += 1
            if self.n > 20:
                raise RunError("the model is broken")
            return super().take(samples)

    signals = ModelSignals(Broken(model), lambda _: ())
    chosen = options(tmp_path, ("BTCUSDT",), collection_interval=1)
    _, finished, _ = collect_until(chosen, reached(150), signals=signals)
    signals.close()
    told = finished.statistics["model"]
    assert finished.n_samples > 30 and told["error"] == "RunError: the model is broken"
    assert told["unanswered"][FAILED] >= finished.n_samples - 20 and told["waiting"] == 0
    assert len(told_by(caplog)) == 1
    assert len(signals_in(tmp_path / "data", "training_features")) == finished.n_samples


def test_a_history_that_cannot_be_read_ends_the_model_alone(model, caplog):
    def unreadable(_):
        raise OSError("no such disk")

    signals = ModelSignals(Answerer(model), unreadable)
    for number in range(1, 4):
        signals.take([sample("A", 30_000 * number, np.ones(112, np.float32))])
        signals.of([])
    signals.close()
    assert signals.statistics()["unanswered"] == {FAILED: 3}
    assert len(told_by(caplog)) == 1


def test_a_run_that_cannot_answer_is_refused_before_anything_is_connected(project, tmp_path, capsys):
    def refused(name, *more):
        nowhere = ["--url", "ws://127.0.0.1:9/", "--rest-url", "http://127.0.0.1:9"]
        asked = ["-C", str(project), "collect", "market", "--symbols", "BTCUSDT", "--model", str(name)]
        assert program([*asked, *nowhere, *more]) != 0
        assert program([*asked, "--dry-run", *more]) != 0
        return capsys.readouterr().err

    assert "no run" in refused("20010101").lower()
    run = chosen_run(project, "latest")

    def copied(name, *changes):
        folder = shutil.copytree(run.path, tmp_path / name)
        text = (folder / "run.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "run.toml").write_text(text)
        return folder

    assert "is a run of `zones`" in refused(copied("other", ('task = "market"', 'task = "zones"')))
    levels = copied("raw", ('view = "v1_112"', 'view = "levels"'))
    assert "expected a view of samples" in refused(levels)
    assert "samples are taken 3000 ms apart" in refused("latest", "--collection-interval", "1")
    assert "at varying distances" in refused("latest", "--cadence", "adaptive")


def test_the_model_is_named_where_one_looks(project, model, collected, capsys):
    asked = ["-C", str(project), "collect", "market", "--symbols", "BTCUSDT"]
    assert program([*asked, "--dry-run", "--model", "latest", "--format", "json"]) == 0
    named = json.loads(capsys.readouterr().out)["model"]
    assert model.version in named and "v1_112" in named
    assert program([*asked, "--dry-run", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] is None
    assert program([*asked, "--status"]) == 0
    assert f"Signals of logistic, run {model.version}: " in capsys.readouterr().err
    caption = str(table_of(collected.statistics).caption)
    assert f"{collected.statistics['model']['answered']} answered" in caption and "warming up" in caption


def test_a_worker_keeps_order_tells_its_error_and_leaves_what_hangs():
    done, gate = [], threading.Event()
    with Worker(done.append) as worker:
        for number in range(100):
            worker.give(number)
        assert worker.settle(10)
    assert done == list(range(100))

    def break_at(number):
        if number == 1:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), Worker(break_at) as worker:
        for number in range(3):
            worker.give(number)
    with pytest.raises(ValueError, match="broken"):
        worker.give(3)
    hanging = Worker(lambda _: gate.wait(10))
    hanging.give(None)
    assert not hanging.settle(0.05) and not hanging.close(0.05)
    gate.set()
