"""Live, stored and recorded: one market, one model, the same records; and two models on one stream."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import polars as pl
import pytest

pytest.importorskip("aiohttp")
import aiohttp
from collecting import START_MS, collector_of, options
from serving_runs import trained_project

from earmark.cli.main import run as program
from earmark.errors import InputError, RunError, UsageError
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.pipeline import Sample
from earmark.tasks.market.collect.samples import sample_table
from earmark.tasks.market.collect.verb import Simulation
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.broadcast import broadcasting
from earmark.tasks.market.serving.challenge import (
    CHALLENGER,
    CHAMPION,
    Answered,
    Challenge,
    Side,
    variant_of,
    verdict,
)
from earmark.tasks.market.serving.live import Duel, LiveOptions, live
from earmark.tasks.market.serving.model import chosen_run, served_model
from earmark.tasks.market.serving.recorded import stream_journal, stream_lines, stream_raw
from earmark.tasks.market.serving.series import Row
from earmark.tasks.market.serving.stored import predict_store
from earmark.tasks.market.venues import venue
from earmark.tasks.settings import load_settings

SYMBOL, GROUP = "BTCUSDT", "simulated"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return trained_project(tmp_path_factory, "live")


@pytest.fixture(scope="module")
def model(project):
    return served_model(chosen_run(project, "latest"))


@pytest.fixture(scope="module")
def session(project, model):
    """Records of some minutes of a simulated exchange, kept in the project's stores with the messages."""
    settings = load_settings(
        project,
        {
            "market.symbols": (SYMBOL, "4USDT"),
            "market.keep_messages": True,
            "market.feature_store_group": GROUP,
        },
    )
    records = []
    finished = live(
        settings,
        Answerer(model),
        records.append,
        LiveOptions(duration_s=240, simulation=Simulation(speed=20), keep=True),
    )
    assert finished.n_samples == len(records) > 6
    return [record for record in records if record["symbol"] == SYMBOL]


def test_live_stored_and_recorded_records_are_equal(project, model, session):
    assert [r["reason"] for r in session[:2]] == ["warming_up"] * 2
    assert sum(not r["abstained"] for r in session) >= 2, "the first rows lack a feature that looks back"
    span = {"start_ms": session[0]["timestamp"], "end_ms": session[-1]["timestamp"]}
    data = project / "data"
    stored = predict_store(Answerer(model), data / "feature_store", group=GROUP, symbols=[SYMBOL], **span)
    assert list(stored) == session
    raw = RawStore(data / "raw")
    assert list(stream_raw(Answerer(model), raw, symbols=[SYMBOL], **span)) == session
    later = {**span, "start_ms": session[3]["timestamp"]}
    assert list(stream_raw(Answerer(model), raw, symbols=[SYMBOL], **later)) == session[3:]


def test_a_record_is_known_by_the_time_of_its_book_as_the_stored_row_is(project, model, session, tmp_path):
    """Exchanges do not send at our ticks: the newest update of a book lies some milliseconds before."""
    raw, moved = RawStore(project / "data/raw"), RawStore(tmp_path / "raw")
    for stream in ("trades", "candles", "bbo"):
        moved.append(stream, SYMBOL, raw.scan(stream, SYMBOL).collect())
    steps = raw.scan("book_steps", SYMBOL).with_columns(pl.col("event_ms") - 37)
    moved.append("book_steps", SYMBOL, steps.collect())
    last = session[-2]["timestamp"] - 37
    found = list(stream_raw(Answerer(model), moved, symbols=[SYMBOL], end_ms=last))
    expected = [record | {"timestamp": record["timestamp"] - 37} for record in session[:-1]]
    assert found[-len(expected) :] == expected
    sample = Sample(SYMBOL, 30_000, 0, 29_963, np.ones(112, np.float32), np.empty(0), 1.0, 0.1, 0.5, 0, False)
    assert Answerer(model).take([sample])[0]["timestamp"] == sample_table([sample])["timestamp"][0] == 29_963


def test_messages_as_lines_are_told_to_the_same_pipeline(project, model, session):
    """Frames hold no back-filled candles, so these are told first, as a recording that began an hour earlier would."""
    raw = RawStore(project / "data" / "raw")
    candles = raw.scan("candles", SYMBOL).filter(pl.col("is_closed")).collect()
    frames = [
        json.dumps({"received_ns": row["received_ns"], "text": _candle_text(row)})
        for row in candles.iter_rows(named=True)
    ]
    messages = raw.scan("messages", SYMBOL).sort("received_ns").collect()
    frames += [
        json.dumps({"received_ns": row["received_ns"], "text": row["text"]})
        for row in messages.iter_rows(named=True)
    ]
    frames.sort(key=lambda line: json.loads(line)["received_ns"])
    found = list(stream_lines(Answerer(model), [*frames, ""], venue("bybit"), symbols=[SYMBOL]))
    by_time = {r["timestamp"]: r for r in session}
    shared = [r for r in found if r["timestamp"] in by_time]
    assert len(shared) >= len(session) - 2
    assert all(r["mid_price"] == by_time[r["timestamp"]]["mid_price"] for r in shared)
    assert any(not r["abstained"] for r in shared)
    with pytest.raises(InputError, match="Line 2 is no message of bybit"):
        list(stream_lines(Answerer(model), [frames[0], '{"topic": "orderbook.50.X"}'], venue("bybit")))
    with pytest.raises(InputError, match="Line 1"):
        list(stream_lines(Answerer(model), ["no json"], venue("bybit")))


