"""The corpus of music21: which of it is used, tunes as they are notated, and performances of every class."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("music21")

from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.music21_corpus import COLLECTIONS, Tune, corpus_score, index, read_tune


def test_only_collections_without_restrictions_are_used():
    folders = {tune.path.parent.name for tunes in index().values() for tune in tunes}
    assert folders == set(COLLECTIONS)
    assert not folders & {"essenFolksong", "nottingham-dataset", "josquin", "palestrina"}


def test_the_index_knows_common_and_compound_meters():
    counts = {signature: len(tunes) for signature, tunes in index().items()}
    assert counts["6/8"] > 500 and counts["2/4"] > 500 and counts["9/8"] > 100 and counts["3/4"] > 100
    assert "2/2" not in counts and all("/" in signature for signature in counts)


def test_a_tune_is_read_as_it_is_notated(tmp_path):
    path = tmp_path / "here.abc"
    path.write_text("X:1\nT:a\nM:3/4\nL:1/4\nK:C\nG|cde|fga|g2e|c3|cde|f2a|g3|c2||\n", encoding="utf-8")
    score = read_tune(Tune(path, 0, "3/4"))
    assert (score.n_bars, score.first_bar, score.meter.label) == (7, 1.0, "3")
    notes = [(note.start, note.duration, note.pitch) for note in score.parts[0].notes[:5]]
    assert notes == [(0, 1, 67), (1, 1, 72), (2, 1, 74), (3, 1, 76), (4, 1, 77)]
    assert score.group.endswith("here#0")


@pytest.mark.parametrize("number", range(6))
def test_every_class_is_performed(number):
    score = corpus_score(number, np.random.default_rng(number), duration_s=20)
    assert score.meter.label == CLASSES[number] or score.style == "chorale"
    assert score.downbeats_s()[-1] > 20 and score.group and len(score.parts[0].notes) > 20
    again = corpus_score(number, np.random.default_rng(number), duration_s=20)
    assert again == score
