"""Files, streams and live: one engine, the same numbers, the thresholds of the run."""

import io
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from appliance_small_room import RATE, change_threshold, steady, switching, written_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.audio.decode import decode, decode_blocks
from earmark.errors import NoModelError, RunError, TooShortError, UsageError
from earmark.inference.capture import Piece
from earmark.inference.pcm import PcmFormat
from earmark.inference.prediction import Failed
from earmark.tasks.appliance.serving import batch as batch_module
from earmark.tasks.appliance.serving.batch import Batch
from earmark.tasks.appliance.serving.engine import Engine
from earmark.tasks.appliance.serving.floor import Floor
from earmark.tasks.appliance.serving.live import Session, run
from earmark.tasks.appliance.serving.model import open_folder, open_model
from earmark.tasks.appliance.serving.settings import resolve
from earmark.tasks.appliance.serving.stream import answers_of, blocks_of_file, blocks_of_pcm
from earmark.tasks.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("room")
    written_run(root / "runs")
    return Project.open("appliance", root)


@pytest.fixture(scope="module")
def model(project):
    return open_model(project)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recording at 44.1 kHz in stereo, one as AAC, and one that is too short."""
    folder = tmp_path_factory.mktemp("samples")
    samples = np.repeat(steady(True, False, 14.0, 7), 1)
    at_44100 = np.interp(np.arange(14 * 44_100) / 44_100, np.arange(len(samples)) / RATE, samples)
    stereo = np.stack([at_44100, 0.5 * at_44100], axis=1).astype(np.float32)
    soundfile.write(folder / "ac-on-fridge-off-day.flac", stereo, 44_100)
    soundfile.write(folder / "ac-off-fridge-on-day.wav", steady(False, True, 20.0, 8), RATE, subtype="FLOAT")
    soundfile.write(folder / "too-short.wav", steady(False, True, 3.0, 8), RATE)
    return folder


def streamed(model, blocks):
    engine = Engine(model.detector, model.thresholds.rule)
    return np.stack([one.p for one in answers_of(engine, blocks)])


def test_batch_tells_state_and_medians(model, folder):
    outcomes = {one.path.rsplit("/")[-1]: one for one in Batch(model, workers=0).files([str(folder)])}
    loud, short = outcomes["ac-on-fridge-off-day.flac"], outcomes["too-short.wav"]
    assert list(loud.document()) == ["status", "p_ac", "p_fridge"]
    assert loud.document()["status"] == "ac-on"
    assert outcomes["ac-off-fridge-on-day.wav"].status == "fridge-on"
    assert loud.details()["masked"] == ["fridge"] and loud.details()["n_windows"] == 6
    assert isinstance(short, Failed) and "3.00 s" in short.error and "6 s" in short.error


def test_batch_stream_and_live_are_equal_to_the_last_bit(model, folder, project):
    for path in (folder / "ac-on-fridge-off-day.flac", folder / "ac-off-fridge-on-day.wav"):
        [cold] = Batch(model, project.cache, workers=0).files([str(path)])
        [warm] = Batch(model, project.cache, workers=0).files([str(path)])
        expected = cold.p
        assert np.array_equal(warm.p, expected)
        assert np.array_equal(streamed(model, blocks_of_file(str(path), RATE)), expected)
        assert np.array_equal(live_probabilities(model, path), expected)


def live_probabilities(model, path):
    """As heard from a device of the file's own rate, in uneven pieces."""
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    total = frames[:, 0].copy()
    for channel in frames.T[1:]:
        total += channel
    mono = total * np.float32(1 / frames.shape[1])
    engine = Engine(model.detector, model.thresholds.rule)
    session = Session(engine, rate)
    found = []
    original = engine.hear

    def keep(samples, **how):
        for answered in original(samples, **how):
            found.append(answered.p)
            yield answered

    engine.hear = keep
    edges = np.cumsum(np.random.default_rng(3).integers(1, 70_000, 40))
    run(session, [Piece(part) for part in np.split(mono, edges[edges < len(mono)])], [])
    return np.stack(found)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(3_000, 90_000), min_size=1, max_size=20))
