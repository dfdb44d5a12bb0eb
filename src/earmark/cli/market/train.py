"""`earmark train market`: from stored samples to a run, and to production where it passes the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.market.watch import check_watch_options, watch, watch_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.features.progress import Progress
    from earmark.tasks.market.training.config import TrainConfig
    from earmark.tasks.market.training.train import TrainResult

__all__ = ["train"]

SETTING_OF = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "model": "model_name",
    "horizon": "horizon_s",
    "sequence_length": "sequence_length",
    "view": "view",
    "symbols": "symbols",
    "days": "days",
    "start_date": "start_date",
    "end_date": "end_date",
    "data_source": "data_source",
    "data_path": "data_path",
    "feature_group": "feature_group",
    "labeling_method": "labeling_method",
    "label_set": "label_set",
    "nan": "missing",
    "min_accuracy": "min_accuracy",
    "seed": "seed",
    "preset": "preset",
}
"""Option -> setting; only options that were given are passed on."""

SWITCH_OF = {
    "no_onnx": ("export_onnx", False),
    "int8": ("int8", True),
    "no_promote": ("auto_promote", False),
    "no_feature_store": ("data_source", "legacy"),
    "no_fallback": ("use_fallback", False),
    "allow_mixed_origin": ("allow_mixed_origin", True),
}

TABLES = ("market", "train")
"""Where a file may hold the settings: at its top, or in ``[market.train]``."""


@command("train")
@click.option("--epochs", type=int, help="Epochs at most (50).")
@click.option("--batch-size", type=int, help="Windows per batch (64).")
@click.option("--lr", type=float, help="Largest learning rate (0.001).")
@click.option(
    "--model", metavar="NAME", help="hybrid_cnn_lstm, mpd, tlob, deeplob, logistic, gbm, last_direction, ..."
)
@click.option("--horizon", type=int, help="Seconds ahead of the label (60).")
@click.option("--sequence-length", type=int, help="Rows of a window (60).")
@click.option(
    "--view",
    type=click.Choice(["v1_110", "v1_112", "v1_187", "v2", "levels"]),
    help="Columns; default levels for models of order books, else v1_112, or v1_110 of rows that have no more.",
)
@click.option("--symbols", help="Names with commas between; all by default.")
@click.option("--days", "--date-range", "days", type=float, help="Only the newest so many days.")
@click.option("--start-date", help="First UTC day or ISO time.")
@click.option("--end-date", help="Last UTC day or ISO time, included.")
@click.option("--preset", metavar="NAME", help="cli (default), page, production_small, production_large, ...")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting; may be repeated."
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML or JSON file with settings, at its top or in [market.train].",
)
@click.option("--settings", "show_settings", is_flag=True, help="List all settings and leave.")
@click.option(
    "--labeling-method", type=click.Choice(["fixed_threshold", "triple_barrier"]), help="Label rule."
)
@click.option("--label-set", metavar="ID", help="A label set in place of a rule.")
@click.option("--nan", type=click.Choice(["drop", "zero", "median"]), help="Windows that lack values (drop).")
@click.option("--data-source", type=click.Choice(["feature_store", "legacy"]), help="Where rows are.")
@click.option("--data-path", metavar="DIR", help="Folder of the legacy files.")
@click.option("--feature-group", metavar="NAME", help="Group of the feature store.")
@click.option("--allow-mixed-origin", is_flag=True, help="Let rows of different origins stand in one series.")
@click.option("--no-feature-store", is_flag=True, help="Train on legacy files; as --data-source legacy.")
@click.option("--no-fallback", is_flag=True, help="Do not take legacy files where the store is empty.")
@click.option("--no-onnx", is_flag=True, help="Write no ONNX file.")
@click.option("--int8", is_flag=True, help="Write an ONNX file with 8-bit weights, too.")
@click.option("--no-promote", is_flag=True, help="Leave the run in production as it is.")
@click.option("--min-accuracy", type=float, help="Accuracy that the gate asks for (0.80).")
@click.option("--seed", type=int, help="Seed of everything that is drawn (42).")
@click.option("--resume/--no-resume", default=True, help="Go on where a killed training stopped.")
@click.option("--reuse/--no-reuse", default=True, help="Give the finished run of the same data and settings.")
@click.option(
    "--mlflow",
    is_flag=False,
    flag_value="default",
    metavar="[URI]",
    help="Track in MLflow: here, else $MLFLOW_TRACKING_URI, else data/mlflow/mlruns.db.",
)
@click.option("--dry-run", is_flag=True, help="Load and divide the data, show what would be trained.")
@watch_options
@click.pass_obj
def train(invocation: Invocation, /, **given: Any) -> int:
    """Train a model on stored samples; promote it where it beats every baseline.

    What is missing is made first: labels, the division through time. The model is scored on windows behind all that it
    was trained and chosen on; the sealed period stays closed. A training that was killed goes on at its epoch when it
    is asked for again.

    \b
    Examples:
      earmark train market
      earmark train market --epochs 50 --batch-size 64 --lr 0.001
      earmark train market --days 30 --symbols BTCUSDT,ETHUSDT --preset production_small
      earmark train market --model gbm --set data_config.stride=5 --no-promote
      earmark train market --labeling-method triple_barrier --set tb_tp_multiplier=2
      earmark train market --watch --schedule 03:00 --drift-every 60m
    """
    from earmark.cli.output import emit
    from earmark.tasks.market.training.train import plan
    from earmark.tasks.market.training.train import train as verb

    if given["show_settings"]:
        return _show_settings(invocation)
    check_watch_options(given)
    config = _config(invocation, given)
    if given["watch"]:
        return watch(invocation, config, given)
    if given["dry_run"]:
        document = plan(invocation.folder, config)
        emit(invocation, document["parts"], document=document)
        return 0
    with _Watching(invocation) as tell:
        result = verb(invocation.folder, config, resume=given["resume"], reuse=given["reuse"], on_event=tell)
    emit(invocation, _rows(result), document=result.to_json())
    return 0


def _config(invocation: Invocation, given: Mapping[str, Any]) -> TrainConfig:
    """The configuration: preset ``cli``, file, --set, flags, each over the one before."""
    from earmark.tasks.market.training.config import train_config
    from earmark.tasks.market.training.tracking import resolve_uri

    flags = {ours: given[option] for option, ours in SETTING_OF.items() if given[option] is not None}
    flags |= {name: value for option, (name, value) in SWITCH_OF.items() if given[option]}
    file = {} if given["config"] is None else settings_of_file(given["config"])
    layers = [{"preset": "cli"}, file, assigned(given["assignments"]), flags]
    asked = given["mlflow"]
    uri = resolve_uri(invocation.folder, None if asked == "default" else asked, wanted=asked is not None)
    if uri is not None and not any("mlflow_uri" in layer for layer in layers[:-1]):
        flags["mlflow_uri"] = uri
    return train_config(*layers)


def settings_of_file(path: Path) -> dict[str, Any]:
    """Settings of a TOML file, or of a JSON file such as the one that a search leaves."""
    import json
    import tomllib

    from earmark.errors import UsageError

    try:
        text = path.read_text(encoding="utf-8")
        table: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        form = "JSON" if path.suffix == ".json" else "TOML"
        raise UsageError(f"`{path}` is not {form} ({error}). Correct it.") from error
    inner = table.get(TABLES[0])
    found = inner.get(TABLES[1]) if isinstance(inner, dict) else None
    return found if isinstance(found, dict) else table


def assigned(assignments: tuple[str, ...]) -> dict[str, Any]:
    """``("lr=0.1",)`` as a mapping; values of free-form settings are read as JSON where they are JSON."""
    import json

    from earmark.errors import UsageError

    found: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected KEY=VALUE, e.g. --set dropout=0.3")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


class _Watching:
    """Draws a bar over the epochs and writes the lines of a training to standard error."""

    def __init__(self, invocation: Invocation) -> None:
        from earmark.cli.progress import progress

        self._invocation = invocation
        self._progress = progress(invocation)

    def __enter__(self) -> Callable[[Mapping[str, Any]], None]:
        from time import perf_counter

        self._draw: Callable[[Progress], None] = self._progress.__enter__()
        self._clock, self._before = perf_counter, perf_counter()
        return self._tell

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def _tell(self, event: Mapping[str, Any]) -> None:
        from earmark.cli.events import tell_training
        from earmark.cli.output import note
        from earmark.features.progress import Progress

        tell_training(event)
        if event["event"] == "note":
            note(self._invocation, event["text"])
        elif event["event"] == "step":
            note(self._invocation, f"[{event['number']}/{event['of']}] {event['step']}")
            self._before = self._clock()
        else:
            now = self._clock()
            seconds, self._before = now - self._before, now
            done, total = int(event["epoch"]) + 1, event["total_epochs"]
            self._draw(Progress("train", done, int(total or done)))
            note(self._invocation, _epoch_line(event, seconds))


NUMBERS = (
    ("training_loss", "train loss"),
    ("validation_loss", "val loss"),
    ("training_accuracy", "train acc"),
    ("validation_accuracy", "val acc"),
    ("validation_macro_f1", "val F1"),
)


def _epoch_line(event: Mapping[str, Any], seconds: float) -> str:
    shown = " ".join(f"{label} {event[name]:.4f}" for name, label in NUMBERS if name in event)
    return f"Epoch {int(event['epoch']) + 1}/{event['total_epochs']}: {shown} ({seconds:.1f} s)"


def _rows(result: TrainResult) -> list[dict[str, Any]]:
    head = {"run": result.run.name, "path": str(result.run.path), "promoted": result.promoted}
    head |= {"onnx": None if result.onnx is None else str(result.onnx)}
    shown = head | {f"test {name}": value for name, value in result.metrics.items()}
    return [{"what": name, "value": value} for name, value in shown.items()]


def _show_settings(invocation: Invocation) -> int:
    from earmark.cli.output import emit
    from earmark.tasks.market.training.config import describe_fields

    rows = describe_fields()
    shown = [
        {
            "setting": row["name"],
            "default": row["default"],
            "page": row["page"] if row["page"] != row["default"] else None,
            "range": ", ".join(
                row["choices"] or [f"{bound} {limit}" for bound, limit in row["limits"].items()]
            ),
            "help": row["help"],
        }
        for row in rows
    ]
    emit(invocation, shown, document=rows)
    return 0
