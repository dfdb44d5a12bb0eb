"""Choosing thresholds on tables made by hand, and thresholds.yaml: layout, defaults, refusals."""

import math
import re

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import RunError, SchemaError, SealError, UsageError
from earmark.tasks.appliance.decoding.events import EventSettings
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.limits import Limits
from earmark.tasks.appliance.decoding.presets import PRESETS, Rule, default_rule
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices
from earmark.tasks.appliance.thresholds.choice import best_threshold, grid_of, percentile_limits
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings, choose, scored_rows
from earmark.tasks.appliance.thresholds.figure import thresholds_figure
from earmark.tasks.appliance.thresholds_file import Thresholds

GRID = [0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95]


def f1(y, p, t):
    hits = sum(a and b >= t for a, b in zip(y, p, strict=True))
    return 2 * hits / (sum(y) + sum(value >= t for value in p)) if hits else 0.0


def test_the_grid_has_ten_values_and_both_ends():
    assert grid_of().tolist() == GRID
    assert grid_of(0.1, 0.35, 0.1).tolist() == [0.1, 0.2, 0.3]
    for wrong in ((0.9, 0.5, 0.05), (-0.1, 0.5, 0.05), (0.5, 0.9, 0.0)):
        with pytest.raises(UsageError, match="--grid"):
            grid_of(*wrong)


def test_ties_take_the_middle_of_the_widest_plateau_or_the_first():
    y, p = [1, 1, 0, 0], [0.97, 0.83, 0.63, 0.2]
    found = best_threshold(y, p, GRID)
    assert (found.t, found.f1, found.low, found.high) == (0.725, 1.0, 0.65, 0.80)
    assert best_threshold(y, p, GRID, "first").t == 0.65
    # two plateaus of the same F1: .55 alone, and .70 to .95, which is wider
    y, p = [1, 1, 1, 0, 0, 0], [0.99, 0.98, 0.57, 0.69, 0.68, 0.52]
    wide = best_threshold(y, p, GRID)
    assert (wide.low, wide.high, wide.t) == (0.70, 0.95, 0.825)


def test_a_median_at_the_threshold_is_on():
    assert best_threshold([1, 0], [0.8, 0.75], [0.75, 0.80, 0.85]).t == 0.80


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=12),
    st.sampled_from(["middle", "first"]),
)
def test_no_value_of_the_grid_is_better_than_the_chosen_one(files, tie):
    y, p = zip(*files, strict=True)
    found, best = best_threshold(y, p, GRID, tie), max(f1(y, p, t) for t in GRID)
    assert found.f1 == pytest.approx(best) and f1(y, p, found.t) >= best - 1e-12
    assert found.low <= found.t <= found.high
    if tie == "first":
        assert found.t == next(t for t in GRID if f1(y, p, t) == best)


def test_percentiles_apart_are_taken_as_they_are():
    absent, present = np.linspace(0, 0.25, 101), np.linspace(0.5, 1, 101)
    found = percentile_limits(absent, present)
    assert (found.t_off, found.t_on, found.warning) == (0.24, 0.56, None)


@pytest.mark.parametrize(
    ("off", "on", "expected", "words"),
    [
        (0.50, 0.55, (0.45, 0.60), "closer than 0.1"),  # widened is enough
        (0.70, 0.40, (0.65, 0.75), "overlap.*lifted"),
        (0.98, 0.95, (0.90, 1.00), "overlap.*lifted"),  # no room above
        (0.02, 0.01, (0.00, 0.10), "overlap.*lifted"),
    ],
)
def test_classes_that_overlap_are_widened_then_lifted_and_said(off, on, expected, words):
    found = percentile_limits([off] * 5, [on] * 5)
    assert (found.t_off, found.t_on) == pytest.approx(expected)
    assert found.warning is not None
    assert re.search(words, found.warning)
    assert (found.absent, found.present) == (off, on)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0.01, 1),
)
def test_limits_by_percentiles_are_always_limits(absent, present, gap):
    found = percentile_limits(absent, present, min_gap=gap)
    assert 0 <= found.t_off < found.t_on <= 1
    assert found.t_on - found.t_off >= gap - 1.01e-4
    assert (found.warning is None) == (round(found.present - found.absent, 4) >= gap)


def table(seed=0, margin=0.3):
    """Two folds of four steady recordings each, with an outlier and a row of unknown truth."""
    rng, rows = np.random.default_rng(seed), []
    for fold, daypart in enumerate(("day", "night")):
        for ac in (0, 1):
            for fridge in (0, 1):
                for k in range(20):
                    row = {"id": f"{ac}{fridge}{daypart}@{k}", "recording_id": f"{ac}{fridge}{daypart}", "fold": fold,
                           "start_sec": 1.5 * k, "end_sec": 1.5 * k + 6, "outlier": k == 7}  # fmt: skip
                    for name, on in (("ac", ac), ("fridge", fridge)):
                        p = 0.5 + (margin if on else -margin) + rng.uniform(-0.1, 0.1)
                        row |= {f"y_{name}": on, f"p_{name}": p, f"raw_{name}": p}
                    if k == 7:
                        row |= {"p_ac": 1 - row["p_ac"], "p_fridge": 1 - row["p_fridge"]}
                    rows.append(row)
    rows.append({**rows[0], "id": "unknown", "y_ac": None, "p_ac": 0.999})
    return pl.DataFrame(rows)


