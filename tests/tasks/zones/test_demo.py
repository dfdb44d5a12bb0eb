"""The demo library: same seed same bytes, nothing written twice, labels that can be read, zones that overlap."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.audio.tempo import tempo
from earmark.tasks.zones.demo import DEFAULT_TRACKS, DemoLibrary, generate_demo
from earmark.tasks.zones.labels import CLASSES
from earmark.tasks.zones.synthesis import SECTION_LEVELS, arrange


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> DemoLibrary:
    return generate_demo(tmp_path_factory.mktemp("demo"), 12)


def truth_of(library: DemoLibrary) -> dict[str, dict[str, object]]:
    return dict(json.loads(library.truth.read_text(encoding="utf-8"))["tracks"])


def test_all_files_are_there_and_play(library: DemoLibrary) -> None:
    assert library.n_written == len(library.tracks) == 12
    assert {path.suffix for path in library.tracks} == {".flac", ".wav"}
    truth = truth_of(library)
    for path in library.tracks:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (22_050, 1)
        assert info.duration == pytest.approx(truth[f"audio/{path.name}"]["duration_s"], abs=0.01)
        samples, _ = soundfile.read(path, dtype="float32")
        assert np.sqrt(np.mean(samples**2)) > 0.02 and np.abs(samples).max() < 1


def test_labels_are_a_playlist_table(library: DemoLibrary) -> None:
    lines = library.labels.read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
    assert header[:2] == ["#", "My Tag"] and header[-2:] == ["Location", "Album"]
    assert Counter(row["My Tag"] for row in rows) == dict.fromkeys(CLASSES, 4)
    assert len({row["Artist"] for row in rows}) == 4 and len({row["Album"] for row in rows}) == 4
    for row in rows:
        assert (library.labels.parent / row["Location"]).is_file()
        zones = {other["My Tag"] for other in rows if other["Artist"] == row["Artist"]}
        assert len(zones) > 1  # an artist is not a zone


def test_a_second_call_writes_nothing(library: DemoLibrary) -> None:
    before = {path: path.stat().st_mtime_ns for path in (*library.tracks, library.labels, library.truth)}
    started = time.process_time()
    again = generate_demo(library.labels.parent, 12)
    assert time.process_time() - started < 1.0
    assert again.n_written == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_what_is_missing_or_damaged_is_written(tmp_path: Path) -> None:
    first = generate_demo(tmp_path, 4)
    content = {path: path.read_bytes() for path in first.tracks}
    first.tracks[0].unlink()
    first.tracks[2].write_bytes(b"damaged")
    assert generate_demo(tmp_path, 4).n_written == 2
    assert {path: path.read_bytes() for path in first.tracks} == content
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == [
        path.name for path in first.tracks
    ]


def test_an_interrupted_first_call_is_completed(tmp_path: Path) -> None:
    whole = generate_demo(tmp_path / "whole", 3)
    generate_demo(tmp_path / "cut", 3).truth.unlink()
    assert generate_demo(tmp_path / "cut", 3).n_written == 3
    for path in whole.tracks:
        assert (tmp_path / "cut" / "audio" / path.name).read_bytes() == path.read_bytes()


def test_seed_decides_the_bytes(tmp_path: Path) -> None:
    first, same, other = (
        generate_demo(tmp_path / name, 2, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.tracks[0].read_bytes() == same.tracks[0].read_bytes()
    assert first.tracks[0].read_bytes() != other.tracks[0].read_bytes()
    assert first.labels.read_bytes() == same.labels.read_bytes()


def test_truth_is_in_the_sound(library: DemoLibrary) -> None:
    right_tempo = 0
    for path in library.tracks:
        truth = truth_of(library)[f"audio/{path.name}"]
        clip = decode(path, sample_rate=22_050)
        heard, planted = clip.memo(tempo), float(str(truth["tempo_bpm"]))
        right_tempo += min(abs(heard / planted - factor) for factor in (0.5, 1, 2)) < 0.04
        for drop_s in truth["drops_s"]:  # type: ignore[attr-defined]
            at = round(drop_s * 22_050)
            before, after = clip.samples[at - 66_150 : at - 22_050], clip.samples[at : at + 44_100]
            assert np.square(after).mean() > np.square(before).mean()
    assert right_tempo >= 11


def test_zones_overlap_in_tempo_and_level_and_are_balanced(tmp_path: Path) -> None:
    library = generate_demo(tmp_path, 24)
    truth = truth_of(library).values()
    assert Counter(track["zone"] for track in truth) == dict.fromkeys(CLASSES, 8)
    assert DEFAULT_TRACKS % 12 == 0
    tempos = {zone: [float(str(t["tempo_bpm"])) for t in truth if t["zone"] == zone] for zone in CLASSES}
    counts = {zone: {len(t["drops_s"]) for t in truth if t["zone"] == zone} for zone in CLASSES}  # type: ignore[arg-type]
    for lower, higher in (("YELLOW", "GREEN"), ("GREEN", "PURPLE")):
        assert max(tempos[lower]) > min(tempos[higher])
        assert np.mean(tempos[lower]) < np.mean(tempos[higher])
        assert counts[lower] & counts[higher]


@pytest.mark.parametrize("n_drops", [0, 1, 2, 3])
def test_arrangements_are_gapless(n_drops: int) -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        n_bars = int(rng.integers(4 + 6 * n_drops + 1, 60))
        sections = arrange(n_bars, n_drops, rng)
        ends = [section.start_bar + section.n_bars for section in sections]
        assert [section.start_bar for section in sections] == [0, *ends[:-1]]
        assert ends[-1] == n_bars
        assert all(section.n_bars > 0 and section.kind in SECTION_LEVELS for section in sections)
        assert sum(section.kind == "drop" for section in sections) == n_drops


@pytest.mark.parametrize(("n_tracks", "duration_s"), [(0, 60.0), (3, 30.0)])
def test_too_small_a_demo_is_refused(tmp_path: Path, n_tracks: int, duration_s: float) -> None:
    with pytest.raises(ValueError, match="expected at least 1 track of 45 s"):
        generate_demo(tmp_path, n_tracks, duration_s=duration_s)