def test_raw_samples_in_any_pieces_are_those_of_the_file(model, folder, sizes):
    path = folder / "ac-on-fridge-off-day.flac"
    raw = soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes()

    class Trickle(io.RawIOBase):
        place, turn = 0, 0

        def read(self, _n=-1):
            size = sizes[self.turn % len(sizes)] * 4
            self.turn += 1
            self.place += size
            return raw[self.place - size : self.place]

    blocks = np.concatenate(list(blocks_of_pcm(Trickle(), PcmFormat("s16le", 44_100, 2), RATE)))
    assert np.array_equal(blocks, decode(str(path), sample_rate=RATE).samples)


def test_standard_error_is_heard_between_blocks(folder, capfd):
    for number, _ in enumerate(decode_blocks(str(folder / "ac-on-fridge-off-day.flac"), sample_rate=RATE)):
        os.write(2, b"note %d\n" % number)
    assert "note 0" in capfd.readouterr().err


def test_decoding_in_blocks_gives_what_decoding_gives(folder):
    for path in folder.iterdir():
        whole = decode(str(path), sample_rate=RATE).samples
        assert np.array_equal(np.concatenate(list(decode_blocks(str(path), sample_rate=RATE))), whole)


def test_a_long_recording_is_read_as_a_stream_with_the_same_numbers(model, folder, monkeypatch):
    path = str(folder / "ac-off-fridge-on-day.wav")
    parts = [f"{path}#t=1.5,11", f"{path}#t=18,20", f"{path}#t=99,120"]
    [short, part, *_] = Batch(model, workers=0).files([path, *parts])
    monkeypatch.setattr(batch_module, "SPOOL_S", 1.0)
    [long, long_part, too_short, beyond] = Batch(model, workers=0).files([path, *parts])
    assert np.array_equal(long.p, short.p) and long.document() == short.document()
    assert np.array_equal(long_part.p, part.p) and len(part.p) == 3
    assert isinstance(too_short, Failed) and "2.00 s" in too_short.error
    assert isinstance(beyond, Failed) and "before" in beyond.error


def test_a_part_of_a_recording_is_cut_from_the_whole(model, folder):
    path = str(folder / "ac-on-fridge-off-day.flac")
    [whole] = Batch(model, workers=0).files([path])
    [part] = Batch(model, workers=0).files([f"{path}#t=1.5,11"])
    assert np.array_equal(part.p, whole.p[1:4])
    assert np.array_equal(streamed(model, blocks_of_file(f"{path}#t=1.5,11", RATE)), part.p)


def test_one_file_of_thresholds_moves_all_three(tmp_path):
    folder = written_run(tmp_path / "runs").path
    path = tmp_path / "x.wav"
    soundfile.write(path, steady(True, False, 24.0, 9), RATE, subtype="FLOAT")

    def answers():
        model = open_folder(folder)
        [batch] = Batch(model, workers=0).files([str(path)])
        *_, last = answers_of(Engine(model.detector, model.thresholds.rule), blocks_of_file(str(path), RATE))
        lines = Lines()
        run(Session(Engine(model.detector, model.thresholds.rule), RATE), pieces(path), [lines])
        return batch.status, last.decided.status, lines.kept[-1]["stable_status"]

    assert answers() == ("ac-on",) * 3
    change_threshold(folder, "ac", 1.0, 1.0)
    assert all(state != "ac-on" for state in answers())


def test_the_thresholds_of_another_model_are_refused(tmp_path):
    one, other = (written_run(tmp_path / name) for name in ("a", "b"))
    card = json.loads((other.path / "card.json").read_text())
    (other.path / "card.json").write_text(json.dumps(card | {"seed": 7}))
    with pytest.raises(RunError, match="was chosen for the model"):
        open_folder(other.path, one.path / "thresholds.yaml")


