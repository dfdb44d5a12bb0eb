"""Answers about files: bad inputs, the cache in every state, long recordings, and who answers."""

import json

import jsonschema
import numpy as np
import pytest
from synthetic_bars import RATE, drummed, written

from earmark.errors import NoModelError, UsageError
from earmark.features.extractor import Extractor
from earmark.features.item import Item
from earmark.tasks.meter.analysis.document import document_schema
from earmark.tasks.meter.serving import model
from earmark.tasks.meter.serving.predict import analyst_for, document_of
from earmark.tasks.meter.serving.windows import planned
from earmark.tasks.project import Project


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Paths by name; waltz and change are longer than a window."""
    folder = tmp_path_factory.mktemp("songs")
    made = {
        "four": drummed(4, 100, 12.0),
        "waltz": drummed(3, 120, 50.0),
        "short": drummed(4, 120, 0.5),
        "silent": np.zeros(3 * RATE, dtype=np.float32),
        "half_silent": np.concatenate([drummed(4, 120, 31.0), np.zeros(40 * RATE, dtype=np.float32)]),
    }
    paths = {name: written(folder / f"{name}.wav", signal) for name, signal in made.items()}
    broken = folder / "broken.wav"
    broken.write_bytes(b"RIFF no audio")
    return paths | {"broken": str(broken), "gone": str(folder / "gone.wav")}


def answers(folder, sources, **how):
    """Documents of one run of the program; its cache is closed, as a new process would find it."""
    folder.mkdir(exist_ok=True)
    project = Project.open("meter", folder)
    analyst = analyst_for(project, fallback="rule")
    found = [document_of(one) for one in analyst.files(sources, workers=0, **how)]
    if how.get("use_cache", True):
        project.cache.close()
    return found


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


def test_bad_files_have_a_code_and_the_others_go_on(songs, project_folder):
    order = ("broken", "four", "gone", "short", "silent")
    found = answers(project_folder, [songs[name] for name in order])
    assert [one.get("code") for one in found] == ["undecodable", None, "not_found", "too_short", "silent"]
    assert [one["path"] for one in found] == [songs[name] for name in order]
    assert all(one["error"] and "meter_hypotheses" not in one for one in found if "code" in one)
    assert found[1]["duration"] == 12.0


def test_cold_half_warm_and_warm_answers_are_the_same_bits(songs, tmp_path):
    sources = [songs["waltz"], songs["four"]]
    cold = answers(tmp_path / "cold", sources)
    for one in cold:
        jsonschema.validate(json.loads(json.dumps(one, allow_nan=False)), document_schema())
    warm = answers(tmp_path / "cold", sources)
    without = answers(tmp_path / "none", sources, use_cache=False)
    warm_some_groups(
        tmp_path / "half", planned(songs["waltz"], 50.0).uris[:2], ("meter.onsets", "meter.beats_bars")
    )
    half = answers(tmp_path / "half", sources)
    assert cold == warm == without == half


def warm_some_groups(folder, uris, names):
    """A cache that knows some groups of some windows."""
    folder.mkdir()
    project = Project.open("meter", folder)
    groups = [group for group in analyst_for(project, fallback="rule").reader.groups if group.name in names]
    assert len(groups) == len(names)
    table = Extractor(groups, project.cache, workers=0).run([Item(uri, uri) for uri in uris])
    assert not table.failures
    project.cache.close()


def test_a_warm_answer_opens_no_audio(songs, project_folder, monkeypatch):
    first = answers(project_folder, [songs["waltz"]])
    from earmark.features import compute

    def refuse(*_args, **_how):
        raise AssertionError("audio was decoded")

    monkeypatch.setattr(compute, "decode", refuse)
    assert answers(project_folder, [songs["waltz"]]) == first


def test_long_recordings_are_heard_in_windows(songs, project_folder):
    [found] = answers(project_folder, [songs["waltz"]])
    assert [(one["start"], one["end"]) for one in found["meter_map"]] == [(0, 30), (15, 45), (30, 50)]
    times = np.array([one["time"] for one in found["beats"]])
    np.testing.assert_allclose(np.diff(times), 0.5, atol=0.06)
    assert found["tempo"]["bpm"] == pytest.approx(120, rel=0.02)
    assert found["tempo"]["tempo_category"] == "steady"


def test_silent_windows_are_told_and_have_no_meter(songs, project_folder):
    [found] = answers(project_folder, [songs["half_silent"]])
    assert found["meter_map"][-1]["meter"] is None
    assert any("windows are silent" in line for line in found["warnings"])


def test_a_part_of_a_file_is_answered_like_a_file_of_that_part(songs, project_folder, tmp_path):
    [part] = answers(project_folder, [f"{songs['waltz']}#t=5,25"])
    cut_out = written(tmp_path / "cut.wav", drummed(3, 120, 50.0)[5 * RATE : 25 * RATE])
    [whole] = answers(project_folder, [cut_out])
    assert part | {"path": ""} == whole | {"path": ""}
    assert part["duration"] == 20.0


def test_no_model_is_an_error_and_never_four_four(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "_shipped_folder", lambda: tmp_path / "nothing")
    with pytest.raises(NoModelError, match="--fallback rule"):
        analyst_for(Project.open("meter", tmp_path))
    speaker = analyst_for(Project.open("meter", tmp_path), fallback="rule").answerer.speaker
    assert (speaker.source, speaker.run) == ("rule", None)


def test_nothing_to_answer_is_a_mistake(tmp_path):
    with pytest.raises(UsageError, match="no input"):
        list(analyst_for(Project.open("meter", tmp_path), fallback="rule").files([]))


def test_steady_noise_has_an_answer_without_certainty(project_folder, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 15 * RATE).astype(np.float32)
    [found] = answers(project_folder, [written(tmp_path / "noise.wav", noise)])
    jsonschema.validate(found, document_schema())
    assert all(one["confidence"] < 0.9 for one in found["meter_hypotheses"])
