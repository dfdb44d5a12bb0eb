"""Compute one item: decode once per rate, run its groups, keep what succeeded and say what did not.

This is the only place where feature code runs, in this process or in a worker; a failure of one group leaves the
others' results standing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.decode import decode, probe
from earmark.audio.fragment import cut, split_fragment
from earmark.audio.spool import SPOOL_S, Spool, spool
from earmark.cache.data_files import exempt
from earmark.errors import EarmarkError, InputError
from earmark.features.group import FeatureGroup

__all__ = ["ItemError", "ItemResult", "compute_clip", "compute_item"]

DECODE = "decode"


@dataclass(frozen=True, slots=True)
class ItemError:
    """One failure: the sentence to show, its class, and whether trying the same bytes and code again is pointless."""

    message: str
    kind: str
    lasting: bool


@dataclass(slots=True)
class ItemResult:
    """What one item gave: arrays and errors by group name, seconds by group name and ``decode``."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    errors: dict[str, ItemError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def compute_item(
    uri: str, groups: Sequence[FeatureGroup], given: Mapping[str, np.ndarray] | None = None
) -> ItemResult:
    """Decode `uri` at each rate the groups ask for and run them.

    Only what the user's code or a broken file can cause becomes an entry of ``errors``; an interrupt passes through.

    Parameters
    ----------
    given : mapping of group name to ndarray, optional
        Rows of groups that others reuse, known from the cache.
    """
    with exempt(split_fragment(uri)[0]):
        return _compute_at_each_rate(uri, groups, given or {})


def _compute_at_each_rate(
    uri: str, groups: Sequence[FeatureGroup], given: Mapping[str, np.ndarray]
) -> ItemResult:
    result = ItemResult()
    for rate in sorted({group.sample_rate for group in groups}):
        at_rate = [group for group in groups if group.sample_rate == rate]
        started = time.perf_counter()
        try:
            clip = _decoded(uri, rate)
        except Exception as error:  # noqa: BLE001  a decoder may raise anything on hostile bytes; the row carries it
            result.errors.update({group.name: describe(error) for group in at_rate})
            continue
        finally:
            result.seconds[DECODE] = result.seconds.get(DECODE, 0.0) + time.perf_counter() - started
        _hand_in(clip, at_rate, given)
        compute_clip(clip, at_rate, result)
    return result


def _hand_in(clip: Clip, groups: Sequence[FeatureGroup], given: Mapping[str, np.ndarray]) -> None:
    for group in groups:
        for name, reused in group.all_reused.items():
            if name in given:
                reused.hand_in(clip, given[name])


_last_recording: list[tuple[object, Clip | Spool]] = []


def _decoded(uri: str, rate: int) -> Clip:
    """The recording, or the part of it; the parts of a recording come one after the other and share its decoding."""
    recording, span = split_fragment(uri)
    if span is None:
        _last_recording.clear()
        return decode(uri, sample_rate=rate)
    key = _version(recording, rate)
    held = next((held for known, held in _last_recording if key is not None and known == key), None)
    if held is None:
        _last_recording.clear()  # before decoding: two recordings need not fit into memory
        is_long = key is not None and probe(recording).duration_s > SPOOL_S
        held = (spool if is_long else decode)(recording, sample_rate=rate)
        _last_recording.append((key, held))
    return held.cut(span) if isinstance(held, Spool) else cut(held, span)


def _version(recording: str, rate: int) -> tuple[object, ...] | None:
    """What changes when the file does; None for what is not a local file."""
    path = Path(recording)
    if not path.is_file():
        return None
    status = path.stat()
    return recording, rate, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def compute_clip(clip: Clip, groups: Sequence[FeatureGroup], result: ItemResult | None = None) -> ItemResult:
    """Run groups on a decoded clip; batch, stream and live all come through here."""
    result = result if result is not None else ItemResult()
    for group in groups:
        started = time.perf_counter()
        try:
            result.arrays[group.name] = group.on(clip)
        except Exception as error:  # noqa: BLE001  feature code is the user's; what it raises becomes a failure row
            result.errors[group.name] = describe(error)
        result.seconds[group.name] = time.perf_counter() - started
    return result


def describe(error: BaseException) -> ItemError:
    """An exception as a failure row; errors of earmark carry their own sentence, others get their class as prefix."""
    kind = type(error).__name__
    message = str(error) if isinstance(error, EarmarkError) else f"{kind}: {error}"
    # What the system or a server refused just now may work the next time; broken bytes stay broken.
    lasting = isinstance(error, InputError) and not isinstance(error.__cause__, OSError)
    return ItemError(message, kind, lasting)