def test_what_is_missing_is_named(tmp_path):
    project = Project.open("appliance", tmp_path)
    with pytest.raises(NoModelError, match="earmark train appliance"):
        open_model(project)
    (written_run(tmp_path / "runs").path / "thresholds.yaml").unlink()
    with pytest.raises(RunError, match="earmark thresholds appliance --run"):
        open_model(project)


def test_a_stream_shorter_than_a_window_is_an_error(model, folder):
    with pytest.raises(TooShortError, match="3.00 s"):
        streamed(model, blocks_of_file(str(folder / "too-short.wav"), RATE))


def test_a_confirmed_floor_replaces_that_of_training_and_is_taken_back(tmp_path):
    folder = written_run(tmp_path / "runs").path
    before = open_folder(folder)
    path = Floor.of_levels([-50.0, -52.0, -51.0], 10.0).write(folder)
    confirmed = open_folder(folder)
    assert confirmed.floor_dbfs == -51.0 and confirmed.detector.hash == before.detector.hash
    path.unlink()
    assert open_folder(folder).floor_dbfs == before.floor_dbfs


class Lines:
    """A sink that keeps what it takes."""

    def __init__(self):
        self.kept = []

    def line(self, line):
        self.kept.append(line)

    def close(self):
        pass


def pieces(path, seconds=0.7):
    samples = decode(str(path), sample_rate=RATE).samples
    size = round(seconds * RATE)
    return [Piece(samples[start : start + size]) for start in range(0, len(samples), size)]


@pytest.mark.parametrize("flags", [{"decoder": name} for name in ("hmm", "median", "events", "votes")])
def test_a_known_switch_is_told_by_every_decoder_after_it_was_heard(model, flags):
    signal = switching({"ac": ((30.0, 90.0),)}, 90.0, 3)
    rule = resolve(model.thresholds, flags).rule
    engine = Engine(model.detector, rule, initial={"ac": False, "fridge": False})
    found = [one for one in answers_of(engine, [signal]) if one.decided.events]
    assert [(event.device, event.kind) for one in found for event in one.decided.events] == [("ac", "on")]
    assert found[0].decided.events[0].step == found[0].window.index
    assert 30.0 < found[0].window.end_s < 60.0


def test_a_rule_for_other_windows_is_refused(model):
    with pytest.raises(UsageError, match="4 s; the model was trained on 6 s"):
        Engine(model.detector, resolve(model.thresholds, {"preset": "g2"}).rule)


def test_settings_come_from_flag_then_file_then_run(model):
    file = {"ac_on": 0.95, "ac_off": 0.7, "agg_window_n": 5, "max_lag_sec": 15.0}
    found = resolve(model.thresholds, {"ac_on": 0.9}, file)
    limits = found.rule.limits_of(model.detector.devices)["ac"]
    assert (limits.t_on, limits.t_off, found.rule.settings.n, found.max_lag_sec) == (0.9, 0.7, 5, 15.0)
    origins = {one.setting: one.origin for one in found.origins}
    assert [origins[name] for name in ("ac_on", "ac_off", "fr_on", "input_sr")] == [
        "flag", "live.toml", "thresholds of the run", "built in",
    ]  # fmt: skip
    plain = resolve(replace(model.thresholds, rule=replace(model.thresholds.rule, limits={})), {})
    assert plain.input_sr == 44_100 and plain.max_lag_sec == 30.0


def test_settings_that_are_none_are_refused(model):
    with pytest.raises(UsageError, match="washer_on"):
        resolve(model.thresholds, {"washer_on": 0.5})
    with pytest.raises(UsageError, match="--agg-window-n is of the decoder"):
        resolve(model.thresholds, {"decoder": "hmm", "agg_window_n": 5})
    assert resolve(model.thresholds, {"decoder": "hmm"}, {"agg_window_n": 5}).rule.name == "hmm"
