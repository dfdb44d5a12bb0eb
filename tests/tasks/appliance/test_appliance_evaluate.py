"""`earmark evaluate appliance` on synthetic rooms: from a training to scores, report, gate and the opened seal."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from appliance_trained_room import room_project
from click.testing import CliRunner, Result
from sklearn.metrics import roc_auc_score

from earmark.audio.clip import Clip
from earmark.cli.appliance.evaluate import evaluate as command
from earmark.cli.options import Invocation
from earmark.data.ledger import LEDGER_FILE, read_ledger
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import GateError, RunError, UsageError
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.altered import ALTERATIONS, altered_scores, apart, with_added
from earmark.tasks.appliance.evaluation.evaluate import Options, evaluate_appliance
from earmark.tasks.appliance.evaluation.records import Record, compare
from earmark.tasks.appliance.evaluation.rivals import level_rule
from earmark.tasks.appliance.evaluation.scenes import ADAPTED, PLAIN, SMOOTHED, STREAMED
from earmark.tasks.appliance.evaluation.scored import read_scored
from earmark.tasks.appliance.evaluation.timing import natural_traces, steady_traces
from earmark.tasks.appliance.generator.scene import SyntheticRoom
from earmark.tasks.appliance.prepare import PrepareOptions, prepare
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
from earmark.tasks.appliance.thresholds.run import choose_for_run, unseen_rows
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train
from earmark.tasks.appliance.windows import Windowing
from earmark.tasks.project import Project
from earmark.training.runs import Run

Ask = Callable[..., Result]
RATE = 16_000


def with_thresholds(project: Project, run: Run, *, fits_decoder: bool = False) -> Run:
    """The run with its thresholds written."""
    chosen = choose_for_run(project, run, ChoiceSettings(), fits_decoder=fits_decoder)
    chosen.thresholds.write(run.path / THRESHOLDS_FILE)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """A model of levels, both directions of `swap`, with thresholds."""
    project = room_project(tmp_path_factory.mktemp("runs"))
    run = train(project, TrainSettings(model="level"), with_baselines=False).run
    return project, with_thresholds(project, run)


@pytest.fixture
def ask(trained: tuple[Project, Run], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The command on this room, in JSON."""
    monkeypatch.setattr("earmark.cli.options.open_project", lambda *_: trained[0])
    return lambda *args: CliRunner().invoke(command, list(args), obj=Invocation(format="json"))


def test_scores_are_those_of_the_table_of_unseen_windows(trained: tuple[Project, Run]) -> None:
    project, run = trained
    found = evaluate_appliance(project, run, Options(rivals=False, robustness=False, timing=False))
    table = run.out_of_fold()
    fridge = table.filter(pl.col("y_ac") == 0)
    scores = found.windows["fridge when ac is off"]
    assert scores["auroc"] == pytest.approx(roc_auc_score(fridge["y_fridge"], fridge["p_fridge"]))
    answers = unseen_rows(table, Detector.load(run))  # thresholds are for these
    on = answers["p_fridge"] >= found.thresholds.t["fridge"]
    assert found.windows["fridge"]["accuracy"] == pytest.approx((on == (table["y_fridge"] == 1)).mean())
    by_name = {row["recording_id"]: row for row in found.files.rows}
    for (name,), rows in answers.group_by("recording_id"):
        assert by_name[name]["p_ac"] == pytest.approx(np.median(rows["p_ac"].to_numpy()))
    assert [fold["fold"] for fold in found.folds] == ["day-to-night", "night-to-day"]


def test_headlines_keep_the_loud_windows(trained: tuple[Project, Run]) -> None:
    """Trap 20: scores without the trimmed windows stand beside those of all."""
    project, run = trained
    found = evaluate_appliance(project, run, Options(rivals=False, robustness=False, timing=False))
    scored = found.scored
    loud = pl.Series([at in (0, 30) for at in range(len(scored))])
    rows = replace(scored.rows, table=scored.rows.table.with_columns(outlier=loud))
    found = replace(found, scored=replace(scored, rows=rows))
    assert found.windows["ac"]["n"] == len(scored) == found.trimmed["ac"]["n"] + 2


