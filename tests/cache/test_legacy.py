"""Import of the earlier program's folder, from pickles made here in each shape that it may have."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from earmark.cache.entries import FeatureCache
from earmark.cache.legacy import LegacyFolder, import_rows, read_folder, read_table
from earmark.cache.records import IMPORTED_GROUP
from earmark.errors import CacheError

NAMES = {10: tuple(f"fast_{index}" for index in range(10)), 51: tuple(f"full_{index}" for index in range(51))}
LABELS = ("yellow", "green", "purple")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class FastZoneFeatures:
    """The earlier program's class, as far as pickle sees it."""

    def __init__(self, values: np.ndarray) -> None:
        for name, value in zip(NAMES[10], values, strict=True):
            setattr(self, name, value)
        self.version = "fast"


def vectors(count: int, width: int = 10) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((count, width), np.float32))


def table(values: list[object]) -> dict[str, list[object]]:
    return {
        "audio_path": [f"/old/music/{index}.mp3" for index in range(len(values))],
        "zone_label": [LABELS[index % 3] for index in range(len(values))],
        "features_list": values,
    }


def rows_of(columns: dict[str, list[object]]) -> list[dict[str, object]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


ELEMENTS = {
    "lists": lambda vector: [float(value) for value in vector],
    "tuples": lambda vector: tuple(float(value) for value in vector),
    "arrays": lambda vector: vector,
    "numpy numbers": lambda vector: [np.float32(value) for value in vector],
    "objects": FastZoneFeatures,
    "dictionaries": lambda vector: dict(zip(NAMES[10], vector.tolist(), strict=True)),
}
TABLES = {
    "columns": lambda columns: columns,
    "array columns": lambda columns: {**columns, "audio_path": np.array(columns["audio_path"], dtype=object)},
    "rows": rows_of,
    "tuples": lambda columns: list(zip(*columns.values(), strict=True)),
    "rows by name": lambda columns: dict(enumerate(rows_of(columns))),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("shape", TABLES)
def test_tables_of_every_shape(tmp_path: Path, shape: str, element: str, protocol: int) -> None:
    expected = vectors(4)
    content = TABLES[shape](table([ELEMENTS[element](vector) for vector in expected]))
    rows, problems = read_table(write(tmp_path, content, protocol), NAMES)
    assert problems == []
    assert [row.audio_path for row in rows] == [f"/old/music/{index}.mp3" for index in range(4)]
    assert [row.zone_label for row in rows] == ["yellow", "green", "purple", "yellow"]
    assert all(row.columns == NAMES[10] for row in rows)
    np.testing.assert_allclose([row.values for row in rows], expected, rtol=1e-7)


@dataclasses.dataclass
class Global:
    """Pickles as the name of a global that need not exist."""

    module: str
    name: str


@dataclasses.dataclass
class Made:
    """Pickles as an object of pandas does: a call, or a new object when there are no arguments, and a state."""

    function: Global
    arguments: tuple[object, ...] = ()
    state: object = None


class FramePickler(pickle._Pickler):
    """Writes `Global` and `Made` by name, so that pandas is not needed."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 - as the base class has it

    def save_by_name(self, place: Global) -> None:
        self.save(place.module)
        self.save(place.name)
        self.write(pickle.STACK_GLOBAL)

    def save_made(self, made: Made) -> None:
        self.save(made.function)
        self.save(made.arguments)
        self.write(pickle.REDUCE if made.arguments else pickle.NEWOBJ)
        if made.state is not None:
            self.save(made.state)
            self.write(pickle.BUILD)

    dispatch[Global] = save_by_name
    dispatch[Made] = save_made


def frame(columns: dict[str, list[object]], layout: str) -> object:
    """A data frame as pandas 2 (``blocks``) and pandas 1 (``state``) pickle it, without pandas."""
    values = np.empty((len(columns), len(columns["audio_path"])), dtype=object)
    for line, column in zip(values, columns.values(), strict=True):
        for place, item in enumerate(column):
            line[place] = item
    index = Global("pandas.core.indexes.base", "Index")
    new_index = Global("pandas.core.indexes.base", "_new_Index")
    axis = Made(new_index, (index, {"data": np.array(list(columns), dtype=object), "name": None}))
    rows = Made(
        new_index, (Global("pandas.core.indexes.range", "RangeIndex"), {"start": 0, "stop": 3, "step": 1})
    )
    manager_class = Global("pandas.core.internals.managers", "BlockManager")
    if layout == "blocks":
        unpickle = Global("pandas._libs.internals", "_unpickle_block")
        manager = Made(
            manager_class, ((Made(unpickle, (values, slice(0, len(columns), 1), 2)),), [axis, rows])
        )
    else:
        blocks = [{"values": values, "mgr_locs": np.arange(len(columns))}]
        state = ([axis, rows], [values], [axis], {"0.14.1": {"axes": [axis, rows], "blocks": blocks}})
        manager = Made(manager_class, (), state)
    state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}}
    return Made(Global("pandas.core.frame", "DataFrame"), (), state)


@pytest.mark.parametrize("layout", ["blocks", "state"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_data_frames_without_pandas(tmp_path: Path, layout: str, element: str) -> None:
    expected = vectors(3)
    content = frame({"track": [1, 2, 3], **table([ELEMENTS[element](vector) for vector in expected])}, layout)
    with (tmp_path / "features.pkl").open("wb") as file:
        FramePickler(file, 4).dump(content)
    rows, problems = read_table(tmp_path / "features.pkl", NAMES)
    assert problems == []
    assert [row.zone_label for row in rows] == list(LABELS)
    np.testing.assert_allclose([row.values for row in rows], expected, rtol=1e-7)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_real_data_frames(tmp_path: Path, protocol: int) -> None:
    pandas = pytest.importorskip("pandas")
    expected = vectors(5)
    content = pandas.DataFrame({"n": range(5), **table([FastZoneFeatures(vector) for vector in expected])})
    rows, problems = read_table(write(tmp_path, content, protocol), NAMES)
    assert problems == []
    np.testing.assert_allclose([row.values for row in rows], expected, rtol=1e-7)


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = vectors(1)[0].tolist()
    content = table([good, good[:7], ["a"] * 10, None, {"only": 1.0}, object, good])
    content["features_list"][5] = [*good[:9], [1.0]]
    content["audio_path"][6] = None
    rows, problems = read_table(write(tmp_path, content), NAMES)
    assert [row.audio_path for row in rows] == ["/old/music/0.mp3"]
    assert [problem.row for problem in problems] == [1, 2, 3, 4, 5, 6]
    assert "7 features, expected one of 10, 51" in problems[0].reason


@pytest.mark.parametrize("content", [3, [1, 2], {"audio_path": []}, "text", [{"path": "x"}], None])
def test_what_is_not_a_table_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(CacheError, match="features.pkl"):
        read_table(write(tmp_path, content), NAMES)


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("shape", TABLES)
def test_a_hostile_table_is_refused_and_not_run(tmp_path: Path, shape: str) -> None:
    marker = tmp_path / "marker"
    content = TABLES[shape](table([vectors(1)[0].tolist(), Hostile(marker)]))
    with pytest.raises(CacheError, match=r"(posix|nt)\.system"):
        read_folder(write(tmp_path, content).parent, NAMES)
    assert not marker.exists()


def test_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path, table([*vectors(4), *vectors(2, 51)]))
    checkpoints = {
        "xgb_best": {
            "epoch": 3,
            "algorithm": "xgboost",
            "metrics": {"accuracy": 0.61},
            "timestamp": "2024-05-01T10:00:00",
            "model_path": "models/checkpoints/xgboost_epoch_3_20240501_100000.pkl",
        },
        "broken": {"epoch": "none", "algorithm": "x"},
    }
    history = {
        "xgboost": {"epochs": [1, 2, 3], "metrics": {"accuracy": [0.5, 0.6, 0.61], "note": ["a", "b"]}},
        "neural": "nothing",
    }
    (tmp_path / "checkpoint_metadata.json").write_text(json.dumps(checkpoints))
    (tmp_path / "training_history.json").write_text(json.dumps(history))
    model = tmp_path / "xgboost_epoch_3_20240501_100000.pkl"
    model.write_bytes(pickle.dumps(Hostile(tmp_path / "marker")))
    folder = read_folder(tmp_path, NAMES)
    assert folder.lengths == {10: 4, 51: 2}
    assert folder.labels == {"green": 2, "purple": 2, "yellow": 2}
    (checkpoint,) = folder.checkpoints
    assert (checkpoint.name, checkpoint.epoch, checkpoint.metrics) == ("xgb_best", 3, {"accuracy": 0.61})
    assert folder.history == {"xgboost": {"epochs": (1.0, 2.0, 3.0), "accuracy": (0.5, 0.6, 0.61)}}
    assert folder.model_files == (model.name,)
    assert [problem.place for problem in folder.problems] == [
        "checkpoint_metadata.json: broken",
        "training_history.json: xgboost.note",
        "training_history.json: neural",
    ]
    assert not (tmp_path / "marker").exists()


def test_a_folder_without_the_table_or_with_broken_json(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no features.pkl"):
        read_folder(tmp_path, NAMES)
    write(tmp_path, table(vectors(2)))
    (tmp_path / "training_history.json").write_text("{")
    with pytest.raises(CacheError, match="not JSON"):
        read_folder(tmp_path, NAMES)


@pytest.fixture
def legacy(tmp_path: Path) -> LegacyFolder:
    """40 rows, of which the recordings 0 to 29 are at hand in ``new``."""
    (tmp_path / "new").mkdir()
    for index in range(30):
        (tmp_path / "new" / f"{index}.mp3").write_bytes(f"recording {index}".encode())
    write(tmp_path, table(vectors(40)))
    return read_folder(tmp_path, NAMES)


def locate_in(folder: Path):
    def locate(path: str) -> Path | None:
        found = folder / Path(path).name
        return found if found.exists() else None

    return locate


def test_rows_are_imported_after_a_sample_agrees(tmp_path: Path, legacy: LegacyFolder) -> None:
    cache = FeatureCache(tmp_path / "cache")
    compared: list[str] = []

    def recompute(rows, paths):
        compared.extend(row.audio_path for row in rows)
        assert [path.name for path in paths] == [Path(row.audio_path).name for row in rows]
        fresh = [row.values * np.float32(1 + 1e-6) for row in rows]
        for vector in fresh:
            vector[4] = np.nan  # a formula that has changed since
        return fresh

    report = import_rows(cache, legacy, locate_in(tmp_path / "new"), recompute, tolerance=1e-4)
    assert (report.imported, report.refused, report.compared, len(compared)) == (30, False, 5, 5)
    assert [problem.place for problem in report.problems] == [
        f"/old/music/{index}.mp3" for index in range(30, 40)
    ]
    (record,) = cache.records(IMPORTED_GROUP)
    assert record.columns == NAMES[10]
    identity = cache.identify(tmp_path / "new" / "7.mp3")
    np.testing.assert_array_equal(cache.get_many(record.digest, [identity])[0], legacy.rows[7].values)
    assert {group.group for group in cache.stats().groups} == {IMPORTED_GROUP}
    json.dumps(dataclasses.asdict(report))


def test_one_mismatch_refuses_the_import(tmp_path: Path, legacy: LegacyFolder) -> None:
    cache = FeatureCache(tmp_path / "cache")

    def recompute(rows, paths):
        fresh = [row.values.copy() for row in rows]
        fresh[2][6] += 0.01
        return fresh

    report = import_rows(cache, legacy, locate_in(tmp_path / "new"), recompute, tolerance=1e-4)
    assert (report.imported, report.refused) == (0, True)
    assert [found.column for found in report.differences] == ["fast_6"]
    assert cache.stats().entries == 0
    assert cache.records() == []


def test_without_recordings_nothing_is_imported(tmp_path: Path, legacy: LegacyFolder) -> None:
    with pytest.raises(CacheError, match="None of the 40 rows"):
        import_rows(
            FeatureCache(tmp_path / "cache"), legacy, lambda path: None, lambda rows, paths: [], tolerance=0.0
        )


def test_vectors_of_two_lengths_become_two_versions(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for index in range(12):
        (tmp_path / "new" / f"{index}.mp3").write_bytes(bytes([index]))
    write(tmp_path, table([*vectors(6), *vectors(6, 51)]))
    cache = FeatureCache(tmp_path / "cache")
    report = import_rows(
        cache,
        read_folder(tmp_path, NAMES),
        locate_in(tmp_path / "new"),
        lambda rows, paths: [row.values for row in rows],
        tolerance=0.0,
    )
    assert sorted(report.fingerprints.values()) == [6, 6]
    assert {len(record.columns) for record in cache.records(IMPORTED_GROUP)} == {10, 51}
