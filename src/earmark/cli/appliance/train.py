"""`earmark train appliance`: a detector of the machines of one room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project

if TYPE_CHECKING:
    from earmark.tasks.appliance.training.settings import TrainSettings
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["open_room", "settings_of", "tell_of_checkpoint", "train", "train_options"]

_PROTOCOLS = ("swap", "single", "loro", "blocks", "ranges", "files", "groups")

_NETWORK = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "lr_head": "lr_head",
    "lr_beats": "lr_blocks",
    "weight_decay": "weight_decay",
    "warmup_steps": "warmup_steps",
    "patience": "patience",
    "select": "select",
    "pool": "pool",
    "unfreeze_blocks": "unfreeze_blocks",
    "device": "device",
}
"""Option -> setting of a network."""

_ALTERING = {
    "augment": "preset",
    "augment_copies": "copies",
    "gain_db": "gain_db",
    "eq": "eq",
    "mix": "mix",
}
"""Option -> how training windows are altered."""

_PROTOCOL = {
    "train_split": "train_split",
    "group_on": "group_on",
    "n_folds": "n_folds",
    "block_s": "block_s",
    "gap_s": "gap_s",
}
"""Option -> setting of a protocol."""

_OPTIONS = (
    click.option(
        "--model",
        type=click.Choice(["level", "spectral", "relative", "logmel256", "g1", "cnn", "beats", "beats-gru"]),
        help="Default: beats where a checkpoint is given, relative in recordings with switches, else spectral.",
    ),
    click.option(
        "--protocol",
        "--split-mode",
        type=click.Choice(_PROTOCOLS),
        help="Who trains and who is scored (swap); see the guide.",
    ),
    click.option(
        "--split",
        type=click.Choice(["windows"]),
        help="Demonstrate the leak of a random division of windows; no result.",
    ),
    click.option(
        "--val-daypart", metavar="DAYPART", help="Select and score on this daypart: protocol single."
    ),
    click.option(
        "--train-split", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Of files (0.8)."
    ),
    click.option("--group-on", metavar="COLUMN", help="Of protocol groups (machine_src)."),
    click.option("--n-folds", type=click.IntRange(min=2), help="Of protocol groups (5)."),
    click.option(
        "--block-sec", "block_s", type=click.FloatRange(min=0, min_open=True), help="Of blocks (30)."
    ),
    click.option(
        "--gap-sec", "gap_s", type=click.FloatRange(min=0), help="Between the sides of a recording (10)."
    ),
    click.option(
        "--estimator",
        type=click.Choice(["logistic", "trees", "mean"]),
        help="Of models on columns (logistic; of relative the mean of both).",
    ),
    click.option(
        "--c", "--C", "c", type=click.FloatRange(min=0, min_open=True), help="Inverse strength of L2 (1)."
    ),
    click.option("--features", metavar="SET", help="Another feature set than the model's."),
    click.option("--only-device", metavar="NAME", help="Train this machine alone."),
    click.option(
        "--lengths",
        multiple=True,
        metavar="NAME=SECONDS",
        help="Hear a machine in the last seconds of a window only, as ac=2.0; may repeat.",
    ),
    click.option(
        "--masked-loss",
        type=click.FloatRange(0, 1),
        help="What a window counts for a machine that another one hides (0.25); 0 nothing.",
    ),
    click.option("--epochs", type=click.IntRange(min=1), help="Of networks (12)."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Windows per step (16)."),
    click.option(
        "--lr-head", "--lr", type=click.FloatRange(min=0, min_open=True), help="Of pooling and head (1e-3)."
    ),
    click.option(
        "--lr-beats", type=click.FloatRange(min=0, min_open=True), help="Of blocks that learn (2e-5)."
    ),
    click.option("--weight-decay", type=click.FloatRange(min=0), help="Of networks (1e-2)."),
    click.option(
        "--warmup-steps", type=click.IntRange(min=0), help="Default: 10 % of all steps, at most 200."
    ),
    click.option("--patience", type=click.IntRange(min=1), help="Epochs without a better one (5)."),
    click.option(
        "--select", type=click.Choice(["val_loss", "auroc", "margin", "mean_f1"]), help="The best epoch's."
    ),
    click.option(
        "--pool", type=click.Choice(["attention", "mean", "mean+max"]), help="How tokens are folded."
    ),
    click.option(
        "--unfreeze-blocks",
        type=click.IntRange(min=0),
        help="Second stage: last blocks of the encoder that learn, 1 or 2 (0).",
    ),
    click.option(
        "--augment",
        type=click.Choice(["none", "g2", "g3"]),
        help="Alter training windows of networks (none).",
    ),
    click.option("--no-augment", "augment", flag_value="none", help="The same as --augment none."),
    click.option(
        "--augment-copies",
        type=click.IntRange(min=0),
        help="Altered tokens of each window that are cached (4); 0 encodes anew in each epoch.",
    ),
    click.option("--gain-db", type=click.FloatRange(min=0), help="Largest change of gain, dB (6)."),
    click.option("--eq", type=click.Choice(["tilt", "independent"]), help="Low and high shelf (tilt)."),
    click.option(
        "--mix",
        type=click.Choice(["snr", "natural"]),
        help="Level of backgrounds: drawn, or their own (snr).",
    ),
    click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where networks train (cpu)."
    ),
    click.option(
        "--beats-checkpoint",
        "--checkpoint-path",
        metavar="FILE",
        help="Of BEATs; default: appliance.beats, EARMARK_BEATS.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Of everything that is drawn (42)."),
)


def train_options(function: Any) -> Any:
    """What decides the numbers of a training, which the search has, too."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@command("train")
