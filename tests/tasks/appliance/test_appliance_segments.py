"""Recordings with switches: labels against the truth of each sample, whole scenes sealed, all problems at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from appliance_recordings import noise
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.prepare import PrepareOptions, prepare
from earmark.tasks.appliance.protocols import folds
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.segments import on_share, on_within, read_scenes
from earmark.tasks.appliance.windows import Windowing
from earmark.tasks.project import Project

SCENES = Path(__file__).parents[4] / "shared/data/appliance"
N_SCENES, SECONDS = 10, 20.0
ON = {f"s{n}.wav": [(2.0 + n / 4, 7.5), (9.0, 15.25)] for n in range(N_SCENES - 1)}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Ten scenes of five sources; in the last one the machine never runs."""
    for n in range(N_SCENES):
        soundfile.write(tmp_path / f"s{n}.wav", noise(SECONDS, rate=16_000, seed=n), 16_000)
    rows = [f"{file},{on},{off}" for file, spans in ON.items() for on, off in spans]
    (tmp_path / "on.csv").write_text("file,on,off\n" + "\n".join(rows) + "\n")
    table = [f"s{n}.wav,{'fan' if n % 2 else 'pump'},src{n // 2},{n - 3}" for n in range(N_SCENES)]
    (tmp_path / "table.csv").write_text("file,machine,machine_src,snr_db\n" + "\n".join(table) + "\n")
    return tmp_path


def prepared(root: Path, **options: object) -> Project:
    given = {
        "segments": root / "on.csv",
        "table": root / "table.csv",
        "windowing": Windowing(2.0, 0.5),
        **options,
    }
    prepare(Project.open("appliance", root), PrepareOptions(folder=root, **given))  # type: ignore[arg-type]
    return Project.open("appliance", root)


