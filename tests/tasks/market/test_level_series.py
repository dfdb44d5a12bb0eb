"""Series of book levels hold the recorded book, break where it was lost, and train the models that read it."""

import json

import numpy as np
import polars as pl
import pytest
from level_session import MIDNIGHT_MS, N_TICKS, START_MS, book_steps, mids, write_session

from earmark.cli.main import run
from earmark.cli.market.prepare import prepare as prepare_command
from earmark.data.time_seal import SealedPeriod
from earmark.data.windows import make_windows
from earmark.errors import SchemaError, UsageError
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.models.sequence.levels import level_columns
from earmark.orderbook.state import STEP_MS
from earmark.store.label_sets import LabelSets
from earmark.tasks.market import dataset
from earmark.tasks.market.collect.raw_lob_files import write_windows
from earmark.tasks.market.level_series import LEVELS_VIEW, level_rows
from earmark.tasks.market.prepare import PrepareOptions, load_prepared, load_sealed, prepare

SMALL = PrepareOptions(view=LEVELS_VIEW, levels=5, sequence_length=10, embargo_share=0.0)
GAPS = (100, 333)
END_MS = 2 * MIDNIGHT_MS


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels")
    write_session(folder, book_steps("BTCUSDT", gaps=GAPS), book_steps("4USDT", seed=7))
    return folder


@pytest.fixture(scope="module")
def prepared(project):
    return prepare(project, SMALL)


def test_rows_are_the_recorded_levels_of_both_days(prepared):
    table = prepared.train.table
    assert table.symbols == ("4USDT", "BTCUSDT") and table.columns == level_columns(5)
    for code, seed in enumerate((7, 0)):
        rows = table.symbol == code
        steps = book_steps("X", seed=seed)[: rows.sum()]
        picture = np.stack(
            [
                np.array(steps[name].to_list())[:, :5]
                for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
            ],
            axis=-1,
        )
        assert table.time_ms[rows].tolist() == steps["time_ms"].to_list()
        assert np.array_equal(table.X[rows], picture.reshape(len(steps), 20).astype(np.float32))
        assert np.array_equal(table.price[rows], mids(N_TICKS, seed)[: rows.sum()])
    assert table.time_ms.min() < MIDNIGHT_MS < table.time_ms.max()


def test_labels_are_those_of_the_track_in_a_set_of_their_own(project, prepared):
    ahead = 60_000 // STEP_MS
    table = prepared.train.table
    for code, seed in enumerate((7, 0)):
        rows = np.flatnonzero(table.symbol == code)
        mid = mids(N_TICKS, seed)
        movement = mid[ahead:] / mid[:-ahead] - 1
        expected = np.where(movement > 1e-3, 2, np.where(movement < -1e-3, 0, 1))[: len(rows)]
        known = table.y[rows] >= 0
        assert known.sum() == (table.label_end_ms[rows] <= table.time_ms.max()).sum() > 400
        assert table.y[rows][known].tolist() == expected[known].tolist()
    (record,) = LabelSets(project / "data/feature_store").list()
    assert record["group"] == "book_steps" and record["id"] == prepared.record["source"]["label_set"]
    assert record["parameters"]["price_source"] == "track" and len(record["versions"]) == 1
    assert "2000 rows of `book_steps` were labelled" in prepared.notes[0]


def test_the_same_windows_come_back_and_the_rest_stays_sealed(project, prepared):
    again = load_prepared(project)
    assert again.hash == prepared.hash
    assert all(np.array_equal(again.parts()[name].ends, part.ends) for name, part in prepared.parts().items())
    assert not prepare(project, SMALL).notes  # labelled once
    sealed = load_sealed(project, run="r", reason="test")
    assert sealed.windows.start_ms.min() > prepared.train.table.time_ms.max()
    assert sealed.windows.table.columns == level_columns(5)


def test_no_window_reaches_over_a_mark_or_a_tick_without_a_healthy_book(tmp_path):
    steps = book_steps("A", 200, gaps=(50,))
    row = pl.int_range(pl.len())
    steps = steps.with_columns(
        bid_price=pl.when(row == 90).then(pl.lit([], dtype=pl.List(pl.Float64))).otherwise("bid_price"),
        ask_price=pl.when(row == 120).then("bid_price").otherwise("ask_price"),
        event_ms=pl.when(row == 160).then(pl.col("event_ms") - 10_001).otherwise("event_ms"),
    )
    write_session(tmp_path, steps)
    rows = level_rows(tmp_path / "data", "book_steps", (), 2, 1)
    (count,) = rows.counts(None, END_MS).values()
    assert count == 197
    table = _series(rows, "A", 1)
    numbers = (table.time_ms - START_MS) // STEP_MS
    assert not set(numbers.tolist()) & {90, 120, 160}
    windows = make_windows(table, 5, labelled=False)
    spans = {(int(numbers[end - 4]), int(numbers[end])) for end in windows.ends}
    whole = [range(50), range(50, 90), range(91, 120), range(121, 160), range(161, 200)]
    assert spans == {(i, i + 4) for stretch in whole for i in stretch if i + 4 in stretch}


