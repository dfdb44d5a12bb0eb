"""What a run of `market` records: its key, its run.toml, figures, report and lines.

Conventions: times are milliseconds since 1970 UTC; classes are ``down``, ``neutral``, ``up``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.tasks.market.task import CLASSES
from earmark.tasks.market.training.scoring import HEADLINE
from earmark.training.recipe import code_hash, digest, distribution_versions

if TYPE_CHECKING:
    from earmark.evaluation.result import Evaluation
    from earmark.models.sequence.base import SequenceEstimator
    from earmark.models.sequence.classifier import SequenceClassifier
    from earmark.tasks.market.prepare import Prepared
    from earmark.tasks.market.training.config import TrainConfig
    from earmark.tasks.market.training.recipe import SeriesRecipe
    from earmark.tasks.market.training.scoring import Part

__all__ = [
    "CLASSES",
    "INT8_FILE",
    "ONNX_FILE",
    "baseline_scores",
    "config_of",
    "facts",
    "final_name",
    "keep_checkpoints",
    "key_of",
    "lines",
    "now",
    "runs_folder",
    "schema_text",
    "sentences",
    "write_curve",
    "write_evaluation",
]

FORMAT = 1
ONNX_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
CHECKPOINTS = "checkpoints"
REPORT = "report"
CARD = "MODEL_CARD.md"

CODE = (
    "models",
    "models/sequence",
    "models/sequence/networks",
    "data/windows.py",
    "tasks/market/training/recipe.py",
)
"""What decides the numbers of a training, relative to the package; the data are known by their hash."""


def runs_folder(project: str | Path) -> Path:
    """Folder of the runs of a project."""
    from earmark.tasks.settings import load_settings

    return load_settings(project).path("runs")


def schema_text() -> str:
    """Version and hash of the schema, as models keep it."""
    from earmark.tasks.market.schema import SCHEMA

    return f"{SCHEMA.id} {SCHEMA.sha256}"


def key_of(recipe: SeriesRecipe, prepared: Prepared, config: TrainConfig) -> str:
    """Hash of parameters, data, analyses, code and versions: equal keys mean equal models."""
    asked = {
        name: getattr(config, name)
        for name in (
            "use_cpcv",
            "cpcv_n_splits",
            "cpcv_n_test_splits",
            "calculate_pbo",
            "export_onnx",
            "int8",
        )
    }
    return digest([recipe.settings(), hashes(prepared), asked, code_hash(CODE), versions(recipe)])


def hashes(prepared: Prepared) -> dict[str, str]:
    """Of the series, of which windows are in which part, and of the rows that are scored."""
    found: dict[str, str] = dict(prepared.record["hashes"])
    return found | {"rows": digest([found["test"], prepared.record["source"], prepared.record["end_ms"]])}


def versions(recipe: SeriesRecipe) -> dict[str, str]:
    """Of everything the numbers depend on."""
    from earmark.models.sequence.registry import model_class

    return distribution_versions(*model_class(recipe.algorithm).distributions)


def config_of(
    config: TrainConfig,
    recipe: SeriesRecipe,
    prepared: Prepared,
    key: str,
    classifier: SequenceClassifier,
    parts: Mapping[str, Part],
) -> dict[str, Any]:
    """The content of run.toml, but for what is known only at the end."""
    from earmark.tasks.market.schema import SCHEMA

    estimator, settings = classifier.estimator, config.record()
    data = {name: value for name, value in prepared.record.items() if name not in ("columns", "hashes")}
    return {
        "format": FORMAT,
        "kind": "series",
        "task": "market",
        "key": key,
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "rank_by": HEADLINE,
        "classes": list(CLASSES),
        "rows": len(parts["test"].windows),
        "columns": len(classifier.columns),
        "recipe": recipe.settings(),
        "fit": {
            "best_epoch": None if estimator.length is None else estimator.length - 1,
            "epochs": len(estimator.history),
            "ended": getattr(estimator, "ended", ""),
            "n_parameters": estimator.n_parameters,
            "left_out": {"train": classifier.n_dropped}
            | {name: part.n_left_out for name, part in parts.items()},
            "warnings": list(prepared.warnings),
        },
        "schema": {"id": SCHEMA.id, "sha256": SCHEMA.sha256, "view": prepared.record["source"]["view"]},
        "hashes": hashes(prepared) | {"code": code_hash(CODE)},
        "versions": versions(recipe),
        "data": data,
        "settings": settings,
        "given": {name: settings[name] for name in ("preset", *sorted(config.given))},
    }


def sentences(prepared: Prepared) -> list[str]:
    """Counts of the parts and shares of the classes, a line each."""
    record = prepared.record
    source, symbols = record["source"], record["symbols"]
    found = [
        f"{len(prepared.train.table)} samples of {len(symbols)} symbols ({', '.join(symbols[:8])}), "
        f"{len(record['columns'])} features ({source['view']}), windows of {record['sequence_length']}, "
        f"labels {source['label_set']} at {source['horizon_s']} s."
    ]
    for row in record["parts"]:
        counts = [row[name] for name in ("DOWN", "NEUTRAL", "UP")]
        shares = ", ".join(
            f"{name} {100 * count / max(1, sum(counts)):.1f} %"
            for name, count in zip(CLASSES, counts, strict=True)
        )
        found.append(f"{row['part']}: {row['windows']} windows; {shares}.")
    return found


def facts(
    config: TrainConfig, recipe: SeriesRecipe, prepared: Prepared, classifier: SequenceClassifier
) -> dict[str, dict[str, object]]:
    """Tables of the report and of the card."""
    settings, record = recipe.settings(), prepared.record
    return {
        "Model": {"model": recipe.algorithm, "parameters learned": classifier.estimator.n_parameters}
        | settings["params"],
        "Scaling": settings["scaling"],
        "Data": {
            "symbols": ", ".join(record["symbols"]),
            "labels": f"{record['source']['label_set']} at {record['source']['horizon_s']} s",
            **{row["part"]: f"{row['windows']} windows" for row in record["parts"]},
            "series": record["hashes"]["series"],
        },
        "Schema": {"id": schema_text(), "view": record["source"]["view"], "seed": config.seed},
        "Versions": dict(versions(recipe)),
    }


def baseline_scores(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Accuracy and macro-F1 of each baseline on the test part."""
    from earmark.evaluation.metrics import METRICS

    return {
        baseline.name: {
            name: float(METRICS[name].function(evaluation.y, baseline.probabilities))
            for name in ("accuracy", HEADLINE)
        }
        for baseline in evaluation.baselines
    }


