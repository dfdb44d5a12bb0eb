"""Raw samples in pieces are the samples that `decode` gives for a wav file of them, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.errors import DecodeError, UsageError
from earmark.inference.pcm import PcmDecoder, PcmFormat

SUBTYPES = {"s16le": "PCM_16", "f32le": "FLOAT"}


def noise(pcm: PcmFormat, n_frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if pcm.encoding == "s16le":
        return rng.integers(-(2**15), 2**15, (n_frames, pcm.channels), dtype=np.int16)
    return rng.uniform(-1.2, 1.2, (n_frames, pcm.channels)).astype(np.float32)


def heard(pcm: PcmFormat, rates: list[int], data: bytes, sizes: list[int]) -> dict[int, np.ndarray]:
    """What a decoder gives when `data` comes in pieces of the given sizes, over and over."""
    decoder = PcmDecoder(pcm, rates, "test")
    parts: dict[int, list[np.ndarray]] = {rate: [] for rate in rates}
    position, turn = 0, 0
    while position < len(data):
        for rate, piece in decoder.push(data[position : position + sizes[turn % len(sizes)]]).items():
            parts[rate].append(piece.copy())
        position += sizes[turn % len(sizes)]
        turn += 1
    for rate, piece in decoder.finish().items():
        parts[rate].append(piece)
    return {rate: np.concatenate(pieces) for rate, pieces in parts.items()}


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("source_rate", [8_000, 22_050, 44_100])
def test_raw_samples_are_what_decode_gives_for_a_wav_file(tmp_path, encoding, channels, source_rate):
    pcm = PcmFormat(encoding, source_rate, channels)
    frames = noise(pcm, 3 * source_rate + 17)
    path = tmp_path / "noise.wav"
    soundfile.write(path, frames, source_rate, subtype=SUBTYPES[encoding])
    found = heard(pcm, [22_050, 16_000], frames.tobytes(), [4_099])
    for rate, samples in found.items():
        expected = decode(path, sample_rate=rate).samples
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, expected)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(20, 5_000), min_size=1, max_size=8), channels=st.integers(1, 2))
def test_the_pieces_do_not_matter(sizes, channels):
    pcm = PcmFormat("s16le", 11_025, channels)
    data = noise(pcm, 6_000).tobytes()
    whole, pieces = heard(pcm, [8_000, 11_025], data, [len(data)]), heard(pcm, [8_000, 11_025], data, sizes)
    for rate in whole:
        np.testing.assert_array_equal(whole[rate], pieces[rate])


def test_samples_are_not_held_back_for_long():
    pcm = PcmFormat("f32le", 16_000)
    decoder = PcmDecoder(pcm, [16_000, 8_000], "test")
    given_at = {16_000: 0, 8_000: 0}
    for second in range(1, 6):
        for rate, piece in decoder.push(noise(pcm, 16_000).tobytes()).items():
            given_at[rate] += len(piece)
            assert given_at[rate] >= (second - 0.3) * rate


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "gave 0 bytes and ended"),
        (b"\0\0\0", "gave 3 bytes and ended"),
        (b"\0" * 4 * 10 + b"\0", "ends inside a frame: 1 bytes are left over"),
        (np.array([0, 0, 0, np.nan], "<f4").tobytes(), "has the sample nan at 0.00 s"),
        (np.array([0] * 4000 + [-np.inf], "<f4").tobytes(), "has the sample -inf at 0.50 s"),
        (np.array([0, 1e9], "<f4").tobytes(), "has the sample 1000000000.0 at 0.00 s"),
    ],
)
def test_what_is_no_audio_is_refused_with_its_place(data, message):
    pcm = PcmFormat("f32le", 8_000)
    with pytest.raises(DecodeError, match=f"`test` {message}"):
        heard(pcm, [8_000], data, [64])


@pytest.mark.parametrize(
    "arguments", [("s24le", 8_000, 1), ("s16le", 0, 1), ("s16le", 10**7, 1), ("f32le", 8_000, 0)]
)
def test_formats_that_are_none_are_refused(arguments):
    with pytest.raises(UsageError, match="expected"):
        PcmFormat(*arguments)
