"""The whole chain of `appliance` on a synthetic room, from nothing to a scored stream; what is done is not done again.

Eight steady recordings teach: air conditioner and fridge, on and off, by day and night. Two long ones, in which
machines are switched at known seconds, are then heard as a stream and scored: how soon each change is told, and what is
told without one. They share nothing with the others but the room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from earmark.errors import UsageError
from earmark.features.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from earmark.tasks.appliance.evaluation.changes import ChangeScores, Trace
    from earmark.tasks.appliance.schema import Devices
    from earmark.tasks.appliance.serving.model import Model
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["DemoFiles", "DemoResult", "demo", "make_demo"]

STEADY_S = 180.0
N_LONG, LONG_S, DWELL_S = 2, 300.0, (45.0, 90.0)
SUFFIX = "flac"

Result = TypeVar("Result")
Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class DemoFiles:
    """Recordings that teach, recordings to be heard, and when machines run in these: file -> machine -> spans."""

    samples: Path
    long: tuple[Path, ...]
    on_spans: Mapping[Path, Mapping[str, Spans]]


@dataclass
class DemoResult:
    """What each stage gave, as JSON has it, and how long it took in seconds."""

    recordings: list[dict[str, Any]] = field(default_factory=list)
    seal: str = ""
    run: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    figure: Path | None = None
    report: Path | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the command."""
        return {"task": "appliance", **vars(self)}


def make_demo(folder: Path) -> DemoFiles:
    """Write the recordings of the demo, or what is missing of them."""
    from earmark.tasks.appliance.generator.files import write_long, write_steady
    from earmark.tasks.appliance.generator.scene import SyntheticRoom
    from earmark.tasks.appliance.segments import read_scenes

    room = SyntheticRoom()
    samples, long = folder / "samples", folder / "long"
    write_steady(samples, room, duration_s=STEADY_S, suffix=SUFFIX)
    tables = {name: long / f"{name}_on_segments.csv" for name in room.devices}
    if not all(table.is_file() for table in tables.values()):
        write_long(long, room, n_files=N_LONG, duration_s=LONG_S, dwell_s=DWELL_S, suffix=SUFFIX)
    paths = tuple(sorted(long.glob(f"*.{SUFFIX}")))
    on_spans: dict[Path, dict[str, Spans]] = {path: dict.fromkeys(room.devices, ()) for path in paths}
    for name, table in tables.items():
        scenes, *_ = read_scenes(table, device=name)
        for scene in scenes:
            on_spans[scene.recording.path][name] = scene.on_spans
    return DemoFiles(samples, paths, on_spans)


def demo(project: Project, *, progress: ProgressCallback | None = None) -> DemoResult:
    """Make, prepare, train, choose thresholds and score a stream, in a project folder of its own.

    Raises
    ------
    UsageError
        The project holds recordings that are not the demo's.
    """
    return _Demo(project, progress or _tell_nobody).run()


