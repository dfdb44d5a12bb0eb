"""`earmark grid market`: search for settings of a training, group by group."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.search.search import SearchRequest
    from earmark.tasks.market.search.state import Folder
    from earmark.tasks.market.search.study import TrialRow

__all__ = ["grid"]

EXIT_INTERRUPTED = 130
EPOCHS = 4
"""Of a trial of a network: enough to tell hopeless settings."""


@command("grid")
@click.option("--model", metavar="NAME", default="hybrid_cnn_lstm", help="A network, gbm or logistic.")
@click.option(
    "--method", type=click.Choice(["tpe", "grid", "random"]), default="tpe", help="How values are chosen."
)
@click.option(
    "--mode",
    type=click.Choice(["full", "quick", "group", "resume", "fine_tune"]),
    default="full",
    help="All groups, the first ones briefly, one group, what was begun, or around the best.",
)
@click.option("--group", metavar="NAME", help="With --mode group: which, e.g. regularization.")
@click.option("--trials", type=click.IntRange(min=1), help="Trials per group (15; quick: 5).")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs per trial (4); of trees their number.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=24.0, help="Hours, over all sittings."
)
@click.option("--metric", default="val_f1", help="val_f1, val_accuracy, val_mcc or val_loss.")
@click.option("--patience", type=click.IntRange(min=0), default=5, help="Trials without gain; 0: all run.")
@click.option("--seed", type=click.IntRange(min=0), default=42, help="Seed of the values that are tried.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that take trials.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Setting of `train`; may be repeated."
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML or JSON file with settings of `train`.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be searched, and leave.")
@click.option("--summary", is_flag=True, help="Print what was found, and leave.")
@click.option("--reset", is_flag=True, help="Remove all trials first.")
@click.pass_obj
def grid(invocation: Invocation, /, **given: Any) -> int:
    """Search for settings of a training: a group of settings at a time, its winner frozen for the next.

    Trials train a few epochs and are scored on the validation windows; the test part is never read. Hopeless trials are
    ended early, and a group that no longer improves is left. Ctrl-C ends the search after the running epoch; it goes on
    with --mode resume, also after a crash. Needs the extra `search`.

    \b
    Examples:
      earmark grid market --mode quick --model gbm
      earmark grid market --method tpe --mode group --group regularization --trials 30
      earmark grid market --mode resume
      earmark train market --config data/hyperopt/best_params.json
    """
    from earmark.tasks.market.prepare import data_folder
    from earmark.tasks.market.search.search import continued
    from earmark.tasks.market.search.state import Folder

    folder = Folder(data_folder(invocation.folder) / "hyperopt")
    if given["summary"]:
        return _print_summary(invocation, folder)
    if given["reset"]:
        folder.reset()
    timeout_s = 3600 * given["timeout"]
    if given["mode"] == "resume":
        _refuse_new_settings()
        request = continued(folder, timeout_s)
    else:
        request = _request(given, timeout_s)
    if given["dry_run"]:
        return _print_plan(invocation, folder, request)
    return _search(invocation, folder, request, given["workers"])


def _refuse_new_settings() -> None:
    from earmark.cli.exclusive import refuse_beside

    refuse_beside("--mode resume", ("mode", "timeout", "workers", "dry_run"))


def _request(given: Mapping[str, Any], timeout_s: float) -> SearchRequest:
    from earmark.cli.market.train import assigned, settings_of_file
    from earmark.models.sequence.neural import NetworkEstimator
    from earmark.models.sequence.registry import canonical_name, model_class
    from earmark.tasks.market.search.search import SearchRequest

    file = {} if given["config"] is None else settings_of_file(given["config"])
    base = {"preset": "cli", **file, **assigned(given["assignments"])}
    model = canonical_name(str(base.pop("model_name", given["model"])))
    epochs = given["epochs"] or (EPOCHS if issubclass(model_class(model), NetworkEstimator) else None)
    return SearchRequest(
        model,
        base,
        {} if epochs is None else {"epochs": epochs},
        method=given["method"],
        mode=given["mode"],
        group=given["group"],
        n_trials=given["trials"],
        metric=given["metric"],
        timeout_s=timeout_s,
        seed=given["seed"],
        patience=given["patience"],
    )


def _search(invocation: Invocation, folder: Folder, request: SearchRequest, workers: int) -> int:
    from functools import partial

    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.search.objective import project_objective
    from earmark.tasks.market.search.search import search

    make = partial(
        project_objective, invocation.folder, request.model_name, {**request.base, **request.trial}
    )
    with progress(invocation) as draw, _interruptible(invocation) as should_stop:
        found = search(
            folder,
            request,
            make,
            workers=workers,
            should_stop=should_stop,
            on_trial=_telling(invocation, request, draw),
        )
    emit(invocation, [_result_row(result) for result in found.results], document=_document(found))
    note(invocation, f"Best settings: {folder.path / 'best_params.json'} (for earmark train market --config)")
    if found.status == "completed":
        return 0
    note(invocation, f"The search was {found.status}. It goes on with: earmark grid market --mode resume")
    return EXIT_INTERRUPTED if found.status == "interrupted" else 0


def _telling(
    invocation: Invocation, request: SearchRequest, draw: Callable[[Any], None]
) -> Callable[[str, TrialRow], None]:
    from earmark.cli.events import tell as tell_event
    from earmark.cli.output import note
    from earmark.features.progress import Progress

    def tell(group: str, row: TrialRow) -> None:
        values = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in row.values.items()
        )
        score = "" if row.score is None else f" {request.metric} {row.score:.4f}"
        note(invocation, f"{group} trial {row.number}: {row.state}{score} ({values})")
        done = min(row.number + 1, request.limits.n_trials)
        tell_event(
            {
                "type": "trial",
                "stage": group,
                "done": done,
                "total": request.limits.n_trials,
                "values": row.values,
                "status": row.state,
                "score": row.score,
                "metric": request.metric,
            }
        )
        draw(Progress(group, done, request.limits.n_trials))

    return tell


@contextlib.contextmanager
def _interruptible(invocation: Invocation) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C ask for the end and the second enforce it."""
    import signal

    from earmark.cli.output import note

    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        note(invocation, "Ending after this epoch; what was found is kept.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_plan(invocation: Invocation, folder: Folder, request: SearchRequest) -> int:
    from earmark.cli.output import emit
    from earmark.tasks.market.search.search import kept_settings, plan

    rows = [
        {
            "group": group.name,
            "setting": name,
            "values": _in_words(dimension),
            "trials": request.limits.n_trials,
            "metric": group.metric or request.metric,
        }
        for group in plan(request, kept_settings(request, folder))
        for name, dimension in group.space.items()
    ]
    emit(invocation, rows, document={"request": request.record(), "groups": rows})
    return 0


def _in_words(dimension: Any) -> str:
    if hasattr(dimension, "values"):
        return ", ".join(map(str, dimension.values))
    return f"{dimension.low:g} to {dimension.high:g}{', by factors' if dimension.log else ''}"


def _print_summary(invocation: Invocation, folder: Folder) -> int:
    from earmark.cli.output import emit, note
    from earmark.errors import UsageError

    state = folder.read()
    if state is None:
        raise UsageError(f"Nothing was searched in `{folder.path}`. Begin: earmark grid market --mode quick")
    left = len(state.groups) - len(state.done)
    note(
        invocation,
        f"{state.status}; {left} groups left, {state.elapsed_s:.0f} s so far, as of {state.updated}",
    )
    document = {
        "status": state.status,
        "groups": state.groups,
        "results": [_result_row(result) for result in state.done],
        "best": folder.best() if folder.has_best else {},
        "trials": folder.results(),
    }
    emit(invocation, [_result_row(result) for result in state.done], document=document)
    return 0


def _document(found: Any) -> dict[str, Any]:
    return {
        "status": found.status,
        "results": [_result_row(result) for result in found.results],
        "best": found.best,
        "trials": found.trials,
    }


def _result_row(result: Any) -> dict[str, Any]:
    return {
        "group": result.group,
        "score": result.score,
        "trials": result.trials,
        "pruned": result.pruned,
        "failed": result.failed,
        "ended": result.ended,
        "settings": result.settings,
    }
