"""Records of stored rows: the same whatever they are asked with, honest where there is nothing to say."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from series_store import INTERVAL_MS, START_MS, sample_rows
from serving_runs import LENGTH, N_ROWS, SYMBOLS, train_run, trained_project

from earmark.cli.main import run as program
from earmark.errors import InputError, SchemaError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.tasks.market.prepare import export_sealed, load_prepared
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.model import chosen_run, served_model
from earmark.tasks.market.serving.series import Row
from earmark.tasks.market.serving.stored import newest_rows, predict_file, predict_store

KEYS = [
    "task", "symbol", "timestamp", "horizon_s", "probabilities", "direction", "signal_type", "signal_confidence",
    "signal_strength", "expected_return", "mid_price", "model", "version", "schema", "abstained", "reason",
]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return trained_project(tmp_path_factory, "served")


@pytest.fixture(scope="module")
def model(project):
    return served_model(chosen_run(project, "latest"))


@pytest.fixture(scope="module")
def records(project, model):
    return list(predict_store(Answerer(model), project / "data/feature_store"))


def rows_of(symbol, n, *, seed):
    """Samples as they happen, those of the store."""
    table = sample_rows(symbol, n, seed=seed)
    values = table.select(FEATURE_NAMES).to_numpy()
    empty = np.empty(0, np.float32)
    return [
        Row(symbol, time, row, empty, mid)
        for time, row, mid in zip(
            table["timestamp"].to_list(), values, table["current_mid_price"].to_list(), strict=True
        )
    ]


def test_a_record_has_the_documented_keys_and_agrees_with_itself(records, model):
    assert all(list(record) == KEYS for record in records)
    assert [r["reason"] for r in records[:LENGTH]] == ["warming_up"] * (LENGTH - 1) + [None]
    answered = [r for r in records if not r["abstained"]]
    assert len(answered) == len(records) - len(SYMBOLS) * (LENGTH - 1)
    for record in answered[::97]:
        p = list(record["probabilities"].values())
        assert list(record["probabilities"]) == ["down", "neutral", "up"] and sum(p) == pytest.approx(
            1, abs=1e-6
        )
        assert record["direction"] == int(np.argmax(p))
        assert record["signal_type"] == ("SELL", "HOLD", "BUY")[record["direction"]]
        assert record["signal_strength"] == pytest.approx(abs(p[2] - p[0]), abs=1e-6)
        assert record["version"] == model.version and record["schema"].startswith("market/1 ")
    assert all(r["direction"] is None and r["probabilities"] is None for r in records if r["abstained"])


def test_the_test_part_is_answered_as_the_run_recorded_it(project, records):
    part = chosen_run(project, "latest").part("test")
    by_key = {(r["symbol"], r["timestamp"]): r for r in records}
    for row in part.iter_rows(named=True):
        found = by_key[row["symbol"], row["timestamp"]]["probabilities"]
        assert [found[name] for name in ("down", "neutral", "up")] == pytest.approx(
            [row[f"probability_{name}"] for name in ("down", "neutral", "up")], abs=1e-5
        )


def test_a_range_gives_the_records_of_the_whole(project, model, records):
    start, end = START_MS + 700 * INTERVAL_MS, START_MS + 760 * INTERVAL_MS
    part = predict_store(
        Answerer(model), project / "data/feature_store", symbols=["ETHUSDT"], start_ms=start, end_ms=end
    )
    expected = [r for r in records if r["symbol"] == "ETHUSDT" and start <= r["timestamp"] <= end]
    assert list(part) == expected and len(expected) == 61


ROLLING = {"use_rolling_normalization": True, "rolling_window_size": 100}


@pytest.mark.parametrize(
    ("view", "scaling"),
    [
        ("v1_112", {}),
        pytest.param("v1_187", {}, marks=pytest.mark.slow),
        pytest.param("v1_112", ROLLING, marks=pytest.mark.slow),
        pytest.param("v1_187", ROLLING, marks=pytest.mark.slow),
    ],
)
def test_row_by_row_is_what_all_at_once_is(project, view, scaling):
    """History of a bounded length suffices for every view and scaling."""
    model = served_model(train_run(project, view=view, **scaling))
    whole = [
        r for r in predict_store(Answerer(model), project / "data/feature_store") if r["symbol"] == "4USDT"
    ]
    assert not whole[-1]["abstained"]
    answerer = Answerer(model)
    rows = rows_of("4USDT", N_ROWS, seed=0)
    answerer.push(rows[:-25])
    alone = [record for row in rows[-25:] for record in answerer.take([row])]
    assert alone == whole[-25:]


@pytest.mark.slow
def test_a_network_answers_alone_what_it_answers_among_many(project):
    pytest.importorskip("torch")
    model = served_model(train_run(project, model_name="hybrid_cnn_lstm", epochs=1, days=0.3))
    whole = list(predict_store(Answerer(model), project / "data/feature_store"))
    answerers = Answerer(model), Answerer(model)
    rows = {symbol: rows_of(symbol, N_ROWS, seed=seed) for seed, symbol in enumerate(SYMBOLS)}
    alone = []
    for index, pair in enumerate(zip(*(rows[symbol][:60] for symbol in SYMBOLS), strict=True)):
        alone += (
            answerers[0].take(pair) if index % 2 else [r for row in pair for r in answerers[1].take([row])]
        )
        answerers[1 if index % 2 else 0].push(pair)
    expected = [r for r in whole if r["timestamp"] < START_MS + 60 * INTERVAL_MS]
    order = lambda r: (r["symbol"], r["timestamp"])  # noqa: E731
    assert sorted(alone, key=order) == sorted(expected, key=order)


def test_a_gap_warms_up_again_and_a_doubtful_answer_is_held_back(model):
    rows = rows_of("4USDT", 60, seed=0)
    answerer = Answerer(model)
    reasons = [answerer.take([row])[0]["reason"] for row in (*rows[:30], *rows[33:])]
    cold = ["warming_up"] * (LENGTH - 1)
    assert reasons == cold + [None] * (31 - LENGTH) + cold + [None] * (28 - LENGTH)
    sure = Answerer(model, threshold=1.0)
    sure.push(rows[:-1])
    (record,) = sure.take(rows[-1:])
    assert record["reason"] == "below_threshold" and record["abstained"] and record["direction"] is None
    assert record["signal_type"] is None and record["signal_confidence"] < 1 and record["probabilities"]
    late = answerer.take([rows[0]])[0]
    assert late["timestamp"] == rows[-1].book_ms, "a row of the past changes nothing"
    with pytest.raises(UsageError, match="0 to 1"):
        Answerer(model, threshold=1.5)


def test_rows_that_lack_a_value_are_named(model):
    rows = rows_of("4USDT", 30, seed=0)
    rows[20].features[48] = np.nan
    answerer = Answerer(model)
    reasons = [answerer.take([row])[0]["reason"] for row in rows]
    assert reasons == ["warming_up"] * (LENGTH - 1) + [None] * (21 - LENGTH) + ["missing_values"] * LENGTH + [
        None
    ] * (10 - LENGTH)


def test_files_give_the_records_of_the_store(project, model, records, tmp_path):
    table = sample_rows("ETHUSDT", N_ROWS, seed=1).head(50)
    table.sample(fraction=1.0, shuffle=True, seed=3).write_parquet(tmp_path / "rows.parquet")
    expected = [r for r in records if r["symbol"] == "ETHUSDT"][:50]
    assert list(predict_file(Answerer(model), tmp_path / "rows.parquet")) == expected
    for folder in ("features", "metadata"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "features/2025-06-15_batch_0001.npy", table.select(FEATURE_NAMES).to_numpy())
    samples = [
        {"symbol": "ETHUSDT", "timestamp": time, "mid_price": mid}
        for time, mid in table.select("timestamp", "current_mid_price").iter_rows()
    ]
    (tmp_path / "metadata/2025-06-15_batch_0001.json").write_text(json.dumps({"samples": samples}))
    assert list(predict_file(Answerer(model), tmp_path / "features/2025-06-15_batch_0001.npy")) == expected


def test_exported_windows_give_the_records_of_the_store(project, model, records, tmp_path):
    sealed = export_sealed(project, tmp_path / "sealed.npz", reason="test")
    found = list(predict_file(Answerer(model), tmp_path / "sealed.npz"))
    by_key = {(r["symbol"], r["timestamp"]): r for r in records}
    assert len(found) == len(sealed.windows) > 50
    assert found == [by_key[r["symbol"], r["timestamp"]] for r in found]
    assert min(r["timestamp"] for r in found) > load_prepared(project).record["end_ms"]


def test_hostile_files_are_refused(project, model, tmp_path):
    def refused(path, error):
        with pytest.raises(error) as caught:
            list(predict_file(Answerer(model), path))
        assert str(path) in str(caught.value)

    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "a.txt").write_text("rows")
    np.save(tmp_path / "flat.npy", np.zeros(7, np.float32))
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    sample_rows("A", 3).drop("spread_mean", strict=False).drop(FEATURE_NAMES[5]).write_parquet(
        tmp_path / "w.parquet"
    )
    np.savez(tmp_path / "w.npz", X=np.zeros((2, 3, 4)), timestamps=[1, 2], prices=[1, 2], symbols=["A", "B"],
             feature_names=["a", "b", "c", "d"])  # fmt: skip
    for name in ("torn.parquet", "a.txt", "object.npy"):
        refused(tmp_path / name, InputError)
    for name in ("flat.npy", "w.parquet", "w.npz"):
        refused(tmp_path / name, SchemaError)
    with pytest.raises(InputError, match="No rows of NONE"):
        list(predict_store(Answerer(model), project / "data/feature_store", symbols=["NONE"]))


def test_a_started_model_finds_its_history(project, model):
    end = START_MS + (N_ROWS - 1) * INTERVAL_MS
    rows = newest_rows(model, project / "data/feature_store", ["4USDT"], end)
    assert rows[-1].book_ms == end and len(rows) >= LENGTH
    answerer = Answerer(model)
    answerer.push(rows)
    assert not answerer.newest(["4USDT"])[0]["abstained"]


def test_the_command_prints_lines_and_writes_files(project, model, records, capsys, tmp_path):
    asked = [
        "-C",
        str(project),
        "predict",
        "market",
        "--symbols",
        "4usdt",
        "--start-date",
        "2025-06-15T20:00",
        "--run",
        model.version,
    ]
    assert program([*asked]) == 0
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    expected = [r for r in records if r["symbol"] == "4USDT" and r["timestamp"] >= lines[0]["timestamp"]]
    assert lines == expected and f"{len(lines)} rows" in shown.err
    target = tmp_path / "new" / "out.jsonl"
    assert program([*asked, "-o", str(target)]) == 0
    assert [json.loads(line) for line in target.read_text().splitlines()] == lines
    assert [path.name for path in target.parent.iterdir()] == ["out.jsonl"]
    assert program(["-C", str(project), "predict", "market", "--run", "nothing"]) != 0
    table = tmp_path / "rows.parquet"
    sample_rows("4USDT", 20).write_parquet(table)
    assert program(["-C", str(project), "predict", "market", str(table), "--start-date", "2025-06-15"]) == 2
    assert "files were named" in capsys.readouterr().err


def test_values_survive_as_text(records):
    """The shortest text of a float32 is that float32."""
    answered = next(r for r in records if not r["abstained"])
    again = json.loads(json.dumps(answered))
    assert np.float32(again["signal_confidence"]) == np.float32(answered["signal_confidence"])
    assert again == answered
    assert pl.DataFrame([again]).height == 1
