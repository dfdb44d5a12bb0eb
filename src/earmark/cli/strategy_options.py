"""Options of `train` that say how rows of a second source train, and the table that compares strategies."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.train import TrainedModels, TrainOptions
    from earmark.training.strategy import Strategy

__all__ = ["chosen_strategies", "compared", "strategy_options"]

_OPTIONS = (
    click.option(
        "--strategy",
        "strategies",
        multiple=True,
        metavar="NAME",
        help="How rows of a second source train; may be repeated; `all` compares them on the same folds.",
    ),
    click.option(
        "--user-weight", type=float, help="What a scored row counts where another counts 1 (default: 3)."
    ),
    click.option("--deam-weight", type=float, help="What a row of the other source counts (default: 1)."),
    click.option(
        "--per-source", type=click.IntRange(min=1), help="Rows of each source in `balanced` (default: 400)."
    ),
    click.option(
        "--align",
        type=click.Choice(["none", "moments", "coral"]),
        help="Move the other source's features first.",
    ),
    click.option("--normalize-source", "align", flag_value="moments", help="The same as --align moments."),
    click.option("--transfer-rate", type=float, help="Learning rate of the second half of `transfer`."),
    click.option("--blend-weights", metavar="A,B", help="Weights of a blend (default: 0.6,0.4)."),
    click.option("--optimize", is_flag=True, help="Search the weights of a blend, nested by fold."),
    click.option(
        "--draws",
        type=click.IntRange(min=1),
        help="Repeat a comparison of strategies on folds drawn anew, N times.",
    ),
)
_NAMES = ("user_weight", "deam_weight", "per_source", "align", "transfer_rate", "blend_weights", "optimize")


def strategy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; `function` gets ``strategies`` (tuple of Strategy), ``all_strategies`` and ``draws``."""

    @functools.wraps(function)
    def with_strategies(*arguments: Any, **given: Any) -> Any:
        settings = {name: given.pop(name) for name in _NAMES}
        names = given["strategies"]
        given["strategies"] = chosen_strategies(names, **_settings(**settings))
        _require_comparison(given["draws"], given["strategies"])
        return function(*arguments, all_strategies="all" in names, **given)

    for option in reversed(_OPTIONS):
        with_strategies = option(with_strategies)
    return with_strategies


def chosen_strategies(names: Sequence[str], **given: Any) -> tuple[Strategy, ...]:
    """Strategies by name, ``all`` being every one, with the settings that were given."""
    from earmark.errors import UsageError
    from earmark.training.strategy import STRATEGIES, Strategy

    settings = {name: value for name, value in given.items() if value is not None}
    if settings and not names:
        options = ", ".join(sorted(settings))
        raise UsageError(
            f"{options} set a strategy, and none was named. Add --strategy weighted, for example."
        )
    wanted = [part for name in names for part in (STRATEGIES if name == "all" else name.split(","))]
    return tuple(dict.fromkeys(Strategy(name, **settings) for name in wanted))


def compared(
    invocation: Invocation,
    project: Project,
    trained: TrainedModels,
    options: TrainOptions,
    draws: int | None,
    document: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[str]]:
    """The table of strategies, in place of the plain one, and what of it fits on a terminal; the sentence goes to the
    notes.
    """
    from earmark.cli.output import note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.strategies import compare_strategies, drawn_scores, sentence_of, write_table

    with progress(invocation) as tell:
        drawn = drawn_scores(project, trained, options, draws, progress=tell) if draws else None
    table = compare_strategies(
        trained.runs, trained.dataset, trained.metric, seed=project.settings.seed, drawn=drawn
    )
    document["strategies"] = [row.to_json() for row in table]
    document["sentence"] = sentence_of(table)
    path = write_table(table, trained.best.path / "strategies.csv")
    note(invocation, document["sentence"])
    note(invocation, f"Table: {path}")
    return [row.to_row() for row in table], table[0].short_columns()


def _settings(
    *,
    user_weight: float | None,
    deam_weight: float | None,
    per_source: int | None,
    align: str | None,
    transfer_rate: float | None,
    blend_weights: str | None,
    optimize: bool,
) -> dict[str, Any]:
    """What the options mean for a `Strategy`; None where nothing was said."""
    if deam_weight is not None:
        user_weight = (user_weight or 3.0) / _positive(deam_weight)
    return {
        "user_weight": user_weight,
        "per_source": per_source,
        "align": align,
        "learning_rate": transfer_rate,
        "member_weights": _pair(blend_weights),
        "search": optimize or None,
    }


def _require_comparison(draws: int | None, strategies: Sequence[Strategy]) -> None:
    from earmark.errors import UsageError

    if draws and len(strategies) < 2:
        raise UsageError(
            f"--draws {draws} repeats a comparison, and there is none. Name several: --strategy all."
        )


def _pair(text: str | None) -> tuple[float, float] | None:
    from earmark.errors import UsageError

    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--blend-weights {text!r}: expected two numbers, for example 0.6,0.4.") from None
    return first, second


def _positive(weight: float) -> float:
    from earmark.errors import UsageError

    if not weight > 0:
        raise UsageError(f"--deam-weight is {weight}, expected a number above 0.")
    return weight
