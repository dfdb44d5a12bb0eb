"""Names, aliases, typos and extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

from earmark.errors import MissingExtraError, RunError, UsageError
from earmark.models import registry
from earmark.models.registry import ALIASES, ESTIMATORS, canonical_name, load_estimator, make


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("xgb", "xgboost"),
        ("neural", "neural_network"),
        ("randomforest", "random_forest"),
        ("Random-Forest ", "random_forest"),
    ],
)
def test_aliases_and_spelling(given, name):
    assert canonical_name(given) == name


def test_aliases_lead_to_registered_names():
    assert set(ALIASES.values()) <= set(ESTIMATORS)
    assert not set(ALIASES) & set(ESTIMATORS)


@pytest.mark.parametrize(
    ("typo", "meant"), [("xgbost", "xgboost"), ("neural_netwrk", "neural_network"), ("logistik", "logistic")]
)
def test_a_typo_gets_the_likely_name(typo, meant):
    with pytest.raises(UsageError, match=f"did you mean `{meant}`"):
        make(typo)


def test_all_problems_of_a_call_come_in_one_message():
    with pytest.raises(UsageError) as caught:
        make("xgboost", max_dept=3, subsample=1.5, seed=-1)
    message = str(caught.value)
    assert "did you mean `max_depth`" in message
    assert "`subsample` is 1.5, expected a float in (0, 1]" in message
    assert "`seed` is -1" in message


def test_a_missing_extra_is_said_before_the_fit(monkeypatch):
    find = registry.importlib.util.find_spec
    monkeypatch.setattr(
        registry.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )
    for name in ("neural", "ensemble"):
        with pytest.raises(MissingExtraError, match=r'pip install "earmark\[torch\]"'):
            make(name)
    assert make("ensemble", members=("xgboost", "logistic")).needs == ()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(RunError, match=r"estimator\.json"):
        load_estimator(tmp_path)


def test_importing_the_rooms_imports_no_library():
    script = (
        "import sys, earmark.models.registry, earmark.models.classifier, earmark.training.train, "
        "earmark.training.grid\n"
        "import earmark.training.production\n"
        "print([m for m in ('torch', 'xgboost', 'sklearn', 'scipy', 'polars', 'joblib', 'safetensors') "
        "if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_prediction_needs_no_training_library(tmp_path):
    """Networks and forests are read by numpy alone, so predicting starts quickly."""
    from model_tables import QUICK, blobs

    X, y = blobs()
    # xgboost is left out: it imports scikit-learn by itself where that is installed.
    names = ["neural_network", "random_forest", "logistic", "ordinal"]
    for name in names:
        make(name, **QUICK[name]).fit(X, y).save(tmp_path / name)
    script = (
        "import sys, numpy as np\n"
        "from earmark.models.registry import load_estimator\n"
        "for folder in sys.argv[1:]: load_estimator(folder).predict_proba(np.zeros((2, 6), np.float32))\n"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'xgboost') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, *(str(tmp_path / name) for name in names)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
