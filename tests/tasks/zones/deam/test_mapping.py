"""Arousal and valence to zones: boundary values, files, command-line thresholds, what has no zone."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import InputError, UsageError
from earmark.tasks.zones.deam.mapping import FIVE_WAY_ZONES, STRATEGIES, ZoneMapping, default_yaml
from earmark.tasks.zones.labels import CLASSES

Y, G, P = CLASSES

BOUNDARIES = {
    "simple": [
        *((3.99, 5, Y), (4.0, 5, G), (6.0, 5, G), (6.01, 5, P), (6.01, 1, P), (1, 1, Y), (9, 9, P)),
    ],
    "plan": [
        *((3.99, 1, Y), (4.0, 9, G), (6.0, 9, G), (6.01, 4.5, G), (6.01, 4.51, P), (9, 1, G)),
    ],
    "advanced": [
        *((4.5, 4.0, Y), (4.5, 3.99, G), (4.51, 4.0, G), (5.99, 4.0, G), (6.0, 9, P), (5.0, 3.5, P)),
        *((4.99, 3.5, G), (5.0, 3.51, G), (1, 1, G)),
    ],
}


@pytest.mark.parametrize(
    ("strategy", "arousal", "valence", "zone"),
    [(strategy, *row) for strategy, rows in BOUNDARIES.items() for row in rows],
)
def test_boundaries(strategy, arousal, valence, zone):
    assert ZoneMapping(strategy).zone(arousal, valence) == zone


@given(
    st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=1, max_size=20),
    st.sampled_from(STRATEGIES),
)
def test_arrays_agree_with_single_pairs(pairs, strategy):
    mapping = ZoneMapping(strategy)
    arousal, valence = np.transpose(pairs)
    assert mapping.zones(arousal, valence).tolist() == [mapping.zone(a, v) for a, v in pairs]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.99, 9.01])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_missing_or_off_the_scale_has_no_zone(bad, strategy):
    mapping = ZoneMapping(strategy)
    for pair in ((bad, 5.0), (5.0, bad)):
        assert mapping.problem(*pair)
        with pytest.raises(InputError, match="1 of 1 values"):
            mapping.zone(*pair)
        with pytest.raises(InputError):
            mapping.five_way(*pair, "GREEN")
    with pytest.raises(InputError, match="2 of 3 values of arousal .* at 0, .* at 2"):
        mapping.zones([bad, 5, bad], [5, 5, 5])


def test_five_way_names():
    mapping = ZoneMapping.default()
    found = [mapping.five_way(*pair) for pair in ((2, 4.5), (2, 4.49), (5, 5), (7, 4.6))]
    assert found == ["YELLOW_CHILL", "YELLOW_DARK", "GREEN", "PURPLE_EUPHORIC"]
    assert mapping.five_way(7, 4.4) == "GREEN"  # PURPLE needs more valence by the plan
    assert mapping.five_way(7, 4.4, zone="PURPLE") == "PURPLE_AGGRESSIVE"
    assert mapping.five_way(7, 4.4, zone="UNCERTAIN") == "UNCERTAIN"
    assert {*found, "PURPLE_AGGRESSIVE"} == set(FIVE_WAY_ZONES)


def test_the_default_file_is_the_default(tmp_path):
    path = tmp_path / "zone_mapping.yaml"
    path.write_text(default_yaml())
    assert ZoneMapping.read(path) == ZoneMapping.default()
    document = yaml.safe_load(default_yaml())
    assert document["mapping_strategy"] == "plan"
    assert document["presets"]["production"] == [4.0, 5.7]


def test_a_file_is_really_read_and_may_leave_things_out(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mapping_strategy: simple\nsimple: {yellow_max: 3}\npresets: {mine: [2, 8]}\n")
    mapping = ZoneMapping.read(path)
    assert [mapping.zone(a, 5) for a in (2.9, 3.0, 6.1)] == [Y, G, P]
    assert mapping.with_thresholds(preset="mine").zone(2.9, 5) == G
    assert mapping.digest() != ZoneMapping.default().digest()


def test_a_scale_of_its_own(tmp_path):
    path = tmp_path / "unit.yaml"
    path.write_text(
        "scales: {arousal: [-1, 1], valence: [-1, 1]}\nplan: {yellow_max: -0.2, purple_min: 0.3, valence_min: 0}\n"
        "five_way: {valence_min: 0}\n"
    )
    mapping = ZoneMapping.read(path)
    assert [mapping.zone(*pair) for pair in ((-0.5, 0), (0, 0), (0.5, 0.5))] == [Y, G, P]
    with pytest.raises(InputError, match="from -1 to 1"):
        mapping.zone(5, 5)


def test_all_problems_of_a_file_are_listed_with_the_likely_name(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "mapping_strategy: advnced\nsclaes: {}\nsimple: {yelow_max: 3, purple_min: six}\n"
        "presets: {odd: [6, 4], one: [1]}\nscales: {valence: [1, .nan]}\nplan: 4\nadvanced: {yellow_max: true}\n"
    )
    with pytest.raises(UsageError) as error:
        ZoneMapping.read(path)
    for part in (
        *("did you mean `advanced`", "did you mean `scales`", "did you mean `yellow_max`", "'six'"),
        *(
            "`presets.odd`",
            "`presets.one`",
            "`scales.valence`",
            "`plan` is 4",
            "`advanced.yellow_max` is True",
        ),
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simple: {}\nsimple: {}", "more than once"),
        ("[1, 2]", "holds list"),
        ("", "holds NoneType"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("{[1]: 2}", "not YAML"),
        ("x: 2020-99-99", "not YAML"),
        ("simple: {yellow_max: 7}\nmapping_strategy: simple", "above purple_min"),
        ("plan: {valence_min: 40}", "`plan.valence_min` is 40, expected a value on the scale 1 to 9"),
    ],
)
def test_hostile_files_are_refused(tmp_path, text, message):
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        ZoneMapping.read(path)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="no mapping file"):
        ZoneMapping.read(tmp_path / "none.yaml")


def test_command_line_thresholds(tmp_path):
    default = ZoneMapping.default()
    assert default.with_thresholds() == default
    alone = default.with_thresholds(yellow_max=3.0)
    assert (alone.strategy, alone.thresholds["simple"]) == ("simple", {"yellow_max": 3.0, "purple_min": 6.0})
    assert default.with_thresholds(valence_min=5.0).strategy == "plan"  # simple has no such threshold
    named = default.with_thresholds(purple_min=5.0, strategy="advanced")
    assert (named.strategy, named.thresholds["advanced"]["purple_min"]) == ("advanced", 5.0)
    preset = default.with_thresholds(
        preset="conservative", purple_min=7.0
    )  # the threshold wins over the preset
    assert preset.thresholds["simple"] == {"yellow_max": 3.5, "purple_min": 7.0}
    path = tmp_path / "plan.yaml"
    path.write_text("plan: {yellow_max: 3}\n")
    over = ZoneMapping.read(path).with_thresholds(purple_min=5.0)  # over a file: its rule stays
    assert (over.strategy, over.thresholds["plan"]) == (
        "plan",
        {"yellow_max": 3.0, "purple_min": 5.0, "valence_min": 4.5},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "balnced"}, "did you mean `balanced`"),
        ({"strategy": "plann"}, "did you mean `plan`"),
        ({"preset": "balanced", "strategy": "plan"}, "presets belong to `simple`"),
        ({"valence_min": 5.0, "strategy": "simple"}, "no threshold `valence_min`"),
        ({"valence_min": 5.0, "preset": "balanced"}, "no threshold `valence_min`"),
        ({"yellow_max": 6.5}, "above purple_min"),
        ({"yellow_max": math.nan}, "is nan"),
    ],
)
def test_what_the_command_line_may_not_say(changes, message):
    with pytest.raises(UsageError, match=message):
        ZoneMapping.default().with_thresholds(**changes)


def test_the_digest_changes_exactly_with_what_decides_zones(tmp_path):
    default = ZoneMapping.default()
    others = [
        default.with_thresholds(strategy="simple"),
        default.with_thresholds(yellow_max=4.1, strategy="plan"),
        default.with_thresholds(preset="production"),
    ]
    digests = [mapping.digest() for mapping in (default, *others)]
    assert len(set(digests)) == 4
    path = tmp_path / "display.yaml"
    path.write_text("five_way: {valence_min: 5}\npresets: {mine: [2, 8]}\nsimple: {yellow_max: 2}\n")
    assert ZoneMapping.read(path).digest() == default.digest()  # none of these decides a zone of `plan`
