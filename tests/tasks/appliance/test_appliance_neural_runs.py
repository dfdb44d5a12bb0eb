"""Networks of a room from command to answer: two stages, altered windows, cached tokens, kills, exports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from appliance_trained_room import trained_room  # noqa: E402
from wide_beats import write_wide_checkpoint  # noqa: E402

from earmark.audio.clip import Clip  # noqa: E402
from earmark.cli.main import cli  # noqa: E402
from earmark.errors import UsageError  # noqa: E402
from earmark.models.acoustic.fitted import ENCODER, FittedHead  # noqa: E402
from earmark.models.beats.encoder import Block  # noqa: E402
from earmark.tasks.appliance.detector import Detector  # noqa: E402
from earmark.tasks.appliance.export import ExportOptions, export_run  # noqa: E402
from earmark.tasks.appliance.groups.fbank import fbank  # noqa: E402
from earmark.tasks.appliance.groups.tokens import encoder_of  # noqa: E402
from earmark.tasks.appliance.training.networks import BLOCK_EPOCHS, EPOCHS  # noqa: E402
from earmark.tasks.appliance.training.settings import BASELINES, TrainSettings  # noqa: E402
from earmark.tasks.appliance.training.train import Training, train  # noqa: E402
from earmark.tasks.project import Project  # noqa: E402

SECONDS = 30.0
FILES = (
    "best_metrics.json",
    "card.json",
    "head.safetensors",
    "metrics.jsonl",
    "model.safetensors",
    "run.toml",
)
TWO_STAGES = {"epochs": 2, "unfreeze_blocks": 1, "lr_blocks": 1e-3}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_wide_checkpoint(tmp_path_factory.mktemp("beats") / "wide.pt")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def room(root, checkpoint=None, folder=None):
    overrides = {"runs": str(root), "workers": 1}
    if checkpoint is not None:
        overrides["appliance.beats"] = str(checkpoint)
    return Project.open("appliance", folder or trained_room(SECONDS), overrides)


def trained(root, checkpoint=None, **settings):
    settings.setdefault("network", {"epochs": 2})
    found = train(room(root, checkpoint), TrainSettings(**settings), with_baselines=False)
    return found.run.path


def clips(n=3):
    rng = np.random.default_rng(0)
    return [Clip(rng.normal(0, 0.01, 96_000).astype(np.float32), 16_000) for _ in range(n)]


def tensors(folder):
    return FittedHead.load(folder).tensors


def same_tensors(first, second):
    one, other = tensors(first), tensors(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_training_on_altered_windows_encodes_once_and_repeats_from_the_cache(root, checkpoint):
    altered = {"model": "beats", "augment": {"preset": "g3", "copies": 1}}
    first = trained(root, checkpoint, **altered)
    assert {path.name for path in first.iterdir()} >= set(FILES)
    config = json.loads((first / "train_config.json").read_text())
    assert config["augment"]["steps"]["gain_db"] == 6.0 and config["network"]["epochs"] == 2
    card = json.loads((first / "card.json").read_text())
    assert card["network"]["augment"] == {"preset": "g3", "copies": 1}
    assert card["network"]["fbank"] == {"mean": 15.41663, "std": 6.55582}

    asked = []
    # A hook, for a change of the encoder's code would make other keys.
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, _inputs: asked.append(module) if isinstance(module, Block) else None
    )
    try:
        again = trained(root / "again", checkpoint, **altered)
    finally:
        hook.remove()
    assert not asked
    assert same_tensors(first, again)
    assert not same_tensors(first, trained(root, checkpoint, model="beats"))


@pytest.fixture(scope="module")
def two_stages(root, checkpoint):
    """A run whose second stage was kept, as its rate is high and its first stage barely begun."""
    network = {**TWO_STAGES, "lr_head": 1e-5, "epochs": 3, "batch_size": 4}
    return trained(root, checkpoint, model="beats", network=network, full_state=False)


@pytest.mark.slow
def test_a_run_of_two_stages_answers_with_the_blocks_it_trained(two_stages, checkpoint):
    detector = Detector.load(two_stages)
    head = detector.layer.head
    lengths = detector.card["lengths"]
    assert lengths[BLOCK_EPOCHS] > 0 and head.tunes_encoder and detector.groups == (fbank,)
    assert {e["stage"] for e in head.history} == {1, 2}
    assert any(name.startswith(ENCODER) for name in head.tensors)
    original = dict(encoder_of(detector.layer.checkpoint).named_parameters())
    moved = [name for name in head.tensors if name.startswith(ENCODER)]
    assert all(".1." in name for name in moved), "only the last of two blocks learns"
    changed = [
        not np.array_equal(head.tensors[name], original[name.removeprefix(ENCODER)].detach().numpy())
        for name in moved
    ]
    assert any(changed)
    answers = detector.probabilities(clips())
    assert np.array_equal(detector.probabilities(clips()[:1]), answers[:1])
    lines = [json.loads(line) for line in (two_stages / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} >= {"fold-0", "fold-1", "final"} or len(lines) > 6


@pytest.mark.slow
def test_a_run_of_two_stages_is_exported_in_full(two_stages, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(UsageError, match="full"):
        export_run(two_stages, tmp_path / "head.onnx", mode="head")
    done = export_run(two_stages, tmp_path / "full")
    assert done.difference <= 1e-4
    own, exported = Detector.load(two_stages), Detector.load(tmp_path / "full")
    assert exported.probabilities(clips()) == pytest.approx(own.probabilities(clips()), abs=1e-4)


@pytest.mark.slow
def test_a_second_stage_goes_on_from_a_run_and_repeats_what_both_give(root, checkpoint):
    first = trained(root, checkpoint, model="beats")
    both = trained(root, checkpoint, model="beats", network=TWO_STAGES)
    later = trained(root, checkpoint, model="beats", network=TWO_STAGES, from_run=first.name)
    assert same_tensors(both, later)
    lengths = json.loads((later / "card.json").read_text())["lengths"]
    assert lengths.keys() == {EPOCHS, BLOCK_EPOCHS}
    with pytest.raises(UsageError, match="protocol"):
        trained(root, checkpoint, model="beats", network=TWO_STAGES, from_run=first.name, protocol="loro")


@pytest.mark.slow
def test_the_full_state_holds_the_encoder_and_answers_alike(root, checkpoint):
    small = trained(root, checkpoint, model="beats")
    full = trained(root, checkpoint, model="beats", full_state=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (small, full)]
    assert sizes[0] < 5e6 < sizes[1]
    assert (full / "folds/0/model.safetensors").stat().st_size < 5e6
    answers = [Detector.load(folder).probabilities(clips()) for folder in (small, full)]
    assert np.array_equal(*answers)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "cnn", "network": {"unfreeze_blocks": 1}}, "no encoder"),
        ({"model": "spectral", "augment": {"preset": "g3"}}, "no epochs"),
        ({"model": "beats", "from_run": "x"}, "--unfreeze-blocks"),
        ({"model": "cnn", "augment": {"preset": "g9"}}, "g9"),
        ({"model": "cnn", "augment": {"presett": "g3"}}, "presett"),
        ({"model": "cnn", "lengths": {"ac": 2.0}, "augment": {"preset": "g3"}}, "--lengths"),
    ],
)
def test_what_a_network_cannot_do_is_told(settings, words):
    with pytest.raises(UsageError, match=words):
        TrainSettings(**settings)


def test_small_models_are_asked_for_nothing_that_only_networks_have():
    asked = TrainSettings(
        model="beats", augment={"preset": "g3"}, network=TWO_STAGES, from_run="x", full_state=True, seed=7
    )
    for name in BASELINES:
        own = asked.small(name)
        assert (own.model, own.seed, own.augment_preset, own.from_run) == (name, 7, "none", None)


@pytest.mark.slow
def test_small_models_stand_beside_a_network_that_trains_on_altered_windows(root):
    asked = TrainSettings(model="cnn", augment={"preset": "g3", "copies": 1}, network={"epochs": 1})
    run = train(room(root), asked).run.path
    card = json.loads((run / "card.json").read_text())
    assert [row["name"] for row in card["baselines"]] == ["rms", *BASELINES]
    of_run = ["appliance", "-C", str(trained_room(SECONDS)), "--run", str(run), "--format", "json"]
    assert CliRunner().invoke(cli, ["thresholds", *of_run]).exit_code == 0
    answer = CliRunner().invoke(cli, ["evaluate", *of_run, "--no-robustness", "--no-time"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["baselines"].keys() >= set(BASELINES)


def test_altered_windows_are_of_the_side_that_trains(root, checkpoint):
    """Backgrounds and windows of a fold come from its training windows alone."""
    training = Training.open(room(root), TrainSettings(model="cnn", augment={"preset": "g3"}))
    fold = training.folds[0]
    source = training.fit().altered.banks(fold.train)
    inside = set(training.rows.recordings[fold.train])
    assert {place.recording for place in source.audio.places} <= inside
    assert source.audio.off and not training.rows.y[fold.train][list(source.audio.off)].any()
    plain = training.table.frames(fbank.name)[int(fold.train[0])]
    assert source.front_end(source.audio.samples(0)) == pytest.approx(plain)
    assert (source.copy_of(0, 0) != plain).any()


def run_command(*args):
    return CliRunner().invoke(
        cli, ["-C", str(trained_room(SECONDS)), *map(str, args)], catch_exceptions=False
    )


def test_the_commands_say_what_is_not_known_of_a_checkpoint_and_what_tokens_take(checkpoint, tmp_path):
    beats = ("--beats-checkpoint", checkpoint)
    said = run_command("extract", "appliance", "--features", "tokens", *beats, "--limit", 2, "-w", 1).stderr
    assert "origin is not" in said and "2 windows of 6 s take 0.9 MB" in said
    said = run_command("train", "appliance", *beats, "--output-dir", tmp_path, "--dry-run")
    assert "origin is not" in said.stderr and "day-to-night" in said.stdout
    plain = run_command("train", "appliance", "--model", "cnn", *beats, "--dry-run")
    assert "origin" not in plain.stderr


def test_the_file_of_the_earlier_tool_gives_options_and_is_checked(tmp_path):
    from earmark.cli.appliance.train_config import with_config

    path = tmp_path / "config.yaml"
    path.write_text(
        "model: {type: cnn}\ntraining: {epochs: 3, lr: 0.01, augment: true}\n"
        "splits: {mode: ranges, train_s: 8, gap_s: 9}\nsmoothing: {tau: 6}\n"
    )
    asked = dict.fromkeys(("model", "lr_head", "augment", "protocol", "gap_s")) | {"epochs": 5}
    told = []
    found = with_config(asked, path, told.append)
    assert found["epochs"] == 5 and found["lr_head"] == 0.01 and found["augment"] == "g2"
    assert found["protocol"] == "ranges" and found["protocol_settings"] == {"train_s": 8}
    assert "smoothing" in told[0] and "thresholds" in told[0]
    path.write_text("training: {epoch: 3}\nsplit: {}\n")
    with pytest.raises(UsageError, match=r"no epoch.*no table `split`"):
        with_config(asked, path, told.append)
    path.write_text("training: {epochs: many}\n")
    with pytest.raises(UsageError, match="many"):
        with_config(asked | {"epochs": None}, path, told.append)


def test_a_model_on_columns_is_exported_with_its_calibration(root, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from earmark.models.onnx_files import session

    project = room(root)
    run = train(project, TrainSettings(model="spectral"), with_baselines=False).run.path
    done = export_run(run, tmp_path / "head.onnx", mode="head")
    assert done.difference <= 1e-4
    detector = Detector.load(run)
    table = project.extract(detector.groups, list(project.manifest)[:9])
    from earmark.tasks.appliance.layers import with_derived

    columns = with_derived(table, detector.layer.floor_dbfs).select(detector.layer.model.columns).values
    opened = session(tmp_path / "head.onnx")
    named = json.loads(opened.get_modelmeta().custom_metadata_map["columns"])
    assert tuple(named) == detector.layer.model.columns
    logits, p = opened.run(["logits", "probabilities"], {"columns": columns})
    assert p == pytest.approx(detector.probabilities(table), abs=1e-4)
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(detector.raw(table), abs=1e-4)
    with pytest.raises(UsageError, match="copy the run"):
        export_run(run, tmp_path / "full", mode="full")
    for wrong, words in (
        (ExportOptions(frames_per_s=50.0), "100 a second"),
        (ExportOptions(input_dim=3), "--input-dim 3"),
        (ExportOptions(normalize=False), "--no-normalize"),
    ):
        with pytest.raises(UsageError, match=words):
            export_run(run, tmp_path / "wrong.onnx", mode="head", options=wrong)
    trees = TrainSettings(model="level", estimator="trees", trees={"n_trees": 5})
    forest = train(project, trees, with_baselines=False).run.path
    with pytest.raises(UsageError, match="logistic"):
        export_run(forest, tmp_path / "trees.onnx", mode="head")


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from test_appliance_neural_runs import room
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train

left = [{after}]

def stop(event):
    if event["event"] == "epoch":
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

settings = TrainSettings.from_record({record!r})
train(room({root!r}, {checkpoint!r}, {folder!r}), settings, with_baselines=False, on_event=stop)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 6])
def test_a_training_that_was_killed_goes_on_and_gives_the_same_bits(root, checkpoint, tmp_path, after):
    """Killed after an epoch of the first stage, and of the second."""
    settings = TrainSettings(
        model="beats",
        network={**TWO_STAGES, "epochs": 3},
        augment={"preset": "g3", "copies": 1},
    )
    here = Path(__file__).parent
    script = KILLED.format(
        paths=[str(here), str(here.parents[1] / "models")],
        after=after,
        record=settings.record(),
        root=str(tmp_path),
        checkpoint=str(checkpoint),
        folder=str(trained_room(SECONDS)),
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not list(tmp_path.glob("appliance/*/run.toml"))
    events = []
    resumed = train(room(tmp_path, checkpoint), settings, with_baselines=False, on_event=events.append)
    whole = train(room(root / "whole", checkpoint), settings, with_baselines=False)
    assert same_tensors(resumed.run.path, whole.run.path)
    assert resumed.run.out_of_fold().equals(whole.run.out_of_fold())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "beats-gru"])
def test_every_network_runs_to_thresholds_answers_and_streams(model, checkpoint, tmp_path):
    beats = () if model == "cnn" else ("--beats-checkpoint", checkpoint)
    runs = ("--output-dir", tmp_path / "runs")
    made = run_command(
        "train",
        "appliance",
        "--model",
        model,
        *beats,
        *runs,
        "--epochs",
        2,
        "--no-baselines",
        "--format",
        "json",
    )
    assert made.exit_code == 0, made.output
    path = Path(json.loads(made.stdout)["path"])
    assert run_command("thresholds", "appliance", "--run", path).exit_code == 0
    recording = sorted((trained_room(SECONDS) / "samples").iterdir())[0]
    answer = json.loads(run_command("predict", "appliance", "--run", path, recording).stdout)
    assert answer.keys() == {"status", "p_ac", "p_fridge"}
    assert run_command("stream", "appliance", "--run", path, recording).exit_code == 0


@pytest.mark.slow
def test_the_small_network_learns_the_measured_room(tmp_path):
    samples = Path(__file__).parents[4] / "shared/data/appliance_room"
    if not samples.is_dir():
        pytest.skip("the recordings of the measured room are not beside the checkout")
    from earmark.tasks.appliance.prepare import PrepareOptions, prepare
    from earmark.tasks.appliance.windows import Windowing

    options = PrepareOptions(folder=samples, suffixes=("m4a",), seal="none", windowing=Windowing(6.0, 6.0))
    prepare(Project.open("appliance", tmp_path), options)
    project = Project.open("appliance", tmp_path, {"workers": 1})
    found = train(project, TrainSettings(model="cnn", network={"epochs": 6}), with_baselines=False)
    assert found.run.metrics["auroc_ac"]["value"] > 0.95
