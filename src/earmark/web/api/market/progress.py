"""A job that trains, as the API of market tells it: its settings, where it stands, what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from earmark.web.jobs import events
from earmark.web.jobs.job import Job, Status

__all__ = [
    "Progress",
    "TrainingJob",
    "TrainingStatus",
    "metrics_of",
    "model_of",
    "told_status",
    "training_job",
]

TrainingStatus = Literal["pending", "running", "completed", "failed", "cancelled"]

RENAMED = {
    "training_loss": "train_loss",
    "validation_loss": "val_loss",
    "training_accuracy": "train_accuracy",
    "validation_accuracy": "val_accuracy",
    "validation_macro_f1": "val_f1",
}
"""Numbers of an epoch as commands tell them -> as this API does."""

NOT_METRICS = frozenset(("type", "time", "epoch", "total_epochs", "stage", "seconds"))
DEFAULT_MODEL = "hybrid_cnn_lstm"


class Progress(BaseModel):
    """Where a training stands; None where it has not told yet."""

    current_epoch: int = 0
    total_epochs: int | None = None
    progress_pct: float = 0.0
    current_loss: float | None = None
    best_val_accuracy: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    stage: str = ""


class TrainingJob(BaseModel):
    """A training; times are ISO 8601 in UTC."""

    job_id: str
    status: TrainingStatus
    created_at: str
    started_at: str | None
    ended_at: str | None
    model_type: str
    params: dict[str, Any]
    progress: Progress
    result: dict[str, Any] | None = Field(None, description="Run, scores of the test part, gate, promoted.")
    message: str | None


def training_job(job: Job) -> TrainingJob:
    """What is known of a job that trains."""
    return TrainingJob(
        job_id=job.id,
        status=told_status(job.status),
        created_at=job.created,
        started_at=job.started,
        ended_at=job.ended,
        model_type=model_of(job),
        params=params_of(job),
        progress=_progress(job),
        result=_result(job),
        message=job.message,
    )


def told_status(status: Status) -> TrainingStatus:
    """One of the five that the API knows: what was interrupted has failed, and its message says how it goes on."""
    return "failed" if status == "interrupted" else status


def params_of(job: Job) -> dict[str, Any]:
    """Settings that differ from the preset's, and the preset."""
    words = [word.partition("=")[2] for word in job.argv if word.startswith("--set=")]
    found = {name: _value(value) for name, _, value in (word.partition("=") for word in words)}
    preset = next((word.partition("=")[2] for word in job.argv if word.startswith("--preset=")), None)
    return {"preset": preset, **found}


def model_of(job: Job) -> str:
    """Name of the model that a job trains."""
    return str(params_of(job).get("model_name", DEFAULT_MODEL))


def metrics_of(event: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of an event of an epoch."""
    return {
        RENAMED.get(name, name): value
        for name, value in event.items()
        if name not in NOT_METRICS and (value is None or isinstance(value, int | float))
    }


def _progress(job: Job) -> Progress:
    stage, best, epoch = "", None, {}
    for event in _events(job):
        if event["type"] == "step":
            stage = str(event.get("step", ""))
        elif event["type"] == "epoch":
            epoch = event
            scores = [one for one in (best, event.get("validation_accuracy")) if one is not None]
            best = max(scores, default=None)
    numbers, done, total = metrics_of(epoch), int(epoch.get("epoch", 0)), epoch.get("total_epochs")
    shown = {name: numbers.get(name) for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")}
    share = 100.0 if job.status == "completed" else round(100 * done / total, 1) if total else 0.0
    return Progress(
        current_epoch=done,
        total_epochs=total,
        progress_pct=share,
        current_loss=numbers.get("train_loss"),
        best_val_accuracy=best,
        stage=stage,
        **shown,
    )


def _events(job: Job) -> Iterator[dict[str, Any]]:
    found, after = events.read(job)
    while found:
        yield from found
        found, after = events.read(job, after)


def _result(job: Job) -> dict[str, Any] | None:
    """The document that the training printed; None before its end."""
    if job.status != "completed":
        return None
    try:
        document = json.loads(job.output_path.read_bytes())
    except (FileNotFoundError, ValueError):  # deleted, or the command printed no JSON
        return None
    wanted = ("run", "model", "metrics", "promoted", "gate", "onnx", "reused", "messages")
    return {name: document.get(name) for name in wanted} if isinstance(document, dict) else None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