class _Demo:
    def __init__(self, project: Project, tell: ProgressCallback) -> None:
        self.project, self.tell = project, tell
        self.result = DemoResult()

    def run(self) -> DemoResult:
        folder = self.project.root / "demo" / "appliance"
        _refuse_other_data(self.project, folder)
        files = self._timed("make the recordings", lambda: make_demo(folder))
        self._timed("prepare", lambda: self._prepare(files))
        run = self._timed("train", self._train)
        model = self._timed("thresholds", lambda: self._thresholds(run))
        self._timed("evaluate", lambda: self._evaluate(run))
        self._timed("stream", lambda: self._stream(model, files))
        return self.result

    def _timed(self, stage: str, action: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        self.tell(Progress(stage, 0, 1, message="begins"))
        found = action()
        self.result.seconds[stage] = time.perf_counter() - started
        self.tell(Progress(stage, 1, 1, message="done"))
        return found

    def _prepare(self, files: DemoFiles) -> None:
        from earmark.tasks.appliance.prepare import PrepareOptions, prepare

        prepared = prepare(self.project, PrepareOptions(folder=files.samples, suffixes=(SUFFIX,)), self.tell)
        self.result.recordings, self.result.seal = list(prepared.rows), prepared.seal

    def _train(self) -> Run:
        from earmark.tasks.appliance.training.settings import TrainSettings
        from earmark.tasks.appliance.training.train import train

        trained = train(self.project, TrainSettings(), progress=self.tell)
        self.result.run, self.result.metrics = trained.run.name, dict(trained.run.metrics)
        return trained.run

    def _thresholds(self, run: Run) -> Model:
        from earmark.tasks.appliance.serving.model import open_folder
        from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
        from earmark.tasks.appliance.thresholds.run import choose_for_run, write
        from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE

        chosen = choose_for_run(self.project, run, ChoiceSettings())
        path = run.path / THRESHOLDS_FILE
        if not path.is_file():
            write(chosen, None)
        self.result.thresholds, self.result.figure = list(chosen.choice.rows), path.with_suffix(".svg")
        return open_folder(run.path)

    def _evaluate(self, run: Run) -> None:
        from earmark.tasks.appliance.evaluation.evaluate import Options, evaluate_appliance
        from earmark.tasks.appliance.evaluation.sections import write_appliance_report

        options = Options(
            robustness=False, timing=False
        )  # minutes; a synthetic room would teach nothing by them
        found = evaluate_appliance(self.project, run, options, progress=self.tell)
        self.result.report, *_ = write_appliance_report(found, run.path / "report")

    def _stream(self, model: Model, files: DemoFiles) -> None:
        from earmark.tasks.appliance.evaluation.changes import pooled

        devices = model.detector.devices
        scores = pooled(_heard(model, str(path), files.on_spans[path]) for path in files.long)
        self.result.changes = scores.to_json(devices)


def _heard(model: Model, source: str, on_spans: Mapping[str, Spans]) -> ChangeScores:
    """What a stream of a recording tells of its changes."""
    import numpy as np

    from earmark.tasks.appliance.evaluation.changes import Report, score_changes
    from earmark.tasks.appliance.serving.engine import Engine
    from earmark.tasks.appliance.serving.stream import answers_of, blocks_of_file

    detector = model.detector
    engine = Engine(detector, model.thresholds.rule, source)
    answers = list(answers_of(engine, blocks_of_file(source, detector.sample_rate)))
    reports = [
        Report(answered.window.end_s, answered.decided.stable)
        for answered in answers
        if answered.decided.changed and answered.decided.stable is not None
    ]
    p = np.array([answered.p for answered in answers], dtype=np.float64)
    ends_s = np.array([answered.window.end_s for answered in answers])
    return score_changes(_truth(p, ends_s, on_spans, detector.devices), reports, detector.devices)


def _truth(p: Any, ends_s: Any, on_spans: Mapping[str, Spans], devices: Devices) -> Trace:
    from earmark.tasks.appliance.evaluation.changes import Trace

    switches = {edge for spans in on_spans.values() for span in spans for edge in span}
    starts_s = [0.0, *sorted(edge for edge in switches if 0 < edge < ends_s[-1])]
    facts = [
        {name: any(on <= start_s < off for on, off in on_spans[name]) for name in devices.names}
        for start_s in starts_s
    ]
    return Trace(p, ends_s, starts_s, facts, float(ends_s[-1]))


def _refuse_other_data(project: Project, folder: Path) -> None:
    """A demo in a project at work would put its own recordings and test part in the place of the user's."""
    from earmark.audio.fragment import split_fragment
    from earmark.data.seal import MANIFEST_FILE

    if not (project.data_folder / MANIFEST_FILE).exists():
        return
    own = folder.resolve()
    recordings = {split_fragment(item.uri)[0] for item in project.manifest}
    others = sorted(uri for uri in recordings if not (project.root / uri).resolve().is_relative_to(own))
    if others:
        raise UsageError(
            f"`{project.data_folder}` holds {len(others)} recordings that are not the demo's, such as `{others[0]}`. "
            "Expected a project folder of its own. Run: earmark -C trial demo appliance"
        )


def _tell_nobody(_event: Progress) -> None:
    """Where nobody asked to be told."""
