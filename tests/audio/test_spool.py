"""Recordings on the disk: every container gives the samples of `decode`, whole or in parts, and the same errors."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode, decode_into
from earmark.audio.fragment import Span, cut
from earmark.audio.spool import spool
from earmark.cache.entries import FeatureCache
from earmark.errors import DecodeError, TooShortError
from earmark.features import compute
from earmark.features.extractor import Extractor
from earmark.features.group import feature_group
from earmark.features.item import Item

RATE = 22_050


def written(path, source_rate=44_100, seconds=11.0, channels=2):
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (round(seconds * source_rate), channels))
    soundfile.write(path, noise.astype(np.float32), source_rate)
    return str(path)


def encoded(path, codec, source_rate=48_000, seconds=11.0):
    av = pytest.importorskip("av")
    rng = np.random.default_rng(4)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=source_rate)
        stream.layout = "stereo"
        frame_size = stream.codec_context.frame_size or 1024
        for _ in range(round(seconds * source_rate / frame_size)):
            samples = rng.uniform(-0.3, 0.3, (2, frame_size)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
            frame.sample_rate = source_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "same_rate.wav", "a.m4a"])
def test_samples_are_those_of_decode(name, tmp_path):
    path = tmp_path / name
    if name.endswith("m4a"):
        encoded(path, "aac")
    else:
        written(path, RATE if name.startswith("same") else 44_100)
    whole = decode(path, sample_rate=RATE)
    sink = io.BytesIO()
    assert decode_into(sink, path, sample_rate=RATE) == len(whole.samples)
    assert sink.getvalue() == whole.samples.tobytes()
    held = spool(str(path), sample_rate=RATE)
    for span in (Span(0, 3), Span(9.5, 99), Span(2.000017, 2.5)):
        part = held.cut(span)
        np.testing.assert_array_equal(part.samples, cut(whole, span).samples)
        assert part.uri == f"{path}{span}" and part.samples.flags.writeable
    with pytest.raises(TooShortError, match="before #t=12,15 begins"):
        held.cut(Span(12, 15))


def test_errors_are_those_of_decode(tmp_path):
    path = tmp_path / "cut.flac"
    written(path)
    path.write_bytes(path.read_bytes()[:-40_000])
    text, nan = tmp_path / "text.wav", tmp_path / "nan.wav"
    text.write_text("no audio")
    soundfile.write(nan, np.float32([0, np.nan, 0]), RATE, subtype="FLOAT")
    for source in (path, text, nan, tmp_path / "gone.wav"):
        with pytest.raises(DecodeError) as expected:
            decode(source, sample_rate=RATE)
        with pytest.raises(DecodeError) as found:
            decode_into(io.BytesIO(), source, sample_rate=RATE)
        assert str(found.value) == str(expected.value)


@feature_group("spool.sum", columns=("sum", "n"), sample_rate=RATE)
def summed(clip):
    return [clip.samples.sum(dtype=np.float64), len(clip.samples)]


def test_long_recordings_have_the_features_of_short_ones(tmp_path, monkeypatch):
    path = written(tmp_path / "set.flac")
    items = [Item(str(k), f"{path}#t={k},{k + 3}") for k in range(0, 9, 3)]
    in_memory = Extractor([summed], workers=0).run(items)
    compute._last_recording.clear()
    monkeypatch.setattr(compute, "SPOOL_S", 5.0)
    monkeypatch.setattr(compute, "decode", None)  # not even once as a whole
    with FeatureCache(tmp_path / "cache") as cache:
        spooled = Extractor([summed], cache, workers=0).run(items)
        assert not cache.reads()
    compute._last_recording.clear()
    assert spooled.values.tobytes() == in_memory.values.tobytes() and not spooled.failures
