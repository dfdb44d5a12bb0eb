"""A dataset holds the stored rows and their labels, nothing of the sealed period, and nothing of the future."""

import json

import numpy as np
import polars as pl
import pytest
from series_store import HOUR_MS, INTERVAL_MS, START_MS, label_rows, sample_rows, write_store

from earmark.data.time_seal import PeriodOpening, SealedPeriod
from earmark.errors import SchemaError, SealError, UsageError
from earmark.orderbook.views import VIEWS
from earmark.store.label_sets import LabelSets
from earmark.tasks.market import dataset
from earmark.tasks.market.prepare import (
    PrepareOptions,
    data_folder,
    export_sealed,
    load_prepared,
    load_sealed,
    prepare,
)

SMALL = PrepareOptions(sequence_length=10, embargo_share=0.0)
N = 1400


@pytest.fixture
def project(tmp_path):
    write_store(tmp_path, pl.concat([sample_rows("ETHUSDT", N, seed=1), sample_rows("4USDT", N, seed=2)]))
    return tmp_path


def source_of(project, **changes):
    record = json.loads((project / "data/market/dataset.json").read_text())["source"]
    fields = {**record, "symbols": tuple(record["symbols"]), **changes}
    return dataset.SeriesSource(store=data_folder(project) / "feature_store", **fields)


