"""`TrainConfig`: every setting works or is refused."""

import pytest
from learnable_store import learnable_project
from series_store import HOUR_MS, INTERVAL_MS, START_MS

from earmark.errors import UsageError
from earmark.store.times import DAY_MS
from earmark.tasks.market.training.config import TrainConfig, describe_fields, train_config
from earmark.tasks.market.training.obtain import obtain
from earmark.tasks.market.training.presets import PRESETS
from earmark.tasks.market.training.recipe import DATA_PARAMETERS, series_recipe

MODEL = {
    "model_name": "mpd",
    "epochs": 7,
    "batch_size": 16,
    "learning_rate": 0.01,
    "weight_decay": 0.2,
    "early_stopping_patience": 0,
    "lr_scheduler": "constant",
    "scheduler_T_0": 3,
    "scheduler_T_mult": 1,
    "dropout": 0.2,
    "label_smoothing": 0.0,
    "use_augmentation": False,
    "gaussian_noise_std": 0.02,
    "use_focal_loss": False,
    "focal_gamma": 2.0,
    "use_class_weights": True,
    "use_oversampling": False,
    "oversample_method": "smote",
    "oversample_ratio": 0.5,
    "use_undersampling": True,
    "use_rolling_normalization": True,
    "missing": "median",
    "seed": 7,
    "ml_model_config": {"lstm_width": 16},
    "trainer_config": {"clip_norm": 2.0},
}
"""Settings that change the recipe, with another value than the default."""

DATA = {
    "use_purging": False,
    "use_embargo": False,
    "embargo_pct": 0.1,
    "symbols": ("ETHUSDT",),
    "days": 0.2,
    "start_date": "2025-06-15T18:00",
    "end_date": "2025-06-16T01:00",
    "sequence_length": 12,
    "view": "v1_110",
    "horizon_s": 120,
    "feature_group": "other",
    "data_config": {"stride": 3},
    "label_set": "legacy",
    "labeling_method": "triple_barrier",
}
"""Settings that change what is loaded, or are refused for what is stored."""

WITH = {
    "class_weight_method": ("effective", {"use_class_weights": True}),
    "rolling_window_size": (300, {"use_rolling_normalization": True}),
}
"""Settings of the recipe that need another one."""

ELSEWHERE = {
    "preset": "page",
    "use_fallback": False,
    "data_source": "legacy",
    "data_path": "data/ml_training",
    "allow_mixed_origin": True,
    "tb_tp_multiplier": 2.0,
    "tb_sl_multiplier": 2.0,
    "tb_max_holding_period": 12,
    "use_cpcv": True,
    "cpcv_n_splits": 5,
    "cpcv_n_test_splits": 1,
    "calculate_pbo": True,
    "export_onnx": False,
    "int8": True,
    "auto_promote": False,
    "min_accuracy": 0.5,
    "mlflow_uri": "sqlite:///x.db",
}
"""Settings whose effect is shown by the tests of training, of labels and of tracking."""


def test_every_setting_is_here():
    assert set(MODEL) | set(DATA) | set(WITH) | set(ELSEWHERE) == set(TrainConfig.model_fields)


@pytest.mark.parametrize("name", MODEL)
def test_a_setting_of_the_model_reaches_it(name):
    base, changed = train_config({}), train_config({name: MODEL[name]})
    assert changed.record()[name] != base.record()[name]
    assert name in changed.given and name in changed.changed
    assert series_recipe(changed).settings() != series_recipe(base).settings()


@pytest.mark.parametrize("name", WITH)
def test_a_setting_that_needs_another_reaches_the_model_with_it(name):
    value, needed = WITH[name]
    base, changed = train_config(needed), train_config(needed, {name: value})
    assert series_recipe(changed).settings() != series_recipe(base).settings()
    with pytest.raises(UsageError, match=name):
        train_config({name: value})


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_settings_are_recorded(name):
    given = {name: ELSEWHERE[name]}
    given |= {"labeling_method": "triple_barrier"} if name.startswith("tb_") else {}
    given |= {"data_source": "legacy"} if name == "data_path" else {}
    assert train_config(given).record()[name] == ELSEWHERE[name] != train_config({}).record()[name]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return learnable_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def base_record(project):
    return obtain(project, train_config({"sequence_length": 10})).prepared.record


@pytest.mark.parametrize("name", DATA)
def test_a_setting_of_the_data_changes_what_is_loaded_or_is_refused(name, project, base_record):
    config = train_config({"sequence_length": 10}, {name: DATA[name]})
    if name in ("label_set", "horizon_s", "feature_group", "labeling_method"):
        if name == "horizon_s":
            assert obtain(project, config).prepared.record["source"]["horizon_s"] == 120
        elif name == "labeling_method":
            found = obtain(project, config).prepared.record["source"]
            assert found["label_set"].startswith("triple_barrier-") and found["horizon_s"] == 24 * 60
        else:
            with pytest.raises(UsageError, match=str(DATA[name])):
                obtain(project, config)
        return
    record = obtain(project, config).prepared.record
    assert {k: v for k, v in record.items() if k != "options"} != {
        k: v for k, v in base_record.items() if k != "options"
    }


