"""Groups of tracks that must not be split: connected components over artist, album and equal audio.

Two tracks are joined when they share

* the main artist, normalised;
* the album, normalised, *by the same album artist* (or main artist, where no album artist is known). A title
  alone does not join: "Greatest Hits" by two artists are two albums. A compilation joins its tracks when its
  album artist is given, also as "Various Artists";
* the content hash, that is, the same audio under two names;
* a group that the user named.

Components are closed transitively. A track without artist is its own group, unless its audio occurs elsewhere
or its album artist is known.

Normal form of a name: Unicode NFKC, case folded, runs of white space as one space, ends trimmed. The main
artist is what stands before a guest marker (``feat.``, ``ft.``, ``featuring``, also in brackets): guests do
not join, or one busy vocalist would tie half a library into one group. "A & B", "A vs B" and "A, B" are kept
whole, since many bands are named so. Placeholders such as "Unknown Artist" count as missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence

__all__ = ["connected_components", "main_artist", "normalise_name", "track_groups"]

_GUEST = re.compile(r"[\s(\[]+(?:feat\.?|ft\.?|featuring)\s.*$", re.DOTALL)
_NO_ARTIST = frozenset(
    {"", "-", "?", "n/a", "none", "unknown", "unknown artist", "<unknown>", "неизвестный исполнитель"}
)
_MANY_ARTISTS = frozenset({"various", "various artists", "va", "v.a.", "v/a"})
_NO_ALBUM = frozenset(
    {"", "-", "?", "n/a", "none", "unknown", "unknown album", "<unknown>", "неизвестный альбом"}
)


def track_groups(
    ids: Sequence[str],
    *,
    artists: Sequence[str | None],
    albums: Sequence[str | None] | None = None,
    album_artists: Sequence[str | None] | None = None,
    content_hashes: Sequence[str | None] | None = None,
    given: Sequence[str | None] | None = None,
) -> list[str]:
    """Group name of each track.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique item ids.
    artists, albums, album_artists, content_hashes : sequence of str or None, length n
        As tagged; missing values are None or empty.
    given : sequence of str or None, length n
        Groups that the user named; equal ones are joined too.

    Returns
    -------
    list of str, length n
        ``artist:NAME`` (the first in order of a component's main artists), or ``track:ID`` (the first in
        order of its ids) where none of its tracks has an artist. Independent of row order.
    """
    n = len(ids)
    columns = [artists, albums, album_artists, content_hashes, given]
    for column in columns:
        if column is not None and len(column) != n:
            raise ValueError(f"{len(column)} values for {n} ids; expected one per id")
    mains = [main_artist(artist) for artist in artists]
    keys = [_keys(mains[i], *(column[i] if column else None for column in columns[1:])) for i in range(n)]
    return _named(connected_components(keys), ids, mains)


def normalise_name(text: str | None) -> str:
    """Normal form of a name: NFKC, case folded, white space collapsed; empty for None.

    >>> normalise_name("  Röyksopp\\u00a0 ＬＩＶＥ")
    'röyksopp live'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text or "").casefold())
    return " ".join(folded.split())


def main_artist(artist: str | None) -> str:
    """Normalised artist without guests; empty if missing, a placeholder, or "Various Artists".

    >>> main_artist("Disclosure (feat. Sam Smith)")
    'disclosure'
    """
    whole = normalise_name(artist)
    name = _GUEST.sub("", whole).strip(" ([") or whole
    return "" if name in _NO_ARTIST or name in _MANY_ARTISTS else name


def connected_components(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Component of each row, rows that share a key being connected (union-find).

    Parameters
    ----------
    keys : sequence of iterable of hashable, length n
        A row without keys is alone.

    Returns
    -------
    list of int, length n
        The smallest row number of the component.
    """
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    owner: dict[Hashable, int] = {}
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            first, second = root(owner.setdefault(key, row)), root(row)
            parent[max(first, second)] = min(first, second)
    return [root(row) for row in range(len(keys))]


def _keys(
    main: str, album: str | None, album_artist: str | None, content: str | None, given: str | None
) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    if main:
        keys.append(("artist", main))
    title, owner = normalise_name(album), _album_owner(album_artist) or main
    if title not in _NO_ALBUM and owner:
        keys.append(("album", owner, title))
    if content:
        keys.append(("content", content))
    if given:
        keys.append(("given", given))
    return keys


def _album_owner(album_artist: str | None) -> str:
    return "various artists" if normalise_name(album_artist) in _MANY_ARTISTS else main_artist(album_artist)


def _named(components: Sequence[int], ids: Sequence[str], mains: Sequence[str]) -> list[str]:
    artists: dict[int, str] = {}
    tracks: dict[int, str] = {}
    for component, id, main in zip(components, ids, mains, strict=True):
        if main:
            artists[component] = min(artists.get(component, main), main)
        tracks[component] = min(tracks.get(component, id), id)
    return [f"artist:{artists[c]}" if c in artists else f"track:{tracks[c]}" for c in components]