def lines(
    classifier: SequenceClassifier, scores: Mapping[str, Mapping[str, Any]]
) -> Iterable[dict[str, Any]]:
    """metrics.jsonl: a line per epoch, then one per part."""
    yield from ({"stage": "train"} | dict(entry) for entry in classifier.estimator.history)
    for part, found in scores.items():
        yield {"stage": part, "scores": {name: score["value"] for name, score in found.items()}}


def keep_checkpoints(work: Path, folder: Path) -> None:
    """Copy the weights that the trainer kept; its state for going on stays behind."""
    kept = sorted(work.glob("*.safetensors"))
    if kept:
        (folder / CHECKPOINTS).mkdir()
    for path in kept:
        shutil.copyfile(path, folder / CHECKPOINTS / path.name)


def write_curve(estimator: SequenceEstimator, folder: Path) -> None:
    """The losses over the epochs, as PNG and SVG; nothing for models without epochs."""
    from earmark.evaluation import plots

    if not estimator.history:
        return
    best = None if estimator.length is None else estimator.length - 1
    figure = plots.loss_figure(estimator.history, best)
    plots.save_png(figure, folder / "loss_curve.png")
    svg = plots.to_svg(figure, "loss", "Losses of training and validation over the epochs")
    (folder / "loss_curve.svg").write_text(svg, encoding="utf-8")


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """The report in a folder of its own, the card in the run's."""
    from earmark.evaluation.report import write_report

    write_report(evaluation, folder / REPORT)
    (folder / REPORT / CARD).replace(folder / CARD)


def final_name(folder: Path) -> str:
    """The name that an unfinished run folder will have."""
    from earmark.training.runs import PARTIAL_PREFIX

    return re.sub(r"-[0-9a-f]{8}$", "", folder.name.removeprefix(PARTIAL_PREFIX))


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