def test_prepared_windows_are_the_stored_rows_with_their_labels(project):
    prepared = prepare(project, SMALL)
    again = load_prepared(project)
    rows = {symbol: sample_rows(symbol, N, seed=seed) for symbol, seed in (("ETHUSDT", 1), ("4USDT", 2))}
    labels = {symbol: label_rows(table) for symbol, table in rows.items()}
    for name, windows in prepared.parts().items():
        assert windows.ends.tolist() == again.parts()[name].ends.tolist()
        assert len(np.unique(windows.symbol)) == 2
        for place in (0, len(windows) - 1):
            symbol = windows.table.symbols[windows.symbol[place]]
            number = int((windows.time_ms[place] - START_MS) // INTERVAL_MS)
            expected = rows[symbol][number - 9 : number + 1].select(VIEWS["v1_112"]).to_numpy()
            assert np.array_equal(windows.inputs(slice(place, place + 1))[0], expected)
            assert windows.y[place] == labels[symbol]["future_direction_60s"][number]
            assert windows.label_end_ms[place] == windows.time_ms[place] + 60_000
    assert prepared.train.table.symbols == ("4USDT", "ETHUSDT")
    assert again.hash == prepared.hash
    counted = {row["part"]: row for row in prepared.record["parts"]}
    assert counted["train"]["windows"] == len(prepared.train)
    assert sum(counted["test"][name] for name in ("DOWN", "NEUTRAL", "UP")) == len(prepared.test)
    assert counted["train"]["purged"] > 0 and counted["validation"]["embargoed"] > 0


def test_poisoned_sealed_rows_change_no_number(tmp_path):
    """The same project twice, the second with a sealed period of nonsense: every byte that trains is the same."""
    clean = pl.concat([sample_rows("A", N, seed=1), sample_rows("B", N, seed=2)])
    first = START_MS + int(0.85 * (N - 1) * INTERVAL_MS)
    sealed = pl.col("timestamp") >= first
    names = [*VIEWS["v1_112"], "current_mid_price"]
    poisoned = clean.with_columns(
        pl.when(sealed).then(-1e30).otherwise(pl.col(name)).alias(name) for name in names
    )
    labels = pl.concat([label_rows(part) for part in clean.partition_by("symbol")])
    beyond = pl.col("label_end_ms_60s") > first
    wrong = labels.with_columns(
        pl.when(beyond).then(pl.lit(value)).otherwise(pl.col(name)).cast(dtype).alias(name)
        for name, value, dtype in (
            ("future_direction_60s", 2, pl.Int8),
            ("future_movement_60s", 9.0, pl.Float64),
        )
    )
    prepared = []
    for name, rows, of in (("clean", clean, labels), ("poisoned", poisoned, wrong)):
        write_store(tmp_path / name, rows, labels=of)
        prepared.append(prepare(tmp_path / name, SMALL))
    assert prepared[0].record["hashes"] == prepared[1].record["hashes"]
    table = prepared[1].train.table
    assert table.time_ms.max() < first and np.isfinite(table.X).all() and table.X.min() > -1e3
    assert (table.label_end_ms[table.y >= 0] < first).all()


def test_the_sealed_period_opens_on_the_record_only(project):
    prepared = prepare(project, SMALL)
    seal = SealedPeriod(project / "data/market")
    with pytest.raises(SealError, match="sealed period begins"):
        dataset.load_series(source_of(project), seal, end_ms=seal.bounds.first_ms)
    with pytest.raises(SealError, match="made by hand"):
        PeriodOpening(seal.bounds, {}, token=object())
    with pytest.raises(SealError, match="no opening"):
        dataset.load_sealed_series(source_of(project), seal.bounds)
    with pytest.raises(SealError, match="both must be named"):
        load_sealed(project, run="r", reason=" ")
    assert seal.openings().count == 0
    sealed = load_sealed(project, run="r1", reason="final")
    assert seal.openings().count == 1 and sealed.opening["run"] == "r1"
    embargo = prepared.record["split"]["embargo_ms"]
    assert sealed.windows.time_ms.min() >= seal.bounds.first_ms + embargo
    assert sealed.windows.start_ms.min() > prepared.train.table.time_ms.max()
    assert len(sealed.windows)


def test_a_ledger_that_cannot_be_written_keeps_the_period_closed(project):
    prepare(project, SMALL)
    (project / "data/market/ledger.jsonl").mkdir()
    with pytest.raises(SealError, match="stays sealed"):
        load_sealed(project, run="r", reason="look")


def test_an_opened_period_stays_and_an_unopened_one_moves_on(tmp_path):
    seal = SealedPeriod(tmp_path)
    assert str(seal.seal(100, 200)) == "100:200"
    assert str(seal.seal(150, 300)) == "150:300"  # nobody looked
    assert str(seal.seal(120, 310)) == "150:310"  # rows behind an earlier beginning may have trained
    seal.open(run="r", reason="look")
    assert str(seal.seal(250, 400)) == "150:400"
    assert str(seal.seal(250, 400, reseal_reason="a new year")) == "250:400"
    assert "drawn anew once" in str(seal.openings())
    (tmp_path / "seal.json").write_text("{}")
    with pytest.raises(SealError, match="does not say"):
        seal.seal(1, 2)


def test_the_export_has_the_windows_of_the_sealed_period(project, tmp_path):
    prepare(project, SMALL)
    path = tmp_path / "holdout" / "test_data.npz"
    sealed = export_sealed(project, path, reason="for a colleague")
    with np.load(path, allow_pickle=False) as found:
        assert np.array_equal(found["X"], sealed.windows.inputs())
        assert found["X"].shape[1:] == (10, 112) and found["y"].tolist() == sealed.windows.y.tolist()
        assert found["timestamps"].tolist() == sealed.windows.time_ms.tolist()
        assert found["feature_names"].tolist() == list(VIEWS["v1_112"])
        assert set(found["symbols"]) == {"4USDT", "ETHUSDT"} and len(found["prices"]) == len(sealed.windows)
    assert [p.name for p in path.parent.iterdir()] == ["test_data.npz"]


@pytest.mark.parametrize(
    "planted", ["future_direction_60s", "future_movement_60s", "label_end_ms_60s", "timestamp"]
)
def test_a_planted_leak_is_no_input(project, planted):
    prepare(project, SMALL)
    with pytest.raises(SchemaError, match=planted):
        dataset.load_series(
            source_of(project), SealedPeriod(project / "data/market"), columns=("mid_price", planted)
        )


def test_every_view_has_its_width(project):
    prepare(project, SMALL)
    for view, names in VIEWS.items():
        table = dataset.load_series(source_of(project, view=view), SealedPeriod(project / "data/market"))
        assert table.X.shape[1] == len(names) and table.columns == names


def test_a_large_matrix_is_mapped_and_equal(project, monkeypatch):
    prepare(project, SMALL)
    seal = SealedPeriod(project / "data/market")
    small = dataset.load_series(source_of(project), seal)
    monkeypatch.setattr(dataset, "IN_MEMORY_BYTES", 1000)
    large = dataset.load_series(source_of(project), seal, spool=project)
    assert isinstance(large.X, np.memmap) and not isinstance(small.X, np.memmap)
    assert dataset.series_hash(large) == dataset.series_hash(small)
    assert {path.name for path in project.iterdir()} == {"data"}


def test_mixed_origins_are_refused_unless_allowed(tmp_path):
    later = START_MS + 700 * INTERVAL_MS
    rows = [sample_rows("A", 700, origin="migrated"), sample_rows("A", 700, seed=3, start_ms=later)]
    write_store(tmp_path, pl.concat(rows), labels=label_rows(pl.concat(rows)))
    with pytest.raises(UsageError, match=r"\d+ live, 700 migrated"):
        prepare(tmp_path, SMALL)
    mixed = PrepareOptions(sequence_length=10, embargo_share=0.0, allow_mixed_origin=True)
    assert len(prepare(tmp_path, mixed).train)


def test_changed_data_are_noticed(project):
    prepare(project, SMALL)
    labels = label_rows(sample_rows("NEWUSDT", N))
    extra = sample_rows("4USDT", 3, seed=9, start_ms=START_MS - HOUR_MS)
    write_store(project, extra, labels=labels)
    load_prepared(project)  # rows before the range and another symbol's labels are none of it
    late = sample_rows("4USDT", 1, seed=9, start_ms=START_MS + 15_000)
    write_store(project, late, labels=labels)
    with pytest.raises(UsageError, match="not those that were prepared"):
        load_prepared(project)


def test_another_schema_is_another_dataset(project):
    prepare(project, SMALL)
    path = project / "data/market/dataset.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(UsageError, match="under the schema market/1"):
        load_prepared(project)


def test_every_missing_step_is_named_with_the_command_that_does_it(tmp_path):
    with pytest.raises(UsageError, match="earmark collect market"):
        prepare(tmp_path, SMALL)
    with pytest.raises(UsageError, match="earmark prepare market"):
        load_prepared(tmp_path)
    rows = sample_rows("A", N)
    LabelSets(tmp_path / "data/feature_store").write("fixed-test", label_rows(rows), {"name": "fixed"})
    with pytest.raises(UsageError, match=r"No training data available.*earmark collect market"):
        prepare(tmp_path, SMALL)
    write_store(tmp_path, rows)
    with pytest.raises(UsageError, match=r"Future labels = None.*--horizons 300"):
        prepare(tmp_path, PrepareOptions(horizon_s=300))
    with pytest.raises(UsageError, match="Insufficient data"):
        prepare(tmp_path, PrepareOptions(sequence_length=N))


def test_unknown_labels_are_no_class(project):
    table = prepare(project, SMALL).train.table
    unknown = table.y < 0
    assert unknown.any() and np.isnan(table.movement[unknown]).all()
    assert np.isfinite(table.movement[~unknown]).all()
