"""The verb `label`: from real stores into a set, as the command runs it; features keep every byte."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import polars as pl
import pytest
from legacy_samples import features, samples

from earmark.cli.main import run
from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.events import BestQuote, Candle
from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.labels.label import LabelRequest, label_group, set_id_of
from earmark.tasks.market.labels.rules import Fixed, TripleBarrier, Volatility
from earmark.tasks.market.labels.series import Horizon
from earmark.tasks.market.legacy.writer import LegacyWriter
from earmark.tasks.market.schema import SCHEMA

START = 1_735_689_000_000  # ten minutes before 2025-01-01T00:00:00Z
N = 60


def price_at(t_ms, symbol):
    step = (t_ms - START) // 7000
    return 100 + (np.sin(step * 0.7) + 0.2 * np.cos(step * 3.1)) * (1.0 if symbol == "BTCUSDT" else 0.001)


def write_track(folder, symbol, until_ms, start_ms=START):
    rows = []
    for t in range(start_ms, until_ms + 1, 500):
        mid = price_at(t, symbol)
        rows.append(BestQuote(symbol, t, mid - 0.5, 1.0, mid + 0.5, 1.0, t * 1_000_000))
    RawStore(folder / "data/raw").append("bbo", symbol, rows)


def write_features(folder, symbols=("4USDT", "BTCUSDT")):
    store = FeatureStore(folder / "data/feature_store")
    for symbol in symbols:
        stamps = START + np.arange(N) * 30_000
        table = pl.from_numpy(np.full((N, 112), 0.5, np.float32), schema=list(FEATURE_NAMES)).with_columns(
            symbol=pl.lit(symbol),
            timestamp=pl.Series(stamps),
            current_mid_price=pl.Series([price_at(t, symbol) for t in stamps]),
            spread=pl.lit(1.0),
        )
        store.write_offline_features(
            "training_features", table.select("symbol", "timestamp", pl.exclude("symbol", "timestamp"))
        )
    return store


@pytest.fixture
def project(tmp_path):
    write_features(tmp_path)
    for symbol in ("4USDT", "BTCUSDT"):
        write_track(tmp_path, symbol, START + N * 30_000)
    return tmp_path


def hashes(folder):
    return {p: hashlib.sha256(p.read_bytes()).digest() for p in folder.rglob("*") if p.is_file()}


def label(folder, **changes):
    request = LabelRequest(**changes)
    return label_group(folder / "data/feature_store", folder / "data/raw", request)


def test_labels_are_the_prices_of_the_track_and_features_keep_every_byte(project):
    before = hashes(project / "data/feature_store/offline"), hashes(project / "data/raw")
    report = label(project)
    assert (hashes(project / "data/feature_store/offline"), hashes(project / "data/raw")) == before
    table = LabelSets(project / "data/feature_store").scan(report.set_id).collect()
    assert len(table) == 2 * N
    for symbol, t, direction, movement in table.select(
        "symbol", "timestamp", "future_direction_60s", "future_movement_60s"
    ).iter_rows():
        if t + 60_000 > START + N * 30_000:
            assert direction is movement is None
            continue
        now, then = price_at(t, symbol), price_at(t + 60_000, symbol)
        assert movement == pytest.approx((then - now) / now, rel=1e-9)
        assert direction == (2 if movement > 0.001 else 0 if movement < -0.001 else 1)
    one = next((project / "data/feature_store/labels").rglob("*.parquet"))
    assert pl.read_parquet_metadata(one)["earmark.schema_sha256"] == SCHEMA.sha256
    days = sorted(
        path.name for path in (project / "data/feature_store/labels" / report.set_id).glob("date=*")
    )
    assert days == ["date=2024-12-31", "date=2025-01-01"]
    joined = FeatureStore(project / "data/feature_store").read_offline_features("training_features")
    assert joined["future_direction_60s"].equals(table["future_direction_60s"])


def test_a_label_is_the_same_whatever_range_is_asked_for(project):
    whole = label(project)
    sets = LabelSets(project / "data/feature_store")
    full = sets.scan(whole.set_id).collect()
    other = project / "part"
    write_features(other)
    for symbol in ("4USDT", "BTCUSDT"):
        write_track(other, symbol, START + N * 30_000)
    part = label(other, start="2025-01-01", symbols=("4USDT",))
    found = LabelSets(other / "data/feature_store").scan(part.set_id).collect()
    assert found.equals(full.filter(pl.col("symbol") == "4USDT", pl.col("timestamp") >= START + 600_000))


def test_labelling_again_adds_what_has_become_known_and_nothing_else(tmp_path):
    write_features(tmp_path, ["BTCUSDT"])
    half = START + N * 15_000
    write_track(tmp_path, "BTCUSDT", half)
    first = label(tmp_path)
    sets = LabelSets(tmp_path / "data/feature_store")
    early = sets.scan(first.set_id).collect()
    assert early["label_status_10s"].value_counts().sort("label_status_10s").rows() == [
        ("horizon_not_reached", 30),
        ("ok", 30),
    ]
    write_track(tmp_path, "BTCUSDT", START + N * 30_000, half + 500)
    second = label(tmp_path)
    assert second.set_id == first.set_id
    assert (second.written.version, second.written.added, second.written.completed) == (2, 0, 31)
    late = sets.scan(first.set_id).collect()
    known = early["label_status_60s"] == "ok"
    assert late.filter(known).equals(early.filter(known))
    third = label(tmp_path)
    assert (third.written.version, third.written.files) == (2, ())


def test_another_rule_is_another_set():
    ids = {
        set_id_of(LabelRequest()),
        set_id_of(LabelRequest(rule=Fixed(0.002))),
        set_id_of(LabelRequest(rule=Fixed(overrides=(("A", 0, 0.1),)))),
        set_id_of(LabelRequest(rule=Volatility())),
        set_id_of(LabelRequest(source="samples")),
        set_id_of(LabelRequest(source="samples", match="first")),
    }
    assert len(ids) == 6
    assert set_id_of(LabelRequest(horizons=(Horizon(5),))) == set_id_of(LabelRequest())


def test_a_hole_in_the_track_is_a_gap(tmp_path):
    write_features(tmp_path, ["BTCUSDT"])
    hole = START + 300_000
    write_track(tmp_path, "BTCUSDT", hole)
    write_track(tmp_path, "BTCUSDT", START + N * 30_000, hole + 120_000)
    report = label(tmp_path, horizons=(Horizon(10),))
    statuses = LabelSets(tmp_path / "data/feature_store").scan(report.set_id).collect()
    ahead = statuses["timestamp"] + 10_000
    expected = (ahead > hole + 1000) & (ahead < hole + 120_000)
    assert (statuses["label_status_10s"] == "gap").equals(expected)


def test_barriers_on_track_and_on_candles_need_no_horizon(project):
    on_track = label(project, rule=TripleBarrier(max_hold=2), horizons=(Horizon(120),))
    assert [row["ok"] for row in on_track.coverage] == [N - 3, N - 3]  # the last three end after the record
    candles = []
    for i in range(N // 2):
        opened = START + i * 60_000
        prices = [price_at(t, "BTCUSDT") for t in range(opened, opened + 60_000, 500)]
        candles.append(
            Candle(
                "BTCUSDT",
                opened,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                1.0,
                1.0,
                True,
                opened * 1_000_000,
            )
        )
    RawStore(project / "data/raw").append("candles", "BTCUSDT", candles)
    rule = TripleBarrier(max_hold=2, tp_mult=5, sl_mult=5)
    report = label(project, rule=rule, horizons=(Horizon(120),), source="candles", symbols=("BTCUSDT",))
    assert report.coverage[0]["ok"] > 40
    assert report.set_id != on_track.set_id


def test_flat_symbols_are_left_out_and_named(project):
    report = label(project, drop_flat=0.85)
    assert report.dropped == ("4USDT",)
    assert {row["symbol"] for row in report.coverage} == {"BTCUSDT"}


def test_without_a_track_the_message_names_the_next_command(tmp_path):
    write_features(tmp_path)
    with pytest.raises(UsageError, match="--price-source samples"):
        label(tmp_path)
    report = label(tmp_path, source="samples")
    assert {row["coverage_pct"] for row in report.coverage if row["horizon"] == "10s"} == {0.0}
    with pytest.raises(UsageError, match="no samples of XRPUSDT"):
        label(tmp_path, symbols=("XRPUSDT",))


def test_the_command_prints_totals_and_coverage(project, capsys):
    arguments = ["-C", str(project), "--format", "json", "label", "market", "--horizons", "10,30,60"]
    assert run([*arguments, "--dry-run"]) == 0
    assert not (project / "data/feature_store/labels").exists()
    capsys.readouterr()
    assert run(arguments) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["rows"], found["added"], len(found["coverage"])) == (2 * N, 2 * N, 6)
    assert "future_direction_10s: 120/120 labelled (100.0 %)" in told.err
    table = ["-C", str(project), "label", "market", "--method", "triple_barrier", "--preset", "conservative"]
    assert run([*table, "--max-hold", "1", "--symbols", "btcusdt"]) == 0
    assert "60s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--threshold", "5"],
        ["--threshold", "x=y"],
        ["--tp-mult", "2"],
        ["--method", "volatility", "--threshold", "0.1"],
        ["--horizons", "ten"],
        ["--horizons", "0"],
        ["--price-source", "candles"],
        ["--preset", "aggressive"],
        ["--in-place"],
        ["--start-date", "yesterday"],
    ],
)
def test_options_that_cannot_act_are_refused(project, wrong, capsys):
    assert run(["-C", str(project), "label", "market", *wrong]) == 2
    assert capsys.readouterr().err


def test_states_of_the_raw_book_are_labelled_by_rows(tmp_path, capsys):
    folder = tmp_path / "data/raw_lob/4USDT/date=2025-01-01"
    folder.mkdir(parents=True)
    stamps = START + np.arange(200) * 5000
    price = 100 + np.cumsum(np.random.default_rng(0).normal(0, 0.05, 200))
    states = pl.DataFrame({"symbol": "4USDT", "timestamp": stamps, "mid_price": price, "spread": 0.1})
    states.write_parquet(folder / "4USDT_20250101_000000.parquet")
    arguments = ["-C", str(tmp_path), "--format", "json", "label", "market", "--feature-group", "raw_lob"]
    assert run([*arguments, "--method", "triple_barrier_lob"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["horizon"], row["ok"]) for row in found["coverage"]] == [
        ("10n", 190),
        ("30n", 170),
        ("60n", 140),
    ]


def test_json_labels_by_the_command(tmp_path, capsys):
    LegacyWriter(tmp_path / "data/ml_training").write("A", features(4), samples(4))
    arguments = ["-C", str(tmp_path), "label", "market", "--legacy", "--output", str(tmp_path / "out")]
    assert run(arguments) == 0
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1
    assert "1 json files of 4 samples" in capsys.readouterr().err
