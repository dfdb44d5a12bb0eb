"""Label review: what is a candidate, the page and its export, bad audio; the sealed test is never looked at."""

from __future__ import annotations

import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from meter_sets import by_id, imported, write_clip

from earmark.cli.main import run as run_program
from earmark.errors import SealError, UsageError
from earmark.features.table import FeatureTable
from earmark.tasks.meter.groups.signals import SIGNAL_GROUP
from earmark.tasks.meter.review.bad_audio import find_bad_audio
from earmark.tasks.meter.review.candidates import Judged, find_candidates
from earmark.tasks.meter.review.labels import review_labels, signal_votes
from earmark.tasks.meter.review.page import (
    CANDIDATES_FILE,
    PAGE_FILE,
    read_decisions,
    write_page,
    write_zip,
)
from earmark.tasks.project import Project
from earmark.tasks.verbs.prepare import prepare


def judged(id: str, label: str, votes: str, song: str | None = None, accepted: str | None = None) -> Judged:
    """Votes as one character per voter, ``-`` for no evidence; the last is the model's."""
    named = {f"v{i}": "" if vote == "-" else vote for i, vote in enumerate(votes)}
    return Judged(id, f"/a/{id}.wav", label, tuple(accepted or label), named, votes[-1], 0.9, "S", song)


def test_a_label_is_doubted_if_at_most_one_voter_supports_it() -> None:
    items = [
        judged("none", "3", "44444"),
        judged("one", "3", "34444"),
        judged("two", "3", "33444"),
        judged("all", "4", "44444"),
    ]
    assert [one.id for one in find_candidates(items)] == ["none", "one"]
    assert [one.id for one in find_candidates(items, max_agreeing=0)] == ["none"]


def test_silent_voters_are_no_evidence_against_a_label() -> None:
    items = [judged("silent", "3", "--44"), judged("spoken", "3", "-444")]
    assert [one.id for one in find_candidates(items)] == ["spoken"]
    with pytest.raises(UsageError, match="at most 1 signals spoke"):
        find_candidates([judged("x", "3", "---4")])


def test_any_meter_of_a_soft_label_supports_it() -> None:
    assert not find_candidates([judged("poly", "4", "3344", accepted="34")])


def test_a_segment_unlike_its_song_says_how_the_others_stand() -> None:
    items = [judged(f"s{n}", "7", "7777", "song") for n in range(3)] + [judged("s3", "7", "4444", "song")]
    (found,) = find_candidates(items)
    assert found.of_song == "3 of the song's 3 other segments agree with it"


def test_the_vote_of_a_signal_is_the_class_of_its_highest_signature() -> None:
    values = np.zeros((2, len(SIGNAL_GROUP.columns)), dtype=np.float32)
    columns = list(SIGNAL_GROUP.column_names)
    values[0, columns.index("meter.signals.autocorr_6_8")] = 0.9
    values[0, columns.index("meter.signals.autocorr_4_4")] = 0.5
    values[0, columns.index("meter.signals.hcdf_7_8")] = 0.2
    votes = signal_votes(FeatureTable(("a", "b"), tuple(columns), values))
    assert votes["a"]["autocorr"] == "3"
    assert votes["a"]["hcdf"] == "7"
    assert set(votes["b"].values()) == {""}


