"""Models that compare a window with its recording: what they are given, and that every way gives it the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from earmark.audio.clip import Clip
from earmark.errors import InputError, UsageError
from earmark.features.table import FeatureTable
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.scored import read_scored
from earmark.tasks.appliance.evaluation.streamed import as_stream
from earmark.tasks.appliance.generator.scene import SyntheticRoom
from earmark.tasks.appliance.prepare import PrepareOptions, prepare
from earmark.tasks.appliance.references import RELATIVE, OfRecordings, SoFar
from earmark.tasks.appliance.serving.batch import Batch
from earmark.tasks.appliance.serving.engine import Engine
from earmark.tasks.appliance.serving.model import open_folder
from earmark.tasks.appliance.serving.stream import answers_of, blocks_of_file
from earmark.tasks.appliance.serving.timeline import segments_of
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
from earmark.tasks.appliance.thresholds.run import choose_for_run, write
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train
from earmark.tasks.appliance.windows import Windowing
from earmark.tasks.project import Project
from earmark.training.runs import Run

RATE = 16_000


def table_of(values: np.ndarray) -> FeatureTable:
    rows = values.astype(np.float32)
    return FeatureTable(tuple(map(str, range(len(rows)))), ("a", "b"), rows)


def test_recordings_never_mix_and_a_stream_knows_no_future() -> None:
    values = np.random.default_rng(0).normal(size=(12, 2))
    names = ["one", "two", "one"] * 4
    whole = OfRecordings(names).over(table_of(values))
    assert whole.columns == ("a", "b", f"{RELATIVE}a", f"{RELATIVE}b")
    for name in ("one", "two"):
        rows = np.array(names) == name
        usual = np.median(values[rows].astype(np.float32), axis=0)
        np.testing.assert_allclose(whole.values[rows, 2:], values[rows] - usual, atol=1e-6)
    heard = SoFar()
    at_once, piecewise = SoFar().over(table_of(values)), []
    for row in values:
        piecewise.append(heard.over(table_of(row[None])).values)
    np.testing.assert_array_equal(at_once.values, np.concatenate(piecewise))
    changed = values.copy()
    changed[8:] += 100
    np.testing.assert_array_equal(SoFar().over(table_of(changed)).values[:8], at_once.values[:8])
    np.testing.assert_array_equal(at_once.values[0, 2:], 0)
    with pytest.raises(InputError, match="one for each window"):
        OfRecordings(names).over(table_of(values[:3]))


def test_a_stream_forgets_what_is_long_ago_and_keeps_aside_what_it_could_not_hear() -> None:
    heard = SoFar(longest=3)
    heard.over(table_of(np.array([[9.0, 9.0], [1.0, 1.0], [2.0, 2.0]])))
    assert heard.aside().over(table_of(np.full((1, 2), -99.0))).values[0, 2] == -100.0
    assert heard.over(table_of(np.full((1, 2), 3.0))).values[0, 2] == 1.0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """Six recordings of one blower at gains of their own, and a model of both parts."""
    folder = tmp_path_factory.mktemp("relative")
    room, segments, listed = SyntheticRoom(is_disturbed=False), [], []
    for n in range(6):
        on, off = 8.0 + n, 20.0 + n
        heard = room.switching({"ac": ((on, off),), "fridge": ()}, "day", 32.0, np.random.default_rng(n))
        soundfile.write(folder / f"s{n}.flac", heard.samples * 10 ** (-n / 4), RATE)
        segments.append(f"s{n}.flac,{on},{off}")
        listed.append(f"s{n}.flac,blower,src{n}")
    (folder / "on.csv").write_text("\n".join(["file,on,off", *segments]) + "\n")
    (folder / "table.csv").write_text("\n".join(["file,machine,machine_src", *listed]) + "\n")
    settings = {"runs": str(folder / "runs"), "workers": 1}
    options = PrepareOptions(
        folder=folder,
        segments=folder / "on.csv",
        table=folder / "table.csv",
        device_name="ac",
        windowing=Windowing(3.0, 1.0, RATE),
        seal="none",
    )
    prepare(Project.open("appliance", folder, settings), options)
    project = Project.open("appliance", folder, settings)
    wanted = TrainSettings(
        model="relative", protocol="groups", protocol_settings={"n_folds": 6}, trees={"n_trees": 20}
    )
    run = train(project, wanted, with_baselines=False).run
    write(choose_for_run(project, run, ChoiceSettings(), fits_decoder=False))
    return project, run


def test_a_machine_is_heard_at_gains_that_no_training_recording_had(scenes: tuple[Project, Run]) -> None:
    assert np.mean(scenes[1].metrics["auroc_ac"]["folds"]) > 0.95
    assert scenes[1].config["recipe"]["estimator"] == "mean"


def test_a_window_alone_is_refused(scenes: tuple[Project, Run]) -> None:
    detector = Detector.load(scenes[1])
    assert detector.needs_reference
    clip = Clip(np.zeros(detector.n_samples, np.float32), RATE)
    with pytest.raises(InputError, match="given alone"):
        detector.probabilities([clip])
    assert detector.probabilities([clip], SoFar()).shape == (1, 1)


def test_long_and_short_recordings_are_answered_alike(
    scenes: tuple[Project, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, run = scenes
    batch, path = Batch(open_folder(run.path), project.cache, workers=0), str(project.root / "s2.flac")
    (short,) = batch.files([path])
    monkeypatch.setattr("earmark.tasks.appliance.serving.batch.SPOOL_S", 10.0)
    (long,) = batch.files([path])
    np.testing.assert_allclose(short.p, long.p, atol=1e-6)  # type: ignore[union-attr]
    for answer in (short, long):
        (segment,) = answer.timeline()  # type: ignore[union-attr]
        assert segment["device"] == "ac"
        assert abs(segment["on_s"] - 10.0) < 1.6 and abs(segment["off_s"] - 22.0) < 1.6


def test_evaluation_hears_as_a_stream_does(scenes: tuple[Project, Run]) -> None:
    project, run = scenes
    scored, final = read_scored(project, run, "val", reason=""), Detector.load(run)
    rows = np.flatnonzero(scored.rows.recordings == "s3")
    told = as_stream(project, scored, final, own=lambda _: final).p[rows]
    engine = Engine(final, replace(open_folder(run.path).thresholds.rule, hop_s=1.0))
    heard = [one.p for one in answers_of(engine, blocks_of_file(str(project.root / "s3.flac"), RATE))]
    np.testing.assert_allclose(told, np.array(heard), atol=1e-5)
    table = project.extract(final.groups, [scored.rows.items()[row] for row in rows])
    assert not np.allclose(told, final.probabilities(table, OfRecordings(["s3"] * len(rows))))


def test_segments_reach_to_the_ends_and_lie_between_the_middles_of_windows() -> None:
    p = np.full((40, 1), 0.01, np.float32)
    p[:10], p[20:25], p[35:] = 0.99, 0.99, 0.99
    told = segments_of(p, None, ("fan",), window_s=3.0, hop_s=1.0)
    assert [(one["on_s"], one["off_s"]) for one in told] == [(0.0, 11.0), (21.0, 26.0), (36.0, 42.0)]
    assert segments_of(p * 0, None, ("fan",), window_s=3.0, hop_s=1.0) == []


def test_windows_of_several_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="--lengths"):
        TrainSettings(model="relative", lengths={"ac": 2.0})
