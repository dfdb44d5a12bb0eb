"""Tracking of a run in MLflow, beside the run's folder, which is always written.

The run is logged once it is complete: flattened parameters, numbers per epoch, scores of the test part as ``test_*``,
tags, all files of the run, and the ONNX file as a model with its signature. Numbers that are undefined are NaN and
stay NaN. A server that does not answer costs a run nothing: it is said, with what to do.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.errors import MissingExtraError
from earmark.tasks.market.training.config import without_password
from earmark.training.runs import Run

__all__ = ["EXPERIMENTS", "Tracked", "default_uri", "flattened", "resolve_uri", "track"]

EXPERIMENTS = ("trading_bot_ml", "model_training", "auto_retraining", "hyperopt")
"""Experiments that exist from the first tracked run on."""

MAX_VALUE = 500
"""Characters of a parameter's value that are kept."""

PARAMETERS_AT_ONCE = 100
"""MLflow takes so many parameters in one request."""

URI_VARIABLE = "MLFLOW_TRACKING_URI"

_CREDENTIALS = re.compile(r"//[^/@\s]+@")
"""User and password in an address: errors repeat addresses."""

TIMEOUT_S = 10
"""How long a server may take to answer before tracking is given up."""


@dataclass(frozen=True)
class Tracked:
    """Id of the run in MLflow, None where it is not there, and what the user must know."""

    run_id: str | None
    warnings: tuple[str, ...]


def default_uri(project: str | Path) -> str:
    """The SQLite database in the data folder of a project."""
    from earmark.tasks.market.prepare import data_folder

    path = data_folder(project) / "mlflow" / "mlruns.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}"


def resolve_uri(project: str | Path, asked: str | None, *, wanted: bool = False) -> str | None:
    """Where to track: what was asked for, else the environment's, else the project's own if tracking is `wanted`."""
    return asked or os.environ.get(URI_VARIABLE) or (default_uri(project) if wanted else None)


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted names and values as text of at most 500 characters."""
    found: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _text(value)[:MAX_VALUE]
    return found


def track(run: Run, uri: str, experiment: str) -> Tracked:
    """Log a finished run.

    Parameters
    ----------
    run : Run
        Of a series.
    uri : str
        Tracking server or database, e.g. ``sqlite:///data/mlflow/mlruns.db``.
    experiment : str

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    """
    try:
        import mlflow  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError("mlflow", "track", "Tracking") from error
    try:
        with patience():
            return Tracked(_logged(run, with_driver(uri), experiment), ())
    except Exception as error:  # noqa: BLE001 - whatever a server, driver or disk raises, the run is complete without
        what = _CREDENTIALS.sub("//...@", str(error)).strip().splitlines()
        return Tracked(
            None,
            (
                f"MLflow at {without_password(uri)} did not take the run ({type(error).__name__}: "
                f"{what[0][:200] if what else 'no reason given'}). The run itself is complete in `{run.path}`. Start "
                "the server or correct mlflow_uri, then log it: earmark runs track " + run.name,
            ),
        )


def _logged(run: Run, uri: str, experiment: str) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    for name in (*EXPERIMENTS, experiment):
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name, artifact_location=_artifacts(uri))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    created = client.create_run(found.experiment_id, run_name=run.name, tags=_tags(run))
    run_id = str(created.info.run_id)
    try:
        _log_numbers(client, run_id, run)
        client.log_artifacts(run_id, str(run.path), "run")
        client.log_dict(run_id, _metadata(run), "metadata.json")
        if (run.path / "model.onnx").is_file():
            _log_model(client, uri, run_id, run)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def with_driver(uri: str) -> str:
    """PostgreSQL by the driver of the extra: SQLAlchemy's own choice differs between its versions."""
    scheme, separator, rest = uri.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in ("postgresql", "postgres") else uri


def _log_numbers(client: Any, run_id: str, run: Run) -> None:
    from mlflow.entities import Metric, Param

    config = run.config
    parameters = flattened({name: config[name] for name in ("recipe", "settings", "hashes", "versions")})
    items = [Param(name, value) for name, value in parameters.items()]
    for start in range(0, len(items), PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=items[start : start + PARAMETERS_AT_ONCE])
    metrics = [
        Metric(name, float(value), 0, int(entry["epoch"]))
        for entry in _epochs(run)
        for name, value in entry.items()
        if name not in ("stage", "epoch")
    ]
    for part, scores in (("test", run.metrics), ("val", run.validation_metrics)):
        metrics += [Metric(f"{part}_{name}", _number(score["value"]), 0, 0) for name, score in scores.items()]
    for start in range(0, len(metrics), PARAMETERS_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + PARAMETERS_AT_ONCE])


def _log_model(client: Any, uri: str, run_id: str, run: Run) -> None:
    """The ONNX file as an MLflow model with signature (-1, window, columns) and an example of zeros."""
    import tempfile

    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = onnx.load(str(run.path / "model.onnx"))
    window, columns = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
    width = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    float32 = np.dtype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(float32, (-1, window, columns), "input")]),
        outputs=Schema([TensorSpec(float32, (-1, width), "output")]),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        mlflow.onnx.save_model(
            model,
            str(path),
            signature=signature,
            input_example={"input": np.zeros((1, window, columns), np.float32)},
            pip_requirements=["onnxruntime"],
        )
        client.log_artifacts(run_id, str(path), "model")


def _tags(run: Run) -> dict[str, str]:
    scores, params = run.metrics, run.config["recipe"]["params"]
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    return {
        "framework": "earmark",
        "type": run.algorithm,
        "task": run.task,
        "run": run.name,
        "key": run.key,
        "n_parameters": str(run.config["fit"]["n_parameters"]),
        "size_bytes": str(size),
        "accuracy": _text(scores["accuracy"]["value"]),
        "f1": _text(scores["macro_f1"]["value"]),
        "learning_rate": _text(params.get("learning_rate")),
        "epochs": str(run.config["fit"]["epochs"]),
    }


def _metadata(run: Run) -> dict[str, Any]:
    return {
        "name": run.algorithm,
        "version": run.name,
        "created_at": run.config["created"],
        "schema": run.config["schema"],
        "metrics": {name: score["value"] for name, score in run.metrics.items()},
        "gate": {name: _finite(value) for name, value in run.config["gate"].items()},
    }


def _epochs(run: Run) -> Iterator[dict[str, Any]]:
    for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["stage"] == "train":
            yield entry


def _artifacts(uri: str) -> str | None:
    """Where artefacts go for a SQLite database: beside it, not into the folder of whoever runs the command."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).absolute().parent / "artifacts").as_uri()


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "nan" if value is None else json.dumps(value, default=str)


@contextmanager
def patience() -> Iterator[None]:
    """Few and short attempts at an HTTP server, and no chatter of database set-up."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT_S)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