def _candle_text(row):
    names = {"start": "start_ms", "open": "open", "high": "high", "low": "low", "close": "close"}
    data = {key: (row[name] if key == "start" else str(row[name])) for key, name in names.items()}
    data |= {"end": row["start_ms"] + 59_999, "interval": "1", "volume": str(row["volume"])}
    data |= {"turnover": str(row["turnover"]), "confirm": True, "timestamp": row["start_ms"] + 60_000}
    return json.dumps(
        {"topic": f"kline.1.{SYMBOL}", "type": "snapshot", "ts": data["timestamp"], "data": [data]}
    )


def test_a_journal_is_streamed_while_its_writer_lives(model, tmp_path):
    import asyncio

    from earmark.tasks.market.simulator.server import ExchangeSimulator

    chosen = options(tmp_path, (SYMBOL,), flush_raw_s=1e9)
    records, told = [], Answerer(model)

    async def follow():
        async with ExchangeSimulator((SYMBOL,), speed=30, start_ms=START_MS, follow_readers=True) as exchange:
            collector = collector_of(exchange, chosen)
            collector._on_samples = lambda samples: records.extend(told.take(samples))
            running = asyncio.create_task(collector.run())
            while len(records) < 4:
                await asyncio.sleep(0.02)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(follow(), 60))
    assert list(stream_journal(Answerer(model), chosen.places.journal))[: len(records)] == records
    with pytest.raises(InputError, match="holds no journal"):
        list(stream_journal(Answerer(model), tmp_path / "nothing"))


def test_the_command_follows_the_simulator_and_keeps_nothing(project, capsys, tmp_path):
    before = FeatureStore(project / "data" / "feature_store").table("training_features").versions()
    target = tmp_path / "lines.jsonl"
    asked = ["-C", str(project), "live", "market", "--symbols", SYMBOL, "--simulator", "--speed", "30"]
    code = program([*asked, "--duration", "100s", "-o", str(target)])
    assert code == 0, capsys.readouterr().err
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert lines and {line["symbol"] for line in lines} == {SYMBOL}
    assert FeatureStore(project / "data" / "feature_store").table("training_features").versions() == before


def test_an_error_of_the_model_ends_live_in_order(project, model):
    class Broken(Answerer):
        def take(self, samples):
            raise RunError("the model is broken")

    settings = load_settings(project, {"market.symbols": (SYMBOL,)})
    with pytest.raises(RunError, match="the model is broken"):
        live(settings, Broken(model), print, LiveOptions(duration_s=120, simulation=Simulation(speed=30)))


def test_whoever_listens_gets_the_records():
    import asyncio

    async def hear(port):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}/") as socket,
        ):
            await asyncio.sleep(0.1)
            for number in range(3):
                server.send({"number": number})
            return [(await socket.receive_json(timeout=5))["number"] for _ in range(3)]

    with broadcasting(0) as server:
        server.send({"number": -1})  # nobody listens: it is gone
        assert asyncio.run(hear(server.port)) == [0, 1, 2]
        with pytest.raises(UsageError, match="cannot be listened to"), broadcasting(server.port):
            pass


def samples(n, *, symbols=("A", "B")):
    rng = np.random.default_rng(5)
    for i in range(n):
        yield [
            Row(s, 30_000 * i, rng.exponential(size=112).astype(np.float32), np.empty(0, np.float32), 100.0)
            for s in symbols
        ]


def duel(model, path):
    challenge = Challenge(path, "old", "new", horizon_s=60, label_set="fixed-test", now_ms=0)
    return Duel(Answerer(model), Answerer(model), challenge)


def test_rows_are_divided_by_their_key_and_every_one_is_answered_once(model, tmp_path):
    path = tmp_path / "challenge.sqlite"
    fought, alone = duel(model, path), Answerer(model)
    for tick in samples(60):
        assert fought.take(tick) == alone.take(tick)
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT symbol, timestamp, variant FROM answer").fetchall()
    database.close()
    assert len(rows) == 2 * 58 and all(variant_of(s, t) == v for s, t, v in rows)
    share = np.mean([variant_of("A", t) == CHALLENGER for t in range(20_000)])
    assert 0.09 < share < 0.11
    again = duel(model, path)
    assert again.challenge.id == fought.challenge.id, "an experiment goes on after a restart"


