"""Zones written into files and taken back: plans, edits by hand, the journal, the cache."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tagged_files import FORMATS, TIT1, TXXX, add_foreign_tags, foreign_tags, opened, read_fields, write_plain

from earmark.cache.entries import FeatureCache
from earmark.errors import UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones.tagging.entries import FIELDS, Entry
from earmark.tasks.zones.tagging.journal import FieldChange, Journal, TagWrite, read_history
from earmark.tasks.zones.tagging.plan import carries_zone, plan_tags, zone_of_tag
from earmark.tasks.zones.tagging.tags import undo_tags, write_tags

PURPLE = {
    "zone": ["PURPLE"],
    "grouping": ["🟪 Purple (Energy)"],
    "energy": ["9"],
    "comment": ["🟪 PURPLE 80% model [earmark]"],
}
NOTHING = {name: [] for name in FIELDS}


def answer(path, zone="PURPLE", confidence=0.8, **extras):
    rest = (1 - confidence) / 2
    probabilities = {name: confidence if name == zone else rest for name in ("YELLOW", "GREEN", "PURPLE")}
    return Prediction(str(path), zone, confidence, probabilities, {"method": "model", **extras})


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {suffix: add_foreign_tags(write_plain(folder / f"track.{suffix}")) for suffix in FORMATS}


@pytest.fixture
def music(originals, tmp_path):
    """A folder with a file of each format."""
    folder = tmp_path / "music"
    folder.mkdir()
    return {suffix: Path(shutil.copy(path, folder)) for suffix, path in originals.items()}


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "tags" / "journal.jsonl"


@pytest.fixture
def tag(journal):
    """Plan and write; gives status and reason per file."""

    def run(*answers, overwrite=False, backup_copy=False, cache=None):
        identify = None if cache is None else cache.identify
        plan = plan_tags(answers, journal=journal, overwrite=overwrite, identify=identify)
        report = write_tags(plan, journal=journal, backup_copy=backup_copy, cache=cache)
        return [(change.status, change.reason) for change in report.changes]

    return run


def statuses(report):
    return [change.status for change in report.changes]


def only_these(folder, names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_all_formats_in_one_write_and_back(music, tag, journal):
    before = {suffix: foreign_tags(path) for suffix, path in music.items()}
    assert tag(*map(answer, music.values())) == [("written", "")] * len(music)
    for suffix, path in music.items():
        assert read_fields(path) == PURPLE
        assert foreign_tags(path) == before[suffix]
        assert carries_zone(str(path))
    only_these(music["mp3"].parent, [path.name for path in music.values()])
    assert statuses(undo_tags(journal)) == ["restored"] * len(music)
    for suffix, path in music.items():
        assert read_fields(path) == NOTHING
        assert foreign_tags(path) == before[suffix]
        assert not carries_zone(str(path))
    assert statuses(undo_tags(journal)) == ["unchanged"] * len(music), "taking back twice does nothing"


def test_a_plan_writes_nothing(music, journal):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in music.values()}
    plan = plan_tags([answer(path) for path in music.values()], journal=journal)
    assert statuses(plan) == ["to write"] * len(music)
    assert plan.changes[0].fields["zone"] == ((), ("PURPLE",))
    assert plan.changes[0].to_row()["changes"].startswith("zone: - -> PURPLE; grouping: -")
    assert not journal.parent.exists()
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in music.values()}


def test_the_same_answer_again_changes_nothing_and_another_changes_what_differs(music, tag):
    path = music["mp3"]
    tag(answer(path))
    written = path.read_bytes()
    assert tag(answer(path)) == [("unchanged", "")]
    assert path.read_bytes() == written
    assert tag(answer(path, confidence=0.79)) == [("written", "")]
    assert read_fields(path) == PURPLE | {"comment": ["🟪 PURPLE 79% model [earmark]"]}
    assert tag(answer(path, "GREEN")) == [("written", "")]
    assert read_fields(path)["grouping"] == ["🟩 Green (Transition)"]


def test_no_decision_and_failures_write_nothing(music, tag):
    before = music["wav"].read_bytes()
    found = tag(answer(music["wav"], "UNCERTAIN"), Failed("gone.mp3", "`gone.mp3` does not exist."))
    assert found == [("unchanged", "UNCERTAIN is not written"), ("failed", "`gone.mp3` does not exist.")]
    assert music["wav"].read_bytes() == before


@pytest.mark.parametrize("suffix", ["mp3", "flac", "m4a"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_was_changed_by_hand_is_kept(music, tag, journal, suffix, field):
    path = music[suffix]
    tag(answer(path))
    file = opened(path)
    edit(file, suffix, field)
    file.save()
    before = path.read_bytes()
    ((status, reason),) = tag(answer(path, "GREEN"))
    assert status == "kept" and reason.startswith(f"{field} was changed by hand")
    (change,) = undo_tags(journal).changes
    assert change.status == "kept" and "changed since" in change.reason
    assert path.read_bytes() == before
    assert tag(answer(path, "GREEN"), overwrite=True) == [("written", "")]
    assert read_fields(path)["zone"] == ["GREEN"]
    assert statuses(undo_tags(journal)) == ["restored"], "back to the edit by hand"
    assert read_fields(path)[field] == ([] if field == "comment" else ["mine"])


def edit(file, suffix, field):
    """Change one of our fields: the comment is deleted, the others say "mine"."""
    keys = {
        "mp3": {"zone": "TXXX:ENERGYZONE", "grouping": "TIT1", "energy": "TXXX:EnergyLevel",
                "comment": "COMM:earmark:eng"},
        "flac": {"zone": "ENERGYZONE", "grouping": "GROUPING", "energy": "ENERGYLEVEL", "comment": "COMMENT"},
        "m4a": {"zone": "----:com.apple.iTunes:ENERGYZONE", "grouping": "\xa9grp",
                "energy": "----:com.apple.iTunes:ENERGYLEVEL", "comment": "\xa9cmt"},
    }  # fmt: skip
    key = keys[suffix][field]
    if field == "comment":
        file.tags.pop(key) if suffix == "mp3" else file.tags.update({key: ["kept"]})
    elif suffix == "mp3":
        file.tags[key].text = ["mine"]
    else:
        file.tags[key] = [b"mine" if key.startswith("----") else "mine"]


@pytest.mark.parametrize(
    ("text", "zone"), [("GREEN", "GREEN"), ("1", "GREEN"), ("🟨 Yellow (Rest)", "YELLOW")]
)
def test_a_zone_of_somebody_else_is_kept(music, tag, text, zone):
    path = music["flac"]
    file = opened(path)
    file.tags["energyzone"] = [text]
    file.save()
    assert carries_zone(str(path))
    assert tag(answer(path)) == [("kept", f"it carries {zone}, which earmark did not write")]
    assert tag(answer(path), overwrite=True) == [("written", "")]
    assert read_fields(path) == PURPLE


def test_a_zone_in_the_grouping_counts_and_a_digit_there_does_not(music, tag):
    for text, status in [("🟩 Green (Transition)", "kept"), ("green", "kept"), ("1", "written")]:
        path = Path(shutil.copy(music["ogg"], music["ogg"].with_name("copy.ogg")))
        file = opened(path)
        file.tags["GROUPING"] = [text]
        file.save()
        assert carries_zone(str(path)) == (status == "kept")
        assert tag(answer(path))[0][0] == status
        assert read_fields(path)["grouping"] == [text]


def test_fields_of_others_stay_and_the_rest_is_written(music, tag, journal):
    path = music["mp3"]
    file = opened(path)
    file.tags.add(TIT1(encoding=3, text="Peak time"))
    file.tags.add(TXXX(encoding=3, desc="EnergyLevel", text="6"))
    file.save()
    before = path.read_bytes()
    ((status, reason),) = tag(answer(path))
    assert status == "written"
    assert reason == "grouping 'Peak time' is not earmark's and stays; energy '6' is not earmark's and stays"
    assert read_fields(path) == PURPLE | {"grouping": ["Peak time"], "energy": ["6"]}
    assert tag(answer(path))[0][0] == "unchanged"
    assert tag(answer(path), overwrite=True) == [("written", "")]
    assert read_fields(path) == PURPLE
    assert statuses(undo_tags(journal, which="all")) == ["restored"]
    assert path.read_bytes() == before


def test_a_zone_tag_that_means_nothing_is_kept(music, tag):
    file = opened(music["m4a"])
    file.tags["----:com.apple.iTunes:EnergyZone"] = [b"blue"]
    file.save()
    assert not carries_zone(str(music["m4a"]))
    assert tag(answer(music["m4a"])) == [("kept", "ENERGYZONE holds 'blue', which earmark did not write")]


def test_undo_of_all_goes_back_step_by_step_as_far_as_nobody_wrote_in_between(music, tag, journal):
    path, other = music["mp3"], music["wav"]
    before = path.read_bytes()
    tag(answer(path, "YELLOW"))
    tag(answer(path, "GREEN"), answer(other, "GREEN"))
    (change,) = [change for change in undo_tags(journal).changes if change.path == str(path)]
    assert (change.status, read_fields(path)["zone"], read_fields(other)["zone"]) == (
        "restored",
        ["YELLOW"],
        [],
    )
    assert statuses(undo_tags(journal, which="all")) == ["restored", "unchanged"]
    assert path.read_bytes() == before
    tag(answer(path, "YELLOW"))
    file = opened(path)
    file.tags["TXXX:ENERGYZONE"].text = ["mine"]
    file.save()
    tag(answer(path, "GREEN"), overwrite=True)
    change = undo_tags(journal, which="all").changes[0]
    assert change.status == "restored" and "1 earlier writes stay" in change.reason
    assert read_fields(path)["zone"] == ["mine"]


def test_undo_restores_text_where_another_program_changed_the_form(music, tag, journal):
    path = music["mp3"]
    file = opened(path)
    file.tags["TIT1"] = TIT1(encoding=3, text="Größe 🟪")
    file.save(v2_version=3)
    tag(answer(path), overwrite=True)
    opened(path).save(v2_version=4)
    assert statuses(undo_tags(journal)) == ["restored"]
    assert read_fields(path) == NOTHING | {"grouping": ["Größe 🟪"]}


def test_links_stay_links_and_rights_stay(music, tag):
    path = music["flac"]
    path.chmod(0o640)
    link = path.with_name("link.flac")
    link.symlink_to(path.name)
    assert tag(answer(link)) == [("written", "")]
    assert link.is_symlink() and read_fields(path) == PURPLE
    assert path.stat().st_mode & 0o777 == 0o640
    assert tag(answer(path)) == [("unchanged", "")], "it is one file under both names"


def test_read_only_gone_and_remote_files_fail_and_the_others_go_on(music, tag):
    music["mp3"].chmod(0o444)
    gone = music["wav"].with_name("gone.wav")
    found = tag(answer(music["mp3"]), answer(gone), answer("s3://bucket/a.mp3"), answer(music["ogg"]))
    assert [status for status, _ in found] == ["failed", "failed", "failed", "written"]
    assert "read-only" in found[0][1] and "is gone" in found[1][1] and "not on this machine" in found[2][1]
    assert read_fields(music["mp3"]) == NOTHING
    only_these(music["mp3"].parent, [path.name for path in music.values()])


def test_text_with_the_name_of_audio_fails(tmp_path, tag):
    path = tmp_path / "song.mp3"
    path.write_text("no music")
    ((status, reason),) = tag(answer(path))
    assert status == "failed" and "Expected one of mp3" in reason
    assert not carries_zone(str(path))


def test_a_file_that_changes_between_plan_and_write_is_kept(music, journal):
    path = music["flac"]
    plan = plan_tags([answer(path)], journal=journal)
    file = opened(path)
    file.tags["ENERGYZONE"] = ["GREEN"]
    file.save()
    before = path.read_bytes()
    assert statuses(write_tags(plan, journal=journal)) == ["kept"]
    assert path.read_bytes() == before


def test_a_backup_is_made_once(music, tag):
    path = music["m4a"]
    before = path.read_bytes()
    tag(answer(path), backup_copy=True)
    tag(answer(path, "GREEN"), backup_copy=True)
    assert path.with_name("track.m4a.backup").read_bytes() == before
    assert read_fields(path)["zone"] == ["GREEN"]


def test_files_that_were_moved_are_known_by_their_content(music, tag, tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    path = music["mp3"]
    tag(answer(path), cache=cache)
    moved = path.rename(path.with_name("moved.mp3"))
    assert tag(answer(moved, "GREEN")) == [("kept", "it carries PURPLE, which earmark did not write")]
    assert tag(answer(moved, "GREEN"), cache=cache) == [("written", "")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_features_of_a_tagged_file_are_found_again(music, tag, journal, tmp_path, suffix):
    cache, code = FeatureCache(tmp_path / "cache"), b"c" * 16
    path = music[suffix]
    cache.put_many([(code, cache.identify(path), np.arange(3.0))])
    tag(answer(path), cache=cache)
    assert cache.get_many(code, [cache.identify(path)])[0].tolist() == [0, 1, 2]
    undo_tags(journal, cache=cache)
    assert cache.get_many(code, [cache.identify(path)])[0].tolist() == [0, 1, 2]


def test_tags_are_read_in_all_forms():
    texts = ["0", "yellow", "🟨 Yellow (Rest)", "1", " 2 ", "Purple"]
    zones = ["YELLOW", "YELLOW", "YELLOW", "GREEN", "PURPLE", "PURPLE"]
    assert [zone_of_tag(text) for text in texts] == zones
    assert zone_of_tag("3") is zone_of_tag("") is zone_of_tag("UNCERTAIN") is None


# The journal


def test_one_process_at_a_time(music, journal, tag):
    with Journal.opened(journal), pytest.raises(UsageError, match="Another process"):
        tag(answer(music["mp3"]))
    assert read_fields(music["mp3"]) == NOTHING


def test_a_line_that_is_cut_never_began_and_a_damaged_one_is_refused(music, journal, tag):
    tag(answer(music["mp3"]))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"kind": "begin", "id": "x"')
    assert len(read_history(journal).writes) == 1
    assert statuses(undo_tags(journal)) == ["restored"]
    lines = journal.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["kind"] for line in lines] == ["begin", "done"] * 2
    journal.write_bytes(b"broken\n" + whole)
    with pytest.raises(UsageError, match="damaged in line 1"):
        undo_tags(journal)


def test_names_that_are_not_utf8_are_kept_byte_for_byte(music, journal, tag):
    path = os.fsencode(music["mp3"].parent) + b"/\xff\xfe.mp3"
    shutil.copy(music["mp3"], path)
    assert tag(answer(os.fsdecode(path))) == [("written", "")]
    assert statuses(undo_tags(journal)) == ["restored"]


TEXT = st.text(max_size=12)
CHANGES = st.dictionaries(
    st.sampled_from(FIELDS),
    st.tuples(st.lists(st.tuples(st.binary(max_size=9), TEXT), max_size=2), st.lists(TEXT, max_size=2)),
    min_size=1,
)


@settings(max_examples=50, deadline=None)
@given(changes=CHANGES, path=TEXT)
def test_what_is_noted_is_read_again(tmp_path_factory, changes, path):
    fields = {
        name: FieldChange(tuple(Entry(raw, name, text) for raw, text in old), tuple(new))
        for name, (old, new) in changes.items()
    }
    write = TagWrite("1", "b", "now", path, "t", "id3v2.3", fields, "ab", "run", ("0",))
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal.opened(file) as opened_journal:
        opened_journal.begin(write)
    assert read_history(file).writes == (write,)
