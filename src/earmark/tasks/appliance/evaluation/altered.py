"""How a detector bears what microphones and people do: other gain, noise and speech over the windows it knows.

Each window is altered as sound and asked anew, of the model that had not heard its recording. Noise is pink and speech
is a synthetic voice, both at an SNR over the root mean square of the window itself; nothing is clipped. Windows that
overlap say nearly the same, so of each recording at most `MOST_WINDOWS` are taken that do not, evenly spread. What is
added to a window is drawn by seed and the window's id: the same for every model, and at every SNR. A model that
compares a window with its recording hears all windows of the recording altered alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
from earmark.audio.levels import root_mean_square
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.scored import Scored
from earmark.tasks.appliance.evaluation.scores import window_scores
from earmark.tasks.appliance.generator.disturbances import DISTURBANCES
from earmark.tasks.appliance.generator.noise import pink, shaped_noise
from earmark.tasks.appliance.references import OfRecordings

__all__ = ["ALTERATIONS", "Alteration", "altered_scores", "apart", "with_added"]

Samples = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Sound = Callable[[int, int, np.random.Generator], Doubles]

GAINS_DB = (-6.0, 6.0)
SNRS_DB = (20.0, 10.0, 0.0)
AS_RECORDED = "as recorded"
MOST_WINDOWS = 12
_BATCH = 32


@dataclass(frozen=True)
class Alteration:
    """What is done to a window: a gain, or a sound of `SOUNDS` added at an SNR."""

    name: str
    gain_db: float = 0.0
    sound: str | None = None
    snr_db: float = np.inf


def _noise(n_samples: int, rate: int, rng: np.random.Generator) -> Doubles:
    return shaped_noise(n_samples, rate, pink, 0.0, rng)


SOUNDS: Mapping[str, Sound] = {
    "noise": _noise,
    "speech": next(one.sound for one in DISTURBANCES if one.name == "speech"),
}

ALTERATIONS: tuple[Alteration, ...] = (
    *(Alteration(f"gain {gain_db:+g} dB", gain_db) for gain_db in GAINS_DB),
    *(
        Alteration(f"{sound}, SNR {snr_db:g} dB", sound=sound, snr_db=snr_db)
        for sound in SOUNDS
        for snr_db in SNRS_DB
    ),
)


def with_added(samples: Samples, added: Doubles, snr_db: float) -> Samples:
    """The samples with a sound `snr_db` below their own root mean square; silence stays silent."""
    own, other = (root_mean_square(x) for x in (samples, added))
    if not own or not other:
        return samples
    return (samples + added * (own / other * 10 ** (-snr_db / 20))).astype(np.float32)


def altered_scores(
    scored: Scored,
    final: Detector,
    thresholds: Mapping[str, float],
    *,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """A row per alteration and device, first the windows as they are.

    Parameters
    ----------
    scored : Scored
        With probabilities calibrated as those of `final`, which the thresholds are for.
    final : Detector
        The run's.
    thresholds : mapping of device to float
    tell : callable, optional
        Told what is done.

    Returns
    -------
    list of dict
        ``alteration``, ``device``, ``n``, ``accuracy``, ``auroc``, ``shift`` (mean of the probability minus that of
        the window as it is) and ``state_accuracy`` (of the window's public state).
    """
    chosen = scored.known()
    chosen = chosen.take(apart(chosen))
    rows = _rows(AS_RECORDED, chosen, chosen.p, thresholds)
    found = {one.name: np.empty_like(chosen.p) for one in ALTERATIONS}
    for number in np.unique(chosen.fold):
        detector = chosen.detector(int(number), final).calibrated_as(final)
        for batch, clips in _clips(chosen, np.flatnonzero(chosen.fold == number), detector.sample_rate):
            sounds = [_sounds(clip, id, seed) for clip, id in clips]
            for one in ALTERATIONS:
                changed = [_changed(clip, of, one) for (clip, _), of in zip(clips, sounds, strict=True)]
                # a batch holds windows of one file
                whole = OfRecordings(np.zeros(len(changed), np.int64))
                found[one.name][batch] = detector.probabilities(changed, whole)
        if tell is not None:
            tell(f"altered windows of {chosen.fold_names[number]}")
    return rows + [row for name, p in found.items() for row in _rows(name, chosen, p, thresholds)]


def apart(scored: Scored, most: int = MOST_WINDOWS) -> npt.NDArray[np.int64]:
    """Positions of windows of each recording that do not overlap, at most `most` of each, in their order."""
    table = scored.rows.table
    own: dict[tuple[str, int], list[int]] = {}
    free_from: dict[tuple[str, int], float] = {}
    spans = table.select("recording_id", "start_sec", "end_sec").iter_rows()
    for at, (name, start_s, end_s) in enumerate(spans):
        key = (name, int(scored.fold[at]))
        if start_s >= free_from.get(key, -np.inf):
            own.setdefault(key, []).append(at)
            free_from[key] = end_s
    spread = [
        np.asarray(ats)[np.linspace(0, len(ats) - 1, min(most, len(ats))).round().astype(np.int64)]
        for ats in own.values()
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *spread]))


def _clips(
    scored: Scored, positions: npt.NDArray[np.int64], rate: int
) -> Iterator[tuple[npt.NDArray[np.int64], list[tuple[Clip, str]]]]:
    """Batches of windows; each recording is decoded once."""
    uris, ids = scored.uris, scored.ids
    by_file: dict[str, list[int]] = {}
    for at in positions.tolist():
        by_file.setdefault(split_fragment(uris[at])[0], []).append(at)
    for path, ats in by_file.items():
        whole = decode(path, sample_rate=rate)
        for start in range(0, len(ats), _BATCH):
            batch = ats[start : start + _BATCH]
            yield np.array(batch), [(_window(whole, uris[at]), ids[at]) for at in batch]


def _window(whole: Clip, uri: str) -> Clip:
    _, span = split_fragment(uri)
    return whole if span is None else cut(whole, span)


def _sounds(clip: Clip, id: str, seed: int) -> dict[str, Doubles]:
    """What is added to a window: one sound of each kind, the same at every SNR."""
    return {
        name: sound(
            len(clip.samples),
            clip.sample_rate,
            np.random.default_rng([seed, zlib.crc32(id.encode()), zlib.crc32(name.encode())]),
        )
        for name, sound in SOUNDS.items()
    }


def _changed(clip: Clip, sounds: Mapping[str, Doubles], one: Alteration) -> Clip:
    if one.sound is None:
        louder = (clip.samples * 10 ** (one.gain_db / 20)).astype(np.float32)
        return Clip(louder, clip.sample_rate)
    return Clip(with_added(clip.samples, sounds[one.sound], one.snr_db), clip.sample_rate)


def _rows(
    name: str, scored: Scored, p: npt.NDArray[np.float64], thresholds: Mapping[str, float]
) -> list[dict[str, Any]]:
    devices, y = scored.devices, scored.rows.y
    state_accuracy = float(np.mean(said_state(p, thresholds, scored) == scored.state))
    shift = dict(zip(devices.names, (p - scored.p).mean(axis=0).tolist(), strict=True))
    return [
        {
            "alteration": name,
            "device": device,
            "n": of["n"],
            "accuracy": of["accuracy"],
            "auroc": of["auroc"],
            "shift": shift[device.split(" ")[0]],
            "state_accuracy": state_accuracy,
        }
        for device, of in window_scores(y, p, devices, thresholds).items()
    ]


def said_state(
    p: npt.NDArray[np.float64], thresholds: Mapping[str, float], scored: Scored
) -> npt.NDArray[np.int64]:
    """Position of the public state that thresholds give, shape (n,)."""
    from earmark.tasks.appliance.training.scoring import state_index

    limits = np.array([thresholds[name] for name in scored.devices.names])
    return state_index((p >= limits).astype(np.int64), scored.devices)
