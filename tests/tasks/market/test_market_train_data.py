"""What a training takes: prepared parts, views, legacy files, labels; and what it says where something is missing."""

import json

import numpy as np
import polars as pl
import pytest
from learnable_store import QUICK, learnable_project, signalled
from legacy_samples import features, old_batch, samples, stub
from level_session import book_steps, write_session
from series_store import INTERVAL_MS, START_MS, label_rows, sample_rows, write_store

from earmark.cli.main import run as earmark_main
from earmark.errors import SchemaError, UsageError
from earmark.models.sequence.levels import level_columns
from earmark.store.keyed import KeyedTable
from earmark.store.offline import FeatureStore
from earmark.tasks.market.prepare import PrepareOptions, load_prepared, prepare
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.obtain import obtain
from earmark.tasks.market.training.train import plan, train
from earmark.training.runs import list_runs, load_run

SHORT = {"model_name": "logistic", "sequence_length": 10, "export_onnx": False}


def record_of(project, *layers):
    return obtain(project, train_config(SHORT, *layers)).prepared.record


def test_what_a_user_prepared_is_what_trains(tmp_path):
    learnable_project(tmp_path, 900)
    prepare(tmp_path, PrepareOptions(sequence_length=8, view="v1_110", symbols=("4USDT",)))
    whole = obtain(tmp_path, train_config({**SHORT, "sequence_length": 60}))  # the default: not asked for
    settings = whole.config.record()
    assert (settings["sequence_length"], settings["view"], settings["symbols"]) == (8, "v1_110", ["4USDT"])
    assert len(whole.prepared.train.table.columns) == 110
    assert record_of(tmp_path, {"symbols": "ETHUSDT"})["symbols"] == ["ETHUSDT"]


def test_labels_that_are_missing_are_computed(tmp_path):
    rows = signalled("ETHUSDT", 900, 0)
    write_store(tmp_path, rows, labels=label_rows(rows, 300), set_id="other-test")
    obtained = obtain(tmp_path, train_config(SHORT, {"horizon_s": 60}))
    assert any("rows were labelled" in text for text in obtained.notes)
    assert obtained.prepared.record["source"]["label_set"].startswith("fixed-")
    barriers = {"labeling_method": "triple_barrier", "tb_max_holding_period": 6, "tb_tp_multiplier": 1.0}
    source = record_of(tmp_path, barriers)["source"]
    assert source["label_set"].startswith("triple_barrier-") and source["horizon_s"] == 360
    narrow = record_of(tmp_path, barriers, {"tb_sl_multiplier": 2.0})["source"]
    assert narrow["label_set"] != source["label_set"]


def test_messages_name_the_next_command(tmp_path):
    with pytest.raises(UsageError, match=r"(?s)No training data available.*earmark collect market"):
        train(tmp_path, train_config(SHORT, {"use_fallback": False}))
    with pytest.raises(UsageError, match=r"(?s)No training data available.*earmark collect market"):
        train(tmp_path, train_config({"model_name": "tlob"}))
    write_store(tmp_path, signalled("ETHUSDT", 300, 0))
    with pytest.raises(UsageError, match=r"Insufficient data: \d+ samples, need at least 600"):
        train(tmp_path, train_config({**SHORT, "sequence_length": 60}))
    with pytest.raises(UsageError, match="lies outside"):
        train(tmp_path, train_config({"data_source": "legacy", "data_path": "/etc"}))
    with pytest.raises(UsageError, match="There is no folder"):
        train(tmp_path, train_config({"data_source": "legacy"}))


def test_rows_that_are_not_of_the_schema_are_refused_by_their_columns(tmp_path):
    rows = (
        sample_rows("ETHUSDT", 700)
        .drop("book_depth_ratio")
        .with_columns(pl.col("micro_price").cast(pl.Float64))
    )
    KeyedTable(str(tmp_path / "data/feature_store/offline/foreign")).append(rows)
    with pytest.raises(
        SchemaError,
        match=r"(?s)Schema validation failed.*`book_depth_ratio` is missing.*`micro_price` is Float64.*earmark migrate",
    ):
        record_of(tmp_path, {"feature_group": "foreign"})


