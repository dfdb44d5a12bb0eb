"""Training windows, altered: other gains, other backgrounds, other rooms' colours.

Every draw comes from a generator of its own, seeded by (seed, window, copy, step): the same key gives the same bits on
every machine, in any order, and a step that is changed or left out leaves the draws of all others alone.

Steps on a waveform, in order: gain; background mixed in; shelves (low and high) or, in preset ``g2``, a zero-phase
Butterworth filter; a stretch of zeros; clipping. On its filter bank: stretches of time and frequency set to 0, which is
the mean of a normalised bank.

Gain and mixing at a ratio destroy absolute level. Where level tells a machine (a blower 12 dB above the floor survives
6 dB of gain, a compressor 1.6 dB above it does not), `gain_db` 0 and `mix` ``natural`` keep it.

Conventions: samples float32 (n_samples,), mono; filter banks (n_frames, n_bins), frames of 10 ms; levels are RMS in dB.
What is returned is new; inputs are never written to.

References: Park et al., "SpecAugment", Interspeech 2019 (masks); `earmark.audio.shelves`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earmark.audio.levels import root_mean_square
from earmark.audio.shelves import high_shelf, low_shelf, shelve
from earmark.errors import UsageError

__all__ = ["PRESETS", "Augmentation", "Backgrounds", "DrawKey", "Place", "augmented", "masked", "preset"]

Floats = NDArray[np.float32]
Range = tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a window, how often and how far; the default is nothing.

    Parameters
    ----------
    gain_probability, gain_db : float
        Gain uniform in +-gain_db.
    mix_probability : float
        Of adding a background.
    mix : {"snr", "natural"}
        At a ratio drawn from `snr_db`, or at its own level.
    snr_db : (float, float)
        Level of the window over that of the background, dB.
    shelf_probability, shelf_db : float
        Gain of a low shelf uniform in +-shelf_db, at `low_shelf_hz`; and of a high one at `high_shelf_hz`.
    eq : {"tilt", "independent"}
        Whether the high shelf has the opposite gain, or its own.
    filter_probability : float
        Of a 4th-order Butterworth low-pass, high-pass or band-pass, forward and backward.
    zeros_probability, zeros_s : float
        Of a stretch of zeros, uniform up to that many seconds.
    clips : bool
        Limit to [-1, 1] at the end.
    time_masks, frames_per_mask, frequency_masks, bins_per_mask : int
        Number of masks on the filter bank, and the largest extent of one; extents are uniform from 0.

    Raises
    ------
    UsageError
        `mix` or `eq` is none of the words.
    """

    gain_probability: float = 0.0
    gain_db: float = 6.0
    mix_probability: float = 0.0
    mix: Literal["snr", "natural"] = "snr"
    snr_db: Range = (8.0, 25.0)
    shelf_probability: float = 0.0
    shelf_db: float = 3.0
    low_shelf_hz: Range = (150.0, 300.0)
    high_shelf_hz: Range = (2000.0, 5000.0)
    eq: Literal["tilt", "independent"] = "tilt"
    filter_probability: float = 0.0
    zeros_probability: float = 0.0
    zeros_s: float = 0.2
    clips: bool = False
    time_masks: int = 0
    frames_per_mask: int = 40
    frequency_masks: int = 0
    bins_per_mask: int = 20

    def __post_init__(self) -> None:
        for name, value, words in (
            ("mix", self.mix, ("snr", "natural")),
            ("eq", self.eq, ("tilt", "independent")),
        ):
            if value not in words:
                raise UsageError(
                    f"{name} is {value!r}; expected one of {', '.join(words)}. Choose one of them."
                )

    @property
    def changes_waveforms(self) -> bool:
        """Whether a window's samples may change at all."""
        chances = (
            self.gain_probability * self.gain_db,
            self.mix_probability,
            self.shelf_probability,
            self.filter_probability,
            self.zeros_probability,
        )
        return any(chances) or self.clips


PRESETS = {
    "none": Augmentation(),
    "g3": Augmentation(
        gain_probability=1.0, mix_probability=0.5, shelf_probability=0.3, time_masks=2, frequency_masks=2
    ),
    "g2": Augmentation(
        gain_probability=0.8,
        mix_probability=0.4,
        snr_db=(15.0, 30.0),
        filter_probability=0.5,
        zeros_probability=0.3,
        clips=True,
    ),
}
"""The two earlier recipes. The background of ``g2``, at -30 to -15 dB, is read as 15 to 30 dB below the window."""


def preset(
    name: str, *, gain_db: float | None = None, eq: str | None = None, mix: str | None = None
) -> Augmentation:
    """A preset with some of its settings replaced.

    Raises
    ------
    UsageError
        There is no preset of that name, or a word is none of those allowed.
    """
    if name not in PRESETS:
        raise UsageError(
            f"There is no augmentation {name!r}; expected one of {', '.join(PRESETS)}. Choose one of them."
        )
    given = {"gain_db": gain_db, "eq": eq, "mix": mix}
    return replace(PRESETS[name], **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]


@dataclass(frozen=True)
class DrawKey:
    """What decides the draws of one altered window."""

    seed: int
    window: str
    copy: int

    def generator(self, step: str) -> np.random.Generator:
        """The generator of one step."""
        text = f"{self.seed}/{self.copy}/{step}/{self.window}"
        return np.random.default_rng(
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
        )


