"""Models of the raw book: stored, recorded and followed live, a state has the same record."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from level_session import MIDNIGHT_MS, START_MS, book_steps, write_session

from earmark.cli.main import run as program
from earmark.errors import InputError, UsageError
from earmark.orderbook.state import STEP_MS, BookState
from earmark.store.raw import RawStore
from earmark.tasks.market.assessment.drift import drift
from earmark.tasks.market.assessment.latency import latency_rows
from earmark.tasks.market.collect.raw_lob_files import write_windows
from earmark.tasks.market.prepare import PrepareOptions, prepare
from earmark.tasks.market.serving.answers import WARMING_UP, Answerer
from earmark.tasks.market.serving.live import LiveOptions, live
from earmark.tasks.market.serving.model import chosen_run, served_model
from earmark.tasks.market.serving.recorded import stream_raw
from earmark.tasks.market.serving.stored import newest_rows, predict_file, predict_store
from earmark.tasks.market.serving.ticks import Ticks, level_row
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train
from earmark.tasks.settings import load_settings

SYMBOL, LENGTH, EVERY, LEVELS = "BTCUSDT", 5, 2, 5
GAP = 301  # a tick that is no row: the mark counts for the next one
STALE = 600


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels")
    steps = book_steps(SYMBOL, gaps=(GAP,))
    stale = pl.int_range(pl.len()).is_between(STALE, STALE + 3)
    steps = steps.with_columns(event_ms=pl.col("event_ms") - pl.when(stale).then(11_000).otherwise(0))
    write_session(folder, steps, book_steps("4USDT", seed=5))
    prepare(
        folder,
        PrepareOptions(view="levels", levels=LEVELS, every=EVERY, sequence_length=LENGTH, embargo=False),
    )
    settings = {"model_name": "logistic", "export_onnx": False, "auto_promote": False}
    train(folder, train_config(settings))
    return folder


@pytest.fixture(scope="module")
def model(project):
    return served_model(chosen_run(project, "latest"))


@pytest.fixture(scope="module")
def records(project, model):
    return list(predict_store(Answerer(model), project / "data/feature_store"))


def test_every_state_has_a_record_and_windows_end_at_gaps(records, model):
    assert (model.view, model.levels, model.every, model.window) == ("levels", LEVELS, EVERY, LENGTH)
    mine = {r["timestamp"]: r for r in records if r["symbol"] == SYMBOL}
    ticks = range(0, 1000, EVERY)
    assert set(mine) == {START_MS + STEP_MS * i for i in ticks if not STALE <= i <= STALE + 3}
    cold = [i for i in ticks if mine.get(START_MS + STEP_MS * i, {}).get("reason") == WARMING_UP]
    starts = (0, GAP + 1, STALE + 4)
    assert cold == [start + EVERY * i for start in starts for i in range(LENGTH - 1)]
    assert all(r["probabilities"] for r in mine.values() if not r["abstained"])


def test_the_test_part_is_answered_as_the_run_recorded_it(project, records):
    by_key = {(r["symbol"], r["timestamp"]): r for r in records}
    part = chosen_run(project, "latest").part("test")
    assert len(part) > 50
    for row in part.iter_rows(named=True):
        found = by_key[row["symbol"], row["timestamp"]]["probabilities"]
        assert [found[name] for name in ("down", "neutral", "up")] == pytest.approx(
            [row[f"probability_{name}"] for name in ("down", "neutral", "up")], abs=1e-5
        )


def test_stored_and_recorded_records_are_equal_in_every_range(project, model, records):
    data = project / "data"
    assert list(stream_raw(Answerer(model), RawStore(data / "raw"), symbols=["4USDT", SYMBOL])) == records
    middle = MIDNIGHT_MS - 4 * STEP_MS, MIDNIGHT_MS + 300 * STEP_MS
    for start, end in (middle, (START_MS + (GAP - 3) * STEP_MS, START_MS + (GAP + 20) * STEP_MS)):
        span = {"symbols": [SYMBOL], "start_ms": start, "end_ms": end}
        expected = [r for r in records if r["symbol"] == SYMBOL and start <= r["timestamp"] <= end]
        assert len(expected) > 8
        assert list(predict_store(Answerer(model), data / "feature_store", **span)) == expected
        assert list(stream_raw(Answerer(model), RawStore(data / "raw"), **span)) == expected
    with pytest.raises(InputError, match="No states of NONE"):
        list(predict_store(Answerer(model), data / "feature_store", symbols=["NONE"]))


def test_a_started_model_finds_its_history(project, model, records):
    last = max(r["timestamp"] for r in records)
    answerer = Answerer(model)
    answerer.push(newest_rows(model, project / "data/feature_store", [SYMBOL], last))
    assert answerer.newest([SYMBOL]) == [
        r for r in records if r["symbol"] == SYMBOL and r["timestamp"] == last
    ]


def test_drift_and_latency_of_such_a_run(project):
    run = chosen_run(project, "latest")
    found = drift(project, run, window=200)
    assert found.window_rows == 200 and len(found.drift.features) == 4 * LEVELS
    assert {row["way"] for row in latency_rows(project, run, n_runs=3, n_warm_up=1)} == {"model", "live"}


def test_files_of_states_are_answered_too(project, model, records, tmp_path):
    steps = book_steps("4USDT", seed=5).gather_every(EVERY).head(20)
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    picture = np.stack([np.array(steps[n].to_list())[:, :LEVELS] for n in names], axis=-1)
    mid = (picture[:, 0, 0] + picture[:, 0, 2]) / 2
    states = np.column_stack([steps["time_ms"], mid, np.full(len(mid), 0.5), picture.reshape(len(mid), -1)])
    (path,) = write_windows(tmp_path, {"4USDT": list(states)}, LEVELS)
    assert list(predict_file(Answerer(model), path)) == [r for r in records if r["symbol"] == "4USDT"][:20]


def state(time_ms=6000, bids=((10.0, 1.0), (9.0, 2.0)), asks=((11.0, 3.0),), event_ms=None, **changes):
    shaped = (np.array(side, np.float64).reshape(-1, 2) for side in (bids, asks))
    return BookState(time_ms, 0, *shaped, time_ms if event_ms is None else event_ms, 1, **changes)


def test_a_state_by_hand(model):
    row = level_row("A", state(), 2)
    assert row.levels.tolist() == [10, 1, 11, 3, 9, 2, 0, 0] and (row.mid, row.starts_anew) == (10.5, False)
    for broken in (state(bids=()), state(asks=((10.0, 1.0),)), state(time_ms=60_000, event_ms=49_999)):
        assert level_row("A", broken, 2) is None
    ticks = Ticks(model)
    told = [state(6000), state(9000, follows_gap=True), state(12_000, bids=()), state(18_000), state(24_000)]
    rows = ticks.observed((), [("A", one) for one in told])
    assert [(row.book_ms, row.starts_anew) for row in rows] == [
        (6000, False),
        (18_000, True),
        (24_000, False),
    ]
    from dataclasses import replace

    with pytest.raises(UsageError, match="between ticks"):
        Ticks(replace(model, group="raw_lob"))


def test_live_answers_what_is_stored(project, model):
    pytest.importorskip("aiohttp")
    from earmark.tasks.market.collect.verb import Simulation

    settings = load_settings(project, {"market.symbols": ("ETHUSDT",)})
    records = []
    live(
        settings,
        Answerer(model),
        records.append,
        LiveOptions(duration_s=90, simulation=Simulation(speed=20), keep=True),
    )
    assert len(records) >= 10 and sum(not r["abstained"] for r in records) >= 6
    span = {"start_ms": records[0]["timestamp"], "end_ms": records[-1]["timestamp"], "symbols": ["ETHUSDT"]}
    data = project / "data"
    assert list(predict_store(Answerer(model), data / "feature_store", **span)) == records
    assert list(stream_raw(Answerer(model), RawStore(data / "raw"), **span)) == records


def test_the_commands_answer_states(project, records, capsys):
    for verb in ("predict", "stream"):
        assert program(["-C", str(project), verb, "market", "--symbols", "4USDT"]) == 0
        shown = capsys.readouterr()
        lines = [json.loads(line) for line in shown.out.splitlines()]
        assert lines == [r for r in records if r["symbol"] == "4USDT"] and "(levels)" in shown.err
