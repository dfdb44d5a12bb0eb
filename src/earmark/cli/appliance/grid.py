"""`earmark grid appliance`: a search over settings on inner folds of what trains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.appliance.train import open_room, settings_of, train_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.appliance.training.search import ScoredPoint

__all__ = ["grid"]

_DEFAULT_SPACE = {"c": [0.1, 1.0, 10.0], "masked_loss": [0.0, 0.25, 1.0]}
"""Of models on columns."""

_NETWORK_SPACE = {
    "network.lr_head": [3e-4, 1e-3],
    "network.weight_decay": [1e-3, 1e-2],
    "masked_loss": [0.0, 0.25, 1.0],
}


@command("grid")
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=A,B",
    help="Values of a setting: model, estimator, features, c, masked_loss, network.<setting>, trees.<parameter>.",
)
@train_options
@click.option("--limit", type=click.IntRange(min=1), help="Compute so many points and stop.")
@click.option("--dry-run", is_flag=True, help="Show the points and compute nothing.")
@click.option("--summary", is_flag=True, help="Show what is computed, the best first.")
@click.option("--reset", is_flag=True, help="Forget all points.")
@click.pass_obj
def grid(invocation: Invocation, /, **given: Any) -> int:
    """Search settings of a detector on inner folds: what a protocol scores takes no part.

    A point's score is the log loss of public states in the worse direction; the lower, the better. Points are kept one
    by one, so that a search that was stopped goes on.

    \b
    Examples:
      earmark grid appliance
      earmark grid appliance --vary model=spectral,logmel256 --vary c=0.1,1,10
      earmark grid appliance --summary
    """
    from earmark.cli.events import tell_training
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.appliance.training.search import DetectorSearch

    project = open_room(invocation, {**given, "output_dir": None})
    settings = settings_of(project, given)
    defaults = _NETWORK_SPACE if settings.kind.network else _DEFAULT_SPACE
    search = DetectorSearch(project, settings, _space(given["vary"]) or defaults)
    if given["reset"]:
        note(invocation, f"Forgotten: {search.reset()} points.")
        return 0

    def tell(event: Mapping[str, Any]) -> None:
        point = event["point"]
        told = {name: getattr(point, name) for name in ("values", "status", "score", "error")}
        tell_training({name: event[name] for name in ("event", "done", "total")} | told)
        note(
            invocation,
            f"[{event['done']}/{event['total']}] {dict(point.values)}: {point.error or f'{point.score:.4f}'}",
        )

    with progress(invocation) as show:
        is_shown = given["dry_run"] or given["summary"]
        points = (
            search.points(show)
            if is_shown
            else search.run(limit=given["limit"], on_event=tell, progress=show)
        )
    ordered = points if given["dry_run"] else sorted(points, key=_rank)
    emit(invocation, [_row(point) for point in ordered])
    return 1 if any(point.status == "failed" for point in points) else 0


def _space(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``NAME=A,B`` as lists; numbers are numbers."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise click.UsageError(f"--vary {text}: expected NAME=A,B, e.g. c=0.1,1,10.")
        found[name.strip().replace("-", "_") if "." not in name else name.strip()] = [
            _value(one) for one in values.split(",")
        ]
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _rank(point: ScoredPoint) -> tuple[bool, float]:
    return point.status != "done", point.score


def _row(point: ScoredPoint) -> dict[str, Any]:
    return {
        **point.values,
        "status": point.status,
        "score": point.score,
        "folds": list(point.folds),
        "seconds": point.seconds,
        "error": point.error,
    }
