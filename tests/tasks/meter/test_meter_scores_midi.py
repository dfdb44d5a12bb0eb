"""MIDI files: what is written is read back, an independent reader agrees, and broken files are refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import DecodeError, InputError
from earmark.tasks.meter.scores.midi import TICKS, read_midi, write_midi
from earmark.tasks.meter.scores.patterns import generate
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap

BROKEN = (DecodeError, InputError)


def midi_bytes(*tracks: bytes, kind: int = 1, division: int = 96) -> bytes:
    header = (
        b"MThd"
        + (6).to_bytes(4, "big")
        + b"".join(n.to_bytes(2, "big") for n in (kind, len(tracks), division))
    )
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks)


def signature(numerator: int, power: int, delta: int = 0) -> bytes:
    return bytes([delta, 0xFF, 0x58, 4, numerator, power, 24, 8])


WHOLE = write_midi(generate(np.random.default_rng(3), "7", duration_s=3))
END = bytes([0, 0xFF, 0x2F, 0])
FOUR_BARS = bytes([0, 0x90, 60, 100]) + bytes(
    [0x8C, 0x00, 0x80, 60, 0]
)  # one note of 16 quarters of 96 ticks


@st.composite
def scores(draw):
    meter = draw(st.sampled_from([Meter("3/4", (3,)), Meter("7/8", (2, 2, 3)), Meter("6/8", (3, 3))]))
    n_bars = draw(st.integers(1, 5))
    places = draw(st.lists(st.integers(0, int(n_bars * meter.bar_quarters * 4) - 1), min_size=1, unique=True))
    notes = tuple(
        Note(
            place / 4,
            draw(st.sampled_from([0.125, 0.25])),
            draw(st.integers(20, 100)),
            draw(st.integers(1, 127)),
        )
        for place in sorted(places)
    )
    tempo = TempoMap((0.0, meter.bar_quarters), (draw(st.floats(0.2, 1)), draw(st.floats(0.2, 1))))
    return Score(meter, n_bars, tempo, (Part("tune", draw(st.integers(0, 127)), notes),))


@given(scores())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(score):
    # A last note makes the piece end with its last bar, as files do.
    last = Note(score.end - 0.25, 0.25, 10, 1)
    whole = Score(
        score.meter,
        score.n_bars,
        score.tempo,
        (Part("tune", score.parts[0].program, (*score.parts[0].notes, last)),),
    )
    read = read_midi(write_midi(whole))
    assert read.meter.signature == score.meter.signature and read.n_bars == score.n_bars
    written = {(n.start, n.duration, n.pitch, n.velocity) for n in whole.parts[0].notes}
    assert {(n.start, n.duration, n.pitch, n.velocity) for n in read.parts[0].notes} == written
    assert read.parts[0].program == score.parts[0].program
    np.testing.assert_allclose(read.downbeats_s(), score.downbeats_s(), atol=1e-4)


@pytest.mark.parametrize("number", range(6))
def test_an_independent_reader_finds_every_note_ended(number):
    mido = pytest.importorskip("mido")
    score = generate(np.random.default_rng(number), duration_s=5)
    file = mido.MidiFile(file=io.BytesIO(write_midi(score)))
    sounding, struck = set(), 0
    for track in file.tracks:
        for message in track:
            if message.type == "note_on" and message.velocity:
                assert (message.channel, message.note) not in sounding
                sounding.add((message.channel, message.note))
                struck += 1
            elif message.type in ("note_off", "note_on"):
                sounding.remove((message.channel, message.note))
    assert not sounding and struck > 5
    assert abs(file.length - score.duration_s) < score.duration_s / 4
    assert [m.channel for t in file.tracks for m in t if m.type == "program_change" and m.channel == 9] == [
        9
    ] * sum(part.is_drums for part in score.parts)


def test_running_status_silent_strokes_and_the_pedal():
    track = signature(4, 2) + bytes(
        [0, 0x91, 60, 90, 48, 60, 0, 0, 62, 80, 0, 0xB1, 64, 127, 48, 0x91, 62, 0]
    )
    track += bytes([0x60, 0xB1, 64, 0, 0x82, 0x20, 0x91, 70, 1, 1, 70, 0]) + END
    score = read_midi(midi_bytes(track, kind=0))
    notes = [(n.start, n.duration, n.pitch) for n in score.parts[0].notes]
    assert notes == [(0, 0.5, 60), (0.5, 1.5, 62), (5, pytest.approx(1 / 96), 70)]


def test_the_longest_stretch_in_one_meter_is_taken():
    track = (
        signature(4, 2)
        + signature(3, 2, delta=127)
        + bytes([0, 0x90, 60, 100, 0x98, 0x00, 0x80, 60, 0])
        + END
    )
    score = read_midi(midi_bytes(track))
    assert (score.meter.signature, score.n_bars) == ("3/4", 10)
    assert score.parts[0].notes[0].start == 0


def test_a_note_held_at_the_end_is_ended_by_the_reader_and_the_writer():
    held = read_midi(midi_bytes(signature(4, 2) + FOUR_BARS + bytes([0, 0x90, 64, 80]) + END))
    assert all(note.start + note.duration <= held.end + 1 for note in held.parts[0].notes)
    again = read_midi(write_midi(held))
    assert again.n_bars == held.n_bars


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "MThd"),
        (b"RIFF....", "MThd"),
        (midi_bytes(FOUR_BARS + END), "no time signature"),
        (midi_bytes(signature(13, 3) + FOUR_BARS + END), "no full bar"),
        (midi_bytes(signature(4, 2) + END), "no full bar"),
        (midi_bytes(END, kind=2), "type 2"),
        (midi_bytes(END, division=0xE728), "division"),
        (midi_bytes(bytes([0, 0xF5, 1])), "status"),
        (midi_bytes(bytes([255, 255, 255, 255, 1])), "four bytes"),
    ],
)
def test_files_that_state_no_meter_are_refused(data, said):
    with pytest.raises(BROKEN, match=said):
        read_midi(data)


@given(st.integers(0, 400), st.binary(max_size=12))
@settings(max_examples=150, deadline=None)
def test_cut_and_damaged_files_raise_only_named_errors(at, damage):
    whole = WHOLE
    place = at * len(whole) // 401
    for data in (whole[:place], whole[:place] + damage + whole[place + len(damage) :]):
        try:
            score = read_midi(data)
        except BROKEN:
            continue
        assert score.n_bars >= 1 and TICKS


def test_signatures_are_counted_as_they_are_heard():
    assert [Meter.of(text).counted for text in ("2/2", "8/8", "3/2", "6/16", "6/8")] == [
        "4/4",
        "4/4",
        "3/4",
        "6/8",
        "6/8",
    ]
    assert [Meter.of(text).label for text in ("2/4", "12/8", "6/8", "9/8", "11/8")] == [
        "4",
        "4",
        "3",
        "9",
        "11",
    ]
    assert Meter.of("9/8").groups == (3, 3, 3) and Meter.of("7/8").groups == (2, 2, 3)
    with pytest.raises(InputError, match="fill 6 pulses"):
        Meter("7/8", (2, 2, 2))
    with pytest.raises(InputError, match="no class covers"):
        Meter("13/8", (13,))
