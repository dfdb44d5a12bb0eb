"""What MLflow holds: the newest tracked runs, and the best by a score.

Looking makes nothing: a project without a database has no runs. A server that does not answer is told, not raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.tasks.market.training import tracking
from earmark.tasks.market.training.config import without_password

__all__ = ["TrackedRuns", "best_tracked", "newest_tracked"]


@dataclass(frozen=True)
class TrackedRuns:
    """Rows of runs, newest first, and where they are from.

    ``reason`` says why there are none; None where MLflow answered.
    """

    uri: str | None
    reason: str | None
    runs: tuple[dict[str, Any], ...] = ()


def newest_tracked(project: str | Path, limit: int = 10) -> TrackedRuns:
    """The newest runs in MLflow: ids, name, experiment, status, start, metrics and tags."""
    return _searched(project, None, ["attributes.start_time DESC"], limit)


def best_tracked(project: str | Path, metric: str = "val_accuracy") -> TrackedRuns:
    """The run with the highest `metric`, or, of a loss, the lowest; no row where none has it."""
    order = "ASC" if metric.endswith("loss") else "DESC"
    # MLflow sorts runs without the score behind the others; the filter leaves them out.
    return _searched(project, f"metrics.`{metric}` > -1e300", [f"metrics.`{metric}` {order}"], 1)


def _searched(project: str | Path, condition: str | None, order: Sequence[str], limit: int) -> TrackedRuns:
    uri = _known_uri(project)
    if uri is None:
        return TrackedRuns(None, "Nothing was tracked yet. Run: earmark train market --mlflow")
    shown = without_password(uri)
    try:
        import mlflow  # noqa: F401 - whether it is there
    except ModuleNotFoundError:
        return TrackedRuns(shown, 'MLflow is not installed. Run: pip install "earmark[track]"')
    try:
        with tracking.patience():
            return TrackedRuns(shown, None, tuple(_found(tracking.with_driver(uri), condition, order, limit)))
    except Exception as error:  # noqa: BLE001 - whatever a server or driver raises, the page goes on without it
        return TrackedRuns(
            shown, f"MLflow at {shown} does not answer ({type(error).__name__}). Start the server."
        )


def _known_uri(project: str | Path) -> str | None:
    """The environment's server, else the project's database where there is one."""
    from earmark.tasks.market.prepare import data_folder

    path = data_folder(project) / "mlflow" / "mlruns.db"
    return tracking.resolve_uri(project, None, wanted=path.is_file())


def _found(uri: str, condition: str | None, order: Sequence[str], limit: int) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = {one.experiment_id: one.name for one in client.search_experiments()}
    if not experiments:
        return []
    runs = client.search_runs(list(experiments), condition or "", max_results=limit, order_by=list(order))
    return [_row(run, experiments[run.info.experiment_id]) for run in runs]


def _row(run: Any, experiment: str) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds")
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "experiment": experiment,
        "status": run.info.status,
        "started": started,
        "metrics": dict(run.data.metrics),
        "tags": tags,
    }
