"""Answers about recordings, computed in the worker (`earmark.web.answers`): as `predict`, and as `stream` tells them.

The model stays open between questions, until another run answers or its thresholds or floor change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.audio.decode import probe
from earmark.cli.options import Invocation, open_project
from earmark.errors import InputError
from earmark.inference.prediction import Failed

if TYPE_CHECKING:
    from earmark.tasks.appliance.serving.batch import FileAnswer
    from earmark.tasks.appliance.serving.model import Model

__all__ = ["LONGEST_S", "heard", "predicted"]

LONGEST_S = 3600.0
"""Of a recording that is sent: everybody waits for the one worker."""

_FILES = ("run.toml", "thresholds.yaml", "floor.json", "model.safetensors")
"""What makes a run answer differently when it changes."""


_EVENT = ("device", "kind", "prob", "t_s", "t_end_s")


def predicted(folder: Path, path: Path, name: str, *, with_details: bool = False) -> dict[str, Any]:
    """The object of ``predict appliance --format json``, with `with_details` that of ``--details``.

    Parameters
    ----------
    folder : Path
        Project folder.
    path : Path
        The recording.
    name : str
        What the user calls it.
    """
    with _called(path, name):
        answer = _answer(_model(folder), path)
    return answer.document() | (answer.details() | {"path": name} if with_details else {})


def heard(folder: Path, path: Path, name: str) -> dict[str, Any]:
    """`predicted` with details, and the recording as ``stream`` hears it: windows, events, thresholds."""
    model = _model(folder)
    with _called(path, name):
        answer, streamed = _answer(model, path), _streamed(model, path)
    rule, devices = model.thresholds.rule, model.detector.devices
    return {
        "answer": answer.document(),
        "details": answer.details() | {"path": name},
        "run": model.name,
        "decoder": rule.name,
        "thresholds": dict(model.thresholds.t),
        "limits": {device: list(limits) for device, limits in rule.shown_limits(devices).items()},
        "segments": answer.timeline(),
        **streamed,
    }


@contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Errors name a recording as the user does."""
    try:
        yield
    except InputError as error:
        raise type(error)(str(error).replace(str(path), name)) from error


def _answer(model: Model, path: Path) -> FileAnswer:
    from earmark.tasks.appliance.serving.batch import Batch

    duration_s = probe(path).duration_s
    if duration_s > LONGEST_S:
        raise InputError(
            f"`{path}` lasts {duration_s / 60:.0f} minutes; expected at most {LONGEST_S / 60:.0f}. "
            "Cut it, or run: earmark predict appliance FILE"
        )
    [outcome] = Batch(model, None, workers=0, keeps_bands=True).files([str(path)])
    if isinstance(outcome, Failed):
        raise InputError(outcome.error)
    return outcome


def _streamed(model: Model, path: Path) -> dict[str, Any]:
    from earmark.tasks.appliance.serving.engine import Engine
    from earmark.tasks.appliance.serving.stream import answers_of, blocks_of_file, event_rows

    names = model.detector.devices.names
    engine = Engine(model.detector, model.thresholds.rule, str(path))
    times: list[float] = []
    p: dict[str, list[float]] = {name: [] for name in names}
    shown: dict[str, list[float | None]] = {name: [] for name in names}
    events: list[dict[str, Any]] = []
    for answered in answers_of(engine, blocks_of_file(str(path), model.detector.sample_rate)):
        times.append(round(answered.window.end_s, 4))
        values = answered.decided.p_shown or [None] * len(names)
        for name, own, decided in zip(names, answered.p.tolist(), values, strict=True):
            p[name].append(round(own, 6))
            shown[name].append(None if decided is None else round(decided, 6))
        events += [{key: row[key] for key in _EVENT} for row in event_rows("", answered)]
    return {
        "duration_s": round(engine.ring.n_heard / model.detector.sample_rate, 4),
        "window_s": model.detector.window_s,
        "hop_s": model.thresholds.rule.hop_s,
        "windows": {"t_end_s": times, "p": p, "shown": shown},
        "events": events,
    }


def _model(folder: Path) -> Model:
    from earmark.tasks.appliance.runs import answering_run

    project = open_project(Invocation(folder=folder, format="json", quiet=True), "appliance")
    run = answering_run(project).path
    beats = project.settings.appliance.beats
    stamps = tuple((run / name).stat().st_mtime_ns if (run / name).exists() else 0 for name in _FILES)
    return _opened(run, None if beats is None else str(project.root / beats), stamps)


@lru_cache(maxsize=2)
def _opened(run: Path, beats: str | None, stamps: tuple[int, ...]) -> Model:
    from earmark.tasks.appliance.serving.model import open_folder

    return open_folder(run, beats=beats)
