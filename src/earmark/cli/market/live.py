"""`earmark live market`: what a model says of an exchange, while it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.market.predictions import answerer_of, model_options, record_lines
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.serving.answers import Answerer
    from earmark.tasks.market.serving.live import Duel
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["live"]


@command("live")
@model_options
@click.option("--challenger", metavar="RUN", help="A run that answers a tenth of the rows, to be compared.")
@click.option("--venue", type=click.Choice(["bybit", "binance"]), help="Exchange (bybit).")
@click.option("--depth", type=int, help="Levels per side of the book (200).")
@click.option("--testnet", is_flag=True, default=None, help="Use the exchange's test network.")
@click.option("--url", help="WebSocket address in place of the venue's.")
@click.option("--rest-url", help="REST address in place of the venue's.")
@click.option("--keep", is_flag=True, help="Keep what is collected in the project, as collect does.")
@click.option(
    "--serve", type=click.IntRange(0, 65535), metavar="PORT", help="Also send the lines to WebSockets here."
)
@click.option("--duration", help="End after so long: 90s, 15m, 1h. Without it: Ctrl-C.")
@click.option("--simulator", is_flag=True, help="Use the shipped exchange: no network.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="With --simulator: market seconds per second (1).",
)
@click.option("--faults", help="With --simulator: what goes wrong, such as drop@30,close@60.")
@click.pass_obj
def live(invocation: Invocation, /, **given: Any) -> int:
    """Follow an exchange and predict each sample as it is taken; a line of JSON each. No key is needed.

    The features come of the pipeline that collects, so a record is what `earmark predict market` gives for the same
    sample. Stored rows of the last minutes are the model's history; without them it abstains until a window is full
    (warming_up). Nothing is traded.

    With --challenger, rows are divided 90/10 by their key; `earmark evaluate market --ab` tells how both stand.

    \b
    Examples:
      earmark live market --symbols BTCUSDT,ETHUSDT
      earmark live market --symbols BTCUSDT --simulator --speed 60 --duration 2h
      earmark live market --symbols BTCUSDT --challenger 20250601-1200
    """
    from contextlib import ExitStack

    from earmark.cli.market.collect import compiling_note, simulation_of
    from earmark.cli.output import note
    from earmark.tasks.market.collect.verb import parse_duration
    from earmark.tasks.market.serving.broadcast import broadcasting
    from earmark.tasks.market.serving.live import LiveOptions
    from earmark.tasks.market.serving.live import live as run_live

    named = ("symbols", "venue", "depth", "testnet", "url", "rest_url")
    settings = invocation.settings(**{f"market__{name}": given[name] for name in named})
    answerer = _answerer(invocation, settings, given)
    duration = None if given["duration"] is None else parse_duration(given["duration"])
    options = LiveOptions(duration, simulation_of(given), given["keep"])
    with ExitStack() as stack:
        write = stack.enter_context(record_lines(given["output"]))
        if given["serve"] is not None:
            server = stack.enter_context(broadcasting(given["serve"]))
            note(invocation, f"Records go to ws://127.0.0.1:{server.port}/ too.")
            inner = write

            def write(record: dict[str, Any]) -> None:
                inner(record)
                server.send(record)

        finished = run_live(settings, answerer, write, options, on_compile=compiling_note(invocation))
    note(invocation, f"{finished.n_samples} samples were answered.")
    return 0


def _answerer(invocation: Invocation, settings: EffectiveSettings, given: dict[str, Any]) -> Answerer | Duel:
    champion = answerer_of(invocation, given["run_name"], given["threshold"])
    if given["challenger"] is None:
        return champion
    import time

    from earmark.cli.output import note
    from earmark.tasks.market.serving.challenge import Challenge
    from earmark.tasks.market.serving.live import CHALLENGE_FILE, Duel
    from earmark.tasks.market.serving.model import chosen_run, dataset_record

    challenger = answerer_of(invocation, given["challenger"], given["threshold"])
    source = dataset_record(chosen_run(invocation.folder, champion.model.version))["source"]
    challenge = Challenge(
        settings.path("data") / CHALLENGE_FILE,
        champion.model.version,
        challenger.model.version,
        horizon_s=champion.model.horizon_s,
        label_set=source["label_set"],
        now_ms=time.time_ns() // 1_000_000,
    )
    note(invocation, f"Experiment {challenge.id}: {challenge.state().reason}.")
    return Duel(champion, challenger, challenge)
