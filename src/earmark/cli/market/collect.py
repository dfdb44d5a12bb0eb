"""`earmark collect market`: the stream of an exchange into journal, raw store and feature store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark.tasks.market.collect.verb import Simulation
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["collect", "compiling_note", "simulation_of"]

_NOT_SETTINGS = ("duration", "model", "watch", "simulator", "speed", "faults", "status", "dry_run")
_NAMED_OTHERWISE = {
    "feature_group": "feature_store_group",
    "feature_store": "enable_feature_store",
    "legacy": "use_legacy_format",
}


@command("collect")
@click.option("--symbols", help="Contracts as the venue writes them, with commas between: BTCUSDT,ETHUSDT.")
@click.option("--venue", type=click.Choice(["bybit", "binance"]), help="Exchange (bybit).")
@click.option("--depth", type=int, help="Levels per side of the book (200).")
@click.option("--testnet", is_flag=True, default=None, help="Use the exchange's test network.")
@click.option("--url", help="WebSocket address in place of the venue's.")
@click.option("--rest-url", help="REST address in place of the venue's.")
@click.option(
    "--profile",
    type=click.Choice(["guide", "bot"]),
    help="Defaults of the buffers: long files, or short (guide).",
)
@click.option("--collection-interval", type=int, help="Steps of 3 s from sample to sample (10).")
@click.option("--cadence", type=click.Choice(["clock", "adaptive"]), help="When samples are due (clock).")
@click.option("--max-samples-per-file", type=int, help="Samples of a symbol per file (2000; bot: 60).")
@click.option("--max-buffer-memory-mb", type=float, help="Memory of a symbol's buffer (200; bot: 20).")
@click.option("--max-buffer-age-s", type=float, help="Age at which 10 samples are written (never; bot: 900).")
@click.option("--feature-store/--no-feature-store", default=None, help="Write samples to the feature store.")
@click.option("--feature-group", help="Its group (training_features).")
@click.option("--legacy/--no-legacy", default=None, help="Write npy and json files, too.")
@click.option("--storage-path", type=click.Path(path_type=Path), help="Their folder (data/ml_training).")
@click.option(
    "--book-stale-s", type=float, help="Seconds without an update: the book is asked for anew (10)."
)
@click.option("--track-ms", type=int, help="Least distance of two rows of the price track (0: every change).")
@click.option("--flush-raw-s", type=float, help="Seconds between two writes of the raw store (300).")
@click.option("--keep-messages", is_flag=True, default=None, help="Keep every message as it came, too.")
@click.option("--raw-lob", is_flag=True, default=None, help="Keep windows of the raw book, too.")
@click.option("--levels", type=int, help="Levels per side of these (20).")
@click.option("--min-interval-ms", type=int, help="Least distance of two of their states (5000).")
@click.option("--raw-lob-ring", type=int, help="States of a symbol that wait for the disk (100).")
@click.option("--raw-lob-memory-mb", type=float, help="Memory of all states that wait (150).")
@click.option("--raw-lob-keep-days", type=float, help="Remove their files after so many days (never).")
@click.option("--metrics-port", type=int, help="Serve Prometheus metrics to this machine.")
@click.option(
    "--model",
    metavar="RUN",
    help="Run of `train` whose answers fill the samples' signals (none: they are empty).",
)
@click.option("--duration", help="End after so long: 90s, 15m, 1h, 7d. Without it: Ctrl-C.")
@click.option("--watch", is_flag=True, help="Show a live table on standard error.")
@click.option("--simulator", is_flag=True, help="Start the shipped exchange and collect from it: no network.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="With --simulator: market seconds per second (1).",
)
@click.option("--faults", help="With --simulator: what goes wrong, such as drop@30,close@60 or random:7.")
@click.option(
    "--status", is_flag=True, help="Print the statistics of the running or last collector, and end."
)
@click.option("--dry-run", is_flag=True, help="Check the settings, print what would be collected, and end.")
@click.pass_obj
def collect(invocation: Invocation, /, **given: Any) -> int:
    """Collect order book, trades and candles without loss, and a sample of features every 30 seconds.

    Runs until Ctrl-C, SIGTERM or the end of --duration, then writes what is buffered. What a crash leaves is read
    back at the next start; killed at any moment, it costs the last tenth of a second. Options without a value here
    come from the table [market] of earmark.toml. No key is needed.

    With --model, a model answers beside, as `earmark live market` does: signal_type, signal_confidence and
    signal_strength of a sample are what `earmark predict market` gives for it. Collecting never waits for the model;
    samples that it had no full window or no time for keep empty signals and are counted.

    \b
    Examples:
      earmark collect market --symbols BTCUSDT,ETHUSDT
      earmark collect market --symbols BTCUSDT --profile bot --legacy --watch
      earmark collect market --symbols BTCUSDT --simulator --speed 60 --duration 1h
      earmark collect market --symbols BTCUSDT --model latest
      earmark collect market --status
    """
    overrides = {
        "market__" + _NAMED_OTHERWISE.get(name, name): value
        for name, value in given.items()
        if name not in _NOT_SETTINGS
    }
    settings = invocation.settings(**overrides)
    if given["status"]:
        return _print_status(invocation, settings)
    if given["dry_run"]:
        return _print_plan(invocation, settings, given["model"])
    return _collect(invocation, settings, given)


def _collect(invocation: Invocation, settings: EffectiveSettings, given: dict[str, Any]) -> int:
    from earmark.cli.market.watching import watching
    from earmark.cli.output import emit, note
    from earmark.tasks.market.collect.verb import collect as run_collect
    from earmark.tasks.market.collect.verb import parse_duration

    duration_s = None if given["duration"] is None else parse_duration(given["duration"])
    simulation = simulation_of(given)
    with watching(invocation, is_wanted=given["watch"]) as show:
        finished = run_collect(
            settings,
            duration_s=duration_s,
            simulation=simulation,
            model=given["model"],
            on_status=show,
            on_compile=compiling_note(invocation),
        )
    if finished.recovered_samples or finished.recovered_rows:
        note(
            invocation,
            f"Recovered from an earlier collector: {finished.recovered_samples} samples, "
            f"{finished.recovered_rows} raw rows.",
        )
    note(
        invocation,
        f"Collected {finished.n_samples} samples and {finished.n_raw_rows} raw rows; {finished.n_files} files.",
    )
    _note_samples(invocation, finished.statistics)
    emit(invocation, _symbol_rows(finished.statistics), document=finished.statistics)
    return 0


def compiling_note(invocation: Invocation) -> Callable[[], None]:
    """Says on standard error why nothing happens yet, for `on_compile` of `earmark.tasks.market.collect`."""
    from earmark.cli.output import note

    return lambda: note(invocation, "Preparing compiled code, once on this machine: up to a minute ...")


def simulation_of(given: dict[str, Any]) -> Simulation | None:
    """What ``--simulator``, ``--speed`` and ``--faults`` ask for; None where they do not."""
    from earmark.errors import UsageError
    from earmark.tasks.market.collect.verb import Simulation

    if given["simulator"]:
        if given["url"] or given["rest_url"] or given["testnet"]:
            raise UsageError(
                "--simulator is an exchange of its own. Leave out --url, --rest-url and --testnet."
            )
        return Simulation(given["speed"] or 1.0, given["faults"] or "")
    if given["speed"] is not None or given["faults"] is not None:
        raise UsageError(
            "--speed and --faults are of the simulated exchange. Give --simulator, or leave them out."
        )
    return None


def _print_status(invocation: Invocation, settings: EffectiveSettings) -> int:
    from earmark.cli.output import emit, note
    from earmark.tasks.market.collect.status import read_status
    from earmark.tasks.market.collect.verb import places_of

    found = read_status(places_of(settings).status)
    state = f"running (process {found['pid']})" if found["is_running"] else "not running"
    note(invocation, f"{state}; {found['total_samples']} samples, as of {found['updated']}")
    _note_samples(invocation, found)
    emit(invocation, _symbol_rows(found), document=found)
    return 0


def _print_plan(invocation: Invocation, settings: EffectiveSettings, model: str | None) -> int:
    from earmark.cli.output import emit
    from earmark.tasks.market.collect.verb import plan

    found = plan(settings, model=model)
    emit(invocation, [{"setting": name, "value": value} for name, value in found.items()], document=found)
    return 0


def _note_samples(invocation: Invocation, found: dict[str, Any]) -> None:
    from earmark.cli.market.watching import signal_text
    from earmark.cli.output import note

    note(invocation, _accounted(found["samples"]))
    if found.get("model"):  # an earlier program's status file has none
        note(invocation, signal_text(found["model"]))


def _accounted(samples: dict[str, Any]) -> str:
    """Samples that were due, and what became of them."""
    why = ", ".join(f"{n} {code}" for code, n in samples["skipped"].items())
    n_skipped = sum(samples["skipped"].values())
    return f"{samples['expected']} samples were due: {samples['taken']} taken, {n_skipped} skipped" + (
        f" ({why})." if why else "."
    )


def _symbol_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "state": row["state"],
            "mid": row["mid"],
            "spread": row["spread"],
            "updates_per_s": row["updates_per_s"],
            "samples": row["total_samples"],
            "expected": row["expected"],
            "skipped": ", ".join(f"{code} {n}" for code, n in row["skipped"].items()),
            "buffer": row["buffer_size"],
            "gaps": row["counts"].get("gaps", 0),
            "age_s": row["age_s"],
        }
        for symbol, row in found["symbols"].items()
    ]
