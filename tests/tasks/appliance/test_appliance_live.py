"""A microphone's lines: health, held states, ages, gaps, changes, the floor; and takes."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from appliance_small_room import RATE, steady, switching, written_run

from earmark.audio.decode import decode, probe
from earmark.errors import InputError, UsageError
from earmark.inference.capture import Piece
from earmark.tasks.appliance.decoding.presets import default_rule
from earmark.tasks.appliance.names import DEFAULT_PATTERN, NamePattern
from earmark.tasks.appliance.schema import DEFAULT_DEVICES
from earmark.tasks.appliance.serving.confirm import measure_floor
from earmark.tasks.appliance.serving.engine import Engine
from earmark.tasks.appliance.serving.floor import FloorWatch
from earmark.tasks.appliance.serving.health import Ear
from earmark.tasks.appliance.serving.live import Announcer, Session, run
from earmark.tasks.appliance.serving.model import open_folder
from earmark.tasks.appliance.serving.recorder import Take, parse_facts, record, write_take
from earmark.tasks.appliance.serving.ring import Grid

BLOCK = round(1.5 * RATE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_folder(written_run(tmp_path_factory.mktemp("runs")).path)


@pytest.fixture
def session(model):
    return Session(Engine(model.detector, default_rule("median")), RATE, floor_dbfs=model.floor_dbfs)


def told(session, samples):
    """Lines about samples that come in blocks of a hop."""
    parts = [samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK)]
    return [line for part in parts for line in session.hear(Piece(part))]


def test_a_line_has_its_fields_and_the_settled_state_in_each(session):
    lines = told(session, switching({"ac": ((40.0, 80.0),)}, 80.0, 1))
    assert list(lines[-1]) == [
        "timestamp", "status", "p_ac", "p_fridge", "window_index", "process_ms",
        "stable_status", "stable_age_s", "audio_s", "confidence", "health",
    ]  # fmt: skip
    assert [one["window_index"] for one in lines] == list(range(len(lines)))
    assert [one["audio_s"] for one in lines] == pytest.approx([6 + 1.5 * k for k in range(len(lines))])
    changes = [one for one in lines if "debounced_status" in one]
    assert [one["debounced_status"] for one in changes] == ["both-off", "ac-on"]
    assert changes[0]["audio_s"] == 16.5 and 46 < changes[1]["audio_s"] <= 56.5
    before = [one for one in lines if one["audio_s"] < 15]
    assert all(one["status"] is None and one["health"] == "warming_up" for one in before)
    assert lines[-1]["stable_age_s"] == pytest.approx(lines[-1]["audio_s"] - changes[1]["audio_s"])
    assert {one["stable_status"] for one in lines if one["audio_s"] > 60} == {"ac-on"}


@pytest.mark.parametrize(("level", "health"), [(0.0, "disconnected"), (1e-6, "silence")])
def test_an_unplugged_microphone_does_not_read_as_all_off(session, level, health):
    told(session, steady(True, False, 24.0, 2))
    lines = told(session, np.full(20 * RATE, level, np.float32))
    late = lines[5:]
    assert {one["health"] for one in late} == {health}
    assert {one["stable_status"] for one in late} == {"ac-on"}
    assert not any("debounced_status" in one for one in late)
    back = told(session, steady(True, False, 30.0, 3))[6:]
    assert {one["health"] for one in back} == {"ok"} and back[-1]["window_index"] > late[-1]["window_index"]


def test_a_source_that_is_gone_is_told_every_hop_and_ages_go_on(session):
    told(session, steady(True, False, 24.0, 2))
    quiet = [
        line for s in (1.5, 3.0, 4.5, 60.0) for line in session.hear(Piece(quiet_s=s, problem="unplugged"))
    ]
    assert [one["health"] for one in quiet] == ["disconnected"] * 3
    assert quiet[-1]["stable_status"] == "ac-on" and quiet[-1]["stable_age_s"] > 60
    samples = steady(True, False, 12.0, 4)
    back = list(session.hear(Piece(samples[:BLOCK], reopened=True)))
    assert not back, "no window may span the gap"
    assert len(told(session, samples[BLOCK:])) == 5


def test_lag_and_overflow_are_told_and_nothing_ends(session):
    told(session, steady(False, True, 24.0, 2))
    samples = steady(False, True, 30.0, 5)
    lines = list(session.hear(Piece(samples[: 8 * RATE], lost_s=20.0)))
    assert [one["health"] for one in lines] == ["lag", "ok"]
    lines = list(session.hear(Piece(samples[8 * RATE : 10 * RATE], overflowed=True)))
    assert lines[0]["health"] == "overflow"
    assert told(session, samples[10 * RATE :])[-1]["stable_status"] == "fridge-on"


def test_clipping_is_told():
    ear = Ear(RATE)
    ear.hear(np.where(np.arange(RATE) % 50 == 0, 1.0, 0.1).astype(np.float32))
    assert ear.state() == "clipping" and ear.state() == "ok"


def test_what_the_ear_says_does_not_depend_on_the_pieces():
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(RATE) * 0.1, np.zeros(RATE * 2), rng.standard_normal(RATE), np.zeros(700)]
    signal = np.concatenate(parts).astype(np.float32)
    for size in (1000, 4801, len(signal)):
        ear = Ear(RATE)
        for start in range(0, len(signal), size):
            ear.hear(signal[start : start + size])
        assert (
            ear.holds(2.5, 3.5) and ear.holds(0.0, 1.2) and not ear.holds(0.0, 0.9) and not ear.holds(3.1, 9)
        )


def test_a_level_that_moved_for_ten_minutes_is_drift():
    watch = FloorWatch(-58.0, 1.5)
    for _ in range(390):
        watch.hear(-54.0)
    assert not watch.drifts
    for _ in range(20):
        watch.hear(-54.0)
    assert watch.drifts
    for _ in range(60):
        watch.hear(-57.0)
    assert not watch.drifts and not FloorWatch(None, 1.5).drifts


def test_outputs_are_told_of_each_device_and_people_are_not(model):
    """A quieter machine is known while a louder one runs, unless that hides it."""

    def heard(devices):
        kept, told = Kept(), Kept()
        detector = replace(model.detector, devices=devices)
        samples = switching({"fridge": ((0.0, 99.0),), "ac": ((40.0, 99.0),)}, 80.0, 4)
        pieces = [Piece(part) for part in np.split(samples, 50)]
        run(Session(Engine(detector, default_rule("median")), RATE), pieces, [told], outputs=[kept])
        assert [one.keys() - {"on"} for one in kept.lines] == [one.keys() for one in told.lines]
        return kept.lines

    plain = heard(replace(DEFAULT_DEVICES, masks=()))
    masked = heard(replace(DEFAULT_DEVICES, masks=(("ac", "fridge"),)))
    assert {one["stable_status"] for one in plain} == {None, "fridge-on", "ac-on"}
    held = None
    for line, hidden in zip(plain, masked, strict=True):
        state, on = line["stable_status"], line["on"]
        assert (on == {"ac": None, "fridge": None}) == (state is None)
        assert on["ac"] == (None if state is None else state == "ac-on")
        is_coming = (
            line["status"] == "ac-on" and not on["ac"]
        )  # then the fridge is held until the state settles
        assert hidden["on"] == on | ({"fridge": held} if is_coming else {"fridge": None} if on["ac"] else {})
        held = hidden["on"]["fridge"]
    assert {"ac": False, "fridge": True} in [line["on"] for line in plain]
    assert all(line["on"]["fridge"] is not None for line in plain if line["stable_status"] == "ac-on")


class Kept:
    """A sink that keeps what it takes."""

    def __init__(self):
        self.lines = []

    def line(self, line):
        self.lines.append(line)

    def close(self):
        pass


def test_only_changes_and_a_sign_of_life():
    kept = []
    announcer = Announcer([type("S", (), {"line": lambda _, x: kept.append(x), "close": lambda _: None})()],
                          only_changes=True, heartbeat_s=60.0)  # fmt: skip
    for t in range(0, 200, 2):
        announcer.line({"timestamp": float(t)} | ({"debounced_status": "ac-on"} if t in (10, 100) else {}))
    assert [one["timestamp"] for one in kept] == [10, 70, 100, 160]


def test_the_floor_is_measured_by_the_ear_and_never_of_a_fault(model):
    grid = Grid(6.0, 1.5, RATE)
    quiet = [Piece(part) for part in np.split(steady(False, False, 12.0, 6), 8)]
    floor = measure_floor(quiet, RATE, grid, 12.0)
    assert floor.floor_dbfs == pytest.approx(-58.3, abs=0.7) and floor.n_windows == 5
    zeros = [Piece(np.zeros(12 * RATE, np.float32))]
    for pieces, message in (
        (quiet[:2], "ended after"),
        (zeros, "muted"),
        ([Piece(quiet_s=1, problem="gone")], "lost"),
    ):
        with pytest.raises(InputError, match=message):
            measure_floor(pieces, RATE, grid, 12.0)


PATTERN = NamePattern.parse(DEFAULT_PATTERN)
FACTS = {"ac": True, "fridge": False}


@pytest.mark.parametrize("form", ["m4a", "flac", "wav"])
def test_a_take_is_named_numbered_and_never_replaced(tmp_path, form):
    samples = np.repeat(steady(True, False, 4.0, 1), 3)[: 44_100 * 4]
    take = record([Piece(samples)], 44_100, 3.0)
    paths = [write_take(take, tmp_path, PATTERN, FACTS, "day", form) for _ in range(3)]
    assert [path.stem for path in paths] == [f"ac-on-fridge-off-day{n}" for n in ("", "-2", "-3")]
    info = probe(paths[0])
    assert (info.sample_rate, info.channels) == (44_100, 1) and info.duration_s == pytest.approx(3.0, abs=0.1)
    found = decode(paths[0], sample_rate=44_100).samples
    level = 20 * np.log10(np.sqrt(np.mean(found.astype(float) ** 2)))
    assert level == pytest.approx(take.rms_dbfs, abs=0.2)  # AAC leaves out what is above 20 kHz
    assert not list(tmp_path.glob(".take*"))


def test_another_suffix_counts_as_the_same_name(tmp_path):
    soundfile.write(tmp_path / "ac-on-fridge-off-day.wav", np.zeros(10), RATE)
    take = Take(steady(True, False, 1.0, 1), RATE, 0)
    assert write_take(take, tmp_path, PATTERN, FACTS, "day").stem == "ac-on-fridge-off-day-2"


def test_a_take_with_a_gap_is_none():
    good = Piece(np.ones(RATE, np.float32))
    for bad in (
        Piece(good.samples, lost_s=1.0),
        Piece(problem="unplugged"),
        Piece(good.samples, reopened=True),
    ):
        with pytest.raises(InputError, match="nothing was written"):
            record([good, bad, good], RATE, 3.0)
    with pytest.raises(InputError, match="ended after 1.0 s of 3 s"):
        record([good], RATE, 3.0)
    assert "full scale" in record([good], RATE, 1.0).warnings[0]


def test_what_is_on_is_read_in_one_form():
    assert parse_facts("ac=on, fridge=off") == FACTS
    for text in ("ac", "ac=maybe", "ac=on,ac=off", "=on"):
        with pytest.raises(UsageError, match="ac=on,fridge=off"):
            parse_facts(text)