def test_a_failing_challenger_leaves_its_rows_to_the_champion_and_is_rolled_back(model, tmp_path):
    class Broken(Answerer):
        def newest(self, symbols):
            raise RunError("broken")

    challenge = Challenge(tmp_path / "c.sqlite", "old", "new", horizon_s=60, label_set="x", now_ms=0)
    fought, alone = Duel(Answerer(model), Broken(model), challenge), Answerer(model)
    for tick in samples(240):
        assert fought.take(tick) == alone.take(tick)
    assert fought.is_over
    assert Challenge.newest(tmp_path / "c.sqlite").state().outcome == "roll_back"


def side(name, rows, accuracy, *, latency_ms=1.0, errors=0.0):
    right = np.arange(rows) < round(rows * accuracy)
    return Side(name, name, rows, rows, float(right.mean()), latency_ms, errors), right


@pytest.mark.parametrize(
    ("old", "new", "hours", "outcome"),
    [
        ((5000, 0.60), (2000, 0.66), 25, "promote"),
        ((5000, 0.60), (2000, 0.66), 23, "continue"),
        ((5000, 0.60), (90, 0.90), 25, "continue"),
        ((5000, 0.60), (2000, 0.61), 25, "continue"),
        ((900, 0.60), (100, 0.63), 25, "continue"),
        ((900, 0.60), (100, 0.54), 1, "roll_back"),
        ((900, 0.60), (29, 0.10), 1, "continue"),
    ],
)
def test_the_rule_by_hand(old, new, hours, outcome):
    (a, right_a), (b, right_b) = side(CHAMPION, *old), side(CHALLENGER, *new)
    found = verdict(a, b, right_a, right_b, hours=hours)
    assert found.outcome == outcome, found.reason
    json.dumps(found.to_json())


def test_the_p_value_is_that_of_scipy():
    from scipy.stats import ttest_ind

    (a, ra), (b, rb) = side(CHAMPION, 900, 0.6), side(CHALLENGER, 100, 0.7)
    expected = ttest_ind(rb.astype(float), ra.astype(float), equal_var=False).pvalue
    assert verdict(a, b, ra, rb, hours=1).p == pytest.approx(expected)


def test_latency_and_errors_roll_back():
    (a, ra), (slow, rb) = side(CHAMPION, 900, 0.6), side(CHALLENGER, 100, 0.6, latency_ms=3.1)
    assert verdict(a, slow, ra, rb, hours=1).outcome == "roll_back"
    (a, ra), (failing, rb) = side(CHAMPION, 900, 0.6, errors=0.02), side(CHALLENGER, 100, 0.6, errors=0.04)
    assert verdict(a, failing, ra, rb, hours=1).outcome == "roll_back"
    (level, rb) = side(CHALLENGER, 100, 0.6, errors=0.025)
    assert verdict(a, level, ra, rb, hours=1).outcome == "continue"


def test_answers_are_graded_by_labels_and_the_winner_is_promoted(project, capsys):
    """Answers to labelled rows: the challenger knows them, the champion guesses."""
    from earmark.store.label_sets import LabelSets
    from earmark.tasks.market.serving.live import CHALLENGE_FILE
    from earmark.training.production import production_run

    labels = LabelSets(project / "data" / "feature_store").scan("fixed-test").collect()
    run = chosen_run(project, "latest").name
    truth = labels.select("symbol", "timestamp", "future_direction_60s").drop_nulls()
    challenge = Challenge(
        project / "data" / CHALLENGE_FILE, "old", run, horizon_s=60, label_set="fixed-test", now_ms=0
    )
    first = truth["timestamp"].min()
    answers = []
    for symbol, time, label in truth.iter_rows():
        variant = variant_of(symbol, time)
        answers.append(Answered(symbol, time, variant, label if variant == CHALLENGER else 1, 1.0))
    answers.append(Answered("4USDT", first - 30 * 3_600_000, CHAMPION, 1, 1.0))  # a day and more before
    challenge.add(answers)
    challenge.add([Answered(answers[0].symbol, answers[0].timestamp, CHAMPION, 2, 99.0)])
    assert program(["-C", str(project), "evaluate", "market", "--ab", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "promote" and found["sides"][1]["accuracy"] == 1.0
    assert found["sides"][0]["graded"] + found["sides"][1]["graded"] == len(truth)
    assert program(["-C", str(project), "evaluate", "market", "--ab", "--apply"]) == 0
    assert production_run(project / "runs", "market").name == run