def test_thresholds_are_chosen_on_windows_no_fold_had_seen():
    choice = choose(table(), DEFAULT_DEVICES, ChoiceSettings(), floor_dbfs=-58.3, model="f" * 32)
    found = choice.thresholds
    assert found.f1 == {"ac": 1.0, "fridge": 1.0} and not choice.warnings
    for row in choice.rows:
        assert row["fold_lowest"] <= row["t"] <= row["fold_highest"] + 0.05 and row["margin"] > 0.4
        limits = found.rule.limits_of(DEFAULT_DEVICES)[row["device"]]
        assert (
            limits.t_on - limits.t_off == pytest.approx(0.10)
            and limits.t_off < found.t[row["device"]] < limits.t_on
        )
    assert found.rule.settings.prior == {"ac": 0.5, "fridge": 0.5}
    assert found.chosen["n_windows"] == 8 * 19  # neither outliers nor unknown truth
    assert found.chosen["n_recordings"] == 8


def test_percentiles_of_windows_set_the_hysteresis_and_overlap_is_warned_of():
    clear = choose(table(), DEFAULT_DEVICES, ChoiceSettings(method="percentile"))
    rows = scored_rows(table(), DEFAULT_DEVICES)
    p, y = rows["p_ac"].to_numpy(), rows["y_ac"].to_numpy() == 1
    limits = clear.thresholds.rule.limits_of(DEFAULT_DEVICES)["ac"]
    assert limits.t_off == pytest.approx(np.percentile(p[~y], 96), abs=1e-4)
    assert limits.t_on == pytest.approx(np.percentile(p[y], 12), abs=1e-4)
    assert limits.t_off < clear.thresholds.t["ac"] < limits.t_on
    overlapping = choose(table(margin=0.02), DEFAULT_DEVICES, ChoiceSettings(method="percentile"))
    assert [text.split(":")[0] for text in overlapping.warnings] == ["ac", "fridge"]


def test_hold_times_and_decoder_of_a_base_are_kept():
    base = PRESETS["g2"]
    found = choose(table(), DEFAULT_DEVICES, ChoiceSettings(), rule=base).thresholds.rule
    assert found.settings == EventSettings(9, 6.0)
    assert found.limits_of(DEFAULT_DEVICES)["ac"].cooldown_s == 20


def test_a_recording_that_switches_counts_as_its_stretches():
    switching = table().with_columns(recording_id=pl.lit("one long recording"))
    assert choose(switching, DEFAULT_DEVICES, ChoiceSettings()).thresholds.f1["ac"] == 1.0


@pytest.mark.parametrize(
    ("part", "error", "words"),
    [
        ("test", SealError, "sealed test"),
        ("train", UsageError, "learnt"),
        ("none", UsageError, "not for choosing"),
        ("7", UsageError, "folds 0, 1"),
    ],
)
def test_parts_that_prove_nothing_are_refused(part, error, words):
    with pytest.raises(error, match=words):
        scored_rows(table(), DEFAULT_DEVICES, part)


def test_one_fold_can_be_chosen_on():
    assert scored_rows(table(), DEFAULT_DEVICES, "1")["fold"].unique().to_list() == [1]


def test_tables_that_cannot_be_chosen_on_are_refused():
    with pytest.raises(SchemaError, match="p_ac"):
        choose(table().drop("p_ac"), DEFAULT_DEVICES, ChoiceSettings())
    with pytest.raises(UsageError, match="never off"):
        choose(table().filter(pl.col("y_ac") == 1), DEFAULT_DEVICES, ChoiceSettings())
    with pytest.raises(UsageError, match="no window"):
        choose(table().filter(pl.col("outlier")), DEFAULT_DEVICES, ChoiceSettings())