class Page(HTMLParser):
    """The elements of the page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


def test_the_page_holds_every_candidate_and_nothing_of_its_text_becomes_markup(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    items = find_candidates([judged(hostile, "3", "4444"), judged("plain é", "5", "4444")])
    page, rows = write_page(items, tmp_path)
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert (page.name, rows.name) == (PAGE_FILE, CANDIDATES_FILE)
    assert parsed.tags.count("script") == 2
    assert "img" not in parsed.tags
    assert parsed.references == []  # nothing is fetched from elsewhere
    assert not re.search(r"https?://", text)
    data = json.loads(parsed.scripts[0])
    assert {one["id"] for one in data["candidates"]} == {hostile, "plain é"}
    for word in ('"GT: "', '"Pred: "', '"Custom"', '"Skip"', "localStorage", "Export JSON"):
        assert word in text
    assert len(json.loads(rows.read_text())["candidates"]) == 2


def test_the_archive_plays_without_the_library(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "music" / "a.wav", 1)
    item = Judged("a", f"{clip}#t=1,3", "3", ("3",), dict.fromkeys("xyz", "4"), "4", 0.5)
    archive = write_zip(find_candidates([item]), tmp_path)
    with zipfile.ZipFile(archive) as opened:
        assert opened.read("audio/0000.wav") == clip.read_bytes()
        assert '"audio": "audio/0000.wav#t=1,3"' in opened.read(PAGE_FILE).decode()


def test_what_was_decided_becomes_the_corrected_label_set(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_clip(tmp_path / f"{name}.wav", seed)
    (tmp_path / "labels.csv").write_text("file,label\na.wav,3\nb.wav,3\nc.wav,3\n")
    decisions = [
        {"id": "a", "choice": "predicted", "meter": "4", "note": "clear"},
        {"id": "b", "choice": "skip", "meter": "", "note": "?"},
        {"id": "c", "choice": "label", "meter": "3", "note": ""},
    ]
    export = tmp_path / "label_decisions.json"
    export.write_text(json.dumps({"format": "earmark-label-review-1", "decisions": decisions}))
    assert [one["key"] for one in read_decisions(export)] == ["a"]
    rows = by_id(imported(tmp_path, tmp_path / "labels.csv", corrections=export)[0])
    assert [rows[id]["label_corrected"] for id in "abc"] == ["4", "3", "3"]
    assert rows["a"]["label"] == "3"
    export.write_text('{"format": "other", "decisions": []}')
    with pytest.raises(UsageError, match="'other'"):
        read_decisions(export)


def test_a_review_of_the_sealed_test_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    project = Project.open("meter", tmp_path)
    with pytest.raises(SealError, match="'test'"):
        review_labels(project, None, tmp_path, split="test")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of clicks at different tempi, two that are silent (one of them in the test part), one that is cut short."""
    folder = tmp_path_factory.mktemp("clicks")
    lines = ["file,label,split"]
    for number in range(14):
        sound = np.zeros(22_050 * 5, dtype=np.float32)
        for start in np.arange(0.1, 4.9, 0.4 + 0.01 * number):
            at = round(start * 22_050)
            sound[at : at + 600] = 0.8 * np.hanning(600) * np.sin(np.arange(600) * 0.3)
        if number in (5, 13):
            sound[:] = 1e-5 * (number + 1)
        soundfile.write(folder / f"{number:02d}.wav", sound, 22_050, subtype="FLOAT")
        part = "test" if number > 11 else "val" if number > 9 else "train"
        lines.append(f"{number:02d}.wav,{'34'[number % 2]},{part}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    project = Project.open("meter", folder, {"split.folds": 3})
    prepare(project, [folder / "labels.csv"], options={"near_duplicates": False})
    return folder


@pytest.mark.slow
def test_bad_audio_is_found_outside_the_sealed_test_alone(
    clicks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.open("meter", clicks)
    found = find_bad_audio(project, min_failures=1)
    assert [bad.id for bad in found] == ["05"]
    assert found[0].without_beats
    with pytest.raises(UsageError, match="min_failures is 9"):
        find_bad_audio(project, min_failures=9)
    with pytest.raises(UsageError, match="of wikimeter"):
        find_bad_audio(project, min_failures=1, datasets=("wikimeter",))
    capsys.readouterr()
    command = ["-C", str(clicks), "store", "validate", "meter", "--bad-audio", "--min-failures", "1"]
    assert run_program([*command, "--format", "json"]) == 3
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["05"]


@pytest.mark.slow
def test_a_review_of_a_trained_run_judges_training_rows_alone(
    clicks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["-C", str(clicks), "train", "meter", "--model", "logistic"]) == 0
    assert run_program(["-C", str(clicks), "evaluate", "meter", "--review", "--review-audio"]) == 0
    folder = next((clicks / "runs" / "meter").glob("*/review"))
    document = json.loads((folder / CANDIDATES_FILE).read_text())
    sealed = set(Project.open("meter", clicks).splits.test_ids)
    assert not sealed & {one["id"] for one in document["candidates"]}
    assert (folder / "label_review.zip").is_file()
    capsys.readouterr()
    assert run_program(["-C", str(clicks), "evaluate", "meter", "--review", "--split", "test"]) == 2
    assert "expected tuning" in capsys.readouterr().err
    assert not (clicks / "data" / "meter" / "ledger.jsonl").exists()
