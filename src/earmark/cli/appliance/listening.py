"""What `predict`, `stream` and `live` of the task `appliance` have in common: options of the model and of the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, open_project

if TYPE_CHECKING:
    from earmark.tasks.appliance.serving.model import Model

__all__ = ["flags_of", "make_folders", "model_options", "opened_model", "rule_options"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHARE = click.FloatRange(0, 1)
_PLAIN = (
    "decoder",
    "preset",
    "window_sec",
    "hop_sec",
    "agg_window_n",
    "debounce_k",
    "ac_on",
    "ac_off",
    "fr_on",
    "fr_off",
    "input_sr",
    "sd_device",
    "max_lag_sec",
)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which run answers, and by which thresholds."""
    return _with(
        function,
        click.option(
            "--run", "run_name", metavar="RUN", help="Run that answers (default: promoted, else newest)."
        ),
        click.option(
            "--model-state",
            "model_state",
            type=click.Path(path_type=Path),
            help="A run's folder, or a file of it.",
        ),
        click.option(
            "--only-device", metavar="NAME", help="The newest run that was trained for this device alone."
        ),
        click.option("--thresholds", type=FILE, help="In place of the thresholds.yaml of the run."),
        click.option(
            "--beats-checkpoint", metavar="FILE", help="Checkpoint of BEATs, for runs that listen with it."
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            default="auto",
            help="Where networks run.",
        ),
    )


def rule_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How windows become a state that does not flutter."""
    return _with(
        function,
        click.option("--decoder", help="hmm, median, events or votes (default: that of the thresholds)."),
        click.option("--preset", help="A rule by name: g3, snappier, less-flapping, g2, g2-fast or fast."),
        click.option("--window-sec", "--window-s", "window_sec", type=float, help="Seconds of a window."),
        click.option("--hop-sec", "--hop-s", "hop_sec", type=float, help="Seconds between windows."),
        click.option("--agg-window-n", type=click.IntRange(min=1), help="Windows under the median."),
        click.option("--debounce-k", type=click.IntRange(min=1), help="Times that a state must repeat."),
        click.option("--ac-on", type=_SHARE, help="Probability at which ac comes on."),
        click.option("--ac-off", type=_SHARE, help="Probability at which it goes off."),
        click.option("--fr-on", type=_SHARE, help="Probability at which fridge comes on."),
        click.option("--fr-off", type=_SHARE, help="Probability at which it goes off."),
        click.option(
            "--on", "on", multiple=True, metavar="NAME=V", help="The same for any device; may repeat."
        ),
        click.option("--off", "off", multiple=True, metavar="NAME=V", help="The same; may repeat."),
    )


def flags_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were given as flags."""
    from earmark.tasks.appliance.schema import short_key

    flags = {name: given[name] for name in _PLAIN if given.get(name) is not None}
    for side in ("on", "off"):
        for text in given[side]:
            name, value = _named_share(f"--{side}", text)
            flags[f"{short_key(name)}_{side}"] = value
    return flags


def make_folders(files: Iterable[Path]) -> None:
    """Make the folders of files that will be written, before minutes of work.

    Raises
    ------
    UsageError
        One cannot be made, as where a file has its name.
    """
    from earmark.errors import UsageError

    for path in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UsageError(
                f"the folder `{path.parent}` of `{path.name}` cannot be made ({error.strerror}). Name another one."
            ) from error


def opened_model(invocation: Invocation, given: Mapping[str, Any]) -> Model:
    """The model that the options name; its run is told."""
    from earmark.cli.output import note
    from earmark.tasks.appliance.serving.model import open_folder, open_model

    project = open_project(invocation, "appliance", appliance__beats=given["beats_checkpoint"])
    state: Path | None = given["model_state"]
    if given["device"] not in ("auto", "cpu"):
        note(invocation, f"Answers are computed on the CPU; --device {given['device']} is for training.")
    if state is None:
        model = open_model(
            project,
            run=given["run_name"],
            only_device=given["only_device"],
            thresholds=given["thresholds"],
        )
    else:
        model = open_folder(
            state if state.is_dir() else state.parent, given["thresholds"], given["beats_checkpoint"]
        )
    note(invocation, f"Run {model.name} answers: {', '.join(model.detector.devices.names)}.")
    return model


def _named_share(flag: str, text: str) -> tuple[str, float]:
    from earmark.errors import UsageError

    name, _, value = text.partition("=")
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not name or not 0 <= share <= 1:
        raise UsageError(
            f"{flag} has {text!r}; expected a device and a probability, as in {flag} washer=0.8."
        )
    return name, share


def _with(
    function: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function
