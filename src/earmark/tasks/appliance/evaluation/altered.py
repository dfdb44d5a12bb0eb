"""How a detector bears what microphones and people do: other gain, noise and speech over the windows it knows.

Each window is altered as sound and asked anew, of the model that had not heard its recording. Noise is pink and speech
is a synthetic voice, both at an SNR over the root mean square of the window itself; nothing is clipped. Windows that
overlap say nearly the same, so of each recording those are taken that do not. What is added to a window is drawn by
seed and the window's id: the same windows are altered the same way for every model.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.scored import Scored
from earmark.tasks.appliance.evaluation.scores import window_scores
from earmark.tasks.appliance.generator.disturbances import DISTURBANCES
from earmark.tasks.appliance.generator.noise import pink, shaped_noise

__all__ = ["ALTERATIONS", "Alteration", "altered_scores", "apart", "with_added", "with_gain"]

Samples = npt.NDArray[np.float32]
Change = Callable[[Samples, int, np.random.Generator], Samples]
Sound = Callable[[int, int, np.random.Generator], npt.NDArray[np.float64]]

GAINS_DB = (-6.0, 6.0)
SNRS_DB = (20.0, 10.0, 0.0)
AS_RECORDED = "as recorded"
_BATCH = 32


@dataclass(frozen=True)
class Alteration:
    """What is done to a window, by name."""

    name: str
    change: Change


def with_gain(samples: Samples, _rate: int, _rng: np.random.Generator, *, gain_db: float) -> Samples:
    """The samples louder by a gain in dB."""
    return (samples * 10 ** (gain_db / 20)).astype(np.float32)


def with_added(
    samples: Samples, rate: int, rng: np.random.Generator, *, sound: Sound, snr_db: float
) -> Samples:
    """The samples with a sound `snr_db` below their own root mean square; silence stays silent."""
    added = sound(len(samples), rate, rng)
    own, other = (float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (samples, added))
    if not own or not other:
        return samples
    return (samples + added * (own / other * 10 ** (-snr_db / 20))).astype(np.float32)


def _noise(n_samples: int, rate: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return shaped_noise(n_samples, rate, pink, 0.0, rng)


_SPEECH = next(one.sound for one in DISTURBANCES if one.name == "speech")

ALTERATIONS: tuple[Alteration, ...] = (
    *(Alteration(f"gain {gain_db:+g} dB", partial(with_gain, gain_db=gain_db)) for gain_db in GAINS_DB),
    *(
        Alteration(f"{name}, SNR {snr_db:g} dB", partial(with_added, sound=sound, snr_db=snr_db))
        for name, sound in (("noise", _noise), ("speech", _SPEECH))
        for snr_db in SNRS_DB
    ),
)


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
        detector = chosen.detector(int(number), final)
        for batch, clips in _clips(chosen, np.flatnonzero(chosen.fold == number), detector.sample_rate):
            for one in ALTERATIONS:
                changed = [_changed(clip, id, one, seed) for clip, id in clips]
                found[one.name][batch] = detector.probabilities(changed)
        if tell is not None:
            tell(f"altered windows of {chosen.fold_names[number]}")
    return rows + [row for name, p in found.items() for row in _rows(name, chosen, p, thresholds)]


def apart(scored: Scored) -> npt.NDArray[np.int64]:
    """Positions of windows of each recording that do not overlap, the first of all taken."""
    kept: list[int] = []
    free_from: dict[tuple[str, int], float] = {}
    table = scored.rows.table
    for at, (name, start_s, end_s) in enumerate(table.select("recording_id", "start_sec", "end_sec").iter_rows()):
        key = (name, int(scored.fold[at]))
        if start_s >= free_from.get(key, -np.inf):
            kept.append(at)
            free_from[key] = end_s
    return np.array(kept, dtype=np.int64)


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


def _changed(clip: Clip, id: str, one: Alteration, seed: int) -> Clip:
    rng = np.random.default_rng([seed, zlib.crc32(id.encode()), zlib.crc32(one.name.encode())])
    return Clip(one.change(clip.samples, clip.sample_rate, rng), clip.sample_rate)


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