@given(
    edges=st.lists(st.integers(0, 100), min_size=0, max_size=8, unique=True),
    start=st.integers(0, 90),
    length=st.integers(1, 20),
)
def test_the_share_of_a_window_is_that_of_its_samples(edges: list[int], start: int, length: int) -> None:
    edges = sorted(edges)[: len(edges) // 2 * 2]
    spans = tuple((float(on), float(off)) for on, off in zip(edges[::2], edges[1::2], strict=True))
    truth = np.zeros(200, dtype=bool)
    for on, off in spans:
        truth[int(on) : int(off)] = True
    window = truth[start : start + length]
    assert on_share(spans, start, start + length) == pytest.approx(window.mean())
    assert (on_share(spans, start, start + length) in (0.0, 1.0)) == (window.all() or not window.any())
    inside = on_within(spans, start, start + length)
    assert sum(off - on for on, off in inside) == window.sum()


def test_windows_with_a_switch_have_no_label_and_their_times_tell_the_second(scenes: Path) -> None:
    table = prepared(scenes, seal="none").manifest.table
    for row in table.iter_rows(named=True):
        spans = ON.get(f"{row['recording_id']}.wav", [])
        on = sum(max(0.0, min(off, row["end_sec"]) - max(begin, row["start_sec"])) for begin, off in spans)
        assert row["part_on"] == pytest.approx(on / 2.0)
        expected = {1.0: ("machine-on", 1), 0.0: ("machine-off", 0)}.get(row["part_on"], (None, None))
        assert (row["label"], row["machine"]) == expected
        assert sum(row["on_spans"][1::2]) - sum(row["on_spans"][::2]) == pytest.approx(on)
    assert not table["outlier"].any()  # the loudest windows are those to learn
    assert table["machine_kind"].unique().sort().to_list() == ["fan", "pump"]
    assert table.schema["snr_db"] == pl.Float64
    (never,) = table.filter(pl.col("recording_id") == "s9")["part_on"].unique().to_list()
    assert never == 0.0


def test_whole_scenes_are_sealed_in_proportion_and_nothing_tells_their_switches(scenes: Path) -> None:
    project = prepared(scenes)
    table = project.manifest.table
    test, train = (table.filter(pl.col("split") == part) for part in ("test", "train"))
    assert test["recording_id"].n_unique() == 2
    assert sorted(test["machine_kind"].unique()) == ["fan", "pump"]
    assert not set(test["recording_id"]) & set(train["recording_id"])
    for column in ("label", "machine", "part_on", "on_spans"):
        assert test[column].null_count() == test.height
    assert prepared(scenes).splits.hash == project.splits.hash
    for fold in folds(table, "groups", n_folds=3, group_on="machine_src"):
        sides = [set(table["machine_src"].to_numpy()[side]) for side in (fold.train, fold.select, fold.score)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert table["label"][fold.train].null_count() == 0


def test_the_seal_keeps_when_the_machine_switched(scenes: Path) -> None:
    whole = prepared(scenes, seal="none").manifest.table
    for name in ("sealed.parquet", "splits.parquet", "manifest.parquet", "devices.json"):
        (scenes / "data/appliance" / name).unlink()
    project = prepared(scenes)
    opening = project.sealed.open(run="r", reason="test")
    assert all(row["label"] is not None for row in opening.rows) and opening.unlabelled
    behind = {row["id"]: row["on_spans"] for row in (*opening.rows, *opening.unlabelled)}
    told = dict(whole.select("id", "on_spans").iter_rows())
    assert behind == {id: told[id] for id in project.splits.test_ids}


def test_sealed_sources_do_not_train(scenes: Path) -> None:
    table = prepared(scenes).manifest.table
    sources = {part: set(table.filter(pl.col("split") == part)["machine_src"]) for part in ("train", "test")}
    assert sources["test"]
    assert not sources["train"] & sources["test"]


def test_the_machine_has_the_name_that_is_given_or_the_only_one_of_the_table(scenes: Path) -> None:
    project = prepared(scenes, device_name="motor")
    assert Room.read(project).devices.names == ("motor",)
    assert project.task.classes == ("motor-on", "motor-off")
    assert {"motor", "machine"} <= set(project.manifest.table.columns)
    table = (scenes / "table.csv").read_text().replace("pump", "fan")
    (scenes / "table.csv").write_text(table)
    assert read_scenes(scenes / "on.csv", scenes / "table.csv")[1] == "fan"
    assert read_scenes(scenes / "on.csv")[1] == "machine"


def test_everything_wrong_in_the_tables_is_told_together(scenes: Path) -> None:
    with (scenes / "on.csv").open("a") as file:
        file.write("s0.wav,7.0,8.0\ns9.wav,19,21\ns9.wav,5,x\ns9.wav,6,5\nother.wav,1,2\n")
    with (scenes / "table.csv").open("a") as file:
        file.write("gone.wav,fan,src1,3\n")
    with pytest.raises(UsageError, match="6 problems") as refused:
        prepared(scenes)
    for part in (
        "`s0.wav` has overlapping segments at 7 s",
        "`s9.wav`: a segment ends at 21 s, the recording at 20.00 s",
        "could not convert",
        "expected 0 <= on < off",
        "`other.wav` has segments and is not in table.csv",
        "there is no file",
    ):
        assert part in str(refused.value)
    (scenes / "table.csv").write_text("file,label\ns0.wav,fan\n")
    with pytest.raises(UsageError, match="columns label, which the manifest uses"):
        read_scenes(scenes / "on.csv", scenes / "table.csv")
    (scenes / "on.csv").write_text("file,on\ns0.wav,1\n")
    with pytest.raises(UsageError, match="off is missing"):
        read_scenes(scenes / "on.csv")


@pytest.mark.skipif(not SCENES.is_dir(), reason="the scenes lie beside the checkout")
def test_real_scenes_are_read_with_their_machines(tmp_path: Path) -> None:
    found, device, problems = read_scenes(SCENES / "on_segments.csv", SCENES / "manifest.csv")
    assert (len(found), device, problems) == (24, "machine", ())
    for scene in found:
        on_s = sum(off - on for on, off in scene.on_spans)
        assert on_s == pytest.approx(scene.free["on_seconds"], abs=0.11)
