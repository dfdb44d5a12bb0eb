"""Answers of the shipped model on the pieces of the demo, for the test and for the tool that ships a model."""

import tempfile
from pathlib import Path

import numpy as np

from earmark.audio.decode import decode
from earmark.models.decision import read_decision
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.scores.demo import make_demo
from earmark.tasks.meter.serving.model import shipped_runs
from earmark.tasks.meter.views import VIEWS

GOLDEN = Path(__file__).parent / "golden_shipped.json"


def answers_on_demo() -> dict[str, list[float]]:
    """Calibrated probability per class of every piece of the demo, by name, to four places."""
    (run,) = shipped_runs()
    view = VIEWS[run.config["settings"]["features"]]
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder)
        paths = sorted(Path(folder, "audio").glob("piece-*"))
        clips = [decode(path, sample_rate=SAMPLE_RATE) for path in paths]
        X = np.array([np.concatenate([group.on(clip) for group in view.groups]) for clip in clips])
    columns = [name for group in view.groups for name in group.column_names]
    p = np.asarray(run.classifier().predict_proba(X.astype(np.float32), columns), dtype=np.float64)
    calibrated = read_decision(run.path, run.classes).calibrator.transform(p)
    rounded = np.round(calibrated, 4).tolist()
    return {path.stem: row for path, row in zip(paths, rounded, strict=True)}
