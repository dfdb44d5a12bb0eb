"""Label files: five layouts, encodings and line ends, told by content; no row ever lost."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.zones.layouts import LabelRow, parse_labels

LAYOUT_A = "# my tracks\n/m/a.mp3\tyellow\n\n/m/b.mp3\tGREEN\n/m/c.mp3\n"
LAYOUT_B = "BPM\tKey\tZone\tArtist\tTrack Title\tLocation\n128.00\t8A\tYELOW\tBicep\tGlue\t/m/a.flac\n"
LAYOUT_C = (
    "#\tMy Tag\tArtwork\tBPM\tKey\tArtist\tTrack Title\tTime\tBitrate\tDate Added\tLocation\tAlbum\n"
    '1\tPurple\t\t130.00\t1B\tOrbital\tHalcyon "On"\t05:10\t320\t2024-01-01\t"/m/a, b.mp3"\tBrown\n'
    "2\t\t\t0.00\t\tX\tY\t03:00\t320\t2024-01-01\t/m/c.mp3\tZ\n"
)
LAYOUT_D = (
    "#\tArtwork\tBPM\tKey\tArtist\tTrack Title\tTime\tBitrate\tDate Added\tLocation\tAlbum\tZone\n"
    "1\t\t130.00\t1B\tOrbital\tHalcyon\t05:10\t320\t2024-01-01\t/m/a.mp3\tBrown\tPURPLE\n"
)
ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16-le": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


def rows_of(text: str) -> list[LabelRow]:
    return list(parse_labels(text.encode(), "labels").rows)


def short(text: str) -> list[tuple[str, str | None]]:
    return [(row.path, row.zone) for row in rows_of(text)]


@pytest.mark.parametrize("layout", ["A", "B", "C", "D"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_each_layout_in_each_encoding(layout: str, encoding: str, line_end: str) -> None:
    text = {"A": LAYOUT_A, "B": LAYOUT_B, "C": LAYOUT_C, "D": LAYOUT_D}[layout]
    plain = parse_labels(text.encode(), "labels")
    found = parse_labels(ENCODINGS[encoding](text.replace("\n", line_end)), "labels")
    assert found == plain
    assert found.layout == layout


def test_layout_a_has_comments_and_unlabelled_tracks() -> None:
    assert [(row.number, row.path, row.zone) for row in rows_of(LAYOUT_A)] == [
        (2, "/m/a.mp3", "yellow"),
        (4, "/m/b.mp3", "GREEN"),
        (5, "/m/c.mp3", None),
    ]


def test_layout_b_columns() -> None:
    (row,) = rows_of(LAYOUT_B)
    assert (row.number, row.path, row.zone) == (2, "/m/a.flac", "YELOW")
    assert row.values == {"bpm": "128.00", "key": "8A", "artist": "Bicep", "title": "Glue"}


def test_layout_c_takes_my_tag_and_unquotes_locations() -> None:
    first, second = rows_of(LAYOUT_C)
    assert (first.path, first.zone, first.values["album"]) == ("/m/a, b.mp3", "Purple", "Brown")
    assert first.values["title"] == 'Halcyon "On"'
    assert (second.path, second.zone) == ("/m/c.mp3", "")


def test_layout_d_ends_with_the_zone() -> None:
    assert short(LAYOUT_D) == [("/m/a.mp3", "PURPLE")]


@pytest.mark.parametrize(
    "text",
    [
        "path,zone\na.mp3,green\n",
        "a.mp3,green\n",
        "path,bpm,zone\na.mp3,120,green\n",
        "a.mp3,120,green\n",
        "path,bpm,genre,zone\na.mp3,120,House,green\n",
        "a.mp3,120,House,green\n",
        "путь,зона\na.mp3,green\n",
        "zone;path\ngreen;a.mp3\n",
        "# a note\nfilename,zone\na.mp3,green\n",
        "FILE,Zone\na.mp3,green\n",
        '{"labels": {"a.mp3": {"zone": "green"}}}',
        '{"version": 1, "labels": {"a.mp3": "green"}}',
        '\n {"labels": {"a.mp3": {"зона": "green", "bpm": 120.0}}}',
    ],
)
def test_layout_e_in_all_its_forms(text: str) -> None:
    assert parse_labels(text.encode(), "labels").layout == "E"
    assert short(text) == [("a.mp3", "green")]


def test_csv_quotes_commas_and_line_ends() -> None:
    text = 'path,title,zone\n"a, b.mp3","two\nlines",green\nc.mp3,"say ""hi""",PURPLE\n'
    first, second = rows_of(text)
    assert (first.number, first.path, first.values["title"]) == (2, "a, b.mp3", "two\nlines")
    assert (second.number, second.path, second.values["title"]) == (4, "c.mp3", 'say "hi"')