def test_the_figure_draws_every_device_and_limit():
    found = choose(table(), DEFAULT_DEVICES, ChoiceSettings()).thresholds
    figure = thresholds_figure(scored_rows(table(), DEFAULT_DEVICES), found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ac", "fridge"]
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert drawn[0] == found.t["ac"] and len(drawn) == 3


# --- the file ---


def thresholds(**given):
    plain = {
        "devices": DEFAULT_DEVICES,
        "t": {"ac": 0.725, "fridge": 0.65},
        "f1": {"ac": 1.0, "fridge": 8 / 9},
    }
    return Thresholds(**{**plain, "model": "a1b2" * 8, **given})


def test_the_file_is_flat_with_four_decimals(tmp_path):
    text = thresholds(floor_dbfs=-58.3).write(tmp_path / "thresholds.yaml").read_text()
    for line in (
        "t_ac: 0.7250",
        "t_fr: 0.6500",
        "f1_ac: 1.0000",
        "f1_fridge: 0.8889",
        "floor_dbfs: -58.3000",
    ):
        assert line in text.splitlines()
    document = yaml.safe_load(text)
    assert document["hysteresis"]["ac"] == {"t_on": 0.8, "t_off": 0.6, "on_s": 0, "off_s": 0, "cooldown_s": 0}
    assert (document["window_s"], document["hop_s"], document["decoder"]["name"]) == (6.0, 1.5, "hmm")


@pytest.mark.parametrize("name", [*PRESETS, "hmm", "median", "events", "votes"])
def test_every_rule_comes_back_as_it_was_written(tmp_path, name):
    rule = PRESETS.get(name) or default_rule(name)
    written = thresholds(rule=rule, chosen={"method": "f1"})
    found = Thresholds.read(written.write(tmp_path / "t.yaml"), DEFAULT_DEVICES, model="a1b2" * 8)
    assert found.rule.settings == rule.settings and found.chosen == {"method": "f1"}
    assert found.rule.limits_of(DEFAULT_DEVICES) == rule.limits_of(DEFAULT_DEVICES)
    assert found.rule.windows_of(DEFAULT_DEVICES) == rule.windows_of(DEFAULT_DEVICES)
    assert found.to_document() == yaml.safe_load((tmp_path / "t.yaml").read_text())


def test_what_is_absent_has_the_known_values(tmp_path):
    path = tmp_path / "thresholds.yaml"
    path.write_text("t_fr: 0.66\n")
    found = Thresholds.read(path, Devices(("ac", "fridge", "fan")))
    assert found.t == {"ac": 0.75, "fridge": 0.66, "fan": 0.70} and found.model is None
    assert found.rule.limits_of(found.devices) == {
        "ac": Limits(0.80, 0.60), "fridge": Limits(0.75, 0.55), "fan": Limits(0.75, 0.55)
    }  # fmt: skip
    assert found.rule.settings == HmmSettings() and not found.f1


def test_the_file_of_another_model_is_refused(tmp_path):
    path = thresholds().write(tmp_path / "thresholds.yaml")
    assert Thresholds.read(path, DEFAULT_DEVICES, model="a1b2" * 8).t["ac"] == 0.725
    with pytest.raises(RunError, match="a1b2a1b2.*ffffffff"):
        Thresholds.read(path, DEFAULT_DEVICES, model="f" * 32)
    with pytest.raises(RunError, match="earmark thresholds appliance --run"):
        Thresholds.of_run(tmp_path / "another", DEFAULT_DEVICES, "f" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "t_fan: 0.5", "t_ac: high", "t_ac: true", "t_ac: 1.5", "t_ac: .nan", "[1, 2]", "t_ac: [", "hop_s: 0",
        "hysteresis: {ac: {t_on: 0.5, t_off: 0.6}}", "hysteresis: {fan: {t_on: 0.9}}", "hysteresis: [0.9]",
        "hysteresis: {ac: {t_upper: 0.9}}", "decoder: {name: mean}", "decoder: {name: hmm, dwell: 3}",
        "decoder: {name: median, n: 2.5}", "decoder: {name: hmm, prior: {ac: 2}}", "decoder: hmm", "\x00",
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_refused_with_their_name(tmp_path, text):
    path = tmp_path / "thresholds.yaml"
    path.write_text(text)
    with pytest.raises(RunError, match="thresholds.yaml"):
        Thresholds.read(path, DEFAULT_DEVICES)


def test_a_file_at_its_threshold_is_on():
    assert thresholds().facts({"ac": 0.725, "fridge": 0.6499}) == {"ac": True, "fridge": False}


def test_a_changed_value_changes_streams_and_files_alike(tmp_path):
    path = thresholds(rule=default_rule("median")).write(tmp_path / "t.yaml")
    lower = path.read_text().replace("t_ac: 0.7250", "t_ac: 0.4000").replace("t_on: 0.8000", "t_on: 0.6500")
    rows = [[0.7, 0.1]] * 10

    def answers():
        found = Thresholds.read(path, DEFAULT_DEVICES)
        decoder = found.rule.decoder(DEFAULT_DEVICES)
        return found.facts({"ac": 0.7, "fridge": 0.1})["ac"], [
            decoder.step(row, k) for k, row in enumerate(rows)
        ][-1].stable

    assert answers() == (False, "both-off")
    path.write_text(lower)
    assert answers() == (True, "ac-on")


def test_a_rule_of_other_windows_is_kept(tmp_path):
    own = thresholds(rule=Rule(HmmSettings(2.0, 300.0, 0.95, {"ac": 0.25}, 0.5), 4.0, 0.5, {"ac": 2.0}))
    found = Thresholds.read(own.write(tmp_path / "t.yaml"), DEFAULT_DEVICES).rule
    assert found.settings == own.rule.settings
    assert (found.window_s, found.hop_s, dict(found.windows_s)) == (4.0, 0.5, {"ac": 2.0})
    assert math.isclose(found.settings.prior["ac"], 0.25)
