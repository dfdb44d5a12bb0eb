"""`earmark train market --watch`: its options, and the daemon behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["WATCH_OPTIONS", "check_watch_options", "watch", "watch_options"]

_OPTIONS = (
    click.option("--watch", is_flag=True, help="Stay, and train again where time, drift or accuracy asks."),
    click.option("--schedule", metavar="HH:MM", help="With --watch: time of day in UTC (03:00), or never."),
    click.option("--drift-every", metavar="PERIOD", help="With --watch: between checks for drift (60m)."),
    click.option(
        "--performance-every", metavar="PERIOD", help="With --watch: between checks of accuracy (30m)."
    ),
    click.option("--once", is_flag=True, help="With --watch: make all checks once, and leave."),
)
WATCH_OPTIONS = ("schedule", "drift_every", "performance_every", "once")


def watch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `--watch` to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_watch_options(given: Mapping[str, Any]) -> None:
    """Refuse options of the daemon without it."""
    from earmark.errors import UsageError

    alone = [f"--{name.replace('_', '-')}" for name in WATCH_OPTIONS if given[name]]
    if alone and not given["watch"]:
        raise UsageError(f"{', '.join(alone)} is of --watch; give it, too.")


def watch(invocation: Invocation, config: TrainConfig, given: Mapping[str, Any]) -> int:
    """Run the daemon, or look once; every decision is a line on standard error."""
    from earmark.cli.output import emit, note
    from earmark.tasks.market.retraining import triggers
    from earmark.tasks.market.retraining.project import ProjectActions, place_of
    from earmark.tasks.market.retraining.project import watch as run_daemon

    default = triggers.Policy()
    policy = triggers.Policy(
        schedule_s=triggers.parse_time_of_day_s(given["schedule"] or "03:00"),
        drift_every_s=triggers.parse_period_s(given["drift_every"] or f"{default.drift_every_s:.0f}s"),
        performance_every_s=triggers.parse_period_s(
            given["performance_every"] or f"{default.performance_every_s:.0f}s"
        ),
    )
    place = place_of(invocation.folder)
    note(
        invocation,
        f"Watching. To train at once: touch {place.path / 'trigger'}, or SIGUSR1. Ctrl-C ends.",
    )
    before = len(place.history())
    run_daemon(
        ProjectActions(invocation.folder, config, policy),
        once=given["once"],
        tell=lambda record: note(invocation, _line(record)),
    )
    rows = place.history()[before:]
    emit(
        invocation,
        [{"time": row["time"], "event": row["event"], "what": _what(row)} for row in rows],
        document=rows,
    )
    return 0


def _line(record: Mapping[str, Any]) -> str:
    return f"{record['time']} {record['event']}: {_what(record)}"


def _what(record: Mapping[str, Any]) -> str:
    shown = {
        name: value for name, value in record.items() if name not in ("time", "event") and value is not None
    }
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )
