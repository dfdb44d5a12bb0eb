"""`earmark prepare market` and `earmark check lookahead market`, called as users call them."""

import json

import numpy as np
import polars as pl
import pytest
from series_store import sample_rows, write_store

from earmark.cli.main import run
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.generated import generated_recording
from earmark.tasks.market.lookahead import all_features


@pytest.fixture
def earmark(capsys, tmp_path):
    """Call the program in the project folder; exit code, standard output, standard error."""

    def call(*args):
        code = run(["-C", str(tmp_path), *args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_prepare_prints_parts_and_writes_the_record(earmark, tmp_path):
    write_store(
        tmp_path, pl.concat([sample_rows("ETHUSDT", 1400, seed=1), sample_rows("4USDT", 1400, seed=2)])
    )
    asked = ("prepare", "market", "--sequence-length", "10", "--format", "json")
    code, out, err = earmark(*asked)
    assert code == 0, err
    document = json.loads(out)
    written = json.loads((tmp_path / "data/market/dataset.json").read_text())
    assert written["hashes"] == document["hashes"]
    assert {row["part"] for row in document["parts"]} == {"train", "validation", "test"}
    assert sum(row["windows"] for row in document["by_symbol"]) == sum(
        row["windows"] for row in document["parts"]
    )
    assert "Next: earmark train market" in err
    again = json.loads(earmark(*asked)[1])
    assert again == document
    assert json.loads(earmark(*asked, "--symbols", "4usdt")[1])["symbols"] == ["4USDT"]
    code, out, _ = earmark("prepare", "market", "--sequence-length", "10")
    assert code == 0 and out.split()[:3] == ["symbol", "part", "windows"]


def test_an_export_is_an_opening(earmark, tmp_path):
    write_store(tmp_path, sample_rows("A", 1400))
    target = tmp_path / "data/holdout/test_data.npz"
    asked = ("prepare", "market", "--sequence-length", "10", "--output", str(target))
    code, _, err = earmark(*asked)
    assert code == 2 and "--reason" in err and not target.exists()
    assert earmark(*asked, "--reason", "for a colleague")[0] == 0
    with np.load(target) as found:
        assert found["X"].shape[1:] == (10, 112)
    events = [json.loads(line) for line in (tmp_path / "data/market/ledger.jsonl").read_text().splitlines()]
    assert [(e["event"], e["reason"]) for e in events] == [("open", "for a colleague")]


def test_what_is_missing_is_said(earmark, tmp_path):
    code, _, err = earmark("prepare", "market")
    assert code == 2 and "earmark collect market" in err
    code, _, err = earmark("prepare", "market", "--data-source", "legacy")
    assert code == 2 and "There is no folder" in err and "--data-path" in err


def test_the_check_passes_on_a_generated_session(earmark):
    code, out, err = earmark(
        "check", "lookahead", "market", "--ticks", "100", "--cuts", "2", "--format", "json"
    )
    assert code == 0, err
    rows = json.loads(out)
    assert all(row["ok"] for row in rows) and {row["symbol"] for row in rows} == {"generated"}
    assert {"mid_price", "rsi_14", "imbalance_5_lag8", "label_past"} <= {row["column"] for row in rows}


def test_the_check_finds_a_stored_column_that_is_not_made_of_the_past(earmark, tmp_path):
    recording = generated_recording(160, symbol="BTCUSDT")
    raw = RawStore(tmp_path / "data/raw")
    for stream, rows in (
        ("book_steps", recording.states),
        ("trades", recording.trades),
        ("candles", recording.candles),
        ("bbo", recording.quotes),
    ):
        raw.append(stream, "BTCUSDT", rows)
    whole = all_features(recording)
    features = whole.values[:, : len(FEATURE_NAMES)].copy()
    planted = FEATURE_NAMES.index("momentum_10")
    features[:-1, planted] = features[1:, 2] / features[:-1, 2] - 1  # the next movement of the mid price
    samples = pl.DataFrame(
        {
            "symbol": ["BTCUSDT"] * len(features),
            "timestamp": whole.time_ms,
            **{name: features[:, j] for j, name in enumerate(FEATURE_NAMES)},
            "origin": ["live"] * len(features),
        }
    )
    FeatureStore(tmp_path / "data/feature_store").write_offline_features("training_features", samples)
    code, out, err = earmark(
        "check", "lookahead", "market", "--ticks", "1000", "--cuts", "1", "--format", "csv"
    )
    assert code == 3 and "stored momentum_10" in err
    assert [line.split(",")[1] for line in out.splitlines()[1:]] == ["stored momentum_10"]
