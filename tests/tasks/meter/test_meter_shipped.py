"""The model in the package: its size, its card, its answers, and that they do not drift with the code."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from shipped_answers import GOLDEN, answers_on_demo
from synthetic_bars import drummed, written

from earmark.models.decision import read_decision
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.serving.model import shipped_runs
from earmark.tasks.meter.views import VIEWS
from earmark.tasks.probe import require_same_features

RETRAIN = "the shipped model no longer fits the code: run make shipped-meter, and bring its card up to date"
WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
from earmark.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def run():
    (only,) = shipped_runs()
    return only


def test_it_is_small_and_of_plain_files(run):
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_500_000
    assert {path.suffix for path in files} <= {
        ".json",
        ".jsonl",
        ".toml",
        ".yaml",
        ".npz",
        ".ubj",
        ".parquet",
    }
    assert not run.fold_classifiers()
    assert set(run.classes) == set(CLASSES)


def test_its_card_tells_of_this_run(run):
    card = (run.path.parents[1] / "CARD.md").read_text(encoding="utf-8")
    assert run.name in card
    for heading in ("Data", "Licence", "Training", "Measured", "What it does badly"):
        assert f"\n## {heading}" in card
    score = run.metrics["balanced_accuracy"]["value"]
    assert f"{score:.3f}" in card
    assert f"{read_decision(run.path, run.classes).threshold:.2f}" in card


def test_its_features_are_those_of_the_code(run):
    view = VIEWS[run.config["settings"]["features"]]
    require_same_features(RETRAIN, view, run.config["settings"]["probe"])


def test_its_answers_are_good_and_do_not_drift():
    found, golden = answers_on_demo(), json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found.keys() == golden.keys()
    gap = np.abs(np.array(list(found.values())) - np.array([golden[name] for name in found]))
    assert gap.max() < 0.05, RETRAIN
    labels = [name.split("-")[1] for name in found]
    right = Counter(
        label for label, p in zip(labels, found.values(), strict=True) if CLASSES[int(np.argmax(p))] == label
    )
    recalls = [right[label] / labels.count(label) for label in CLASSES]
    assert np.mean(recalls) > 0.6
    assert min(recalls) >= 0.4


def test_a_fresh_installation_answers_without_torch(tmp_path, run):
    song = written(tmp_path / "waltz.wav", drummed(3, 150, 24.0))
    command = [
        sys.executable,
        "-c",
        WITHOUT_TORCH,
        "-C",
        str(tmp_path),
        "predict",
        "meter",
        song,
        "--format",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (answer,) = document if isinstance(document, list) else [document]
    assert answer["source"] == "model"
    assert answer["run"] == run.name
    assert answer["meter_hypotheses"][0]["numerator"] in (3, 6)
    assert not Path(tmp_path, "runs").exists()
