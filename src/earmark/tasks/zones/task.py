"""The task `zones`: a DJ's tracks into three energy zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.policy import SplitPolicy
from earmark.evaluation.result import Goal
from earmark.inference.ladder import Abstention
from earmark.tasks.task import (
    EarlierTables,
    LabelFiles,
    Outputs,
    Refined,
    Rule,
    TableFiles,
    TargetReport,
    TargetRequest,
    Task,
    Tuning,
)
from earmark.tasks.zones.analysis.registry import ANALYSES
from earmark.tasks.zones.cues import CUES
from earmark.tasks.zones.deam.mapping import default_yaml
from earmark.tasks.zones.deam.opensmile import COMPARABLE as COMPARABLE_TABLES
from earmark.tasks.zones.deam.opensmile import opensmile_table
from earmark.tasks.zones.demo import generate_demo
from earmark.tasks.zones.earlier import COLUMNS_BY_LENGTH, COMPARABLE
from earmark.tasks.zones.exchange import diff_rows, write_normal_form
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.inputs import import_zones
from earmark.tasks.zones.labels import BPM_PURPLE_ABOVE, BPM_YELLOW_BELOW, CLASSES, UNCERTAIN, ZONES
from earmark.tasks.zones.outputs import to_csv, write_playlists, zone_document
from earmark.tasks.zones.presets import PRESETS
from earmark.tasks.zones.rules import ENOUGH, RULES
from earmark.tasks.zones.tagging.tags import TAG_WRITING
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from earmark.features.progress import ProgressCallback
    from earmark.features.table import FeatureTable
    from earmark.inference.prediction import Failed, Prediction
    from earmark.tasks.project import Project

__all__ = ["task"]

TEMPO = "zones.rhythm.tempo"
LEVEL = "zones.fast.rms_energy"
SILENT_BELOW = 1e-4


def bpm_rule_answers(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Zone positions by tempo alone: below 110 BPM yellow, above 128 purple, else green."""
    tempo_bpm = columns[TEMPO]
    return np.where(tempo_bpm < BPM_YELLOW_BELOW, 0, np.where(tempo_bpm > BPM_PURPLE_ABOVE, 2, 1))


def is_silent(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Tracks whose mean RMS level lies below -80 dB of full scale: a model knows nothing of them."""
    return np.asarray(columns[LEVEL] < SILENT_BELOW)


def make_demo(folder: Path) -> Path:
    """Generate the demo library; returns its label file."""
    return generate_demo(folder).labels


def write_library(
    project: Project, outcomes: Sequence[Prediction | Failed], path: str | Path, *, force: bool = False
) -> Path:
    """Write predictions as a rekordbox collection; see `earmark.tasks.zones.library.rekordbox`."""
    from earmark.tasks.zones.library.rekordbox import write_library as write

    return write(project, outcomes, path, force=force)


def refine(project: Project, options: Mapping[str, Any]) -> Refined:
    """Arousal, valence and five-way zones; see `earmark.tasks.zones.five_way`."""
    from earmark.tasks.zones.five_way import five_way

    return five_way(project, options)


def train_av(request: TargetRequest) -> TargetReport:
    """Arousal and valence of what was prepared; see `earmark.tasks.zones.deam.annotated`."""
    from earmark.tasks.zones.deam.annotated import train_av_target

    return train_av_target(request)


def tune_drops(project: Project, output: Path | None, progress: ProgressCallback | None) -> Tuning:
    """Thresholds of the drop detector; see `earmark.tasks.zones.analysis.drop_tuning`."""
    from earmark.tasks.zones.analysis.drop_tuning import drop_tuning

    return drop_tuning(project, output, progress)


def tune_mapping(project: Project, output: Path | None, progress: ProgressCallback | None) -> Tuning:
    """How arousal and valence become zones; see `earmark.tasks.zones.deam.mapping_search`."""
    from earmark.tasks.zones.deam.mapping_search import mapping_tuning

    return mapping_tuning(project, output, progress)


def write_tempos(project: Project, sources: Sequence[str], path: Path, **options: Any) -> FeatureTable:
    """Tempos by song; see `earmark.tasks.zones.deam.tempo_table`."""
    from earmark.tasks.zones.deam.tempo_table import write_tempo_table

    return write_tempo_table(project, sources, path, **options)


task = Task(
    name="zones",
    feature_sets={**FEATURE_SETS, CUES.name: CUES},
    default_features="texture",
    classes=CLASSES,
    split=SplitPolicy(test_fraction=0.2, n_folds=5, group_on="group", stratify_on="label", seed=42),
    recipes=(
        Recipe("xgboost", class_weight="balanced"),
        Recipe("random_forest", class_weight="balanced"),
        Recipe("ordinal", class_weight="balanced"),
        Recipe("logistic", class_weight="balanced"),
        Recipe("neural_network", class_weight="balanced"),
        Recipe("ensemble", class_weight="balanced"),
    ),
    algorithms=("xgboost", "random_forest", "ordinal"),
    grids={
        "xgboost": {
            "max_depth": (4, 6, 8),
            "learning_rate": (0.05, 0.1, 0.2),
            "n_trees": (200, 300, 400),
            "subsample": (0.8, 0.9),
            "colsample": (0.8, 0.9),
        },
    },
    metric="balanced_accuracy",
    baselines=("fast10", "full51"),
    rules=(Rule("BPM rule", "full55", (TEMPO,), bpm_rule_answers, "below 110 yellow, above 128 purple"),),
    rule_set=RULES,
    rule_features="basic19",
    rules_enough=ENOUGH,
    goals=(
        Goal("accuracy", 0.80, split="val"),
        Goal("weighted_f1", 0.78),
        Goal("recall", 0.85, label="PURPLE"),
        Goal("accuracy", 0.80, split="test"),
    ),
    importer=import_zones,
    label_files=LabelFiles(diff_rows, write_normal_form, default_yaml),
    extras={
        "tempo_bpm": ("fast10", "zones.fast.tempo"),
        "tempo_confidence": ("fast10", "zones.fast.tempo_confidence"),
    },
    abstention=Abstention("fast10", (LEVEL,), is_silent, "the track is silent, so it has no zone"),
    uncertain=UNCERTAIN,
    class_colours={zone.name: zone.colour for zone in ZONES},
    item_noun="tracks",
    outputs=Outputs(
        document=zone_document,
        csv=to_csv,
        playlists=write_playlists,
        library=write_library,
        tags=TAG_WRITING,
        refine=refine,
    ),
    table_files={".csv": TableFiles(opensmile_table, COMPARABLE_TABLES)},
    presets=PRESETS,
    earlier=EarlierTables(COLUMNS_BY_LENGTH, COMPARABLE),
    analyses=ANALYSES,
    label_noun="zone",
    targets={"av": train_av},
    tunings={"drops": tune_drops, "mapping": tune_mapping},
    tempo_table=write_tempos,
    demo=make_demo,
)