def test_the_view_follows_the_model_and_the_rows(tmp_path):
    """Rows without the last two columns have the view of 110; a view that was asked for once is not kept."""
    rows = signalled("ETHUSDT", 700, 0)
    write_store(tmp_path, rows.with_columns(aroon_up=None, aroon_down=None))
    assert record_of(tmp_path)["source"]["view"] == "v1_110"
    full = tmp_path / "full"
    write_store(full, rows)
    assert record_of(full, {"view": "v1_110"})["source"]["view"] == "v1_110"
    assert record_of(full)["source"]["view"] == "v1_112"


def test_a_killed_training_goes_on_with_its_rows_and_a_finished_one_takes_the_new(tmp_path):
    learnable_project(tmp_path, 900, symbols=("ETHUSDT",))
    config = train_config(QUICK, {"data_config": {"stride": 8}})

    class Killed(BaseException):
        pass

    def kill(event):
        if event["event"] == "epoch" and event["epoch"] == 1:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, config, on_event=kill)
    key = plan(tmp_path, config)["key"]
    more = sample_rows("ETHUSDT", 40, seed=9, start_ms=START_MS + 900 * INTERVAL_MS)
    FeatureStore(tmp_path / "data/feature_store").write_offline_features("training_features", more)
    result = train(tmp_path, config)
    assert result.run.key == key and result.run.config["data"]["options"]["end_ms"] < more["timestamp"][0]
    assert any("was not finished: it goes on" in text for text in result.messages)
    record = record_of(tmp_path, config.given_record())
    assert record["options"]["end_ms"] == more["timestamp"][-1]


@pytest.fixture
def earmark(capsys, tmp_path):
    def call(*args):
        code = earmark_main(["-C", str(tmp_path), *args, "--format", "json"])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out), shown.err

    return call


def test_a_model_of_order_books_trains_on_the_levels_of_the_raw_store(earmark, tmp_path):
    pytest.importorskip("torch")
    write_session(tmp_path, book_steps("BTCUSDT"))
    asked = ("train", "market", "--model", "tlob", "--sequence-length", "8", "--epochs", "1", "--no-onnx")
    asked += ("--set", "ml_model_config.preset=tiny", "--set", "ml_model_config.levels=5")
    asked += ("--set", "ml_model_config.width=8", "--set", "data_config.stride=8")
    document, _ = earmark(*asked)
    run = load_run(tmp_path / "runs/market" / document["run"])
    assert run.config["settings"]["view"] == "levels" and run.classifier().columns == level_columns(5)
    assert run.config["data"]["source"]["group"] == "book_steps"
    again, _ = earmark(*asked)
    assert again["reused"] and len(list_runs(tmp_path / "runs")) == 1
    sparse = ("--set", "data_config.every=2", "--set", "use_embargo=false")
    every, _ = earmark(*asked, *sparse, "--dry-run")
    assert every["key"] != run.key and load_prepared(tmp_path).record["source"]["interval_ms"] == 6000


@pytest.mark.parametrize(("width", "view"), [(110, "v1_110"), (112, "v1_112")])
def test_legacy_files_train_from_start_to_finish(earmark, tmp_path, width, view):
    n = 700
    taken = samples(n)
    direction = [(i % 3) - 1 for i in range(n)]
    values = features(n, width)
    values[:, 20] = direction
    stubs = [stub(direction=d, movement=0.01 * d) for d in direction]
    for batch, part in enumerate((slice(0, n // 2), slice(n // 2, n)), 1):
        name = f"2025-01-01_batch_{batch:04d}"
        old_batch(tmp_path / "old", "BTCUSDT", name, stubs[part], taken[part], values[part])
    asked = ("train", "market", "--model", "logistic", "--sequence-length", "5", "--no-onnx")
    asked += ("--data-source", "legacy", "--data-path", "old")
    document, said = earmark(*asked)
    run = load_run(tmp_path / "runs/market" / document["run"])
    assert run.config["settings"]["view"] == view and run.config["columns"] == width
    assert run.config["data"]["source"]["group"] == "legacy" and f"{n} samples migrated" in said
    assert document["metrics"]["accuracy"] > 0.8
    assert np.array_equal(np.unique(run.part("test")["label"]), [0, 1, 2])
    again, said = earmark(*asked)
    assert again["reused"] and "0 samples migrated" in said
