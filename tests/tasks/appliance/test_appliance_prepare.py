"""Preparing a room: the tables' exact columns, what is sealed and stays so, all problems at once, the generic verbs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from appliance_recordings import EIGHT, noise, write_room
from click.testing import CliRunner

from earmark.cli.appliance.prepare import prepare as command
from earmark.cli.options import Invocation
from earmark.data.seal import LEDGER_FILE, SealedLabels, read_ledger
from earmark.data.show import SEALED, item_rows
from earmark.errors import SealError, UsageError
from earmark.tasks.appliance.prepare import Prepared, PrepareOptions, prepare
from earmark.tasks.appliance.protocols import folds
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.windows import Windowing
from earmark.tasks.project import Project

ROOM = Path(__file__).parents[4] / "shared/data/appliance_room"
SHORT = Windowing(2.0, 1.0)


def prepared(root: Path, **options: object) -> tuple[Project, Prepared]:
    """A room with windows of 2 s, so that short recordings do."""
    given = {"folder": root / "samples", "suffixes": ("wav",), "windowing": SHORT, **options}
    done = prepare(Project.open("appliance", root), PrepareOptions(**given))  # type: ignore[arg-type]
    return Project.open("appliance", root), done


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings of 60 s, one per cell."""
    return write_room(tmp_path_factory.mktemp("recorded"), EIGHT, 60.0, suffix=".wav")


@pytest.fixture
def room(tmp_path: Path, recorded: Path) -> Path:
    """A project of its own with these recordings."""
    shutil.copytree(recorded, tmp_path / "samples")
    return tmp_path


def windows_of(root: Path, split: str) -> pl.DataFrame:
    return Project.open("appliance", root).manifest.table.filter(pl.col("split") == split)


def test_the_tables_have_the_columns_of_the_format(room: Path) -> None:
    project, done = prepared(room, windowing=Windowing())
    files = pl.read_csv(room / "data/manifests/files.csv")
    assert files.columns == [
        *("path", "duration_sec", "sample_rate", "ac", "fridge", "state", "daypart", "recording_id")
    ]
    assert files["path"].to_list() == [f"samples/{stem}.wav" for stem in sorted(EIGHT)]
    assert files["state"].to_list() == ["both-off"] * 2 + ["fridge-on"] * 2 + ["ac-on"] * 4
    windows = pl.read_parquet(room / "data/manifests/windows.parquet")
    assert dict(windows.schema) == {
        **dict.fromkeys(("recording_id", "path"), pl.String),
        **dict.fromkeys(("start_sec", "end_sec", "rms"), pl.Float64),
        **dict.fromkeys(("ac", "fridge"), pl.Int64),
    }
    everything = pl.read_parquet(room / "data/manifests/windows_all.parquet")
    assert everything.columns == [*windows.columns, "outlier"]
    assert everything.height == 8 * 37 == project.manifest.table.height
    assert everything.filter(~pl.col("outlier")).drop("outlier").equals(windows)
    assert done.files[-1] == room / "data/appliance"
    assert any("cannot be told apart" in text for text in done.warnings)


def test_the_room_travels_and_the_task_takes_its_devices(tmp_path: Path) -> None:
    stems = [
        f"washer-{w}-fan-{f}-dryer-off-{d}" for w in ("on", "off") for f in ("on", "off") for d in ("a", "b")
    ]
    write_room(tmp_path / "samples", stems, 45.0, suffix=".wav")
    project, _ = prepared(
        tmp_path, pattern="auto", priority=("fan", "washer", "dryer"), masks=(("fan", "dryer"),)
    )
    assert project.task.classes == ("fan-on", "washer-on", "dryer-on", "all-off")
    read = Room.read(project)
    assert (read.pattern, read.devices.names) == (
        "washer-(on|off)-fan-(on|off)-dryer-(on|off)-(a|b)",
        ("washer", "fan", "dryer"),
    )
    assert read.devices.masks == (("fan", "dryer"),)
    assert Room.from_json(json.loads(json.dumps(read.to_json()))) == read
    assert project.manifest.table.select("washer", "fan", "dryer").schema == dict.fromkeys(
        ("washer", "fan", "dryer"), pl.Int64
    )


def test_tails_are_sealed_behind_a_gap_and_their_labels_open_only_on_the_record(room: Path) -> None:
    project, done = prepared(room)
    assert "same-recording test, optimistic" in done.seal
    test, purged, train = (windows_of(room, part) for part in ("test", "purged", "train"))
    assert test["start_sec"].min() == 30.0
    assert train["end_sec"].max() == 20.0
    assert purged["end_sec"].min() > 20.0
    assert (test.height, purged.height, train.height) == (8 * 29, 8 * 11, 8 * 19)
    for name in ("label", "ac", "fridge"):
        assert test[name].null_count() == test.height
        assert train[name].null_count() == 0
    assert not read_ledger(project.data_folder / LEDGER_FILE)
    opening = SealedLabels(project.data_folder).open(run="r", reason="test")
    told = {row["id"]: row for row in opening.rows}
    assert set(told) == set(test["id"])
    assert told["ac-on-fridge-off-day@30.000"]["label"] == "ac-on"
    assert (told["ac-on-fridge-off-day@30.000"]["ac"], told["ac-on-fridge-off-day@30.000"]["fridge"]) == (
        1,
        0,
    )
    assert [event["event"] for event in read_ledger(project.data_folder / LEDGER_FILE)] == ["open"]


