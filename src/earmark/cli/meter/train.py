"""`earmark train meter`: a model on one view of the features, over one seed or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.train import TrainOptions
    from earmark.training.runs import Run

__all__ = [
    "MODEL_OPTIONS",
    "ROW_OPTIONS",
    "model_options",
    "row_options",
    "show_ablation",
    "train",
    "train_options",
]

_TOKEN_SPLITS = ("uniform", "semantic", "v2", "v3", "v4", "semantic_v2", "semantic_v3", "semantic_v4")

MODEL_OPTIONS = (
    click.option("--hidden", type=click.IntRange(min=1), help="Units of mlp and hybrid (640, 512)."),
    click.option("--n-blocks", type=click.IntRange(min=0), help="Residual blocks (1)."),
    click.option("--dropout-scale", type=click.FloatRange(min=0), help="Factor of every dropout (1)."),
    click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="First learning rate (8e-4)."),
    click.option("--batch-size", type=click.IntRange(min=2), help="Rows per step (64)."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs at most (200)."),
    click.option("--focal", is_flag=True, help="Focal loss, gamma 2."),
    click.option(
        "--aug-mode",
        type=click.Choice(["cutmix", "cutmix_range", "mixup", "none"]),
        help="How rows are mixed.",
    ),
    click.option(
        "--balance",
        type=click.Choice(["pos_weight", "sampler", "both", "none"]),
        help="How rare classes are made up for (pos_weight).",
    ),
    click.option("--n-tokens", type=click.IntRange(min=1), help="Tokens of ftt, of equal width (12)."),
    click.option("--n-heads", type=click.IntRange(min=1), help="Heads of attention (4)."),
    click.option("--token-split", type=click.Choice(_TOKEN_SPLITS), help="Columns of one token (v4)."),
    click.option(
        "--metric",
        type=click.Choice(["val_balanced", "val_accuracy"]),
        help="What chooses the epoch and ranks runs (val_balanced).",
    ),
)
"""Options of a model, which the search has, too."""


def model_options(function: Any) -> Any:
    """All of `MODEL_OPTIONS`."""
    for option in reversed(MODEL_OPTIONS):
        function = option(function)
    return function


ROW_OPTIONS = (
    click.option(
        "--extra-data/--no-extra-data",
        default=True,
        help="Train on WIKIMETER beside the other data sets (default), or without it.",
    ),
    click.option(
        "--kfold",
        type=click.IntRange(min=0),
        default=0,
        help="So many folds, drawn anew for this training; 0: those that were prepared.",
    ),
    click.option(
        "--balance-source",
        is_flag=True,
        help="Let all sources of a class count the same, so that the source says less of the class.",
    ),
)
"""Which rows train, which the search has, too."""


def row_options(function: Any) -> Any:
    """All of `ROW_OPTIONS`."""
    for option in reversed(ROW_OPTIONS):
        function = option(function)
    return function


@command("train")
@click.option(
    "--model",
    metavar="NAME",
    default="boosting",
    help="boosting (no torch), mlp, ftt, hybrid, ensemble, forest, logistic; onset, and fusion, which builds on it.",
)
@model_options
@click.option("--features", "--view", "view", help="Feature set (default: the task's).")
@click.option("--no-mert", is_flag=True, help="Audio alone: a1449.")
@click.option("--mert-only", is_flag=True, help="MERT alone: mert1536; needs its checkpoint.")
@click.option(
    "--mert-layer",
    type=click.IntRange(0, 11),
    help="Layer of MERT, counted from 0 (3); what answers needs it in earmark.toml.",
)
@click.option("--no-beat-features", is_flag=True, help="Without beats and signals: a1449.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any parameter of the model.")
@row_options
@click.option(
    "--limit",
    "n_rows",
    type=click.IntRange(min=0),
    default=0,
    help="So many rows, classes in proportion, for a trial whose run is named test-...; 0: all.",
)
@click.option(
    "--extract", "warms", is_flag=True, help="Fill the cache phase by phase first, as `extract` does."
)
@click.option(
    "--device",
    type=click.Choice(["cpu"]),
    help="Where networks train: the CPU, on which they repeat bit for bit.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything that is drawn (42).")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, help="Train so many seeds, show mean and spread."
)
@click.option("--workers", "-w", type=click.IntRange(min=1), help="Processes for features that are missing.")
@click.option("--log-every", type=click.IntRange(min=1), default=10, help="Epochs between lines.")
@click.option(
    "--ablate", is_flag=True, help="Leave out one group or signal at a time; show what each is worth."
)
@click.option(
    "--save", is_flag=True, help="Let `best`, which `evaluate meter` takes, be the best of these runs."
)
@click.option("--promote", is_flag=True, help="Let predictions use the best run, unless it is clearly worse.")
@click.option("--force", is_flag=True, help="Train also where an equal run exists.")
@click.option("--resume/--no-resume", default=True, help="Go on with an interrupted training, or start anew.")
@click.pass_obj
def train(invocation: Invocation, /, **given: Any) -> int:
    """Train a model of meter on the prepared folds.

    Every fold is scored by a model that did not see its groups, and chooses its epoch on rows apart from both. The
    final model is fitted on all rows for the median of the folds' lengths. The sealed test set is not touched.

    \b
    Examples:
      earmark train meter
      earmark train meter --model mlp --hidden 512 --n-blocks 2 --dropout-scale 1.5
      earmark train meter --model ftt --token-split v4 --seeds 5
      earmark train meter --model boosting --set max_depth=4 --ablate
      earmark train meter --model onset && earmark extract meter && earmark train meter --model fusion
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import emit, note
    from earmark.tasks.meter.experiments import note_experiment
    from earmark.tasks.meter.training.search import keep_as_best
    from earmark.tasks.meter.training.settings import model_algorithm, seed_summary
    from earmark.training.runs import best_run

    project = open_project(
        invocation,
        "meter",
        seed=given["seed"],
        workers=given["workers"],
        meter__mert_layer=given["mert_layer"],
    )
    algorithm = model_algorithm(given["model"])
    options = train_options(project, algorithm, given)
    if given["warms"]:
        _warm(invocation, project, given)
    if given["ablate"]:
        return show_ablation(invocation, project, options, given)
    runs = _trained(invocation, project, options, algorithm, given)
    metric = options.metric or project.task.metric
    rows = [_row(run, metric) for run in runs]
    emit(invocation, rows, document={"task": "meter", "metric": metric, "runs": rows})
    if len(runs) > 1:
        mean, spread = seed_summary([row[metric] for row in rows])
        note(invocation, f"{metric} over {len(runs)} seeds: {mean:.4f} +- {spread:.4f}")
    best = best_run(runs, metric)
    note_experiment(project, "train", {"metric": metric, "runs": rows}, runs)
    if given["model"].strip().lower() == "onset":
        _keep_onset(invocation, project, runs, best, is_trial=bool(given["n_rows"]))
    if given["save"]:
        keep_as_best(project, best)
        note(invocation, f"`best` is {best.name}.")
    if given["promote"]:
        from earmark.tasks.verbs.promote import promote

        promote(project.runs_folder, best.name, reason="train meter --promote")
        note(invocation, f"Predictions use {best.name}.")
    else:
        note(invocation, f"To predict with it: earmark runs promote {best.name}")
    return 0


