"""Near-equal audio: the same recording in another coding, at another level, or as a part of a longer one.

A recording becomes a sequence of 32-bit words, one per 46 ms: bit m says whether the energy difference of bands m and
m + 1 rises from the frame before. Level does not change it, and lossy coding flips few bits. Two recordings are
near-equal if several words agree at one offset and, laid over each other there, at most `MAX_BIT_ERRORS` of all bits
differ: far from the 0.5 of unrelated audio, where the chance of an alarm is below 1e-20 for 3 s.

Conventions: mono at `SAMPLE_RATE_HZ`; hop `HOP` samples; bands spaced evenly in log frequency from 300 to 2000 Hz. The
recordings are not moved in pitch or tempo against each other; such copies are not found.

References
----------
Haitsma, Kalker (2002). A highly robust audio fingerprinting system. ISMIR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.data.groups import connected_components

__all__ = ["SAMPLE_RATE_HZ", "audio_words", "bit_error_rate", "near_equal"]

SAMPLE_RATE_HZ = 5512
FRAME, HOP = 2048, 256
N_BANDS = 33
BAND_HZ = (300.0, 2000.0)
MAX_BIT_ERRORS = 0.3
MIN_SHARED_WORDS = 4
MIN_OVERLAP_FRAMES = 64
"""About 3 s: shorter coincidences, such as one drum loop in two songs, make no duplicate."""
MOST_COMMON = 200
"""A word that occurs more often than this, as silence does, says nothing and would cost its square."""

Words = NDArray[np.uint32]


def audio_words(clip: Clip) -> Words:
    """Words of a recording.

    Parameters
    ----------
    clip : Clip
        At `SAMPLE_RATE_HZ`.

    Returns
    -------
    ndarray, uint32, shape (n_frames - 1,)
        Empty for less than two frames.
    """
    samples = clip.samples
    n_frames = 1 + (len(samples) - FRAME) // HOP if len(samples) >= FRAME else 0
    if n_frames < 2:
        return np.empty(0, dtype=np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)) ** 2
    edges = np.geomspace(*BAND_HZ, N_BANDS + 1) * FRAME / SAMPLE_RATE_HZ
    energy = np.add.reduceat(power, edges.round().astype(np.int64), axis=1)[:, :N_BANDS]
    rises = np.diff(np.diff(energy, axis=1), axis=0) < 0
    packed = np.packbits(rises, axis=1)
    return np.ascontiguousarray(packed).view(">u4").ravel().astype(np.uint32)


def bit_error_rate(first: Words, second: Words, offset: int) -> tuple[float, int]:
    """Share of differing bits where word i + `offset` of `first` lies on word i of `second`, and the words compared."""
    start = max(0, offset)
    stop = min(len(first), len(second) + offset)
    n_words = max(0, stop - start)
    if not n_words:
        return 1.0, 0
    differing = np.bitwise_count(first[start:stop] ^ second[start - offset : stop - offset])
    return float(differing.sum()) / (32 * n_words), n_words


def near_equal(words: Mapping[str, Words]) -> list[list[str]]:
    """Sets of names whose recordings are near-equal, each sorted, at least two in each.

    Parameters
    ----------
    words : mapping of str to ndarray
        Name (a content hash) -> its words.
    """
    names = list(words)
    pairs = [
        (first, second)
        for first, second, offset in _candidates([words[name] for name in names])
        if _is_same(words[names[first]], words[names[second]], offset)
    ]
    return _components(names, pairs)


def _is_same(first: Words, second: Words, offset: int) -> bool:
    errors, n_words = bit_error_rate(first, second, offset)
    return errors <= MAX_BIT_ERRORS and n_words >= MIN_OVERLAP_FRAMES


def _candidates(words: Sequence[Words]) -> Iterable[tuple[int, int, int]]:
    """Pairs of recordings, and the offset, at which enough words are equal."""
    if sum(map(len, words)) < 2:
        return []
    codes = np.concatenate(words)
    file = np.repeat(np.arange(len(words)), [len(each) for each in words])
    frame = np.concatenate([np.arange(len(each)) for each in words])
    order = np.argsort(codes, kind="stable")
    codes, file, frame = codes[order], file[order], frame[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    lengths = np.diff(np.r_[starts, len(codes)])
    found = []
    # Equal words are neighbours now; a pair lies `step` apart in its run, and runs are at most MOST_COMMON long.
    position = np.arange(len(codes)) - np.repeat(starts, lengths)
    length = np.repeat(lengths, lengths)
    for step in range(1, min(MOST_COMMON, int(lengths.max(initial=1)))):
        left = np.flatnonzero((position + step < length) & (length <= MOST_COMMON))
        right = left + step
        other = file[left] != file[right]
        left, right = left[other], right[other]
        found.append(np.stack([file[left], file[right], frame[left] - frame[right]]))
    triples, counts = (
        np.unique(np.concatenate(found, axis=1), axis=1, return_counts=True)
        if found
        else (
            np.empty((3, 0), dtype=np.int64),
            np.empty(0, dtype=np.int64),
        )
    )
    return [tuple(map(int, triple)) for triple in triples[:, counts >= MIN_SHARED_WORDS].T]  # type: ignore[misc]


def _components(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[list[str]]:
    keys: list[list[int]] = [[] for _ in names]
    for number, pair in enumerate(pairs):
        for row in pair:
            keys[row].append(number)
    sets: dict[int, list[str]] = {}
    for name, component, own in zip(names, connected_components(keys), keys, strict=True):
        if own:
            sets.setdefault(component, []).append(name)
    return sorted(sorted(members) for members in sets.values())
