"""Names say what was on, in full and in order; states follow the priority; whatever is wrong is told at once."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits

import pytest
from appliance_recordings import write_room
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.names import (
    DEFAULT_PATTERN,
    NamePattern,
    ParsedName,
    derive,
    heuristic_name,
    legacy_name,
)
from earmark.tasks.appliance.recordings import Naming, find_recordings, named_recordings, raise_all
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, short_key, state_of, states

NAMES = st.builds(  # from_regex builds the tables of all of Unicode first, which takes seconds
    str.__add__, st.sampled_from(ascii_lowercase), st.text(f"{ascii_lowercase}{digits}_", max_size=6)
).filter(lambda name: name not in ("on", "off"))


@given(
    devices=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    dayparts=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    data=st.data(),
)
def test_a_name_that_a_pattern_makes_is_read_back_and_derives_the_pattern(
    devices: list[str], dayparts: list[str], data: st.DataObject
) -> None:
    text = "-".join([*(f"{name}-(on|off)" for name in devices), f"({'|'.join(dayparts)})"])
    pattern = NamePattern.parse(text)
    assert (pattern.devices, pattern.dayparts, pattern.text) == (tuple(devices), tuple(dayparts), text)
    facts = {name: data.draw(st.booleans()) for name in devices}
    daypart, take = data.draw(st.sampled_from(dayparts)), data.draw(st.integers(1, 99))
    stem = pattern.name(facts, daypart, take=take)
    assert pattern.match(stem) == ParsedName(facts, daypart, take)
    assert derive([stem]).devices == tuple(devices)
    for other in (stem.upper(), f"x{stem}", f"{stem}-", f"{stem} ", f"{stem}\n", stem.replace("-", "_")):
        assert pattern.match(other) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "names no device"),
        ("(day|night)", "names no device"),
        ("ac-(on|off)", "not in the dayparts"),
        ("ac-(off|on)-(day|night)", "`(off|on)` stands where"),
        ("on-(on|off)-(day)", "`on` is no name"),
        ("Ac-(on|off)-(day)", "`Ac` is no name"),
        ("ac-(on|off)-ac-(on|off)-(day)", "`ac` occurs twice"),
        ("ac-(on|off)-fridge-(day)", "not followed by"),
        ("ac-(on|off)-(day|)", "not in the dayparts"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_what_is_wrong(text: str, wrong: str) -> None:
    with pytest.raises(UsageError, match="the pattern") as refused:
        NamePattern.parse(text)
    assert wrong in str(refused.value)


def test_the_first_device_that_is_on_gives_the_state() -> None:
    assert states(Devices(("pump",))) == ("pump-on", "pump-off")
    assert states(DEFAULT_DEVICES) == ("ac-on", "fridge-on", "both-off")
    assert states(Devices(("a", "b", "c"), ("c", "a", "b"))) == ("c-on", "a-on", "b-on", "all-off")
    assert [
        state_of({"ac": ac, "fridge": fridge}, DEFAULT_DEVICES)
        for ac, fridge in product((True, False), (True, False))
    ] == ["ac-on", "ac-on", "fridge-on", "both-off"]
    three = Devices(("a", "b", "c"), ("c", "a", "b"))
    for facts in product((False, True), repeat=3):
        on = dict(zip("abc", facts, strict=True))
        first = next((name for name in "cab" if on[name]), None)
        assert state_of(on, three) == (f"{first}-on" if first else "all-off")
    assert (short_key("fridge"), short_key("ac"), short_key("washer")) == ("fr", "ac", "washer")


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ()},
        {"names": ("ac", "ac")},
        {"names": ("label",)},
        {"names": ("both",)},
        {"names": ("on",)},
        {"names": ("A",)},
        {"names": ("ac", "fridge"), "priority": ("ac",)},
        {"names": ("ac", "fridge"), "masks": (("ac", "pump"),)},
    ],
)
def test_devices_that_cannot_be_columns_and_states_are_refused(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="the devices"):
        Devices(**wrong)  # type: ignore[arg-type]


def test_names_of_other_devices_are_listed_when_the_pattern_is_derived() -> None:
    stems = ["washer-on-dryer-off-day", "washer-off-dryer-off-night-2", "washer-on-dryer-on-noon"]
    assert derive(stems).text == "washer-(on|off)-dryer-(on|off)-(day|night|noon)"
    with pytest.raises(UsageError, match="2 of 5 names") as refused:
        derive([*stems, "dryer-on-washer-off-day", "kitchen"])
    assert "`dryer-on-washer-off-day`, `kitchen`" in str(refused.value)


@pytest.mark.parametrize(
    ("stem", "facts"),
    [
        ("background_fridge", (0, 1)),
        ("backup-machine", None),
        ("ac", (1, 0)),
        ("AC on 2", (1, 0)),
        ("ac_off refrigerator", (0, 1)),
        ("all_off", (0, 0)),
        ("none-night", (0, 0)),
        ("both", (1, 1)),
        ("all-on_3", (1, 1)),
        ("all_off_but_fridge", None),
        ("fall_off", None),
        ("machine", None),
    ],
)
def test_free_names_are_read_by_whole_words(stem: str, facts: tuple[int, int] | None) -> None:
    read = heuristic_name(stem)
    assert (read and tuple(map(int, read.facts.values()))) == facts


def test_the_four_names_of_before_are_taken_word_for_word() -> None:
    read = {
        stem: legacy_name(stem) for stem in ("ac_on", "fridge_on", "all_on", "all_off", "ac-on", "ac_on_2")
    }
    assert [each and tuple(each.facts.values()) for each in read.values()] == [
        (True, False),
        (False, True),
        (True, True),
        (False, False),
        None,
        None,
    ]


def test_everything_wrong_in_a_folder_is_told_in_one_message(tmp_path: Path) -> None:
    write_room(tmp_path, ["ac-on-fridge-off-day", "ac-on-fridge-on-morning", "Ac-on-fridge-on-day"], 1.0)
    write_room(tmp_path, ["ac-on-fridge-off-day"], 1.0, suffix=".wav")
    (tmp_path / "ac-off-fridge-off-day.wav").write_bytes(b"")
    (tmp_path / "ac-off-fridge-on-day.wav").write_bytes(b"RIFF and no more")
    found = named_recordings(find_recordings(tmp_path, ("wav", ".flac")), Naming.of_pattern(DEFAULT_PATTERN))
    assert len(found.recordings) == 2
    with pytest.raises(UsageError, match="5 problems") as refused:
        raise_all(found.problems, "Rename them.")
    told = str(refused.value)
    for part in (
        "`ac-on-fridge-on-morning.flac` does not match `ac-(on|off)-fridge-(on|off)-(day|night)`",
        "`Ac-on-fridge-on-day.flac` does not match",
        "`ac-on-fridge-off-day.flac` and `ac-on-fridge-off-day.wav` have one stem",
        "is empty (0 bytes)",
        "ac-off-fridge-on-day.wav",
    ):
        assert part in told


def test_an_empty_folder_says_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \.flac or \.m4a file, but nothing"):
        find_recordings(tmp_path)
    write_room(tmp_path, ["ac-on-fridge-off-day"], 0.1, suffix=".wav")
    with pytest.raises(UsageError, match=r"but 1 \.wav"):
        find_recordings(tmp_path)
    write_room(tmp_path, ["ac-on-fridge-on-day"], 0.1)
    assert [path.name for path in find_recordings(tmp_path)] == ["ac-on-fridge-on-day.flac"]
    with pytest.raises(UsageError, match="no folder"):
        find_recordings(tmp_path / "none")