def test_free_form_settings_of_the_data_are_all_read():
    base = train_config({})
    for name, value in (("scaling", "per_symbol"),):
        assert series_recipe(train_config({"data_config": {name: value}})) != series_recipe(base)
    rolling = {"use_rolling_normalization": True}
    changed = train_config(rolling, {"data_config": {"rolling_statistic": "mean"}})
    assert series_recipe(changed) != series_recipe(train_config(rolling))
    read = {
        "stride",
        "holdout_days",
        "scaling",
        "rolling_statistic",
        "every",
        "coding",
    }  # the last: other tests
    assert set(DATA_PARAMETERS) == read


def test_limits_are_kept_at_both_ends():
    for row in describe_fields():
        for bound, limit in row["limits"].items():
            step = 1 if isinstance(row["default"], int) else 1e-9
            beyond = limit - step if bound == "ge" else limit if bound == "gt" else limit + step
            with pytest.raises(UsageError, match=row["name"]):
                train_config({row["name"]: beyond})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epohcs": 3}, "did you mean `epochs`"),
        ({"preset": "pagee"}, "did you mean `page`"),
        ({"model_name": "hybrid"}, "There is no sequence model"),
        ({"trainer_config": {"clip_nrom": 1}}, "did you mean `clip_norm`"),
        ({"trainer_config": {"dropout": 0.1}}, "setting of its own"),
        ({"ml_model_config": {"preset": "lareg"}}, "did you mean `large`"),
        ({"data_config": {"strid": 2}}, "did you mean `stride`"),
        ({"model_name": "gbm", "dropout": 0.1}, "has no dropout"),
        ({"model_name": "last_direction", "use_class_weights": True}, "balances nothing"),
        ({"use_class_weights": True, "use_oversampling": True}, "one way of balancing"),
        ({"days": 3, "start_date": "2025-01-01"}, "days and start_date"),
        ({"data_path": "x"}, "data_source"),
        ({"tb_tp_multiplier": 2}, "labeling_method=triple_barrier"),
        ({"focal_gamma": 3, "use_focal_loss": False}, "focal_gamma needs use_focal_loss"),
        ({"cpcv_n_splits": 3, "cpcv_n_test_splits": 3}, "fewer than cpcv_n_splits"),
        ({"int8": True, "export_onnx": False}, "export_onnx is off"),
        ({"early_stopping_patience": 0, "model_name": "gbm"}, "early_stopping_rounds"),
        ({"model_name": "tlob", "view": "v1_112"}, "reads the view levels"),
        ({"view": "levels", "data_source": "legacy"}, "legacy files have no view"),
        ({"data_config": {"every": 2}}, "view=levels"),
        ({"view": "v1_111"}, "v1_110"),
    ],
)
def test_what_cannot_work_is_refused_with_a_hint(given, said):
    with pytest.raises(UsageError, match=said):
        train_config(given)


def test_layers_win_in_order_and_one_way_of_balancing_switches_off_the_default():
    config = train_config({"preset": "cli"}, {"epochs": "9"}, {"epochs": 11, "use_class_weights": "true"})
    assert (config.epochs, config.batch_size, config.use_oversampling) == (11, 64, False)
    assert series_recipe(config).settings()["params"]["balance"] == "balanced"
    assert train_config({"preset": "page"}).record()["oversample_ratio"] == 0.5
    again = train_config(config.given_record())
    assert again == config and again.given == config.given


def test_a_form_that_sends_all_its_fields_is_taken():
    whole = train_config({"preset": "page"}).record()
    assert train_config(whole).record() == whole


def test_trees_take_from_a_preset_only_what_was_given():
    plain = series_recipe(train_config({"preset": "cli", "model_name": "gbm"})).settings()["params"]
    assert (plain["learning_rate"], plain["n_trees"]) == (0.1, 300)
    given = train_config({"preset": "cli", "model_name": "gbm"}, {"epochs": 20, "learning_rate": 0.2})
    params = series_recipe(given).settings()["params"]
    assert (params["learning_rate"], params["n_trees"]) == (0.2, 20)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_configurations(preset):
    config = train_config({"preset": preset})
    assert all(getattr(config, name) == value for name, value in PRESETS[preset].items())


def test_passwords_are_not_recorded():
    config = train_config({"mlflow_uri": "postgresql://me:secret@host/db"})
    assert config.record()["mlflow_uri"] == "postgresql://...@host/db"


def test_days_are_counted_from_the_last_row(project):
    """Also where something else was divided before, with an end that lies close to the last row."""
    last_ms = START_MS + 1199 * INTERVAL_MS
    earlier = {"sequence_length": 10, "end_date": "2025-06-16T01:00"}
    assert 0 < last_ms - obtain(project, train_config(earlier)).prepared.record["options"]["end_ms"] < HOUR_MS
    found = obtain(project, train_config({"sequence_length": 10, "days": 0.3})).prepared.record
    assert found["options"]["end_ms"] == last_ms
    assert found["start_ms"] == last_ms - round(0.3 * DAY_MS)


def test_a_size_brings_its_window_and_a_given_one_wins():
    size = {"model_name": "tlob", "ml_model_config": {"preset": "hft"}}
    config = train_config(size)
    assert config.sequence_length == 30 and train_config(config.given_record()) == config
    assert train_config(size, {"sequence_length": 45}).sequence_length == 45
