"""Devices heard in windows of several lengths: the groups, the layer, a training, and all that asks its run."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from appliance_trained_room import room_project

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.latency import latency
from earmark.tasks.appliance.decoding.presets import preset
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.export import export_run
from earmark.tasks.appliance.generator.scene import SyntheticRoom
from earmark.tasks.appliance.lengths import last_group, parts_of
from earmark.tasks.appliance.schema import DEFAULT_DEVICES
from earmark.tasks.appliance.serving.batch import Batch
from earmark.tasks.appliance.serving.engine import Engine
from earmark.tasks.appliance.serving.model import open_folder
from earmark.tasks.appliance.serving.stream import answers_of, blocks_of_file
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
from earmark.tasks.appliance.thresholds.run import choose_for_run, write
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train
from earmark.tasks.appliance.views import VIEWS

RATE = 16_000
GROUPS = [group for view in VIEWS.values() for group in view.groups]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose air conditioner is heard in two seconds, with thresholds."""
    project = room_project(tmp_path_factory.mktemp("runs"))
    settings = TrainSettings(model="level", lengths={"ac": 2.0})
    run = train(project, settings, with_baselines=False).run
    write(choose_for_run(project, run, ChoiceSettings(), fits_decoder=False))
    return project, run


def noise(seconds, seed=0):
    samples = np.random.default_rng(seed).normal(0, 0.01, round(seconds * RATE)).astype(np.float32)
    return Clip(samples, RATE)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_group_of_the_last_seconds_is_the_group_of_a_shorter_clip(group):
    whole, heard = noise(6.0), last_group(group, 2.5)
    assert np.array_equal(heard(whole), group(Clip(whole.samples[-40_000:], RATE)))
    sent = pickle.loads(pickle.dumps(heard))  # noqa: S301  as it comes to a worker
    assert sent.fingerprint().digest == heard.fingerprint().digest
    assert len({one.fingerprint().digest for one in (group, heard, last_group(group, 2.0))}) == 3


def test_devices_are_gathered_by_length_and_every_mistake_is_told():
    parts = parts_of({"ac": 2.0}, DEFAULT_DEVICES, 6.0)
    assert [(part.seconds, part.devices) for part in parts] == [(None, ("fridge",)), (2.0, ("ac",))]
    assert [part.seconds for part in parts_of({"ac": 6.0}, DEFAULT_DEVICES, 6.0)] == [None]
    with pytest.raises(UsageError, match=r"fridg.*did you mean `fridge`.*ac has 7 s"):
        parts_of({"fridg": 2.0, "ac": 7.0}, DEFAULT_DEVICES, 6.0)


def test_one_run_with_one_key_says_how_each_device_is_heard(trained):
    project, run = trained
    detector = Detector.load(run)
    assert detector.lengths == {"ac": 2.0, "fridge": 6.0} and detector.window_s == 6.0
    assert detector.card["windows_s"] == {"ac": 2.0}
    settings = TrainSettings(model="level", lengths={"ac": 2.0})
    assert train(project, settings, with_baselines=False).reused
    plain = train(project, replace(settings, lengths={}), with_baselines=False).run
    other = Detector.load(plain)
    assert plain.config["key"] != run.config["key"] and other.lengths == {"ac": 6.0, "fridge": 6.0}
    # what the fridge is told by has not changed; and saved folds answer as they did
    a, b = run.out_of_fold(), plain.out_of_fold()
    assert np.array_equal(a["raw_fridge"], b["raw_fridge"]) and not np.array_equal(a["raw_ac"], b["raw_ac"])


def test_a_device_hears_nothing_but_its_own_seconds(trained):
    detector = Detector.load(trained[1])
    clip = noise(6.0)
    louder = Clip(np.concatenate([clip.samples[: 4 * RATE] * 30, clip.samples[4 * RATE :]]), RATE)
    (ac, fridge), (ac_after, fridge_after) = detector.probabilities([clip, louder])
    assert ac == ac_after and fridge != fridge_after
    again = detector.calibrated_as(detector).probabilities([clip])
    assert np.array_equal(again, [[ac, fridge]])


def test_files_and_streams_give_the_same_every_half_second(trained, tmp_path):
    project, run = trained
    model = open_folder(run.path)
    rule = model.thresholds.rule
    assert rule.hop_s == 0.5 and rule.windows_s == {"ac": 2.0}
    source = str(next((project.root / "samples").glob("*-day.flac"))) + "#t=0,12"
    (answer,) = Batch(model, workers=0).files([source])
    engine = Engine(model.detector, rule, source)
    heard = [one.p for one in answers_of(engine, blocks_of_file(source, RATE))]
    assert len(heard) == 13 and np.array_equal(answer.p, heard)
    Engine(model.detector, preset("fast"))
    with pytest.raises(UsageError, match=r"2 s \(ac\), 6 s \(fridge\).*train --lengths"):
        Engine(model.detector, preset("g3"))
    with pytest.raises(UsageError, match="several lengths"):
        export_run(run.path, tmp_path / "onnx")


def test_a_blower_is_told_in_seconds_and_the_calculator_says_so(trained):
    model = open_folder(trained[1].path)
    heard = SyntheticRoom(is_disturbed=False).switching(
        {"ac": ((30.0, 60.0),), "fridge": ()}, "day", 80.0, np.random.default_rng(1)
    )
    engine = Engine(model.detector, preset("fast"))
    answers = list(engine.hear(heard.samples))
    on = next(one for one in answers if one.decided.stable == "ac-on")
    assert 30 < on.window.end_s < 36
    # the calculator: windows that hear part of the switch count for nothing, so real ones are told sooner
    plain = preset("fast")
    fitted = replace(plain, settings=HmmSettings(evidence=2.0))
    fast, sure, g3 = (latency(rule, DEFAULT_DEVICES, "ac") for rule in (plain, fitted, preset("g3")))
    assert sure.typical_s <= 5 < fast.typical_s == 6.0 < g3.typical_s == 12.0
    assert fast.first_answer_s == 6.0  # the longest window must be full
    assert latency(fitted, DEFAULT_DEVICES, "fridge").typical_s <= 12


@pytest.mark.slow
def test_a_network_takes_lengths(tmp_path):
    pytest.importorskip("torch")
    project = room_project(tmp_path)
    settings = TrainSettings(model="cnn", lengths={"ac": 2.0}, network={"epochs": 1})
    run = train(project, settings, with_baselines=False).run
    detector = Detector.load(run)
    assert detector.probabilities([noise(6.0)]).shape == (1, 2)
    assert detector.lengths["ac"] == 2.0
