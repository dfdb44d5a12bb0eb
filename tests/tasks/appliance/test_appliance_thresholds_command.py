"""`earmark thresholds appliance` on a synthetic room: from files and a training to the file that streams read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from appliance_trained_room import room_project
from click.testing import CliRunner, Result

from earmark.cli.appliance.thresholds import thresholds as command
from earmark.cli.options import Invocation
from earmark.errors import NoModelError, RunError, SealError
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.traces import fold_detector, spliced_traces, steady_stretches
from earmark.tasks.appliance.runs import answering_run
from earmark.tasks.appliance.thresholds.run import unseen_rows
from earmark.tasks.appliance.thresholds_file import Thresholds
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train
from earmark.tasks.project import Project
from earmark.training.runs import Run

Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """A model of levels, both directions of `swap`."""
    project = room_project(tmp_path_factory.mktemp("runs"))
    return project, train(project, TrainSettings(model="level"), with_baselines=False).run


@pytest.fixture
def ask(trained: tuple[Project, Run], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The command on this room, in JSON; its runs lie elsewhere than the settings say. Splices take their time."""
    monkeypatch.setattr("earmark.cli.options.open_project", lambda *_: trained[0])
    plain = "--no-fit-decoder"
    return lambda *args: CliRunner().invoke(command, [plain, *args], obj=Invocation(format="json"))


def test_what_is_shown_is_what_is_written_and_belongs_to_this_model(
    trained: tuple[Project, Run], ask: Ask
) -> None:
    _, run = trained
    shown = json.loads(ask("--dry-run").stdout)
    assert not (run.path / "thresholds.yaml").exists()
    assert ask().exit_code == 0
    detector = Detector.load(run)
    found = Thresholds.of_run(run.path, detector.devices, detector.hash)
    assert {name: shown[key] for name, key in (("ac", "t_ac"), ("fridge", "t_fr"))} == pytest.approx(
        dict(found.t)
    )
    assert found.rule.name == "median"  # hmm only where a fit showed that it is better
    assert found.f1["ac"] == 1.0 and found.floor_dbfs == pytest.approx(-58, abs=1.5)
    assert (run.path / "thresholds.svg").read_text().startswith("<svg")
    assert (run.path / "thresholds.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunError, match="this is the model"):
        Thresholds.of_run(run.path, detector.devices, "0" * 32)


def test_an_earlier_file_is_kept_and_another_place_can_be_named(
    trained: tuple[Project, Run], ask: Ask, tmp_path: Path
) -> None:
    _, run = trained
    plain = ("--no-fit-decoder",)
    assert ask(*plain).exit_code == 0
    n_before = len(list(run.path.glob("thresholds*.yaml")))
    assert ask(*plain, "--method", "percentile").exit_code == 0
    assert len(list(run.path.glob("thresholds*.yaml"))) == n_before + 1
    assert ask(*plain, "--output", str(tmp_path / "mine.yaml"), "--tie", "first").exit_code == 0
    assert (tmp_path / "mine.yaml").is_file() and (tmp_path / "mine.svg").is_file()


def test_the_sealed_test_and_missing_runs_are_refused(ask: Ask, tmp_path: Path) -> None:
    assert isinstance(ask("--part", "test").exception, SealError)
    with pytest.raises(NoModelError, match="earmark train appliance"):
        answering_run(Project.open("appliance", tmp_path))


def test_splices_are_answered_by_the_model_that_had_not_heard_them(trained: tuple[Project, Run]) -> None:
    project, run = trained
    uris = {item.id: item.uri for item in project.manifest}
    detector = Detector.load(run)
    for number in (0, 1):
        table = run.out_of_fold().filter(fold=number)
        stretches = steady_stretches(table, uris, detector.devices)
        assert len(stretches) == 4 and len({Path(one.uri).stem.rsplit("-", 1)[1] for one in stretches}) == 1
        assert all(one.end_s - one.start_s > 30 for one in stretches)
    first, again = (list(spliced_traces(run, uris, n_pieces=6, stay_s=(15, 20), seed=3)) for _ in range(2))
    assert len(first) == 2 and all((a.p == b.p).all() for a, b in zip(first, again, strict=True))
    assert fold_detector(run, detector, 0).layer is not detector.layer
    # the blower is 12 dB over the floor: windows wholly within a piece say so
    for trace in first:
        for start_s, end_s, facts in zip(
            trace.starts_s, [*trace.starts_s[1:], trace.duration_s], trace.facts, strict=True
        ):
            inside = (trace.ends_s - 6 >= start_s + 0.01) & (trace.ends_s <= end_s - 0.01)
            assert ((trace.p[inside, 0] > 0.5) == facts["ac"]).all()


def test_limits_are_chosen_on_probabilities_of_the_size_that_the_final_model_gives(
    trained: tuple[Project, Run],
) -> None:
    _, run = trained
    detector, table = Detector.load(run), run.out_of_fold()
    unseen = unseen_rows(table, detector)
    for k, name in enumerate(detector.devices.names):
        slope, offset = (getattr(detector.layer.calibration[k], part) for part in ("slope", "offset"))
        raw = table[f"raw_{name}"].to_numpy().astype(float).clip(1e-6, 1 - 1e-6)
        expected = 1 / (1 + np.exp(-(slope * np.log(raw / (1 - raw)) + offset)))
        assert unseen[f"p_{name}"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert unseen.drop("p_ac", "p_fridge").equals(table.drop("p_ac", "p_fridge"))


@pytest.mark.slow
def test_fitting_the_decoder_is_told_and_written(trained: tuple[Project, Run], ask: Ask) -> None:
    _, run = trained
    result = ask("--fit-decoder")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert len(document["decoder_after"]["changes"]) == 4
    assert document["decoder_after"]["false_events"] <= document["decoder_before"]["false_events"]
    detector = Detector.load(run)
    written = Thresholds.of_run(run.path, detector.devices, detector.hash)
    assert written.rule.name == document["decoder"]["name"]
    assert written.chosen["fitted_false_events"] == document["decoder_after"]["false_events"]
