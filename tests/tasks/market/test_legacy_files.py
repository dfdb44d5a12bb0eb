"""The legacy layout to the byte, batch numbers that never overwrite, and labels in its json files."""

from __future__ import annotations

import json
import struct
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from legacy_samples import START, features, old_batch, samples, stub

from earmark.errors import InputError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.tasks.market.labels.label import LabelRequest
from earmark.tasks.market.labels.rules import Fixed
from earmark.tasks.market.labels.series import Horizon
from earmark.tasks.market.legacy.labelling import label_folder
from earmark.tasks.market.legacy.layout import BatchFiles, find_batches
from earmark.tasks.market.legacy.reader import read_batch
from earmark.tasks.market.legacy.writer import LegacyWriter

NEW_YEAR = datetime(2025, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_the_files_of_a_batch_are_these_bytes(tmp_path):
    array = features(2)
    rows = samples(2)
    rows[0] |= {"future_direction_10s": 0, "future_movement_10s": -0.002, "spread": float("nan")}
    batch = LegacyWriter(tmp_path).write("4USDT", array, rows, saved=NEW_YEAR)
    assert str(batch.features.relative_to(tmp_path)) == "4USDT/features/2025-01-01_batch_0001.npy"
    data = batch.features.read_bytes()
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 112), }"
    size = struct.unpack("<H", data[8:10])[0]
    assert data[:8] == b"\x93NUMPY\x01\x00"
    assert data[10 : 10 + size] == header.ljust(size - 1) + b"\n"
    assert (10 + size) % 64 == 0
    assert data[10 + size :] == array.tobytes()
    assert batch.labels.read_text().startswith(
        '[\n  {\n    "future_direction_10s": -1,\n    "future_direction_30s": null,\n'
        '    "future_direction_60s": null,\n'
        '    "future_movement_10s": -0.002,\n    "future_movement_30s": null,\n    "future_movement_60s": null,\n'
        f'    "timestamp": {START},\n    "current_mid_price": '
    )
    stubs, metadata = json.loads(batch.labels.read_text()), json.loads(batch.metadata.read_text())
    assert [len(one) for one in stubs] == [12, 12]
    assert stubs[1]["future_direction_10s"] is None
    assert metadata["batch_info"] == {
        "symbol": "4USDT",
        "batch_number": 1,
        "sample_count": 2,
        "timestamp": "2025-01-01T00:00:05+00:00",
        "feature_shape": [2, 112],
    }
    assert list(metadata["samples"][0]) == [
        "timestamp", "symbol", "mid_price", "spread", "imbalance",
        "signal_type", "signal_confidence", "signal_strength", "feature_count",
    ]  # fmt: skip
    assert metadata["samples"][0]["mid_price"] == rows[0]["current_mid_price"]
    assert metadata["samples"][0]["spread"] is None
    manifest = json.loads((tmp_path / "4USDT/_manifest.json").read_text())
    assert (manifest["coding"], manifest["batches"]["2025-01-01_batch_0001"]["width"]) == ("-1/0/1", 112)


def test_a_restart_on_the_same_day_goes_on_counting(tmp_path):
    for day in (1, 1, 2):
        LegacyWriter(tmp_path).write("A", features(1), samples(1), saved=NEW_YEAR.replace(day=day))
    names = [batch.name for batch in find_batches(tmp_path)]
    assert names == ["2025-01-01_batch_0001", "2025-01-01_batch_0002", "2025-01-02_batch_0001"]
    (tmp_path / "A/features/2025-01-01_batch_0002.npy").unlink()  # a crash between labels and features
    batch = LegacyWriter(tmp_path).write("A", features(1), samples(1), saved=NEW_YEAR)
    assert batch.number == 3


def test_writers_at_the_same_time_take_different_numbers(tmp_path):
    def write():
        for _ in range(5):
            LegacyWriter(tmp_path).write("A", features(1), samples(1), saved=NEW_YEAR)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [batch.number for batch in find_batches(tmp_path)] == list(range(1, 21))
    assert len(json.loads((tmp_path / "A/_manifest.json").read_text())["batches"]) == 20


def test_what_was_written_is_read_again(tmp_path):
    array, rows = features(3), samples(3)
    for row, direction in zip(rows, (0, 1, 2), strict=True):
        row["future_direction_30s"] = direction
    batch = read_batch(LegacyWriter(tmp_path).write("A", array, rows))
    assert np.array_equal(batch.rows.select(FEATURE_NAMES).to_numpy(), array)
    assert batch.rows["timestamp"].to_list() == [row["timestamp"] for row in rows]
    assert batch.rows["current_mid_price"].to_list() == [row["current_mid_price"] for row in rows]
    assert batch.labels["future_direction_30s"].to_list() == [0, 1, 2]
    assert set(batch.labels["label_status_10s"]) == {"gap"}