def test_what_is_sealed_stays_so_by_content_through_other_names_windows_and_lengths(room: Path) -> None:
    project, _ = prepared(room)
    before = (project.manifest.hash, project.splits.hash)
    project, _ = prepared(room)
    assert (project.manifest.hash, project.splits.hash) == before
    old, new = (room / "samples" / f"ac-on-fridge-on-{name}.wav" for name in ("day", "day-7"))
    old.rename(new)
    with pytest.raises(SealError, match=r"--seal-sec 5 and --seal-gap-sec 0 would move .* --reseal REASON"):
        prepared(room, seal_s=5.0, gap_s=0.0)
    prepared(room, windowing=Windowing(3.0, 0.7), seal_s=30.0)
    assert windows_of(room, "train")["end_sec"].max() <= 20.0
    renamed = windows_of(room, "test").filter(pl.col("recording_id") == "ac-on-fridge-on-day-7")
    assert renamed["start_sec"].min() >= 30.0


def test_a_seal_is_given_up_only_on_the_record(room: Path) -> None:
    project, _ = prepared(room)
    with pytest.raises(SealError, match="--seal none would release"):
        prepared(room, seal="none")
    assert windows_of(room, "test").height
    _, done = prepared(room, seal="none", reseal_reason="figures of the earlier program")
    assert windows_of(room, "test").is_empty()
    assert done.seal.startswith("nothing is sealed")
    (event,) = read_ledger(project.data_folder / LEDGER_FILE)
    assert (event["event"], event["reason"]) == ("reseal", "figures of the earlier program")


def test_the_last_take_of_each_cell_is_sealed_whole_and_later_takes_train(tmp_path: Path) -> None:
    write_room(
        tmp_path / "samples", [f"{stem}{take}" for stem in EIGHT for take in ("", "-2")], 6.0, suffix=".wav"
    )
    _, done = prepared(tmp_path)
    assert "the last take of each cell" in done.seal
    assert set(windows_of(tmp_path, "test")["recording_id"]) == {f"{stem}-2" for stem in EIGHT}
    assert windows_of(tmp_path, "purged").is_empty()
    assert not done.warnings
    soundfile.write(tmp_path / "samples" / f"{EIGHT[0]}-10.wav", noise(6.0, seed=99), 16_000)
    prepared(tmp_path)
    assert set(windows_of(tmp_path, "test")["recording_id"]) == {f"{stem}-2" for stem in EIGHT}
    assert f"{EIGHT[0]}-10" in set(windows_of(tmp_path, "train")["recording_id"])