@dataclass(frozen=True)
class Place:
    """Where a window lies: its recording, from and to in seconds."""

    recording: str
    start_s: float
    end_s: float

    def overlaps(self, other: Place) -> bool:
        """Whether both share samples."""
        return self.recording == other.recording and self.start_s < other.end_s and other.start_s < self.end_s


@dataclass(frozen=True)
class Backgrounds:
    """Training windows in which every machine is off.

    Parameters
    ----------
    places : sequence of Place
    samples : callable
        Position -> samples, of the length of every window.
    """

    places: Sequence[Place]
    samples: Callable[[int], Floats]

    def draw(self, target: Place, rng: np.random.Generator) -> Floats | None:
        """One that does not overlap the target; None if there is none."""
        free = [k for k, place in enumerate(self.places) if not place.overlaps(target)]
        return self.samples(free[rng.integers(len(free))]) if free else None


def augmented(
    samples: Floats,
    augmentation: Augmentation,
    key: DrawKey,
    *,
    sample_rate: int,
    place: Place | None = None,
    backgrounds: Backgrounds | None = None,
) -> Floats:
    """A window's samples, altered, float32, shape (n_samples,).

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
    augmentation : Augmentation
    key : DrawKey
    sample_rate : int
        Hz.
    place : Place, optional
        Where the window lies; without, it overlaps no background.
    backgrounds : Backgrounds, optional
        Without, nothing is mixed in.
    """
    x = np.array(samples, dtype=np.float32)
    x = _gained(x, augmentation, key.generator("gain"))
    if backgrounds is not None:
        rng = key.generator("mix")
        if rng.random() < augmentation.mix_probability:
            x = _mixed(x, backgrounds.draw(place or Place("", 0.0, 0.0), rng), augmentation, rng)
    x = _shelved(x, augmentation, key.generator("shelves"), sample_rate)
    x = _filtered(x, augmentation, key.generator("filter"), sample_rate)
    x = _with_zeros(x, augmentation, key.generator("zeros"), sample_rate)
    return np.clip(x, -1.0, 1.0) if augmentation.clips else x


def masked(fbank: Floats, augmentation: Augmentation, key: DrawKey) -> Floats:
    """A normalised filter bank with stretches of time and frequency at 0, shape (n_frames, n_bins)."""
    found = np.array(fbank, dtype=np.float32)
    times, bins = key.generator("time masks"), key.generator("frequency masks")
    for _ in range(augmentation.time_masks):
        found[_stretch(len(found), augmentation.frames_per_mask, times)] = 0.0
    for _ in range(augmentation.frequency_masks):
        found[:, _stretch(found.shape[1], augmentation.bins_per_mask, bins)] = 0.0
    return found


def _gained(x: Floats, augmentation: Augmentation, rng: np.random.Generator) -> Floats:
    if rng.random() >= augmentation.gain_probability:
        return x
    gain_db = augmentation.gain_db * rng.uniform(-1.0, 1.0)
    return x * np.float32(10 ** (gain_db / 20))


def _mixed(
    x: Floats, background: Floats | None, augmentation: Augmentation, rng: np.random.Generator
) -> Floats:
    """With the background added; unchanged where there is none, or either is silent."""
    if background is None:
        return x
    level, other = root_mean_square(x), root_mean_square(background)
    if not level or not other:
        return x
    snr_db = rng.uniform(*augmentation.snr_db)
    scale = 1.0 if augmentation.mix == "natural" else level / other * 10 ** (-snr_db / 20)
    return x + np.float32(scale) * background


def _shelved(x: Floats, augmentation: Augmentation, rng: np.random.Generator, sample_rate: int) -> Floats:
    if rng.random() >= augmentation.shelf_probability:
        return x
    low_db, own_high_db = augmentation.shelf_db * rng.uniform(-1.0, 1.0, size=2)
    high_db = -low_db if augmentation.eq == "tilt" else own_high_db
    low = low_shelf(rng.uniform(*augmentation.low_shelf_hz), low_db, sample_rate)
    high = high_shelf(rng.uniform(*augmentation.high_shelf_hz), high_db, sample_rate)
    return shelve(x, low, high)


def _filtered(x: Floats, augmentation: Augmentation, rng: np.random.Generator, sample_rate: int) -> Floats:
    if rng.random() >= augmentation.filter_probability:
        return x
    from scipy.signal import butter, sosfiltfilt

    kind = ("lowpass", "highpass", "bandpass")[rng.integers(3)]
    if kind == "bandpass":
        low = rng.uniform(50.0, 1000.0)
        edges = [low, rng.uniform(low + 200.0, 7000.0)]
    else:
        edges = [rng.uniform(300.0, 7000.0) if kind == "lowpass" else rng.uniform(50.0, 1200.0)]
    sections = butter(4, edges if len(edges) == 2 else edges[0], kind, fs=sample_rate, output="sos")
    return np.asarray(sosfiltfilt(sections, x), dtype=np.float32)


def _with_zeros(x: Floats, augmentation: Augmentation, rng: np.random.Generator, sample_rate: int) -> Floats:
    if rng.random() < augmentation.zeros_probability:
        x[_stretch(len(x), round(augmentation.zeros_s * sample_rate), rng)] = 0.0
    return x


def _stretch(n: int, longest: int, rng: np.random.Generator) -> slice:
    """A stretch of uniform length from 0 to `longest`, anywhere in `n`."""
    length = min(n, int(rng.integers(longest + 1)))
    start = int(rng.integers(n - length + 1))
    return slice(start, start + length)
