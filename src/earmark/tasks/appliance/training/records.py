"""What a run of `appliance` records: its key, ``run.toml``, the card, figures, and the table of unseen windows.

``out_of_fold.parquet`` has, for each window that a fold scored without having seen it: ``id``, ``recording_id``,
``start_sec``, ``end_sec``, ``fold``, ``outlier``, and per device ``y_<device>`` (null where unknown), ``p_<device>``
and ``raw_<device>`` (before calibration). ``group``, ``label`` and ``probability_<state>`` say the same of the public
state, as the runs of every task have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.tasks.appliance.detector import LENGTHS_KEY
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.schema import states
from earmark.tasks.appliance.training.folds import Fitted, OutOfFold
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.scoring import RANK_BY, state_index, state_probabilities
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.training.recipe import code_hash, digest, distribution_versions

if TYPE_CHECKING:
    import polars as pl

    from earmark.tasks.appliance.layers import Layer

__all__ = [
    "card_of",
    "code_of",
    "config_of",
    "config_record",
    "hashes_of",
    "key_of",
    "metric_lines",
    "out_of_fold_table",
    "versions_of",
    "write_best_metrics",
]

FORMAT = 1
CODE = (
    "models",
    "tasks/appliance/layers.py",
    "tasks/appliance/lengths.py",
    "tasks/appliance/protocols.py",
    "tasks/appliance/references.py",
    "tasks/appliance/training/by_length.py",
    *(f"tasks/appliance/training/{name}.py" for name in ("columns", "folds", "rows", "scoring", "settings")),
)
NETWORK_CODE = (
    *CODE,
    "models/acoustic",
    "models/beats",
    "audio/augment.py",
    "audio/shelves.py",
    *(f"tasks/appliance/training/{name}.py" for name in ("altered", "networks", "starts")),
)
"""What decides the numbers of a training; the features are known by their own fingerprints."""


def versions_of(settings: TrainSettings) -> dict[str, str]:
    """Of everything that the numbers depend on."""
    names: dict[str, tuple[str, ...]] = {"logistic": ("scipy",), "trees": ("xgboost-cpu|xgboost",)}
    names["mean"] = names["logistic"] + names["trees"]
    return distribution_versions(*(("torch",) if settings.kind.network else names[settings.estimator]))


def hashes_of(rows: Rows, features: Mapping[str, bytes]) -> dict[str, str]:
    """Of the windows and their truth, and of the code of each feature group."""
    room = rows.room.to_json()
    data = [rows.table["id"].to_list(), rows.table["uri"].to_list(), rows.y.tolist(), rows.outlier.tolist()]
    contents = [] if "content_hash" not in rows.table.columns else rows.table["content_hash"].to_list()
    return {
        "data": digest([data, contents, {name: room[name] for name in ("devices", "priority", "masks")}]),
        "features": digest({name: value.hex() for name, value in sorted(features.items())}),
    }


def code_of(settings: TrainSettings) -> str:
    """Hash of the code that decides the numbers of such a training."""
    return code_hash(NETWORK_CODE if settings.kind.network else CODE)


def key_of(settings: TrainSettings, hashes: Mapping[str, str], *, has_baselines: bool) -> str:
    """Hash of settings, data, code and versions: equal keys mean equal models."""
    asked = [settings.record(), dict(hashes), code_of(settings), versions_of(settings), has_baselines]
    return digest(asked)


def config_record(settings: TrainSettings) -> dict[str, Any]:
    """``train_config.json``: the settings, those of a network with their defaults."""
    record = settings.record()
    if settings.kind.network is None:
        return record
    from earmark.tasks.appliance.training.networks import head_settings

    network = head_settings(settings).to_dict() | {"unfreeze_blocks": settings.unfreeze_blocks}
    augment = {**settings.augment, "preset": settings.augment_preset, "steps": asdict(settings.augmentation)}
    return record | {"network": network, "augment": augment}


def out_of_fold_table(rows: Rows, out: OutOfFold) -> pl.DataFrame:
    """See the module."""
    import polars as pl

    devices, at = rows.devices, out.positions
    table = rows.table[at].select("id", "recording_id", "start_sec", "end_sec", "outlier", "group")
    y, known = rows.y[at], rows.is_known[at]
    state = state_probabilities(out.p, devices)
    columns: dict[str, Any] = {
        "fold": pl.Series(out.fold),
        "label": pl.Series(np.where(known, state_index(y, devices), -1)),
        "source": pl.Series(["user"] * len(at)),
    }
    for k, name in enumerate(devices.names):
        truth = pl.Series(y[:, k])
        columns[f"y_{name}"] = truth.set(truth < 0, None)
        columns[f"p_{name}"] = pl.Series(out.p[:, k])
        columns[f"raw_{name}"] = pl.Series(out.raw[:, k])
    for k, name in enumerate(states(devices)):
        columns[f"probability_{name}"] = pl.Series(state[:, k])
    return table.with_columns(**columns)


def card_of(
    rows: Rows,
    settings: TrainSettings,
    layer: Layer,
    fitted: Fitted,
    hashes: Mapping[str, str],
    *,
    floor_dbfs: float | None,
    summary: Mapping[str, Any],
    baselines: Sequence[Mapping[str, Any]],
    protocol_note: str,
) -> dict[str, Any]:
    """What a detector must be asked with, and what it was made of."""
    room = rows.room.to_json()
    room.pop("seal", None)
    devices = rows.devices
    own = {
        "devices": list(devices.names),
        "priority": list(devices.priority),
        "masks": [list(pair) for pair in devices.masks],
    }
    network = getattr(getattr(layer, "head", None), "card", None)
    card: dict[str, Any] = _jsonable(
        room
        | own
        | {
            "model": settings.model,
            "features": settings.view,
            "groups": [group.name for group in layer.groups],
            "floor_dbfs": floor_dbfs,
            LENGTHS_KEY: dict(settings.lengths),
            "protocol": settings.protocol,
            "protocol_note": protocol_note,
            "seed": settings.seed,
            "lengths": dict(fitted.lengths),
            "network": network() | _front_end(settings) if network is not None else None,
            "hashes": dict(hashes),
            "versions": versions_of(settings),
            "folds": summary["folds"],
            "trimmed": summary["trimmed"],
            "baselines": list(baselines),
        }
    )
    return card


def _front_end(settings: TrainSettings) -> dict[str, Any]:
    """What a network listens through, and how its training windows were altered."""
    return {
        "fbank": dict(fbank.parameters),
        "augment": dict(settings.augment) or None,
        "from_run": settings.from_run,
        "full_state": settings.full_state,
    }


def config_of(
    rows: Rows,
    settings: TrainSettings,
    out: OutOfFold,
    fitted: Fitted,
    key: str,
    hashes: Mapping[str, str],
    *,
    warnings: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """The content of run.toml."""
    scored = [out.positions.tolist(), out.fold.tolist(), hashes["data"]]
    return {
        "format": FORMAT,
        "kind": "detector",
        "task": "appliance",
        "key": key,
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "seconds": round(seconds, 3),
        "rank_by": RANK_BY,
        "classes": list(states(rows.devices)),
        "devices": list(rows.devices.names),
        "rows": len(out.positions),
        "folds": len(out.results),
        "groups": len(np.unique(rows.recordings)),
        "leaky": settings.is_leaky,
        "recipe": {"algorithm": settings.model, **settings.record()},
        "fit": {
            "protocol": [result.fold.name for result in out.results],
            "train_loss": fitted.train_loss,
            "lengths": {name: length for name, length in fitted.lengths.items() if length is not None},
            "warnings": list(warnings),
        },
        "hashes": dict(hashes) | {"rows": digest(scored), "code": code_of(settings)},
        "versions": versions_of(settings),
    }


def metric_lines(
    out: OutOfFold, fitted: Fitted, metrics: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """metrics.jsonl: a line per epoch of each fold and of the final model, then the scores of each fold."""
    fits = [(f"fold-{number}", result.fitted) for number, result in enumerate(out.results)]
    lines = [
        {"stage": stage, "train_loss": fit.train_loss} if not fit.history else {"stage": stage, **entry}
        for stage, fit in [*fits, ("final", fitted)]
        for entry in (fit.history or ({},))
    ]
    for number, result in enumerate(out.results):
        scores = {name: metric["folds"][number] for name, metric in metrics.items()}
        lines.append({"stage": f"fold-{number}", "name": result.fold.name, "scores": scores})
    return lines


def write_best_metrics(
    folder: Path, metrics: Mapping[str, Any], rows: Rows, fitted: Fitted, n_files: int
) -> None:
    """best_metrics.json: the scores as every run has them, and beside them the names of the earlier system."""
    plain = {
        name: metrics[name]["value"] for name in metrics if name.startswith("f1_") or name == "state_acc"
    }
    lengths = [length for length in fitted.lengths.values() if length is not None]
    document = {
        "metrics": dict(metrics),
        **plain,
        "num_files": n_files,
        "train_loss": fitted.train_loss,
        "epoch": max(lengths) if lengths else None,
    }
    (folder / "best_metrics.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _jsonable(value: Any) -> Any:
    """Types that JSON knows; NaN is null."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