def test_all_problems_are_told_together_and_nothing_is_written(room: Path) -> None:
    samples = room / "samples"
    soundfile.write(samples / "ac-off-fridge-on-day.wav", noise(1.0), 16_000)
    (samples / f"{EIGHT[1]}-2.wav").write_bytes((samples / f"{EIGHT[1]}.wav").read_bytes())
    whole = (samples / f"{EIGHT[0]}.wav").read_bytes()
    (samples / f"{EIGHT[0]}.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(samples / "kitchen.wav", noise(9.0), 16_000)
    with pytest.raises(UsageError, match="4 problems") as refused:
        prepared(room)
    for part in (
        "`kitchen.wav` does not match",
        "expected at least one window",
        "hold the same bytes",
        "is cut short",
    ):
        assert part in str(refused.value)
    assert not (room / "data").exists()


def test_short_recordings_are_left_out_by_name_and_tails_that_leave_nothing_are_refused(room: Path) -> None:
    soundfile.write(room / "samples" / f"{EIGHT[0]}-2.wav", noise(1.0, seed=77), 16_000)
    _, done = prepared(room, skip_short=True, dry_run=True)
    assert len(done.skipped) == 1
    assert f"{EIGHT[0]}-2.wav" in done.skipped[0]
    assert not (room / "data").exists()
    with pytest.raises(UsageError, match="leave nothing to train of"):
        prepared(room, skip_short=True, seal_s=51.0)


@pytest.mark.parametrize("suffix", ["csv", "yaml"])
def test_a_table_of_labels_says_what_names_would(room: Path, suffix: str) -> None:
    project, _ = prepared(room)
    by_name = project.manifest.table.drop("take").sort("id")
    rows = pl.read_csv(room / "data/manifests/files.csv")
    table = room / f"labels.{suffix}"
    if suffix == "csv":
        rows.select(pl.col("path").alias("file"), "ac", "fridge", "daypart").write_csv(table)
    else:
        lines = (
            f"{r['path']}: {{ac: {r['ac']}, fridge: {r['fridge']}, daypart: {r['daypart']}}}"
            for r in rows.to_dicts()
        )
        table.write_text("\n".join(lines))
    project, _ = prepared(room, labels=table)
    assert project.manifest.table.drop("take").sort("id").equals(by_name)


def test_every_wrong_row_of_a_table_is_told(room: Path) -> None:
    table = room / "labels.csv"
    names = [f"samples/{stem}.wav" for stem in EIGHT[:3]]
    table.write_text(f"file,ac,fridge,daypart\n{names[0]},1,2,day\n{names[1]},1,0,\nnone.wav,1,0,day\n")
    with pytest.raises(UsageError, match="3 problems") as refused:
        prepared(room, labels=table)
    assert all(part in str(refused.value) for part in ("'2' where 0 or 1", "no daypart", "there is no file"))
    table.write_text("path,ac\n")
    with pytest.raises(UsageError, match="has no rows"):
        prepared(room, labels=table)


def test_the_two_tables_can_be_made_one_after_the_other(room: Path) -> None:
    prepared(room)
    at_once = (room / "data/manifests/windows.parquet").read_bytes()
    files = (room / "data/manifests/files.csv").read_bytes()
    prepared(room, only="files", files_manifest=room / "f.csv")
    assert (room / "f.csv").read_bytes() == files
    prepared(room, only="windows", files_manifest=room / "f.csv", windows_manifest=room / "w.parquet")
    assert (room / "w.parquet").read_bytes() == at_once
    wrong = files.replace(b",1,1,ac-on", b",1,1,fridge-on").replace(b"both-off", b"all-off")
    (room / "f.csv").write_bytes(wrong)
    with pytest.raises(UsageError, match="4 problems"):
        prepared(room, only="windows", files_manifest=room / "f.csv")


def test_ffmpegs_mix_of_stereo_is_louder_in_the_table_alone(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for number, stem in enumerate(EIGHT):
        stereo = np.stack([noise(50.0, seed=number)] * 2, axis=1)
        soundfile.write(tmp_path / "samples" / f"{stem}.wav", stereo, 16_000)
    levels = []
    for mono in (False, True):
        project, _ = prepared(tmp_path, ffmpeg_mono=mono)
        levels.append(pl.read_parquet(tmp_path / "data/manifests/windows.parquet")["rms"].to_numpy())
        assert project.manifest.table["channels"].unique().to_list() == [2]
        assert project.manifest.table["rms"].to_numpy().max() < levels[0].max() * 1.1
    assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(3.0103, abs=1e-4)


def test_the_general_verbs_work_on_a_room(room: Path) -> None:
    project, _ = prepared(room, windowing=Windowing(6.0, 3.0))
    level = project.task.features("level")
    table = project.extract(level.groups, list(project.manifest)[:5], workers=0)
    assert not table.failures
    rms = table.values[:, list(table.columns).index("appliance.level.rms")]
    assert rms == pytest.approx(project.manifest.table["rms"].to_numpy()[:5], rel=1e-5)
    rows = item_rows(project.manifest, project.splits)
    assert {row["label"] for row in rows if row["split"] == "test"} == {SEALED}
    assert {row["label"] for row in rows if row["split"] == "train"} == {"ac-on", "fridge-on", "both-off"}


def test_the_command_prepares_and_its_options_exclude_each_other(room: Path) -> None:
    def run(*args: str) -> tuple[object, str]:
        said = CliRunner().invoke(
            command, args, obj=Invocation(folder=room, format="json", quiet=True), standalone_mode=False
        )
        if said.exception is not None:
            return said.exception, ""
        return said.return_value, said.stdout

    code, out = run("--ext", "wav", "--window-s", "2", "--hop-s", "1", "--mask", "none")
    document = json.loads(out)
    assert code == 0
    assert (document["devices"], document["masks"]) == (["ac", "fridge"], [])
    assert len(document["recordings"]) == 8
    for args, told in (
        (("--legacy-names", "--pattern", "auto"), "each say how states are told"),
        (("--device-name", "fan"), "belongs to --segments"),
        (("--target-sr", "44100"), "expected 16000"),
        (("--mask", "ac"), "expected BY:HIDES"),
        ((str(room / "none"),), "there is no folder"),
    ):
        error, _ = run(*args)
        assert isinstance(error, UsageError), error
        assert told in str(error)


@pytest.mark.slow
@pytest.mark.skipif(not ROOM.is_dir(), reason="the recordings of a real room lie beside the checkout")
def test_eight_real_recordings_give_928_windows(tmp_path: Path) -> None:
    project, done = prepared(tmp_path, folder=ROOM, suffixes=("m4a",), windowing=Windowing(), seal="none")
    assert pl.read_parquet(tmp_path / "data/manifests/windows.parquet").height == 928
    assert {(row["windows"], row["outliers"]) for row in done.rows} == {(117, 1)}
    (fold,) = folds(project.manifest.table, "single")
    assert (len(fold.train), len(fold.select)) == (464, 464)
