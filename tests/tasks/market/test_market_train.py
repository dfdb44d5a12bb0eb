"""`earmark train market` from stored samples to production."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import polars as pl
import pytest
from learnable_store import QUICK, SIGNAL, learnable_project, signalled
from series_store import label_rows, write_store

from earmark.cli.main import run as earmark_main
from earmark.errors import GateError, RunError
from earmark.models.sequence.base import StopTraining
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.tasks.market.prepare import load_prepared
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.gate import GateOutcome
from earmark.tasks.market.training.train import plan, train
from earmark.tasks.verbs.promote import promote
from earmark.training.production import history, production_run, rollback, stages
from earmark.training.runs import list_runs, load_run

LOGISTIC = {"model_name": "logistic", "sequence_length": 10, "export_onnx": False, "seed": 1}


@pytest.fixture(scope="module")
def project(learnable):
    return learnable


@pytest.fixture(scope="module")
def linear(project):
    """A finished training of a model that takes no time, with an analysis of its own; it is not in production."""

    def analyse(fitted):
        (fitted.folder / "paths.json").write_text("{}")
        return {"n": len(fitted.test.windows)}

    return train(project, train_config(LOGISTIC, {"auto_promote": False}), after_training=analyse).run


def test_a_run_holds_all_that_it_promises(network):
    result, events, config = network
    run = load_run(result.run.path)
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "run.toml", "classifier.json", "scaler.npz", "model", "metrics.jsonl", "best_metrics.json", "test.parquet",
        "validation.parquet", "loss_curve.png", "loss_curve.svg", "MODEL_CARD.md", "report", "model.onnx",
        "model.int8.onnx", "checkpoints",
    }  # fmt: skip
    assert (run.path / "report" / "report.html").stat().st_size > 10_000
    assert "best_loss.safetensors" in {path.name for path in (run.path / "checkpoints").iterdir()}
    recorded = run.config["settings"]
    assert recorded["epochs"] == 3 and recorded["seed"] == 42 and recorded["horizon_s"] == 60
    assert train_config(run.config["given"]).epochs == config.epochs
    assert set(run.config["hashes"]) >= {"series", "train", "validation", "test", "code", "rows"}
    assert {"torch", "numpy", "python", "earmark"} <= set(run.config["versions"])
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [0, 1, 2] and epochs[0]["total_epochs"] == 3
    assert [e["step"] for e in events if e["event"] == "step"] == [
        "load", "model", "trainer", "train", "test", "save", "onnx",
    ]  # fmt: skip


def test_predictions_of_the_parts_are_those_of_the_model_that_was_kept(network, project):
    run = train(
        project, network[2]
    ).run  # found; it divides as that configuration asks, whatever was trained since
    assert run.path == network[0].run.path
    prepared, classifier = load_prepared(project), run.classifier()
    assert isinstance(classifier, SequenceClassifier)
    for name, windows in (("validation", prepared.validation), ("test", prepared.test)):
        table = run.part(name)
        predicted = classifier.predict(windows)
        columns = ["probability_down", "probability_neutral", "probability_up"]
        assert np.array_equal(table.select(columns).to_numpy(), predicted.probabilities)
        assert np.array_equal(table["label"], windows.y) and np.array_equal(
            table["timestamp"], windows.time_ms
        )
        accuracy = float((predicted.direction == windows.y).mean())
        scores = run.metrics if name == "test" else run.validation_metrics
        assert scores["accuracy"]["value"] == pytest.approx(accuracy)
    best = min(
        (json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()[:3]),
        key=lambda entry: entry["validation_loss"],
    )
    assert run.config["fit"]["best_epoch"] == best["epoch"]


def test_a_part_is_behind_all_that_came_before(network):
    parts = {row["part"]: row for row in network[0].run.config["data"]["parts"]}
    embargo = network[0].run.config["data"]["split"]["embargo_ms"]
    assert embargo >= 60 * 30_000
    assert parts["train"]["last_ms"] + embargo < parts["validation"]["last_ms"]
    assert parts["test"]["last_ms"] < network[0].run.config["data"]["seal"]["first_ms"]


def test_the_same_again_is_found_and_a_changed_setting_is_not(network, project):
    result, _, config = network
    again = train(project, config)
    assert again.reused and again.run.name == result.run.name
    other = plan(project, train_config(config.given_record(), {"dropout": 0.2}))
    assert other["finished_run"] is None and other["key"] != result.run.key
    assert plan(project, config)["finished_run"] == result.run.name


def test_a_model_that_learned_passes_the_gate_and_is_in_production(project):
    trees = {"model_name": "gbm", "epochs": 20, "ml_model_config": {"summary": "last"}}
    config = train_config(LOGISTIC, trees, {"use_oversampling": False})
    result = train(project, config)
    assert result.gate.passed and result.promoted, result.gate
    assert production_run(project / "runs", "market").name == result.run.name
    assert result.metrics["accuracy"] > 0.95
    assert train(project, config).promoted and len(history(project / "runs", "market")) == 1


@pytest.mark.parametrize("model", ["majority", "last_direction"])
def test_a_model_without_skill_is_refused_and_kept(tmp_path, model):
    """Mostly neutral: the constant answer is right more often than any threshold of accuracy asks for."""
    rows = signalled("ETHUSDT", 1200, 0)
    flat = rows.with_columns(
        (100 + 0.001 * pl.col("current_mid_price")).alias("current_mid_price")
    )  # hardly moves
    write_store(tmp_path, flat, labels=_rare_labels(flat))
    result = train(tmp_path, train_config({"model_name": model, "sequence_length": 10, "min_accuracy": 0.5}))
    assert not result.promoted and result.run.path.is_dir()
    assert not history(tmp_path / "runs", "market")
    if model == "majority":
        assert result.metrics["accuracy"] > 0.8 and result.gate.constant == "neutral"
    with pytest.raises(GateError, match="did not pass the gate"):
        promote(tmp_path / "runs", result.run.name)
    assert promote(tmp_path / "runs", result.run.name, force=True).run.name == result.run.name


def _rare_labels(rows):
    labels = label_rows(rows)
    rng = np.random.default_rng(5)
    direction = pl.Series(rng.choice([0, 1, 2], len(rows), p=[0.05, 0.9, 0.05]), dtype=pl.Int8)
    known = pl.col("future_movement_60s").is_not_null()
    return labels.with_columns(pl.when(known).then(direction).alias("future_direction_60s"))


def test_the_gate_asks_for_both_accuracy_and_skill():
    numbers = {"min_accuracy": 0.8, "accuracy": 0.9, "macro_f1": 0.6, "baseline": "logistic"}
    skilled = GateOutcome(**numbers, macro_f1_low=0.5, baseline_macro_f1=0.4)
    assert skilled.passed and GateOutcome.from_json(skilled.to_json()) == skilled
    assert not GateOutcome(**numbers, macro_f1_low=0.4, baseline_macro_f1=0.4).passed
    assert not GateOutcome(**{**numbers, "accuracy": 0.79}, macro_f1_low=0.5, baseline_macro_f1=0.4).passed
    assert not GateOutcome(**numbers, macro_f1_low=float("nan"), baseline_macro_f1=0.4).passed
    assert not GateOutcome(**numbers, macro_f1_low=0.5, baseline_macro_f1=0.4, constant="neutral").passed


def test_stages_follow_promotions(project, linear, network):
    root, first, second = project / "runs", linear, network[0].run
    promote(root, first.name, force=True)
    promote(root, second.name, force=True)
    assert (
        stages(root, "market")[first.name] == "staging"
        and stages(root, "market")[second.name] == "production"
    )
    with pytest.raises(RunError, match="in production"):
        promote(root, second.name, stage="archived")
    promote(root, first.name, stage="archived")
    assert stages(root, "market")[first.name] == "archived"
    assert production_run(root, "market").name == second.name
    assert rollback(root, "market").name == first.name
    with pytest.raises(RunError, match="did you mean `staging`"):
        promote(root, first.name, stage="stagin")


def test_a_request_to_stop_keeps_the_best_so_far(project):
    def stop(event):
        if event["event"] == "epoch" and event["epoch"] == 1:
            raise StopTraining

    run = train(project, train_config(QUICK, {"seed": 3}), on_event=stop).run
    assert run.config["fit"]["epochs"] == 2 and run.config["fit"]["ended"] == "asked to stop"


def test_analyses_are_kept_with_the_run(linear):
    assert linear.config["analyses"]["n"] == linear.config["rows"] and (linear.path / "paths.json").is_file()


SCRIPT = """
import sys
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train
import json
def tell(event):
    if event["event"] == "epoch":
        print(event["epoch"], flush=True)