@pytest.mark.parametrize("every", [2, 7])
def test_every_kth_tick_is_the_same_in_any_range_and_keeps_marks_of_ticks_between(project, every):
    rows = level_rows(project / "data", "book_steps", ("BTCUSDT",), 3, every)
    table = _series(rows, "BTCUSDT", every)
    assert not (table.time_ms % (every * STEP_MS)).any()
    marked = {int(time) for time in table.time_ms[table.starts_anew]}
    expected = {-(-(START_MS + gap * STEP_MS) // (every * STEP_MS)) * every * STEP_MS for gap in GAPS}
    assert marked == expected
    later = _series(rows, "BTCUSDT", every, start_ms=int(table.time_ms[40]))
    assert np.array_equal(later.X, table.X[40:]) and np.array_equal(later.starts_anew, table.starts_anew[40:])


def test_a_large_series_is_mapped_and_equal(project, prepared, monkeypatch):
    fields = {**prepared.record["source"], "symbols": ()}
    source = dataset.SeriesSource(store=project / "data/feature_store", **fields)
    seal = SealedPeriod(project / "data/market")
    small = dataset.load_series(source, seal)
    monkeypatch.setattr(dataset, "IN_MEMORY_BYTES", 1000)
    large = dataset.load_series(source, seal, spool=project)
    assert isinstance(large.X, np.memmap) and not isinstance(small.X, np.memmap)
    assert dataset.series_hash(large) == dataset.series_hash(small)


def test_states_of_the_raw_book_are_series_too(tmp_path):
    steps = book_steps("BTCUSDT", 400, start_ms=MIDNIGHT_MS - 600_000)
    write_session(tmp_path, steps)
    every = steps.gather_every(2)
    picture = np.stack(
        [
            np.array(every[n].to_list())[:, :3]
            for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        ],
        axis=-1,
    )
    mid = (picture[:, 0, 0] + picture[:, 0, 2]) / 2
    states = np.column_stack([every["time_ms"], mid, np.full(len(mid), 0.5), picture.reshape(len(mid), -1)])
    write_windows(tmp_path / "data/raw_lob", {"BTCUSDT": list(states[:120])}, 3)
    write_windows(tmp_path / "data/raw_lob", {"BTCUSDT": list(states[100:])}, 3)  # some twice
    cut = tmp_path / "data/raw_lob/BTCUSDT/date=2025-06-16/BTCUSDT_20250616_000000.parquet"
    cut.write_bytes(b"PAR1 cut off")
    options = PrepareOptions(
        view=LEVELS_VIEW, group="raw_lob", levels=3, sequence_length=5, embargo=False, minimum=1
    )
    found = prepare(tmp_path, options)
    table = found.train.table
    assert np.array_equal(table.X, states[: len(table), 3:].astype(np.float32)) and len(table) > 150
    assert found.record["source"]["interval_ms"] == 5000 and not cut.exists()
    assert (tmp_path / "data/raw_lob/_quarantine/record.jsonl").is_file()
    assert load_prepared(tmp_path).hash == found.hash
    with pytest.raises(SchemaError, match="collected with 3 levels"):
        prepare(tmp_path, PrepareOptions(view=LEVELS_VIEW, group="raw_lob", levels=4))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"group": "training_features"}, "book_steps and raw_lob"),
        ({"levels": 51}, "1 .. 50 levels"),
        ({"group": "raw_lob", "every": 2}, "--every 2"),
        ({"data_source": "legacy"}, "hold features"),
        ({"symbols": ("NONE",)}, "NONE"),
    ],
)
def test_what_a_record_does_not_have_is_refused(project, wrong, said):
    with pytest.raises(UsageError, match=said):
        prepare(project, PrepareOptions(**({"view": LEVELS_VIEW} | wrong)))


def test_a_model_of_order_books_trains_on_the_prepared_parts(project):
    pytest.importorskip("torch")
    parts = prepare(project, SMALL)
    few = parts.train.take(np.arange(0, len(parts.train), 16))
    small = {"width": 8, "layers": 1, "n_heads": 2, "levels": 5, "epochs": 1}
    made = SequenceClassifier.make("tlob", **small, seed=1).fit(few, parts.validation)
    answers = made.predict(parts.test)
    assert made.columns == level_columns(5) and answers.probabilities.shape == (len(parts.test), 3)
    assert np.allclose(answers.probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_training_takes_the_levels_that_were_prepared(tmp_path):
    pytest.importorskip("torch")
    from earmark.tasks.market.training.config import train_config
    from earmark.tasks.market.training.train import train

    write_session(tmp_path, book_steps("BTCUSDT"))
    prepare(tmp_path, SMALL)
    small = {"levels": 5, "channels": 2, "lstm_width": 4}
    settings = {"model_name": "deeplob", "epochs": 1, "export_onnx": False, "ml_model_config": small}
    run = train(tmp_path, train_config(settings)).run
    assert run.config["settings"]["view"] == LEVELS_VIEW and run.config["settings"]["sequence_length"] == 10
    assert run.classifier().columns == level_columns(5)


def test_the_command_prepares_levels(project, capsys):
    asked = ["--view", "levels", "--levels", "5", "--length", "10", "--every", "2", "--no-embargo"]
    code = run(["-C", str(project), "--format", "json", "prepare", "market", *asked])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    record = json.loads(shown.out)
    assert record["columns"] == list(level_columns(5)) and record["source"]["interval_ms"] == 6000
    (view,) = [option for option in prepare_command.params if option.name == "view"]
    assert LEVELS_VIEW in view.type.choices


def _series(rows, symbol, every, start_ms=None):
    from earmark.data.windows import SeriesTable

    (columns,) = [rows.record._columns]
    frame = pl.concat(rows.portions(symbol, start_ms, END_MS, columns))
    n = len(frame)
    return SeriesTable(
        symbols=(symbol,),
        symbol=np.zeros(n, np.int32),
        time_ms=frame["timestamp"].to_numpy(),
        X=frame.select(columns).to_numpy(),
        columns=columns,
        y=np.full(n, -1, np.int8),
        movement=np.zeros(n, np.float32),
        label_end_ms=frame["timestamp"].to_numpy(),
        price=frame["current_mid_price"].to_numpy(),
        interval_ms=every * STEP_MS,
        starts_anew=frame["starts_anew"].to_numpy(),
    )
