"""The task `meter`: beats per bar of a piece of music."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.inference.ladder import Abstention
from earmark.tasks.meter.datasets.exchange import diff_rows
from earmark.tasks.meter.datasets.normal_form import write_normal_form
from earmark.tasks.meter.datasets.splits import METER_SPLIT
from earmark.tasks.meter.schema import CLASSES, SIGNATURES
from earmark.tasks.meter.training.settings import NETWORKS, estimator_parameters
from earmark.tasks.meter.training.token_plans import TOKEN_PLANS
from earmark.tasks.meter.views import DEFAULT_VIEW, MERT_ABSENT, MERT_VIEWS, PHASES, VIEWS
from earmark.tasks.meter.vote import rule_answers, vote_answers
from earmark.tasks.task import Imported, ImportRequest, LabelFiles, Rule, Task
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark.tasks.settings import EffectiveSettings

__all__ = ["task"]

LEVEL = "meter.length.peak"
SILENT_BELOW = 1e-4
"""-80 dB of full scale."""

_AUTOCORR = tuple(f"meter.signals.autocorr_{name.replace('/', '_')}" for name in SIGNATURES)


def is_silent(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Clips whose peak lies below -80 dB of full scale."""
    return np.asarray(columns[LEVEL] < SILENT_BELOW)


def import_meter(request: ImportRequest) -> Imported:
    """Read labelled clips; see `earmark.tasks.meter.datasets.importer`."""
    from earmark.tasks.meter.datasets.importer import import_meter as read

    return read(request)


def make_demo(folder: Path) -> Path:
    """Generate the demo; returns its label file."""
    from earmark.tasks.meter.scores.demo import make_demo as make

    return make(folder)


def configured(task: Task, settings: EffectiveSettings) -> Task:
    """The features of the project's trackers, MERT and onset model; see `configured` and `fusion` beside this."""
    from earmark.tasks.meter.configured import configured as with_settings
    from earmark.tasks.meter.fusion import with_fusion

    return with_fusion(with_settings(task, settings), settings)


task = Task(
    name="meter",
    feature_sets=VIEWS,
    default_features=DEFAULT_VIEW,
    classes=CLASSES,
    split=METER_SPLIT,
    soft_labels="meters",
    recipes=(
        Recipe("xgboost", class_weight="balanced"),
        Recipe("random_forest", class_weight="balanced"),
        Recipe("logistic", params={"strength": 0.1}, class_weight="balanced"),
        # Networks weigh their classes in the loss; weights of rows on top would count rare classes twice.
        *(Recipe(name, params={"blocks": TOKEN_PLANS["v4"]}) for name in NETWORKS),
        Recipe("ensemble", params=estimator_parameters("ensemble", {})),
    ),
    algorithms=("xgboost", "random_forest", "logistic"),
    grids={
        "xgboost": {"max_depth": (3, 4, 6), "learning_rate": (0.05, 0.1), "n_trees": (200, 400)},
    },
    metric="balanced_accuracy",
    rules=(
        Rule("rule", "vote", _AUTOCORR, rule_answers, "strongest period of the onsets at the beats of dp"),
        Rule("vote", "vote", VIEWS["vote"].columns, vote_answers, "weighted vote of the signals"),
    ),
    importer=import_meter,
    label_files=LabelFiles(diff_rows, write_normal_form),
    extras={"tempo_bpm": ("length", "meter.length.dp_bpm")},
    abstention=Abstention("length", (LEVEL,), is_silent, "the clip is silent, so it has no meter"),
    uncertain="not sure",
    item_noun="clips",
    label_noun="number of beats per bar",
    demo=make_demo,
    phases=PHASES,
    min_coverage=0.95,
    configure=configured,
    absent_features=dict.fromkeys(MERT_VIEWS, MERT_ABSENT),
)