def train_options(project: Project, algorithm: str, given: dict[str, Any]) -> TrainOptions:
    """The generic verb's options for those of this command."""
    from earmark.cli.train import parse_parameters
    from earmark.tasks.meter.extraction import ADDED_SET
    from earmark.tasks.meter.training.settings import chosen_view, estimator_parameters, named_model
    from earmark.tasks.verbs.rows import RowChoice
    from earmark.tasks.verbs.train import TrainOptions

    named = dict(given)
    named["token_split"] = (given["token_split"] or "").removeprefix("semantic_") or None
    own = named_model(str(given.get("model") or ""))
    parameters = {**(own.parameters if own else {}), **estimator_parameters(algorithm, named)}
    texts = [f"{algorithm}.{text}" for text in given["assignments"]]
    parameters |= parse_parameters(texts).get(algorithm, {})
    view = chosen_view(
        project,
        given["view"] or (own.view if own else None),
        no_mert=given["no_mert"],
        mert_only=given["mert_only"],
        no_beats=given["no_beat_features"],
    )
    if own and view != own.view:
        raise click.UsageError(f"--model {given['model']} reads {own.view}; it has no other features.")
    return TrainOptions(
        features=view,
        algorithms=(algorithm,),
        metric={"val_accuracy": "accuracy", "val_balanced": "balanced_accuracy", None: None}[given["metric"]],
        parameters={algorithm: parameters},
        resume=given.get("resume", True),
        force=given.get("force", False),
        rows=RowChoice(
            left_out={} if given["extra_data"] else {"dataset": (ADDED_SET,)},
            limit=given.get("n_rows", 0),
            n_folds=given["kfold"],
            balance_sources=given["balance_source"],
        ),
    )


def _warm(invocation: Invocation, project: Project, given: Mapping[str, Any]) -> None:
    """What is missing of the training rows, one kind of work at a time."""
    from earmark.cli.output import complain_of, note
    from earmark.cli.progress import progress
    from earmark.tasks.meter.extraction import chosen_items, chosen_phases, warm

    items = chosen_items(project, "tuning", extra_data=given["extra_data"])
    with progress(invocation) as tell:
        done = warm(project, items, chosen_phases(()), workers=given["workers"], progress=tell)
    for name, error in {failure.id: failure.error for phase in done for failure in phase.failures}.items():
        complain_of(name, error)
    for phase in done:
        note(
            invocation,
            f"{phase.after.phase}: {phase.after.cached}/{phase.after.items}, {phase.computed} computed",
        )


