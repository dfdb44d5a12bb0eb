"""`extract meter` by phases: what is chosen, what is skipped, what coverage says of a planted hole."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_bars import drummed, written

from earmark.errors import UsageError
from earmark.features.extractor import Extractor
from earmark.tasks.meter.extraction import chosen_items, chosen_phases, stratified, warm, windows_of
from earmark.tasks.meter.scores.demo import make_demo
from earmark.tasks.meter.serving.predict import analyst_for
from earmark.tasks.meter.views import PHASES
from earmark.tasks.project import Project
from earmark.tasks.verbs.coverage import coverage
from earmark.tasks.verbs.prepare import prepare


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    limit=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_limit_keeps_the_classes_in_proportion(counts, limit, seed):
    labels = [str(label) for label, n in enumerate(counts) for _ in range(n)]
    ids = [f"{row:03d}" for row in range(len(labels))]
    chosen = stratified(ids, labels, limit, seed)
    assert chosen == sorted(chosen)
    assert len(chosen) == min(limit, len(ids))
    assert chosen == stratified(ids, labels, limit, seed)
    found = Counter(labels[int(id)] for id in chosen)
    if limit >= len(counts):
        assert len(found) == len(counts)
    for label, n in enumerate(counts):
        assert abs(found[str(label)] - n * len(chosen) / len(ids)) <= len(counts) + 1


def test_phases_keep_their_order():
    assert list(chosen_phases(["signals", "beats"])) == ["beats", "signals"]
    assert list(chosen_phases([])) == list(chosen_phases(["all"])) == list(PHASES)
    with pytest.raises(UsageError, match="beats, onsets"):
        chosen_phases(["madmom"])


def test_files_are_warmed_in_the_windows_that_predict_hears(tmp_path):
    song, text = written(tmp_path / "song.wav", drummed(3, 120, 40.0)), tmp_path / "text.wav"
    text.write_text("no audio")
    project = Project.open("meter", tmp_path)
    items = windows_of(project, [str(tmp_path)])
    assert [item.uri for item in items] == [f"{song}#t=0,30", f"{song}#t=15,45", str(text)]
    assert windows_of(project, [str(tmp_path)], limit=1) == items[:2]
    warm(project, items, chosen_phases([], project.task.phases), workers=0)
    reader = analyst_for(project, fallback="rule").reader
    again = Extractor(reader.groups, project.cache, workers=0).run(items[:2])
    assert not any(again.computed.values())
    assert [failure.kind for failure in project.extract(reader.groups, items[2:]).failures] == ["DecodeError"]


@pytest.mark.slow
def test_phases_are_warmed_once_and_a_hole_is_seen(tmp_path):
    labels = make_demo(tmp_path / "demo")
    project = Project.open("meter", tmp_path)
    prepare(project, [str(labels)])
    items = chosen_items(project, "tuning", limit=6)
    phases = {name: PHASES[name] for name in ("beats", "tempo")}
    first = warm(project, items, phases, workers=0)
    assert [phase.computed for phase in first] == [6, 6]
    again = warm(project, items, phases, workers=0)
    assert [phase.computed for phase in again] == [0, 0]
    assert [phase.to_row()["was_cached"] for phase in again] == [6, 6]
    assert [phase.after.verdict for phase in again] == ["OK", "OK"]
    every = chosen_items(project, "all")
    (beats,) = coverage(project, every, {"beats": PHASES["beats"]})
    assert (beats.cached, beats.items, beats.verdict) == (6, len(every), "LOW")
