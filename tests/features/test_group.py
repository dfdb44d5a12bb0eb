from __future__ import annotations

import pickle

import cloudpickle
import engine_groups
import numpy as np
import pytest

from earmark.audio.clip import Clip
from earmark.errors import InputError, SchemaError, TooShortError, UsageError
from earmark.features import FeatureGroup, FeatureSet, feature_group


def clip(seconds=1.0, level=0.5):
    return Clip(np.full(int(16_000 * seconds), level, dtype=np.float32), 16_000, "test.wav")


def test_a_group_is_called_like_its_function_and_gives_float32():
    values = engine_groups.level(clip())
    assert values.dtype == np.float32
    assert values.tolist() == [0.5, 0.5]
    assert engine_groups.level.column_names == ("engine.level.mean", "engine.level.peak")


def test_wrong_shape_names_what_was_promised():
    with pytest.raises(SchemaError, match=r"shape \(3,\).*2 columns promise \(2,\)"):
        engine_groups.wrong_shape(clip())


def test_nan_is_an_error_that_names_the_column():
    with pytest.raises(InputError, match="NaN or infinity in ratio for test.wav"):
        engine_groups.broken(clip())


def test_too_short_says_how_long_it_is_and_must_be():
    with pytest.raises(TooShortError, match=r"test.wav has 1.0 s of audio; .* needs at least 2 s"):
        engine_groups.needs_two_seconds(clip())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ()}, "no columns"),
        ({"columns": ("a", "a")}, "named twice: a"),
        ({"kind": "matrix"}, "kind 'matrix' must be one of vector, frames, embedding"),
        ({"kind": "frames"}, "frames need frame_s"),
        ({"sample_rate": 0}, "sample_rate 0"),
        ({"name": "bad name"}, "name 'bad name'"),
        ({"lookahead_s": {"zz": 1.0}}, r"unknown columns \['zz'\]"),
    ],
)
def test_a_wrong_declaration_is_refused(changes, message):
    declaration = {"columns": ("a",), "sample_rate": 16_000, **changes}
    name = declaration.pop("name", "test.group")
    with pytest.raises(UsageError, match=message):
        feature_group(name, **declaration)(lambda clip: [0.0])


def test_all_problems_of_a_declaration_come_together():
    with pytest.raises(UsageError, match=r"no columns; kind .*; sample_rate"):
        feature_group("x", columns=(), kind="y", sample_rate=-1)(lambda clip: [0.0])


def test_groups_travel_to_workers_by_name_and_variants_keep_their_parameters():
    assert pickle.loads(pickle.dumps(engine_groups.level)) is engine_groups.level  # noqa: S301
    variant = engine_groups.needs_two_seconds.with_parameters("engine.variant")
    copied = cloudpickle.loads(cloudpickle.dumps(variant))
    assert copied.name == "engine.variant"
    assert copied.function is engine_groups.needs_two_seconds.function


def test_groups_made_by_a_function_travel_by_value_with_the_same_fingerprint():
    made = engine_groups.scaled(3.0)
    copied = cloudpickle.loads(cloudpickle.dumps(made))
    assert isinstance(copied, FeatureGroup)
    assert copied.fingerprint().digest == made.fingerprint().digest
    assert copied(clip()).tolist() == [1.5]


def test_fingerprint_follows_parameters_and_rate_but_not_names():
    one = engine_groups.scaled(3.0)
    assert one.fingerprint().digest == engine_groups.scaled(3.0).fingerprint().digest
    assert one.with_parameters("other.name").fingerprint().digest == one.fingerprint().digest
    assert one.with_parameters(factor=4.0).fingerprint().digest != one.fingerprint().digest
    faster = feature_group("a.b", columns=("peak",), sample_rate=8_000, parameters={"factor": 3.0})(
        one.function
    )
    assert faster.fingerprint().digest != one.fingerprint().digest


def test_feature_set_selects_columns_of_its_groups():
    chosen = FeatureSet("s", (engine_groups.level, engine_groups.length), ("engine.level.peak",))
    assert chosen.columns == ("engine.level.peak",)
    assert (
        FeatureSet("all", (engine_groups.level, engine_groups.blocks)).columns
        == engine_groups.level.column_names
    )
    with pytest.raises(UsageError, match="selects engine.level.zz"):
        FeatureSet("s", (engine_groups.level,), ("engine.level.zz",))


def test_a_group_that_calls_another_follows_its_code_and_not_its_names():
    def calling(inner):
        return feature_group("t.calls", columns=("peak",), sample_rate=16_000)(lambda clip: inner(clip)[:1])

    inner = engine_groups.scaled(2.0)
    digest = calling(inner).fingerprint().digest
    assert calling(inner.with_parameters("t.other_name")).fingerprint().digest == digest
    assert calling(inner.with_parameters(factor=9.0)).fingerprint().digest != digest
    assert calling(engine_groups.level).fingerprint().digest != digest


def test_a_group_under_another_name_than_its_function_comes_back_from_a_worker_as_itself():
    from earmark.tasks.meter.groups.audio_v6 import AUDIO

    assert pickle.loads(pickle.dumps(AUDIO)) is AUDIO  # noqa: S301


def test_rows_of_a_network_are_kept_in_half_the_bytes_and_checked_for_what_these_cannot_hold():
    def states(clip, scale=1.0):
        return np.outer(clip.samples[:3], [1.0, scale])

    declare = feature_group(
        "t.states", columns=("a", "b"), sample_rate=16_000, kind="embedding", dtype="float16"
    )
    group = declare(states)
    assert group(clip()).dtype == np.float16
    assert (
        group.signature
        != feature_group("t.s", columns=("a", "b"), sample_rate=16_000, kind="embedding")(states).signature
    )
    with pytest.raises(InputError, match="infinity in b"):
        group.with_parameters(scale=1e6)(clip())
    with pytest.raises(UsageError, match="dtype 'float16' must be .*float32 for vectors"):
        feature_group("t.s", columns=("a",), sample_rate=16_000, dtype="float16")(states)
