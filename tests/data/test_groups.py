"""Groups of tracks: what joins, what does not, and that order has no say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.data.groups import connected_components, main_artist, normalise_name, track_groups


def groups_of(**columns: list[str | None]) -> list[str]:
    n = len(next(iter(columns.values())))
    return track_groups(
        [f"t{i}" for i in range(n)],
        artists=columns.get("artists", [None] * n),
        albums=columns.get("albums"),
        album_artists=columns.get("album_artists"),
        content_hashes=columns.get("content"),
        given=columns.get("given"),
    )


def test_names_are_compared_in_normal_form() -> None:
    assert normalise_name("  Daft \t Punk ") == "daft punk"
    assert normalise_name("Ｄａｆｔ Ｐｕｎｋ") == "daft punk"
    assert normalise_name("STRASSE") == normalise_name("Straße")
    assert normalise_name("Cafe\u0301") == normalise_name("Café")
    assert normalise_name(None) == ""


@pytest.mark.parametrize(
    ("artist", "expected"),
    [
        ("Disclosure feat. Sam Smith", "disclosure"),
        ("Disclosure ft Sam Smith", "disclosure"),
        ("Disclosure (Featuring Sam Smith)", "disclosure"),
        ("Disclosure [feat. Sam Smith]", "disclosure"),
        ("Simon & Garfunkel", "simon & garfunkel"),
        ("Feature", "feature"),
        ("Daft Punk", "daft punk"),
        ("Left Feat", "left feat"),
        ("Unknown Artist", ""),
        ("Various Artists", ""),
        ("  ", ""),
        (None, ""),
    ],
)
def test_main_artist_is_without_guests_and_placeholders(artist: str | None, expected: str) -> None:
    assert main_artist(artist) == expected


def test_one_artist_is_one_group() -> None:
    assert groups_of(artists=["Bicep", "bicep feat. Hammer", "Four Tet"]) == [
        "artist:bicep",
        "artist:bicep",
        "artist:four tet",
    ]


def test_a_track_without_artist_is_its_own_group() -> None:
    assert groups_of(artists=[None, "", "Unknown Artist"]) == ["track:t0", "track:t1", "track:t2"]
    assert groups_of(artists=[None, None], albums=["Fabric 55", "Fabric 55"]) == ["track:t0", "track:t1"]


def test_an_album_title_alone_does_not_join_two_artists() -> None:
    assert len(set(groups_of(artists=["Queen", "Abba"], albums=["Greatest Hits"] * 2))) == 2


def test_a_compilation_joins_by_its_album_artist() -> None:
    joined = groups_of(
        artists=["Queen", "Abba"], albums=["Pop 80"] * 2, album_artists=["Various Artists", "VA"]
    )
    assert joined == ["artist:abba", "artist:abba"]


def test_an_album_joins_its_artists_side_project() -> None:
    joined = groups_of(artists=["X", "Y"], albums=["Split EP"] * 2, album_artists=[None, "x"])
    assert len(set(joined)) == 1


def test_equal_audio_joins_across_artists() -> None:
    assert len(set(groups_of(artists=["A", "B", "C"], content=["h", "h", "i"]))) == 2


def test_named_groups_join() -> None:
    assert len(set(groups_of(artists=[None, None, None], given=["set1", "set1", None]))) == 2


def test_components_are_transitive() -> None:
    assert connected_components([["a"], ["a", "b"], ["c"], ["b", "c"], [], []]) == [0, 0, 0, 0, 4, 5]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 values for 2 ids"):
        track_groups(["a", "b"], artists=["x"])


_rows = st.lists(
    st.tuples(
        st.sampled_from([None, "A", "B feat. A", "b", "C"]),
        st.sampled_from([None, "Hits", "Live"]),
        st.sampled_from([None, "VA", "A"]),
        st.sampled_from([None, "h1", "h2"]),
    ),
    min_size=1,
    max_size=25,
)


@given(_rows, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_row_order(rows: list[tuple[str | None, ...]], rng: random.Random) -> None:
    def named(order: list[int]) -> dict[int, str]:
        ids = [f"t{i:02d}" for i in order]
        artists, albums, owners, contents = zip(*(rows[i] for i in order), strict=True)
        groups = track_groups(
            ids, artists=artists, albums=albums, album_artists=owners, content_hashes=contents
        )
        return dict(zip(order, groups, strict=True))

    order = list(range(len(rows)))
    shuffled = order.copy()
    rng.shuffle(shuffled)
    assert named(order) == named(shuffled)


@given(_rows)
def test_shared_artist_or_audio_always_shares_a_group(rows: list[tuple[str | None, ...]]) -> None:
    artists, albums, owners, contents = zip(*rows, strict=True)
    groups = track_groups(
        [str(i) for i in range(len(rows))],
        artists=artists,
        albums=albums,
        album_artists=owners,
        content_hashes=contents,
    )
    for i, first in enumerate(rows):
        for j, second in enumerate(rows):
            same_artist = main_artist(first[0]) and main_artist(first[0]) == main_artist(second[0])
            if same_artist or (first[3] and first[3] == second[3]):
                assert groups[i] == groups[j]
