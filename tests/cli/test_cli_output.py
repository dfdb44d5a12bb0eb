"""Tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from earmark.cli.options import Invocation
from earmark.cli.output import emit, format_bytes, format_seconds, note, render, to_json

ROWS = [
    {"path": "a, b.mp3", "label": "GREEN", "confidence": 0.123456789, "tags": ["x", "y"], "ok": True},
    {"path": "ü.wav", "label": None, "confidence": float("nan"), "tags": [], "ok": False},
]


def test_json_is_whole_and_stable():
    text = render("json", ROWS)
    assert json.loads(text)[0] == ROWS[0]
    assert json.loads(text)[1]["confidence"] is None
    assert list(json.loads(text)[0]) == list(ROWS[0])
    assert "ü.wav" in text
    assert text.endswith("]\n")


def test_json_prefers_the_document():
    assert json.loads(
        render("json", ROWS, document={"n": np.int64(2), "p": np.array([0.5], "f4"), "f": Path("x")})
    ) == {
        "n": 2,
        "p": [0.5],
        "f": "x",
    }


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), np.float32("nan")])
def test_numbers_that_json_lacks_are_null(value):
    assert json.loads(to_json([value])) == [None]


def test_csv_survives_a_round_trip():
    rows = list(csv.DictReader(io.StringIO(render("csv", ROWS))))
    assert rows[0]["path"] == "a, b.mp3"
    assert float(rows[0]["confidence"]) == ROWS[0]["confidence"]
    assert rows[1]["label"] == rows[1]["confidence"] == ""
    assert json.loads(rows[0]["tags"]) == ["x", "y"]


def test_table_is_aligned_text_where_there_is_no_terminal():
    lines = render("table", ROWS, columns=["path", "confidence", "ok"]).splitlines()
    assert lines[0].split() == ["path", "confidence", "ok"]
    assert lines[1].index("0.1235") == lines[0].index("confidence")
    assert lines[1].endswith("yes")


def test_a_table_without_rows_shows_its_columns():
    assert render("table", [], columns=["id", "error"]) == "id  error\n"
    assert render("csv", [], columns=["id", "error"]) == "id,error\n"
    assert render("json", [], columns=["id", "error"]) == "[]\n"


def test_emit_writes_to_standard_output_and_note_to_standard_error(capsys):
    emit(Invocation(format="json"), ROWS)
    note(Invocation(), "kept")
    note(Invocation(quiet=True), "hidden")
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    assert captured.err == "kept\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_bytes(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.50 s"), (59, "59 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")]
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text