train(sys.argv[1], train_config(json.loads(sys.argv[2])), on_event=tell)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_gives_the_same_bits(tmp_path):
    one, two = (learnable_project(tmp_path / name, 900) for name in ("one", "two"))
    settings = {**QUICK, "epochs": 6, "early_stopping_patience": 0, "trainer_config": {"accumulation": 1}}
    asked = [sys.executable, "-c", SCRIPT, str(two), json.dumps(settings)]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        while int(process.stdout.readline()) < 2:
            pass
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not list_runs(two / "runs") and list((two / "runs/market/.work").iterdir())
    done = []
    resumed = train(
        two, train_config(settings), on_event=lambda e: done.append(e) if e["event"] == "epoch" else None
    )
    whole = train(one, train_config(settings))
    assert resumed.run.key == whole.run.key
    assert resumed.run.part("test").equals(whole.run.part("test"))
    assert not list((two / "runs/market/.work").iterdir())


@pytest.fixture
def earmark(capsys, project):
    def call(*args):
        code = earmark_main(["-C", str(project), *args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_the_command_prints_lines_like_a_guide_and_json(earmark, project, tmp_path):
    config = tmp_path / "train.toml"
    config.write_text(
        '[market.train]\nmodel_name = "hybrid_cnn_lstm"\nml_model_config = { preset = "tiny" }\n'
    )
    asked = (
        "train",
        "market",
        "--config",
        str(config),
        "--epochs",
        "2",
        "--batch-size",
        "32",
        "--lr",
        "0.002",
    )
    asked += ("--sequence-length", "10", "--no-onnx", "--no-promote", "--set", "data_config.stride=3")
    code, out, err = earmark(*asked, "--format", "json")
    assert code == 0, err
    document = json.loads(out)
    recorded = tomllib.loads((project / "runs/market" / document["run"] / "run.toml").read_text())["settings"]
    assert (recorded["learning_rate"], recorded["preset"]) == (0.002, "cli")
    assert recorded["data_config"] == {"stride": 3} and recorded["ml_model_config"] == {"preset": "tiny"}
    assert not document["promoted"] and document["onnx"] is None
    for line in ("[1/7] load", "samples of 2 symbols", "train: ", "Epoch 2/2: train loss", "val F1"):
        assert line in err
    code, out, _ = earmark(*asked, "--dry-run", "--format", "json")
    assert json.loads(out)["finished_run"] == document["run"]


def test_the_command_says_what_is_wrong(earmark):
    code, _, err = earmark("train", "market", "--set", "droput=0.3")
    assert code == 2 and "did you mean `dropout`" in err
    code, _, err = earmark("train", "market", "--set", "dropout")
    assert code == 2 and "KEY=VALUE" in err
    code, out, _ = earmark("train", "market", "--settings", "--format", "json")
    assert code == 0 and {"name", "default", "page", "limits", "help"} <= set(json.loads(out)[0])


def test_runs_show_their_stage(earmark, linear):
    run = linear
    assert earmark("runs", "promote", run.name, "--stage", "staging")[0] == 0
    rows = json.loads(earmark("runs", "list", "market", "--format", "json")[1])
    assert next(row for row in rows if row["name"] == run.name)["stage"] == "staging"
    assert SIGNAL in run.classifier().columns
