"""Generated pieces: valid notes, bars where the tempo puts them, weight on downbeats, all classes and groupings."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.accompaniment import CHORD_STYLES, chord_bar
from earmark.tasks.meter.scores.arrange import LIMPS, arranged, chords_of, limping
from earmark.tasks.meter.scores.meters import MADE, draw_meter
from earmark.tasks.meter.scores.patterns import LAYERS, generate
from earmark.tasks.meter.scores.rhythm import Style, bar_rhythm, cadence_rhythm
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap, repeated


@given(st.integers(0, 10**6), st.sampled_from(CLASSES))
@settings(max_examples=60, deadline=None)
def test_every_piece_is_playable_and_long_enough(seed, label):
    score = generate(np.random.default_rng(seed), label, duration_s=12)
    assert score.meter.label == label
    notes = [note for part in score.parts for note in part.notes]
    assert len(notes) >= 4
    assert all(
        0 <= n.pitch < 128 and 1 <= n.velocity < 128 and n.duration > 0 and n.start >= 0 for n in notes
    )
    beats = score.downbeats_s()
    assert beats[-1] > 12 and (np.diff(beats) > 0.3).all() and (np.diff(beats) < 11).all()
    last = max(note.start for note in notes)
    assert score.end - 2.1 * score.meter.bar_quarters < last < score.end + 0.5


@given(st.integers(0, 10**6), st.sampled_from([(made, groups) for made in MADE for groups in made.groupings]))
@settings(max_examples=100, deadline=None)
def test_rhythms_fill_their_bars(seed, chosen):
    made, groups = chosen
    rng, meter = np.random.default_rng(seed), Meter(made.signature, groups)
    style = Style.draw(rng)
    for make in (bar_rhythm, cadence_rhythm):
        strokes = make(rng, meter, style, 0.5)
        ends = [0.0, *(stroke.start + stroke.duration for stroke in strokes)]
        assert [stroke.start for stroke in strokes] == pytest.approx(ends[:-1])
        assert ends[-1] == pytest.approx(meter.bar_quarters)


def test_notes_gather_at_bars_and_long_ones_there_too():
    starts, lengths = Counter(), Counter()
    for seed in range(90):
        score = generate(np.random.default_rng(seed), CLASSES[seed % 6], duration_s=10)
        if score.style != "melody":
            continue
        meter = score.meter
        for note in score.parts[0].notes:
            pulse = ((note.start - score.first_bar) / meter.pulse_quarters + 0.1) % meter.pulses
            kind = (
                "bar"
                if pulse < 0.25
                else "group"
                if int(pulse) in meter.group_starts and pulse % 1 < 0.25
                else "else"
            )
            starts[kind] += 1
            lengths[kind] += note.duration / meter.pulse_quarters
    assert starts["bar"] > 150
    mean = {kind: lengths[kind] / starts[kind] for kind in starts}
    assert mean["bar"] > 1.1 * mean["else"] and mean["group"] > mean["else"]


def test_all_signatures_groupings_and_layers_occur():
    rng = np.random.default_rng(0)
    drawn = {(meter.signature, meter.groups) for meter, _ in (draw_meter(rng) for _ in range(3000))}
    assert drawn == {(made.signature, groups) for made in MADE for groups in made.groupings}
    assert {"2/4", "3/4", "4/4", "5/4", "5/8", "6/8", "7/4", "7/8", "9/8", "11/8", "12/8"} <= {
        s for s, _ in drawn
    }
    assert {generate(np.random.default_rng(seed), duration_s=1).style for seed in range(120)} == set(LAYERS)


def test_bars_follow_the_tempo_map():
    tempo = TempoMap((0.0, 1.0, 4.0), (0.5, 1.0, 0.25))
    assert tempo.seconds([-1, 0, 1, 2, 4, 8]).tolist() == [-0.5, 0, 0.5, 1.5, 3.5, 4.5]
    score = Score(Meter("3/4", (3,)), 2, tempo, (), first_bar=1.0)
    assert score.downbeats_s().tolist() == [0.5, 3.5] and score.duration_s == 4.25
    late = TempoMap((0.0, 3.0, 7.0), (0.5, 1.0, 9.0))  # the last step lies beyond the piece
    twice = repeated(Score(Meter("3/4", (3,)), 2, late, ()), 2)
    assert twice.downbeats_s().tolist() == [0, 1.5, 4.5, 6.0]


@pytest.mark.parametrize("style", CHORD_STYLES)
@pytest.mark.parametrize("signature", ["2/4", "3/4", "7/8", "11/8", "12/8"])
def test_accompaniment_stays_in_its_bar_and_marks_it(style, signature):
    meter = Meter.of(signature)
    notes = chord_bar(style, meter, (60, 64, 67))
    assert notes and min(note.start for note in notes) == 0
    assert max(note.start + note.duration for note in notes) <= meter.bar_quarters + 1e-9
    assert max(notes, key=lambda note: note.velocity).start == 0


def test_chords_are_found_under_a_tune():
    bars = [(60, 64, 67), (62, 65, 69), (67, 71, 74), ()]
    notes = tuple(
        Note(3 * bar + beat, 1.0, pitch) for bar, chord in enumerate(bars) for beat, pitch in enumerate(chord)
    )
    score = Score(Meter("3/4", (3,)), 4, TempoMap.constant(0.5), (Part("tune", 0, notes),))
    roots = [chord[0] % 12 for chord in chords_of(score)]
    assert roots == [0, 2, 7, 7]  # a silent bar keeps the chord before it
    assert chords_of(score)[1] == (50, 53, 57)


@pytest.mark.parametrize(
    "limp", LIMPS, ids=lambda limp: f"{limp.bars}x{limp.signature}-{limp.meter.grouping}-{limp.target}"
)
def test_limping_bars_keep_their_notes_and_fill_the_new_bar(limp):
    source = Meter.of(limp.signature)
    assert (
        limp.source[-1] == limp.bars * source.bar_quarters * 2
        and limp.target[-1] == limp.meter.bar_quarters * 2
    )
    assert (np.diff(limp.source) > 0).all() and (np.diff(limp.target) > 0).all()
    starts = {float(start) for start in accumulate(limp.meter.groups, initial=0)}
    unit = 2 * limp.meter.pulse_quarters
    assert {start * unit for start in starts} >= {0.0, limp.target[-1]}
    eighths = tuple(
        Note(place / 2, 0.5, 60 + place % 12) for place in range(round(4 * source.bar_quarters * 2))
    )
    score = Score(source, 4, TempoMap.constant(0.5), (Part("tune", 0, eighths),))
    bent = limping(score, limp)
    assert bent.n_bars == 4 // limp.bars and len(bent.parts[0].notes) == len(eighths)
    ends = [note.start + note.duration for note in bent.parts[0].notes]
    np.testing.assert_allclose(ends[:-1], [note.start for note in bent.parts[0].notes[1:]])
    assert ends[-1] == pytest.approx(bent.end)


def test_an_arrangement_lasts_and_keeps_the_meter():
    notes = tuple(Note(place / 2, 0.5, 60 + place % 7) for place in range(24))
    tune = Score(Meter("3/4", (3,)), 4, TempoMap.constant(0.5), (Part("tune", 0, notes),))
    for seed in range(5):
        score = arranged(np.random.default_rng(seed), tune, duration_s=20, layers="melody+chords+usul")
        assert score.downbeats_s()[-1] > 20 and len(score.parts) == 3
        assert 1.1 < len(score.parts[0].notes) / score.duration_s < 9.5
