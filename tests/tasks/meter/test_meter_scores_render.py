"""fluidsynth under guard: held notes end, time runs out, garbage is refused, and no process stays behind."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import InputError, UsageError
from earmark.tasks.meter.scores import render
from earmark.tasks.meter.scores.demo import CLICKS, click_score
from earmark.tasks.meter.scores.midi import write_midi
from earmark.tasks.meter.scores.render import INSTALL, find_sound_fonts, has_fluidsynth, render_midi

needs_fluidsynth = pytest.mark.skipif(
    not has_fluidsynth(), reason=f"needs fluidsynth and a sound font: {INSTALL}"
)

HELD = (
    b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\x13"
    b"\0\xff\x58\4\4\2\x18\x08"  # 4/4
    b"\0\xc0\x49"  # a flute, which sounds as long as it is held
    b"\0\x90\x3c\x64"  # a note that nothing ends
    b"\0\xff\x2f\0"
)


def own_children() -> set[str]:
    return set(Path("/proc/self/task").glob("*/children").__next__().read_text().split())


@needs_fluidsynth
def test_a_note_held_for_ever_is_cut_at_the_length_that_is_due():
    before, started = own_children(), time.monotonic()
    samples = render_midi(HELD, find_sound_fonts()[-1], 3.0)
    assert samples.shape == (66_150,) and np.abs(samples).max() > 0.001
    assert time.monotonic() - started < 30
    assert own_children() == before


@needs_fluidsynth
def test_time_that_runs_out_kills_the_process():
    before = own_children()
    with pytest.raises(InputError, match="longer than its limit"):
        render_midi(HELD, find_sound_fonts()[-1], 100_000.0, time_limit_s=0.5)
    assert own_children() == before


@needs_fluidsynth
def test_clicks_sound_where_they_are_written():
    score = click_score(CLICKS[0])
    samples = render_midi(write_midi(score), find_sound_fonts()[-1], 6.0)
    for time_s in score.downbeats_s()[:3]:
        first = round(time_s * 22_050)
        before, after = samples[max(0, first - 400) : first + 1], samples[first : first + 1_200]
        assert np.abs(after).max() > 3 * np.abs(before).max(initial=1e-4)


@needs_fluidsynth
def test_garbage_is_refused_or_silent():
    try:
        assert np.abs(render_midi(b"not MIDI", find_sound_fonts()[-1], 1.0)).max() < 1e-3
    except InputError as problem:
        assert "fluidsynth" in str(problem)


def test_what_is_missing_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(render, "SOUND_FONTS", ("/nowhere/a.sf2",))
    with pytest.raises(UsageError, match="apt-get install fluidsynth"):
        find_sound_fonts()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="apt-get install fluidsynth"):
        render_midi(HELD, "/nowhere/a.sf2", 1.0)
    assert not has_fluidsynth()