def test_what_flatters_is_said(trained: tuple[Project, Run]) -> None:
    """Traps 4 and 23."""
    project, run = trained
    found = evaluate_appliance(project, run, Options(rivals=False, robustness=False, timing=False))
    assert any("selected on the same files" in note for note in found.notes)
    assert any("daypart = recording = background" in note for note in found.notes)
    for fold in found.folds:  # beside them: thresholds that the fold's own windows had no part in
        assert set(fold["files_by_other_folds"]["thresholds"]) == {"ac", "fridge"}


def test_the_level_rule_is_fitted_on_the_other_daypart_alone(trained: tuple[Project, Run]) -> None:
    project, run = trained
    scored = read_scored(project, run, "val", reason="")
    found = level_rule(project, scored)
    table = project.manifest.table.filter(~pl.col("outlier"))
    for row, fitted, asked in (
        (found.rows[0], "day", "night"),
        (found.rows[1], "night", "day"),
    ):
        part = table.filter(pl.col("daypart") == fitted)
        level, on = part["rms"].to_numpy(), part["ac"].to_numpy() == 1
        edges = np.unique(level)
        middles = (edges[1:] + edges[:-1]) / 2
        right = [((level > middle) == on).mean() for middle in middles]
        assert row["ac"]["threshold"] == pytest.approx(middles[int(np.argmax(right))])
        other = table.filter(pl.col("daypart") == asked)
        said = other["rms"].to_numpy() > row["ac"]["threshold"]
        assert row["ac"]["accuracy"] == pytest.approx((said == (other["ac"].to_numpy() == 1)).mean())


def test_sounds_are_added_at_their_ratio_and_silence_stays_silent() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(RATE).astype(np.float32) * 0.1
    for snr_db in (20.0, 0.0):
        heard = with_added(samples, rng.standard_normal(RATE), snr_db).astype(np.float64) - samples
        measured = 20 * np.log10(np.sqrt(np.mean(samples**2)) / np.sqrt(np.mean(heard**2)))
        assert measured == pytest.approx(snr_db, abs=0.01)
    assert not with_added(np.zeros(100, np.float32), np.ones(100), 0.0).any()


def test_altered_windows_do_not_overlap_and_are_altered_alike_each_time(trained: tuple[Project, Run]) -> None:
    project, run = trained
    scored = read_scored(project, run, "val", reason="")
    table = scored.rows.table[apart(scored).tolist()]
    for _, rows in table.group_by("recording_id"):
        assert (np.diff(rows["start_sec"].sort().to_numpy()) >= 6.0).all()
    few = scored.take(apart(scored, 2))
    t = {"ac": 0.5, "fridge": 0.5}
    first, again = (altered_scores(few, Detector.load(run), t, seed=3) for _ in range(2))
    assert first == again and len(first) == 3 * (1 + len(ALTERATIONS))
    shift = {row["alteration"]: row["shift"] for row in first if row["device"] == "ac"}
    assert shift["gain -6 dB"] < 0 < shift["gain +6 dB"]  # trap 6: level is what this model hears


@pytest.mark.slow
def test_every_file_is_right_and_nothing_is_told_of_steady_ones(tmp_path: Path) -> None:
    """At thresholds chosen on these very recordings, by a model that hears both devices."""
    project = room_project(tmp_path)
    run = train(project, TrainSettings(model="spectral"), with_baselines=False).run
    run = with_thresholds(project, run, fits_decoder=True)
    found = evaluate_appliance(project, run, Options(rivals=False))
    assert found.files.state_acc == 1.0 and found.files.f1 == pytest.approx(found.thresholds.f1, abs=1e-4)
    assert [fold["files"]["state_acc"] for fold in found.folds] == [1.0, 1.0]
    assert found.altered[0]["state_accuracy"] == 1.0  # the windows as recorded
    for one in found.timings:
        assert not one.steady.false_events, one.name
        assert one.steady.hours == pytest.approx(8 * 45 / 3600)
    own = found.timings[0]
    assert own.name == "hmm (chosen)" and not own.switching.n_missed and not own.switching.false_events


