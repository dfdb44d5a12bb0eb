"""An exported run where torch cannot be imported: the same answers as the run's, by `predict`, `stream` and windows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from wide_beats import write_wide_checkpoint  # noqa: E402

from earmark.audio.clip import Clip  # noqa: E402
from earmark.cli.main import cli  # noqa: E402
from earmark.errors import RunError, UsageError  # noqa: E402
from earmark.models.acoustic.fitted import FittedHead  # noqa: E402
from earmark.models.acoustic.networks import build, state  # noqa: E402
from earmark.models.acoustic.settings import HeadSettings  # noqa: E402
from earmark.models.beats.checkpoint import BeatsCheckpoint  # noqa: E402
from earmark.models.onnx_files import session  # noqa: E402
from earmark.models.platt import Platt  # noqa: E402
from earmark.tasks.appliance.detector import Detector  # noqa: E402
from earmark.tasks.appliance.export import export_run  # noqa: E402
from earmark.tasks.appliance.groups.fbank import fbank  # noqa: E402
from earmark.tasks.appliance.groups.tokens import token_groups  # noqa: E402
from earmark.tasks.appliance.layers import HeadLayer  # noqa: E402
from earmark.tasks.appliance.room import Room  # noqa: E402
from earmark.tasks.appliance.serving.model import open_folder  # noqa: E402
from earmark.tasks.appliance.thresholds_file import Thresholds  # noqa: E402

RATE = 16_000
DEVICES = Room().devices
RUN_TOML = """
task = "appliance"
key = "k"
created = "2026-01-01T00:00:00Z"
kind = "detector"
classes = []
[recipe]
"""

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from earmark.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def random_head(network, width):
    settings = HeadSettings(network=network)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tensors = {name: t.numpy() for name, t in state(build(settings, width, len(DEVICES))).items()}
    return FittedHead(DEVICES.names, width, settings, tensors, best_epoch=0)


def write_run(folder: Path, layer) -> Path:
    """The folder of a run, as far as answering reads it."""
    folder.mkdir(parents=True)
    card = {**Room().to_json(), "floor_dbfs": None}
    Detector(DEVICES, 6.0, 1.5, RATE, layer, card=card).save(folder)
    (folder / "run.toml").write_text(RUN_TOML)
    Thresholds(DEVICES, {"ac": 0.5, "fridge": 0.5}, model=Detector.load(folder).hash).write(
        folder / "thresholds.yaml"
    )
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run on tokens and one of the CNN, each with its export."""
    root = tmp_path_factory.mktemp("edge")
    checkpoint = BeatsCheckpoint.open(write_wide_checkpoint(root / "BEATs.pt"))
    calibration = (Platt(0.8, 0.1), Platt(1.2, -0.1))
    layers = {
        "beats": HeadLayer(
            random_head("attention", 768), token_groups(checkpoint)[:1], calibration, checkpoint
        ),
        "cnn": HeadLayer(random_head("cnn", 128), (fbank,), calibration),
    }
    made = {name: write_run(root / "runs" / "appliance" / name, layer) for name, layer in layers.items()}
    for name, run in made.items():
        export_run(run, root / f"{name}_edge")
    return root, made


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "room.wav"
    noise = np.random.default_rng(2).normal(0.05, 0.02, 12 * RATE).astype(np.float32)
    soundfile.write(path, noise, RATE, subtype="FLOAT")
    return path, noise


@pytest.mark.parametrize("name", ["beats", "cnn"])
def test_the_exported_folder_says_what_the_run_says(runs, recording, name):
    root, made = runs
    _, noise = recording
    clips = [Clip(noise[start : start + 6 * RATE], RATE) for start in (0, 24_000, 96_000)]
    exported = open_folder(root / f"{name}_edge").detector
    expected = Detector.load(made[name]).probabilities(clips)
    np.testing.assert_allclose(exported.probabilities(clips), expected, atol=1e-4)
    np.testing.assert_array_equal(
        exported.probabilities(clips), np.concatenate([exported.probabilities([clip]) for clip in clips])
    )


def test_predict_without_torch(runs, recording, tmp_path):
    root, made = runs
    path, noise = recording

    def asked(*arguments):
        command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    done = asked(
        "predict", "appliance", "--run", str(root / "beats_edge"), "--audio", str(path), "--no-cache"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    clips = [Clip(noise[start : start + 6 * RATE], RATE) for start in range(0, 6 * RATE + 1, 24_000)]
    medians = np.median(Detector.load(made["beats"]).probabilities(clips), axis=0)
    assert (answer["p_ac"], answer["p_fridge"]) == pytest.approx(tuple(medians), abs=1e-4)
    streamed = asked("stream", "appliance", "--run", str(root / "beats_edge"), "--audio", str(path))
    assert streamed.returncode == 0, streamed.stderr
    refused = asked("predict", "appliance", "--run", str(made["cnn"]), "--audio", str(path), "--no-cache")
    assert refused.returncode != 0
    assert 'pip install "earmark[torch]"' in refused.stderr


def test_the_command(runs, tmp_path):
    root, _ = runs
    (tmp_path / "earmark.toml").write_text(f'runs = "{root / "runs"}"\n')
    asked = ["runs", "export", "beats", "-C", str(tmp_path), "--mode", "head"]
    done = CliRunner().invoke(cli, [*asked, "--format", "onnx", "-o", str(tmp_path / "head.onnx")])
    assert done.exit_code == 0, done.output
    assert session(tmp_path / "head.onnx").get_inputs()[0].name == "tokens"
    refused = CliRunner().invoke(cli, [*asked, "--format", "coreml"])
    assert isinstance(refused.exception, UsageError) or refused.exit_code == 2


def test_what_is_refused(runs, tmp_path):
    root, made = runs
    with pytest.raises(UsageError, match="beats_edge` exists; expected a new folder"):
        export_run(made["beats"], root / "beats_edge")
    Thresholds(DEVICES, {"ac": 0.5, "fridge": 0.5}, model="0" * 32).write(tmp_path / "thresholds.yaml")
    with pytest.raises(RunError, match="was chosen for the model"):
        open_folder(root / "beats_edge", tmp_path / "thresholds.yaml")
    assert sorted(path.name for path in (root / "cnn_edge").rglob("*") if path.is_file()) == [
        "card.json",
        "layer.json",
        "model.onnx",
        "run.toml",
        "thresholds.yaml",
    ]
