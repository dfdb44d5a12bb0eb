"""Earlier definitions, as baselines: the first 30 s, raw audio, earlier versions, tempi of the beats."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from clicked_bars import clicked
from meter_sets import by_id, imported

from earmark.audio.front_end import front_end
from earmark.errors import UsageError
from earmark.tasks.meter.groups.audio_tracked import AUDIO_TRACKED
from earmark.tasks.meter.groups.audio_v6 import AUDIO, audio_values
from earmark.tasks.meter.groups.tempo_candidates import tempogram_tempi
from earmark.tasks.meter.task import task

RATE = 8000


@pytest.fixture
def clip():
    return clicked(0.5 * np.arange(1, 20), 3, duration_s=10.0)


def test_windows_lie_in_the_middle_or_at_the_beginning(tmp_path):
    rng = np.random.default_rng(4)
    for name, duration_s in (("long", 90.0), ("short", 20.0)):
        noise = 0.1 * rng.normal(size=round(duration_s * RATE))
        soundfile.write(tmp_path / f"{name}.wav", noise, RATE)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nlong.wav,3\nshort.wav,4\n", encoding="utf-8")
    uris = {}
    for crop in ("centre", "first"):
        manifest, _ = imported(tmp_path, labels, crop=crop)
        uris[crop] = sorted(row["uri"].rsplit("/", 1)[-1] for row in by_id(manifest).values())
    assert uris == {
        "centre": ["long.wav#t=30,60", "short.wav"],
        "first": ["long.wav#t=0,30", "short.wav"],
    }
    with pytest.raises(UsageError, match="crop is 'last'; expected centre or first"):
        imported(tmp_path, labels, crop="last")


def test_raw_audio_is_the_audio_group_without_the_filter(clip):
    (raw,) = task.features("legacy_a1449").groups
    ready = clip.memo(front_end, highpass_hz=0.0)
    assert np.abs(ready.samples).max() == 1
    expected = audio_values(ready, tempogram_tempi(ready)).astype(np.float32)
    np.testing.assert_array_equal(raw(clip), expected)
    assert not np.array_equal(raw(clip), AUDIO(clip))


@pytest.mark.parametrize("width", [768, 876, 1361])
def test_earlier_versions_have_their_widths(width, clip):
    (raw,) = task.features(f"legacy_a{width}").groups
    assert raw(clip).shape == (width,)


def test_tempi_of_the_beats_are_those_of_the_tracked_group(clip):
    (tracked,) = task.features("tracked_a1449").groups
    np.testing.assert_array_equal(tracked(clip), AUDIO_TRACKED(clip))


def test_no_two_baselines_share_a_key():
    names = ("a1449", "legacy_a1449", "legacy_a1361", "legacy_a876", "legacy_a768", "tracked_a1449")
    groups = [task.features(name).groups[0] for name in names]
    assert len({group.name for group in groups}) == len(groups)
    assert len({group.fingerprint().digest for group in groups}) == len(groups)