def test_steady_recordings_are_whole_traces(trained: tuple[Project, Run]) -> None:
    project, run = trained
    scored = read_scored(project, run, "val", reason="")
    traces = steady_traces(scored)
    assert len(traces) == 8 and all(trace.duration_s == 45.0 and trace.ends_s[0] == 6.0 for trace in traces)
    gap = scored.take(np.arange(len(scored)) != 5)  # a window is missing: two traces, none across the gap
    assert len(steady_traces(gap)) == 9


@pytest.mark.slow
def test_command_writes_a_page_that_holds_everything(
    ask: Ask, trained: tuple[Project, Run], tmp_path: Path
) -> None:
    _, run = trained
    histogram = tmp_path / "h.csv"
    result = ask("--no-robustness", "--hist-out", str(histogram), "--hist-bins", "10")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) >= {
        "task",
        "run",
        "split",
        "n",
        "metrics",
        "baselines",
        "per_class",
        "test_openings",
    }
    assert {"rms", "g1", "logmel256", "spectral"} <= set(document["baselines"])
    own = document["appliance"]
    assert [row["model"] for row in own["models"]].count("level (this run)") == 1
    worst = [row["state_worst_fold"] for row in own["models"]]
    assert worst == sorted(worst, reverse=True)
    assert own["time"][0]["decoder"] == "median (chosen)" and own["time"][0]["changes"] > 5
    assert own["time"][0]["steady_hours"] == pytest.approx(8 * 45 / 3600)
    rows = list(csv.DictReader(histogram.read_text().splitlines()))
    assert len(rows) == 20 and list(rows[0]) == [
        "label",
        "bin_start",
        "bin_end",
        "present_count",
        "absent_count",
    ]
    assert sum(int(row["present_count"]) + int(row["absent_count"]) for row in rows) == 2 * document["n"]
    page = (run.path / "report" / "report.html").read_text()
    assert "Nothing is sealed" in page and "sealed test set was not opened" not in page
    assert "= recording = background" in page and "data:image/png;base64," in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    for name in ("files.csv", "models.csv", "level_rule.csv", "decoders.csv", "metrics.json"):
        assert (run.path / "report" / name).is_file()


@pytest.mark.slow
def test_gate(ask: Ask, trained: tuple[Project, Run]) -> None:
    project, run = trained
    missing = ask("--quick", "--ci")
    assert isinstance(missing.exception, UsageError) and "--save" in str(missing.exception)
    assert ask("--quick", "--save").exit_code == 0
    assert ask("--quick", "--ci").exit_code == 0
    thresholds = run.path / THRESHOLDS_FILE
    kept = thresholds.read_text()
    deaf = re.sub(r"^(t_\w+): .*", r"\1: 1.0000", kept, flags=re.MULTILINE)  # nothing is ever on
    write_bytes_atomic(thresholds, deaf.encode())
    worse = ask("--quick", "--ci")
    assert isinstance(worse.exception, GateError) and "REGRESSION" in str(worse.exception)
    write_bytes_atomic(thresholds, kept.encode())
    (project.data_folder / "records" / "val.json").unlink()


@pytest.mark.parametrize(
    ("n", "lost", "is_worse"), [(8, 0, False), (8, 1, False), (8, 8, True), (3, 1, True), (3, 0, False)]
)
def test_worse_beyond_chance(n: int, lost: int, is_worse: bool) -> None:
    """One recording of eight may be chance; all of them are not; of three each one counts."""
    names = [f"r{i}" for i in range(n)]
    before = Record(
        "a",
        "val",
        {name: {f"{name}@{k}": True for k in range(10)} for name in names},
        dict.fromkeys(names, True),
    )
    now = Record(
        "b",
        "val",
        {name: {f"{name}@{k}": not (i < lost and k < 5) for k in range(10)} for i, name in enumerate(names)},
        {name: i >= lost for i, name in enumerate(names)},
    )
    found = compare(now, before)
    assert found.is_worse == is_worse
    assert found.difference == pytest.approx(-lost / 2 / n)
    assert (found.files_before, found.files_now) == (n, n - lost)