def test_unknown_columns_are_left_out() -> None:
    (row,) = rows_of("file,energy,zone,tension\na.ogg,0.9,purple,0.1\n")
    assert row == LabelRow(2, "a.ogg", "purple", {})


def test_a_list_of_paths_with_commas_is_a_list_of_paths() -> None:
    assert short("/m/Simon, Paul.mp3\n/m/b.mp3\n") == [("/m/Simon, Paul.mp3", None), ("/m/b.mp3", None)]


def test_a_file_name_in_brackets_is_no_json() -> None:
    assert short("[Label] Artist - x.mp3\tgreen\n") == [("[Label] Artist - x.mp3", "green")]
    assert short("{ A } - x.mp3\n") == [("{ A } - x.mp3", None)]


def test_a_json_path_that_occurs_twice_is_two_rows() -> None:
    assert short('{"labels": {"a": {"zone": "green"}, "a": {"zone": "purple"}}}') == [
        ("a", "green"),
        ("a", "purple"),
    ]


def test_rows_that_cannot_be_read_are_kept_with_the_problem() -> None:
    assert [row.problem for row in rows_of("path,zone\n,green\na.mp3,green,x,y\nb.mp3,green\n")] == [
        "no path in 2 fields, the header has 2",
        "4 fields, the header has 2",
        "",
    ]
    assert [bool(row.problem) for row in rows_of("a.mp3\tgreen\tmore\nb.mp3\tgreen\t\t\n\tgreen\n")] == [
        True,
        False,
        True,
    ]
    problems = [row.problem for row in rows_of('{"labels": {"a": 7, "b": [1], " ": "green"}}')]
    assert problems == [
        "expected an object with `zone`, found int",
        "expected an object with `zone`, found list",
        "no path",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "holds no row"),
        (b"# only\n# comments\n", "holds no row"),
        (b"path,zone\n", "holds no row"),
        (b"\xff\xfe\x41", "is not utf-16-le text"),
        (b"a.mp3\t\xe9t\xe9\n", "is not utf-8 text: byte 6"),
        ("a\tgreen".encode("utf-16-le"), "zero bytes"),
        (b'{"oops', "starts like JSON, but is not"),
        (b'{"tracks": {}}', "JSON without an object `labels`"),
        (b"[1, 2]", "JSON without an object `labels`"),
        (b"BPM\tKey\tZone\tArtist\n120\t8A\tgreen\tX\n", "none of them names the file"),
        (b"bpm,key,zone\n120,8A,green\n", "none of them names the file"),
    ],
)
def test_files_that_are_no_labels_are_clear_errors(data: bytes, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as error:
        parse_labels(data, "labels.txt")
    assert "`labels.txt`" in str(error.value)
    assert "Expected" in str(error.value)


@given(st.binary(max_size=300))
@example(b'{"labels": {"\\ud800": "green"}}')
@example(b'["' * 100_000)
@example(b"path,zone\n" + b'"' * 200_000)
@example(b"\xff\xfe\x00\x00a\x00\x00\x00")
def test_bytes_of_any_kind_are_rows_or_a_clear_error(data: bytes) -> None:
    try:
        found = parse_labels(data, "labels")
    except UsageError:
        return
    assert found.layout in "ABCDE"
    assert found.rows


_field = st.text(st.characters(blacklist_characters="\t\r\n\0", blacklist_categories=("Cs",)), max_size=20)


@given(st.lists(st.tuples(_field, _field, _field), min_size=1, max_size=20), st.sampled_from("\t,"))
def test_every_line_of_a_table_is_one_row(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    """Below a header, each line that is not blank is counted, whatever it holds."""
    if delimiter == ",":
        rows = [tuple(field.replace('"', "").replace(",", "") for field in row) for row in rows]  # type: ignore[misc]
    lines = [delimiter.join(row) for row in rows]
    text = "\n".join([delimiter.join(("Zone", "Artist", "Location")), *lines])
    expected = sum(
        bool(line.replace(",", "").strip() if delimiter == "," else line.strip()) for line in lines
    )
    if expected:
        assert len(parse_labels(text.encode(), "labels").rows) == expected


@given(st.dictionaries(_field.filter(str.strip), st.sampled_from(["green", "", "blue", None]), min_size=1))
def test_every_entry_of_json_is_one_row(labels: dict[str, str | None]) -> None:
    text = json.dumps({"labels": {path: {"zone": zone} for path, zone in labels.items()}})
    assert len(parse_labels(text.encode(), "labels").rows) == len(labels)