@train_options
@click.option(
    "--from", "from_run", metavar="RUN", help="Leave out the first stage: its heads, with --unfreeze-blocks."
)
@click.option("--full-state", is_flag=True, help="Keep all of the encoder's weights in the run, 360 MB.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with the tables model, training and splits; options given here win.",
)
@click.option(
    "--baselines/--no-baselines", default=True, help="Score the small models beside it, too (default)."
)
@click.option("--force", is_flag=True, help="Train also where an equal run exists.")
@click.option("--resume/--no-resume", default=True, help="Go on with an interrupted training, or start anew.")
@click.option("--output-dir", type=click.Path(file_okay=False), help="Folder of the runs (default: runs).")
@click.option("--dry-run", is_flag=True, help="Show the folds and train nothing.")
@click.pass_obj
def train(invocation: Invocation, /, **given: Any) -> int:
    """Train a detector of the machines of a prepared room.

    Every fold is scored on recordings that it did not hear, each window of them, also those that were set aside as too
    loud. The final model learns all recordings. The sealed test is not touched.

    \b
    Examples:
      earmark train appliance
      earmark train appliance --model logmel256 --protocol loro
      earmark train appliance --beats-checkpoint BEATs_iter3_plus_AS2M.pt
      earmark train appliance --lengths ac=2.0
      earmark train appliance --split windows
    """
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.appliance.training.train import train as run_training

    if given["config"] is not None:
        from earmark.cli.appliance.train_config import with_config

        given = with_config(given, given["config"], lambda text: note(invocation, text))
    project = open_room(invocation, given)
    settings = settings_of(project, given)
    tell_of_checkpoint(invocation, project, settings.view)
    if given["dry_run"]:
        emit(invocation, _fold_rows(project, settings))
        return 0
    with progress(invocation) as tell:
        trained = run_training(
            project,
            settings,
            reuse=not given["force"],
            resume=given["resume"],
            with_baselines=given["baselines"],
            progress=tell,
            on_event=lambda event: _tell(invocation, event),
        )
    run, card = trained.run, _card(trained.run)
    if trained.reused:
        note(
            invocation,
            f"{run.name} was trained with just these settings and data before; nothing was repeated.",
        )
    rows = _rows(run, card)
    emit(
        invocation,
        rows,
        document={"run": run.name, "path": str(run.path), "card": card, "metrics": run.metrics},
    )
    _remarks(invocation, run, card)
    return 0


def settings_of(project: Project, given: Mapping[str, Any]) -> TrainSettings:
    """The settings for the options of the command line; what is not given keeps its default."""
    from earmark.tasks.appliance.protocols import LEAKY
    from earmark.tasks.appliance.training.settings import MODELS, TrainSettings

    model = given["model"] or _default_model(project)
    named: dict[str, Any] = {"model": model, "seed": project.settings.seed}
    for name in ("estimator", "c", "features", "only_device", "masked_loss", "val_daypart"):
        if given[name] is not None:
            named[name] = given[name]
    named["lengths"] = lengths_of(given["lengths"])
    network, augment = _given(given, _NETWORK), _given(given, _ALTERING)
    if (network or augment) and MODELS[model].network is None:
        asked = [name for name in (*_NETWORK, *_ALTERING) if given[name] is not None]
        names = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise click.UsageError(f"{names} is of networks; {model} has no epochs. Choose --model cnn or beats.")
    named |= {"network": network, "augment": augment, "protocol": _protocol(given)}
    named |= {"from_run": given.get("from_run"), "full_state": bool(given.get("full_state"))}
    named["protocol_settings"] = _given(given, _PROTOCOL) | given.get("protocol_settings", {})
    if named["protocol"] in ("files", LEAKY, "groups"):
        named["protocol_settings"]["seed"] = project.settings.seed
    return TrainSettings(**named)


def _default_model(project: Project) -> str:
    if "tokens" in project.task.feature_sets:
        return "beats"
    return "relative" if project.is_prepared and "on_spans" in project.manifest.table.columns else "spectral"


def lengths_of(given: Sequence[str]) -> dict[str, float]:
    """``--lengths ac=2.0``: device and seconds."""
    found = {}
    for text in (one for entry in given for one in entry.split(",")):
        name, _, seconds = text.partition("=")
        try:
            found[name.strip()] = float(seconds)
        except ValueError:
            raise click.UsageError(f"--lengths is `{text}`; expected NAME=SECONDS, as ac=2.0.") from None
    return found


