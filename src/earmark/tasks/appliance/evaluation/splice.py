"""Recordings with known switch times, made of recordings of steady states.

Pieces are joined by a cross-fade of a few milliseconds with constant power (sine and cosine): pieces of different
recordings are not correlated, so the level goes straight from one to the other, and neither is scaled. A switch is in
the middle of its cross-fade. What is not there is the start of a motor: a switch in a splice is cleaner than one in a
room, and delays measured on it are the decoder's and the window's.

Times are seconds from the start of the splice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.tasks.appliance.schema import Devices, state_of

__all__ = ["CROSSFADE_S", "Piece", "Spliced", "random_pieces", "splice"]

CROSSFADE_S = 0.005

Facts = Mapping[str, bool]


@dataclass(frozen=True)
class Piece:
    """Sound of one steady state."""

    clip: Clip
    facts: Facts


@dataclass(frozen=True)
class Spliced:
    """A splice: `starts_s` and `facts` of its pieces, first start 0."""

    clip: Clip
    starts_s: tuple[float, ...]
    facts: tuple[Facts, ...]

    def states(self, devices: Devices) -> tuple[tuple[float, str], ...]:
        """Start and public state of every stretch of one state, those that go on joined."""
        found: list[tuple[float, str]] = []
        for start_s, facts in zip(self.starts_s, self.facts, strict=True):
            state = state_of(facts, devices)
            if not found or found[-1][1] != state:
                found.append((start_s, state))
        return tuple(found)


def splice(pieces: Sequence[Piece], *, crossfade_s: float = CROSSFADE_S) -> Spliced:
    """Join pieces in order.

    Parameters
    ----------
    pieces : sequence of Piece
        At least one; all of one rate, each longer than two cross-fades.
    crossfade_s : float
        0 joins sample to sample.

    Raises
    ------
    UsageError
        No piece, rates that differ, or a piece that is too short.
    """
    n_fade = _check(pieces, crossfade_s)
    rate = pieces[0].clip.sample_rate
    n_total = sum(len(piece.clip.samples) for piece in pieces) - n_fade * (len(pieces) - 1)
    joined, at, starts_s = np.zeros(n_total, dtype=np.float32), 0, []
    rising = np.sin(np.pi / 2 * (np.arange(n_fade) + 0.5) / max(n_fade, 1)).astype(np.float32)
    for number, piece in enumerate(pieces):
        samples = piece.clip.samples.copy()
        if number:
            samples[:n_fade] *= rising
        if number < len(pieces) - 1:
            samples[len(samples) - n_fade :] *= rising[::-1]
        joined[at : at + len(samples)] += samples
        starts_s.append((at + n_fade / 2) / rate if number else 0.0)
        at += len(samples) - n_fade
    return Spliced(Clip(joined, rate), tuple(starts_s), tuple(piece.facts for piece in pieces))


def random_pieces(
    recordings: Sequence[Piece],
    *,
    n_pieces: int,
    seed: int,
    stay_s: tuple[float, float] = (20.0, 40.0),
    minimum_s: float = 1.0,
) -> Iterator[Piece]:
    """Pieces of steady recordings in random order, one device switching at a time where there are such recordings.

    Parameters
    ----------
    recordings : sequence of Piece
        Whole recordings; several of the same facts are taken in turn at random.
    n_pieces : int
    seed : int
    stay_s : (float, float)
        Lengths of pieces are uniform between these, or as long as the recording.
    minimum_s : float
        Recordings shorter than this take no part.
    """
    usable = [one for one in recordings if one.clip.duration_s >= minimum_s]
    if not usable:
        raise UsageError(f"no recording of {minimum_s:g} s or more was given to splice. Record longer ones.")
    rng = np.random.default_rng(seed)
    before: Facts | None = None
    for _ in range(n_pieces):
        pool = _followers(usable, before)
        piece = pool[int(rng.integers(len(pool)))]
        yield Piece(_random_part(piece.clip, float(rng.uniform(*stay_s)), rng), piece.facts)
        before = piece.facts


def _followers(recordings: Sequence[Piece], before: Facts | None) -> list[Piece]:
    if before is None:
        return list(recordings)
    n_changed = [sum(before[name] != one.facts[name] for name in before) for one in recordings]
    least = min((n for n in n_changed if n), default=0)
    return [one for one, n in zip(recordings, n_changed, strict=True) if n == least]


def _random_part(clip: Clip, duration_s: float, rng: np.random.Generator) -> Clip:
    n = min(len(clip.samples), round(duration_s * clip.sample_rate))
    start = int(rng.integers(len(clip.samples) - n + 1))
    return Clip(clip.samples[start : start + n], clip.sample_rate)


def _check(pieces: Sequence[Piece], crossfade_s: float) -> int:
    """Samples of a cross-fade."""
    if not pieces:
        raise UsageError("there is no piece to splice; expected one or more.")
    rates = sorted({piece.clip.sample_rate for piece in pieces})
    if len(rates) > 1:
        raise UsageError(
            f"pieces have the rates {', '.join(map(str, rates))} Hz; expected one. Decode all to one rate."
        )
    n_fade = round(crossfade_s * rates[0])
    shortest = min(len(piece.clip.samples) for piece in pieces)
    if n_fade < 0 or shortest < max(1, 2 * n_fade):
        raise UsageError(
            f"a piece has {shortest} samples and a cross-fade {n_fade}; expected pieces of two cross-fades or more."
        )
    return n_fade
