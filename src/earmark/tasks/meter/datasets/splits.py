"""How items of the data sets are divided: METER2800 as given, Ballroom and fixtures to test, WIKIMETER by one rule.

The rule of WIKIMETER: SHA-256 of a name, its first 8 hexadecimal digits modulo 100; below 80 trains, below 90
validates, the rest tests. The name is the artist's, normalised, so that no artist is on two sides. The
song's stem instead gives the division of earlier figures, for comparison with them alone: artists are then on both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from earmark.data.groups import connected_components, main_artist, normalise_name
from earmark.data.policy import SplitPolicy
from earmark.tasks.meter.datasets.normal_form import SEALED_COLUMNS, MeterRow

__all__ = ["METER_SPLIT", "WIKIMETER_RULES", "group_names", "part_of", "with_wikimeter_parts"]

METER_SPLIT = SplitPolicy(test_fraction=0.2, n_folds=5, given_on="part", sealed_columns=SEALED_COLUMNS)
"""The task's policy; fold 0 holds what data sets give as their validation part."""

WIKIMETER_RULES = ("artist", "song")
EARLIER_TEST_SEGMENTS = 298
EARLIER_TEST_SONGS = {"3": 16, "4": 8, "5": 8, "7": 9, "9": 17, "11": 9}
"""Test part of earlier figures by the song rule: it is the same division if these are met."""


def part_of(name: str) -> str:
    """Part of a name by the rule of WIKIMETER.

    Examples
    --------
    >>> part_of("dave brubeck") in ("train", "val", "test")
    True
    """
    place = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    return "train" if place < 80 else "val" if place < 90 else "test"


def with_wikimeter_parts(rows: Sequence[MeterRow], rule: str = "artist") -> list[MeterRow]:
    """The rows, those of WIKIMETER with their part; a song without an artist is divided by its own name."""
    return [
        replace(row, part=part_of(_ruling_name(row, rule))) if row.dataset == "wikimeter" else row
        for row in rows
    ]


def matches_earlier(items: Sequence[MeterRow]) -> bool:
    """Whether the test part of WIKIMETER is that of earlier figures."""
    test = [item for item in items if item.dataset == "wikimeter" and item.part == "test"]
    songs = Counter({item.song_id: item.label_original for item in test}.values())
    return len(test) == EARLIER_TEST_SEGMENTS and songs == EARLIER_TEST_SONGS


def group_names(
    items: Sequence[MeterRow], near: Sequence[Sequence[str]] = (), *, by_artist: bool = True
) -> list[str]:
    """Name of what each item must stay together with: artist, song, equal or near-equal audio, its data set's group.

    Parameters
    ----------
    items : sequence of MeterRow
    near : sequence of sequences of str
        Contents (hashes) of recordings that are near-equal.
    by_artist : bool
        False for the song rule of WIKIMETER, under which an artist may be on several sides.

    Returns
    -------
    list of str
        The smallest key of the component.
    """
    of_content = {content: number for number, contents in enumerate(near) for content in contents}
    keys = [_keys(item, of_content, by_artist=by_artist) for item in items]
    components = connected_components(keys)
    names: dict[int, str] = {}
    for component, item in zip(components, items, strict=True):
        names[component] = min(names.get(component, item.key), item.key)
    return [names[component] for component in components]


def _ruling_name(row: MeterRow, rule: str) -> str:
    return (main_artist(row.artist) if rule == "artist" else "") or row.song_id or row.key


def _keys(item: MeterRow, near: dict[str, int], *, by_artist: bool) -> list[Hashable]:
    artist = main_artist(item.artist)
    keys: list[Hashable] = []
    if artist and by_artist:
        keys.append(("artist", artist))
    if artist and item.title:
        keys.append(("song", artist, normalise_name(item.title)))
    if item.group:
        keys.append(("group", item.dataset, item.group))
    if item.content_hash:
        keys.append(("content", item.content_hash))
        if item.content_hash in near:
            keys.append(("near", near[item.content_hash]))
    return keys
