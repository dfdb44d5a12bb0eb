"""Near-equal audio is found through lossy coding, level and offset, and unrelated audio never."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from meter_sets import RATE, by_id, imported, music

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.tasks.meter.datasets.duplicates import SAMPLE_RATE_HZ, audio_words, bit_error_rate, near_equal

SHARED = Path(__file__).parents[4] / "shared/data/meter"


def words_of(samples: np.ndarray, rate: int = RATE, **coding: str) -> np.ndarray:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **(coding or {"format": "WAV"}))
    buffer.seek(0)
    return audio_words(decode(buffer, sample_rate=SAMPLE_RATE_HZ))


def test_a_recording_in_other_codings_levels_and_cuts_is_itself() -> None:
    original = music(1, seconds=20.0, rate=22_050)
    copies = {
        "wav": words_of(original, 22_050),
        "mp3": words_of(original, 22_050, format="MP3"),
        "quiet ogg": words_of(original * 0.05, 22_050, format="OGG"),
        "cut": words_of(original[5 * 22_050 + 77 : 17 * 22_050], 22_050),
        "other": words_of(music(2, seconds=20.0, rate=22_050), 22_050),
        "silence": words_of(np.zeros(20 * 22_050, dtype=np.float32), 22_050),
        "silence too": words_of(np.zeros(15 * 22_050, dtype=np.float32), 22_050),
        "too short": words_of(original[:1000], 22_050),
    }
    assert near_equal(copies) == [sorted(("wav", "mp3", "quiet ogg", "cut"))]


def test_unrelated_audio_differs_in_half_of_its_bits() -> None:
    first, second = (words_of(music(seed, seconds=20.0)) for seed in (3, 4))
    errors, n_words = bit_error_rate(first, second, 0)
    assert n_words == len(first)
    assert 0.4 < errors < 0.6
    assert bit_error_rate(first, first, 7)[0] > 0.2
    assert bit_error_rate(first, second, len(first)) == (1.0, 0)


def test_words_of_nothing_are_none() -> None:
    assert len(audio_words(Clip(np.zeros(10, dtype=np.float32), SAMPLE_RATE_HZ))) == 0
    assert near_equal({}) == near_equal({"a": np.empty(0, dtype=np.uint32)}) == []


def test_a_recoded_copy_under_another_name_joins_its_group_and_is_reported(tmp_path: Path) -> None:
    original = music(5, seconds=10.0, rate=22_050)
    soundfile.write(tmp_path / "a.wav", original, 22_050)
    soundfile.write(tmp_path / "b.mp3", original, 22_050)
    soundfile.write(tmp_path / "c.wav", music(6, seconds=10.0, rate=22_050), 22_050)
    (tmp_path / "labels.csv").write_text("file,label\na.wav,3\nb.mp3,4\nc.wav,4\n")
    manifest, report = imported(tmp_path, tmp_path / "labels.csv", near_duplicates=True)
    rows = by_id(manifest)
    assert rows["a"]["group"] == rows["b"]["group"] != rows["c"]["group"]
    (pair,) = report.equal_audio
    assert (pair.ids, pair.labels, pair.same_bytes) == (("a", "b"), ("3", "4"), False)
    assert any(warning.startswith("1 recordings bear two labels") for warning in report.warnings)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not beside the checkout")
def test_no_two_of_the_shared_clips_are_taken_for_one_unless_of_one_score() -> None:
    manifest, report = imported(SHARED, SHARED / "labels.csv", near_duplicates=True)
    rows = by_id(manifest)
    for same in report.equal_audio:
        assert len({rows[id]["origin"] for id in same.ids}) == 1, same