def test_an_old_batch_lacks_aroon_and_times_and_calls_signals_otherwise(tmp_path):
    meta = [{"timestamp": START / 1000 + i, "signal": "BUY", "mid_price": 99.0} for i in range(2)]
    meta.append({"timestamp": "2025-01-01T00:00:00Z"})
    old_batch(tmp_path, "A", "2025-01-01_batch_0001", [stub(), stub(), stub()], meta, features(3, 110))
    rows = read_batch(find_batches(tmp_path)[0]).rows
    assert rows["timestamp"].to_list() == [START, START + 1000, 1_735_689_600_000]
    assert rows["aroon_up"].null_count() == rows["aroon_down"].null_count() == 3
    assert rows["signal_type"].to_list() == ["BUY", "BUY", None]


@pytest.mark.parametrize("time", [0, float("nan"), "yesterday", 1_000_000_000, None, True])
def test_a_row_without_a_time_is_rejected_alone(tmp_path, time):
    stubs = [stub(START), stub(time)]
    old_batch(tmp_path, "A", "2025-01-01_batch_0001", stubs, [{}, {}], features(2))
    batch = read_batch(find_batches(tmp_path)[0])
    assert (len(batch.rows), len(batch.rejected)) == (1, 1)
    assert batch.rejected[0].startswith("row 1: its time is")


def _whole(root) -> BatchFiles:
    return LegacyWriter(root).write("A", features(2), samples(2))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda b: b.features.unlink(), "is missing"),
        (lambda b: b.labels.unlink(), "is missing"),
        (lambda b: b.features.write_bytes(b.features.read_bytes()[:-4]), "not a readable npy"),
        (lambda b: b.metadata.write_bytes(b"{"), "not readable JSON"),
        (lambda b: b.labels.write_text("[1, 2]"), "no list of samples"),
        (lambda b: b.labels.write_text("[{}]"), "expected equal counts"),
        (lambda b: np.save(b.features, features(2, 111)), "expected floats of shape"),
        (lambda b: np.save(b.features, np.array([[object()]]), allow_pickle=True), "not a readable npy"),
    ],
)
def test_a_broken_batch_is_refused_with_its_reason(tmp_path, spoil, reason):
    batch = _whole(tmp_path)
    spoil(batch)
    with pytest.raises(InputError, match=reason):
        read_batch(batch)


def test_a_direction_that_the_coding_does_not_have_is_refused(tmp_path):
    old_batch(tmp_path, "A", "2025-01-01_batch_0001", [stub(START, 2)], [{}], features(1))
    batch = find_batches(tmp_path)[0]
    with pytest.raises(InputError, match="direction 2"):
        read_batch(batch)
    assert read_batch(batch, "0/1/2").labels["future_direction_60s"].to_list() == [2]


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    for array, n in ((features(2), 1), (features(1, 50), 1), (features(0), 0)):
        with pytest.raises(UsageError, match="expected"):
            LegacyWriter(tmp_path).write("A", array, samples(n))
    with pytest.raises(UsageError):
        LegacyWriter(tmp_path).write("../A", features(1), samples(1))


def _prices(tmp_path):
    for start, prices in ((0, [100.0, 101.0]), (60_000, [100.0, 100.05])):
        rows = samples(2, START + start)
        for row, price in zip(rows, prices, strict=True):
            row["current_mid_price"] = price
        LegacyWriter(tmp_path / "in").write("A", features(2), rows)
    return tmp_path / "in", LabelRequest(rule=Fixed(), horizons=(Horizon(30), Horizon(10)), source="samples")


def test_labels_in_json_files_reach_over_batches(tmp_path):
    source, request = _prices(tmp_path)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    report = label_folder(source, request, output=tmp_path / "out")
    found = [
        stub for path in sorted((tmp_path / "out").rglob("*.json")) for stub in json.loads(path.read_text())
    ]
    assert [one["future_direction_30s"] for one in found] == [1, -1, 0, None]
    assert [one["future_direction_10s"] for one in found] == [None] * 4  # never possible at 30 s
    assert (report.files, report.rows) == (2, 4)
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


def test_labelling_in_place_keeps_the_original(tmp_path):
    source, request = _prices(tmp_path)
    original = (source / "A/labels").glob("*0001.json").__next__().read_bytes()
    for _ in range(2):
        label_folder(source, request, in_place=True)
    labels = sorted((source / "A/labels").iterdir())
    assert [path.name.split("_")[-1] for path in labels] == [
        "0001.json", "0001.json.backup", "0002.json", "0002.json.backup",
    ]  # fmt: skip
    assert labels[1].read_bytes() == original
    assert json.loads(labels[0].read_text())[1]["future_direction_30s"] == -1
    with pytest.raises(UsageError, match="not said once"):
        label_folder(source, request)
