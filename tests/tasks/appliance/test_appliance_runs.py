"""Which run answers unasked: never a demonstration of leakage, nor one of other devices or windows than the room's."""

import json

import pytest
from appliance_small_room import written_run

from earmark.errors import NoModelError
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.runs import answering_run
from earmark.tasks.appliance.serving.model import open_model
from earmark.tasks.project import Project
from earmark.tasks.verbs.predict import chosen_run
from earmark.training.production import promote


@pytest.fixture
def project(tmp_path):
    return Project.open("appliance", tmp_path)


def changed(run, *, leaky=False, **card):
    """The run with other words in its card, or as a demonstration."""
    path = run.path / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | card))
    if leaky:
        path = run.path / "run.toml"
        path.write_text("leaky = true\n" + path.read_text())
    return run


def test_the_newest_run_that_stands_for_the_room_answers(project):
    fits = written_run(project.runs_folder)
    longer = changed(written_run(project.runs_folder), window_s=8.0)
    alone = changed(written_run(project.runs_folder), devices=["ac"], priority=["ac"], masks=[])
    leaky = changed(written_run(project.runs_folder), leaky=True)
    assert answering_run(project).name == alone.name  # nothing is prepared, so nothing tells what the room is
    project.data_folder.mkdir(parents=True)
    Room().write(project.data_folder)
    assert answering_run(project).name == open_model(project).name == fits.name
    for run in (longer, alone, leaky):
        assert answering_run(project, run.name).name == run.name
    Room(window_s=8.0).write(project.data_folder)
    assert answering_run(project).name == longer.name
    promote(project.runs_folder, fits)
    assert answering_run(project).name == fits.name
    Room().write(project.data_folder)
    assert answering_run(project, only_device="ac").name == alone.name
    with pytest.raises(NoModelError, match="train appliance --only-device fridge"):
        answering_run(project, only_device="fridge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaky": True}, "leakage"),
        ({"window_s": 4.0}, "windows of 4 s; the room has 6 s"),
        ({"devices": ["ac"], "priority": ["ac"], "masks": []}, "knows ac; the room has ac, fridge"),
    ],
)
def test_why_none_answers_is_told_with_what_to_name(project, change, message):
    run = changed(written_run(project.runs_folder), **change)
    project.data_folder.mkdir(parents=True)
    Room().write(project.data_folder)
    with pytest.raises(NoModelError, match=f"{message}.*--run {run.name}"):
        answering_run(project)


def test_general_commands_find_detectors_too(project):
    runs = [written_run(project.runs_folder) for _ in range(2)]
    for run in runs:
        path = run.path / "run.toml"
        path.write_text('rank_by = "state_acc"\n' + path.read_text() + '\n[hashes]\nrows = "0"\n')
    changed(written_run(project.runs_folder), leaky=True)
    assert chosen_run(project).name == runs[-1].name