def _trained(
    invocation: Invocation, project: Project, options: TrainOptions, algorithm: str, given: dict[str, Any]
) -> list[Run]:
    """A run per seed."""
    from dataclasses import replace

    from earmark.cli.progress import progress
    from earmark.tasks.meter.training.settings import seed_of
    from earmark.tasks.verbs.train import train as run_train

    runs: list[Run] = []
    with progress(invocation) as tell:
        for seed in range(project.settings.seed, project.settings.seed + given["seeds"]):
            of_seed = seed_of(algorithm, seed) if given["seeds"] > 1 else {}
            parameters = {algorithm: {**dict((options.parameters or {})[algorithm]), **of_seed}}
            trained = run_train(
                project,
                replace(options, parameters=parameters),
                progress=tell,
                on_event=lambda event: _line(invocation, event, given["log_every"]),
            )
            runs += trained.runs
    return runs


def _keep_onset(
    invocation: Invocation, project: Project, runs: Sequence[Run], best: Run, *, is_trial: bool
) -> None:
    """Record which rows each run learnt, and let the best be what `fusion72` asks, unless it is a trial."""
    from earmark.cli.output import note
    from earmark.tasks.meter.onset_runs import keep_onset_model, write_record

    dataset, _ = project.training_data(project.task.features("a1449"))
    for run in runs:
        write_record(run, dataset)
    if is_trial:
        return
    keep_onset_model(best)
    note(
        invocation,
        f"The onset model is {best.name}; `earmark extract meter` asks it, and fusion72 has its answers.",
    )


def _line(invocation: Invocation, event: Mapping[str, Any], every: int) -> None:
    from earmark.cli.events import tell_training
    from earmark.cli.output import note

    tell_training(event)
    line = epoch_line(event, every)
    if line:
        note(invocation, line)


def epoch_line(event: Mapping[str, Any], every: int) -> str:
    """A score, or every so many epochs an epoch, in one line; ``""`` of anything else."""
    if event["event"] == "score":
        return f"{event['stage']}: {event['score']:.4f}"
    if event["event"] != "epoch" or (int(event["epoch"]) + 1) % every:
        return ""
    shown = {
        "training_accuracy": "train",
        "validation_balanced_accuracy": "val balanced",
        "validation_accuracy": "val overall",
        "validation_loss": "val loss",
    }
    scores = ", ".join(f"{label} {event[name]:.3f}" for name, label in shown.items() if name in event)
    return f"{event['stage']} epoch {int(event['epoch']) + 1}: {scores}"


def _row(run: Run, metric: str) -> dict[str, Any]:
    scores = {name: run.metrics[name]["value"] for name in dict.fromkeys((metric, "accuracy"))}
    return {"run": run.name, "model": run.algorithm, "seed": _seed(run), **scores}


def _seed(run: Run) -> int:
    recipe = run.config["recipe"]
    return int(recipe["params"].get("seed", recipe["seed"]))


def show_ablation(
    invocation: Invocation, project: Project, options: TrainOptions, given: Mapping[str, Any]
) -> int:
    """Compute an ablation, or with --dry-run and --summary show what is known of it, with --reset forget it."""
    from earmark.cli.events import tell_training
    from earmark.cli.output import emit, note
    from earmark.tasks.meter.experiments import note_experiment
    from earmark.tasks.meter.training.ablation import Ablation

    ablation = Ablation.open(project, options, n_seeds=given["seeds"], multi=given.get("multi", False))
    if given.get("reset"):
        note(invocation, f"Forgotten: {ablation.search.reset()} points.")
        return 0

    def tell(event: Mapping[str, Any]) -> None:
        tell_training(event)
        score = event["error"] or f"{event['score']:.4f}"
        note(invocation, f"[{event['done']}/{event['total']}] {dict(event['values'])}: {score}")

    is_shown = bool(given.get("dry_run") or given.get("summary"))
    workers, threads = given.get("parallel_runs", 1), given.get("threads_per_run")
    found = ablation.rows() if is_shown else ablation.run(workers=workers, threads=threads, on_event=tell)
    rows = [row.to_json() for row in found]
    emit(invocation, rows, document={"task": "meter", "metric": ablation.search.rank_by, "rows": rows})
    if not is_shown:
        note_experiment(project, "ablate", {"metric": ablation.search.rank_by, "rows": rows}, ())
    return 1 if any(row.status == "FAIL" for row in found) else 0