def _given(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What was given of these options, as the settings call it."""
    return {ours: given[name] for name, ours in names.items() if given[name] is not None}


def tell_of_checkpoint(invocation: Invocation, project: Project, view: str) -> None:
    """Say what is not known of the checkpoint that a feature set is made by."""
    from earmark.cli.output import note
    from earmark.tasks.appliance.configured import BEATS_ABSENT, project_beats

    checkpoint = project_beats(project.effective) if view in BEATS_ABSENT else None
    if checkpoint is not None and checkpoint.warning:
        note(invocation, f"Note: {checkpoint.warning}")


def _protocol(given: Mapping[str, Any]) -> str:
    from earmark.tasks.appliance.protocols import DEFAULT_PROTOCOL, LEAKY

    options = {LEAKY: given["split"], "single": given["val_daypart"], given["protocol"]: given["protocol"]}
    asked = [name for name, is_asked in options.items() if is_asked]
    if len(asked) > 1:
        raise click.UsageError(
            f"This asks for the protocols {', '.join(asked)} at once; expected one. Drop an option."
        )
    return str(asked[0]) if asked else DEFAULT_PROTOCOL


def open_room(invocation: Invocation, given: Mapping[str, Any]) -> Project:
    """The project with what the command line says of seed, checkpoint and runs."""
    overrides = {"seed": given["seed"], "appliance__beats": given["beats_checkpoint"]}
    if given["output_dir"] is not None:
        overrides["runs"] = given["output_dir"]
    return open_project(
        invocation, "appliance", **{name: value for name, value in overrides.items() if value is not None}
    )


def _fold_rows(project: Project, settings: TrainSettings) -> list[dict[str, Any]]:
    from earmark.tasks.appliance.training.rows import read_rows
    from earmark.tasks.appliance.training.train import planned_folds

    rows = read_rows(project, settings.only_device)
    return [
        {
            "fold": fold.name,
            "train": len(fold.train),
            "select": len(fold.select),
            "score": len(fold.score),
            "recordings": ", ".join(dict.fromkeys(rows.recordings[fold.score].tolist())),
            "note": fold.note,
        }
        for fold in planned_folds(rows, settings)
    ]


def _card(run: Run) -> dict[str, Any]:
    from earmark.tasks.appliance.detector import read_card

    return read_card(run.path)


def _rows(run: Run, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model and the baselines, a row per fold."""
    names = [name for name in run.metrics if name not in ("log_loss", "balanced_accuracy")]
    folds = [fold["fold"] for fold in card["folds"]]
    rows = [
        {"model": card["model"], "fold": fold} | {name: run.metrics[name]["folds"][number] for name in names}
        for number, fold in enumerate(folds)
    ]
    for baseline in card["baselines"]:
        for fold in baseline.get("folds", ()):
            found = _level_columns(fold, card["devices"]) if baseline["name"] == "rms" else fold
            rows.append({"model": baseline["name"]} | {name: found.get(name) for name in ("fold", *names)})
    return rows


def _level_columns(fold: Mapping[str, Any], devices: list[str]) -> dict[str, Any]:
    """The level rule's scores under the names of a model's."""
    found: dict[str, Any] = {
        "fold": fold["fold"],
        "accuracy": fold.get("state_acc"),
        "state_acc": fold.get("file_state_acc"),
    }
    for device in devices:
        scores = fold.get(device, {})
        found |= {f"f1_{device}": scores.get("file_f1"), f"auroc_{device}": scores.get("auroc_all")}
    return found


def _tell(invocation: Invocation, event: Mapping[str, Any]) -> None:
    from earmark.cli.events import tell_training
    from earmark.cli.output import note

    tell_training(event)
    if event["event"] == "fold":
        note(invocation, f"{event['name']}: training loss {event['train_loss']:.4f}")
    if event["event"] == "epoch":
        shown = ", ".join(f"{name} {event[name]:.4f}" for name in ("train_loss", "val_loss") if name in event)
        note(invocation, f"epoch {int(event['epoch']) + 1}: {shown}")


def _remarks(invocation: Invocation, run: Run, card: Mapping[str, Any]) -> None:
    from earmark.cli.output import note

    if card["protocol_note"]:
        note(invocation, f"Note: {card['protocol_note']}.")
    for warning in run.config["fit"]["warnings"]:
        note(invocation, f"Note: {warning}")
    if card["protocol"] == "windows":
        note(invocation, _gap(run, card))
    else:
        note(invocation, f"Next: earmark thresholds appliance --run {run.name}")


def _gap(run: Run, card: Mapping[str, Any]) -> str:
    """How much the leak flatters, beside an honest run of the same model where there is one."""
    from earmark.training.runs import list_runs

    honest = [
        other
        for other in list_runs(run.path.parents[1], "appliance")
        if other.algorithm == run.algorithm and other.config["recipe"].get("protocol") == "swap"
    ]
    leaky = run.metrics["accuracy"]["value"]
    if not honest:
        return f"State accuracy {leaky:.4f} leaks. Compare: earmark train appliance --model {run.algorithm}"
    fair = honest[-1].metrics["accuracy"]["value"]
    return f"State accuracy {leaky:.4f} leaks; by swap it is {fair:.4f} ({honest[-1].name}): gap {leaky - fair:+.4f}."