def test_what_trained_is_never_scored_and_thresholds_come_first(
    ask: Ask, trained: tuple[Project, Run]
) -> None:
    project, run = trained
    assert isinstance(ask("--part", "train").exception, UsageError)
    path = run.path / THRESHOLDS_FILE
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(RunError, match="earmark thresholds appliance --run"):
        evaluate_appliance(project, run)
    write_bytes_atomic(path, kept)
    with pytest.raises(UsageError, match="nothing is sealed"):
        evaluate_appliance(project, run, Options(split="test"))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """A room whose recordings each have a sealed end."""
    folder = tmp_path_factory.mktemp("sealed")
    room = SyntheticRoom(is_disturbed=False)
    (folder / "samples").mkdir()
    for number, (ac, fridge, daypart) in enumerate(product((False, True), (False, True), ("day", "night"))):
        heard = room.steady({"ac": ac, "fridge": fridge}, daypart, 60.0, np.random.default_rng(number))
        name = f"ac-{('off', 'on')[ac]}-fridge-{('off', 'on')[fridge]}-{daypart}.flac"
        soundfile.write(folder / "samples" / name, heard.samples, RATE)
    project = Project.open("appliance", folder, {"runs": str(folder / "runs"), "workers": 1})
    prepare(project, PrepareOptions(folder=folder / "samples", suffixes=("flac",), seal_s=15.0, gap_s=8.0))
    project = Project.open("appliance", folder, {"runs": str(folder / "runs"), "workers": 1})
    return project, with_thresholds(
        project, train(project, TrainSettings(model="level"), with_baselines=False).run
    )


def test_the_seal_is_opened_on_the_record_and_called_optimistic(sealed: tuple[Project, Run]) -> None:
    project, run = sealed
    ledger = project.data_folder / LEDGER_FILE
    evaluate_appliance(project, run, Options(rivals=False, robustness=False, timing=False))
    assert not ledger.exists() or not read_ledger(ledger)  # val leaves it closed
    found = evaluate_appliance(
        project, run, Options(split="test", rivals=False, robustness=False), reason="once"
    )
    events = [event for event in read_ledger(ledger) if event["event"] == "open"]
    assert len(events) == 1 and events[0]["run"] == run.name and events[0]["reason"] == "once"
    assert any("same-recording test, optimistic" in note for note in found.notes)
    test_ids = set(project.splits.test_ids)
    assert set(found.scored.ids) == test_ids and found.evaluation.test_openings == 1
    # the truth is that of the names, and the final model answers
    for name, y in zip(found.scored.rows.recordings, found.scored.rows.y, strict=True):
        assert y.tolist() == [int("ac-on" in name), int("fridge-on" in name)]
    assert found.windows["ac"]["accuracy"] == 1.0
    rule = level_rule(project, found.scored)
    assert [row["fold"] for row in rule.rows] == ["test"] and rule.rows[0]["ac"]["accuracy"] == 1.0
    assert found.to_json()["test_openings"] == 1


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """Ten recordings in which a blower goes on and off, of two kinds of level."""
    folder = tmp_path_factory.mktemp("scenes")
    room, segments, listed = SyntheticRoom(is_disturbed=False), [], []
    for number in range(10):
        on, off = 8.0 + number, 24.0 + number / 2
        heard = room.switching({"ac": ((on, off),), "fridge": ()}, "day", 40.0, np.random.default_rng(number))
        soundfile.write(folder / f"s{number}.flac", heard.samples, RATE)
        segments.append(f"s{number}.flac,{on},{off}")
        listed.append(f"s{number}.flac,blower,src{number // 2},{(0, 6)[number % 2]}")
    (folder / "on.csv").write_text("\n".join(["file,on,off", *segments]) + "\n")
    (folder / "table.csv").write_text("\n".join(["file,machine,machine_src,snr_db", *listed]) + "\n")
    project = Project.open("appliance", folder, {"runs": str(folder / "runs"), "workers": 1})
    options = PrepareOptions(
        folder=folder,
        segments=folder / "on.csv",
        table=folder / "table.csv",
        device_name="ac",
        windowing=Windowing(3.0, 1.0, RATE),
        seal="none",
    )
    prepare(project, options)
    project = Project.open("appliance", folder, {"runs": str(folder / "runs"), "workers": 1})
    settings = TrainSettings(model="level", protocol="groups", protocol_settings={"n_folds": 3})
    return project, with_thresholds(project, train(project, settings, with_baselines=False).run)


