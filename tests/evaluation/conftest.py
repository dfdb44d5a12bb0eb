"""A made-up evaluation of 60 tracks in three zones, with one of everything a report shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from earmark.evaluation.baselines import majority, model, prior, rule
from earmark.evaluation.domain_shift import DomainShift, FeatureShift
from earmark.evaluation.importance import Importance
from earmark.evaluation.intervals import Interval
from earmark.evaluation.plane import Plane
from earmark.evaluation.result import Evaluation, Goal, Opening, SetAside, Stage
from earmark.evaluation.sections import Section
from earmark.evaluation.sources import score_by_source

CLASSES = ("YELLOW", "GREEN", "PURPLE")
COLOURS = {"YELLOW": "#FFD700", "GREEN": "#32CD32", "PURPLE": "#9370DB"}


def made_up_probabilities(y, skill, seed, k=3):
    """Probabilities that favour the truth by ``skill`` and neighbours over the far class."""
    generator = np.random.default_rng(seed)
    distance = np.abs(np.arange(k)[None, :] - np.asarray(y)[:, None])
    logits = generator.normal(size=(len(y), k)) - skill * distance
    p = np.exp(1.3 * logits)
    return p / p.sum(axis=1, keepdims=True)


def small_png():
    """A picture of one line."""
    figure, buffer = Figure((1, 1)), io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


SHIFT = DomainShift(
    ("user", "deam"),
    (60, 40),
    tuple(
        FeatureShift(f"zones.full.feature_{i}", 2.0, 1.0, 2.0, 1.5 - i, 0.4, 0.001, 0.01, 0, i)
        for i in range(25)
    ),
    Interval(0.81, 0.7, 0.9),
)


def made_up_sources(y, p):
    others = np.arange(40) % 3
    own = score_by_source(y, p, np.where(np.arange(len(y)) % 2, "file", "disc"))
    return own + score_by_source(others, np.eye(3)[others], ["deam"] * 40, in_headline=False)


def _make(n=60, seed=0, **changes):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    folds = np.arange(n) % 5
    tempo = generator.normal(125 + 4 * (y - 1), 8)
    p = made_up_probabilities(y, 0.9, seed + 1)
    fields = {
        "task": "zones",
        "run": "20260301-101500-xgboost",
        "split": "test",
        "classes": CLASSES,
        "ids": tuple(f"track_{i:03d}" for i in range(n)),
        "paths": tuple(f"/music/artist {i // 2}/track_{i:03d}.flac" for i in range(n)),
        "y": y,
        "p": p,
        "groups": np.arange(n) // 2,
        "baselines": (
            majority(y, folds, 3),
            prior(y, folds, 3),
            rule("bpm-rule", lambda c: np.digitize(c["tempo"], [110, 128]), {"tempo": tempo}, 3),
            model("fast10", made_up_probabilities(y, 0.3, seed + 2), description="XGBoost on 10 features"),
        ),
        "goals": (Goal("accuracy", 0.8), Goal("recall", 0.5, "PURPLE"), Goal("ece", 0.9)),
        "importance": tuple(
            Importance(f"zones.full.feature_{i}", 0.06 / (i + 1) - 0.004, 0.01 / (i + 1)) for i in range(30)
        ),
        "sources": made_up_sources(y, p),
        "shift": SHIFT,
        "plane": Plane(np.random.default_rng(3).normal(size=(n, 2)), np.array([0.4, 0.2])) if n else None,
        "analyses": (
            Section(
                "drops",
                "Drops",
                ("They help.",),
                {
                    "drops.csv": [
                        {"feature": "drop_count", "gain": 0.123456},
                        {"feature": "b", "gain": float("nan")},
                    ]
                },
                {"drops.png": small_png()},
                ("drops/drops.csv", "drops/drops.png"),
            ),
        ),
        "set_aside": (SetAside("/music/broken.mp3", "`broken.mp3` is empty; expected audio. Remove it."),),
        "stages": (Stage("extract", 41.2, 50, 10), Stage("train", 12.5)),
        "openings": (Opening("2026-03-01T10:20:00+00:00", "20260301-101500-xgboost", "release"),),
        "facts": {
            "Model": {"algorithm": "xgboost", "max_depth": 6},
            "Hashes": {"data": "ab" * 8, "split": "cd" * 8},
            "Versions": {"earmark": "0.1.0"},
            "Seeds": {"split": 42},
        },
        "class_colours": COLOURS,
        "item_noun": "tracks",
        "created": "2026-03-01T10:20:00+00:00",
    }
    return Evaluation(**(fields | changes))


@pytest.fixture
def make_evaluation():
    """The made-up evaluation as a function: keyword arguments replace its fields."""
    return _make


@pytest.fixture(scope="session")
def evaluation():
    """The made-up evaluation; frozen, so all tests share it and its intervals."""
    return _make()