def test_recordings_with_switches_are_scored_by_the_second(scenes: tuple[Project, Run]) -> None:
    project, run = scenes
    found = evaluate_appliance(project, run, Options(rivals=False, robustness=False))
    overall = {row["way"]: row for row in found.second_rows if not row["by"]}
    assert set(overall) == {PLAIN, STREAMED, SMOOTHED, ADAPTED}
    assert all("offline" in way for way in (SMOOTHED, ADAPTED))
    assert (
        overall[PLAIN]["auroc"] > 0.95
        and overall[PLAIN]["low"] <= overall[PLAIN]["auroc"] <= overall[PLAIN]["high"]
    )
    by_snr = [row for row in found.second_rows if row["way"] == PLAIN and row["by"] == "snr_db"]
    assert [row["value"] for row in by_snr] == ["0.0", "6.0"]
    assert all(
        np.isnan(row["low"]) and row["recordings"] == 5 for row in by_snr
    )  # too few to claim an interval
    seconds = found.seconds
    assert seconds is not None
    first = seconds.recording == "s0"
    assert seconds.is_on[first].sum() == 16 and seconds.second[first][seconds.is_on[first]].min() == 8


def test_switches_of_recordings_are_found_where_the_table_says(scenes: tuple[Project, Run]) -> None:
    project, run = scenes
    traces = natural_traces(read_scored(project, run, "val", reason=""))
    assert len(traces) == 10
    told = sorted(tuple(trace.starts_s) for trace in traces)
    assert told == sorted((0.0, 8.0 + n, 24.0 + n / 2) for n in range(10))
    assert all([fact["ac"] for fact in trace.facts] == [False, True, False] for trace in traces)


def test_clip_rate_is_kept(trained: tuple[Project, Run]) -> None:
    """A window altered is still a window of the detector."""
    detector = Detector.load(trained[1])
    assert detector.probabilities([Clip(np.zeros(detector.n_samples, np.float32), RATE)]).shape == (1, 2)


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(__file__).parents[4] / "shared/data/appliance_room").is_dir(), reason="no reference recordings"
)
def test_reference_room_beats_the_level_in_both_directions(tmp_path: Path) -> None:
    folder = Path(__file__).parents[4] / "shared/data/appliance_room"
    project = Project.open("appliance", tmp_path, {"workers": 1})
    prepare(project, PrepareOptions(folder=folder, seal="none"))
    project = Project.open("appliance", tmp_path, {"workers": 1})
    run = with_thresholds(project, train(project, TrainSettings(), with_baselines=False).run)
    found = evaluate_appliance(project, run, Options(robustness=False, timing=False))
    assert found.files.state_acc == 1.0
    level = {row["fold"]: row for row in found.level.rows} if found.level else {}
    for fold in found.folds:
        assert fold["state_accuracy"] > level[fold["fold"]]["state_acc"]
        assert fold["windows"]["fridge when ac is off"]["accuracy"] >= 0.90
        assert fold["windows"]["ac"]["accuracy"] == 1.0
