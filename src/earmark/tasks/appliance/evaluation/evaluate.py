"""`evaluate appliance`: everything that can be said of a run, on windows that it had not heard.

The headline is of all windows; scores without those that were trimmed as too loud stand beside it, and flatter. Of
fewer than `FEWEST_RECORDINGS` recordings no interval is claimed: windows of one recording are nearly copies of each
other, so each recording is listed instead. Models are ranked by their worse fold: steady results beat one high score.

Thresholds are for probabilities calibrated as the final model's, so what is said of answers is of these; what is said
of probabilities themselves, such as their calibration, is of each fold's own, which had no part in it.

Thresholds of a run are chosen on the very windows that ``val`` scores, which flatters; so every fold is also scored
with thresholds that were chosen on the other folds, each calibrated by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import EarmarkError
from earmark.evaluation import baselines
from earmark.evaluation.result import Evaluation, Stage
from earmark.evaluation.sources import score_by_source
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation import timing
from earmark.tasks.appliance.evaluation.altered import altered_scores, said_state
from earmark.tasks.appliance.evaluation.changes import Trace
from earmark.tasks.appliance.evaluation.rivals import (
    LEVEL_RULE,
    LevelRuleScores,
    Rival,
    level_rule,
    rival,
    rival_names,
)
from earmark.tasks.appliance.evaluation.scenes import Seconds, score_seconds, seconds_of
from earmark.tasks.appliance.evaluation.scored import Scored, read_scored, settings_of
from earmark.tasks.appliance.evaluation.scores import FileScores, file_medians, file_scores, window_scores
from earmark.tasks.appliance.evaluation.streamed import as_stream
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import states
from earmark.tasks.appliance.sealing import OPTIMISTIC
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings, choose
from earmark.tasks.appliance.thresholds_file import Thresholds
from earmark.tasks.appliance.training.rows import read_rows
from earmark.tasks.appliance.training.scoring import PLAIN_THRESHOLD, RANK_BY, state_probabilities

if TYPE_CHECKING:
    from earmark.features.progress import ProgressCallback
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["FEWEST_RECORDINGS", "ApplianceEvaluation", "Options", "evaluate_appliance", "model_rows"]

FEWEST_RECORDINGS = 8


@dataclass(frozen=True)
class Options:
    """What is scored.

    Parameters
    ----------
    split : {"val", "test"}
    rivals : bool
        Fit the small models and the level rule beside it.
    robustness : bool
        Alter windows by gain, noise and speech.
    timing : bool
        Play decoders over recordings of known switch times.
    seed : int
        Of draws, splices and what is added to windows.
    """

    split: str = "val"
    rivals: bool = True
    robustness: bool = True
    timing: bool = True
    seed: int = 42


@dataclass(frozen=True, eq=False)
class ApplianceEvaluation:
    """Everything that was found; `evaluation` is the part that every task has, and what its report is made from."""

    run: Run
    options: Options
    scored: Scored
    final: Detector
    thresholds: Thresholds
    rivals: tuple[Rival, ...] = ()
    level: LevelRuleScores | None = None
    altered: Sequence[Mapping[str, Any]] = ()
    timings: Sequence[timing.Timing] = ()
    seconds: Seconds | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @cached_property
    def known(self) -> Scored:
        """The windows whose truth is known: all that scores of windows and files are of."""
        return self.scored.known()

    @cached_property
    def answered(self) -> Scored:
        """All windows with the probabilities that the thresholds are for: calibrated as the final model's."""
        return timing.as_final(self.scored, self.final)

    @cached_property
    def answers(self) -> Scored:
        """Those of `answered` whose truth is known."""
        return self.answered.known()

    @cached_property
    def files(self) -> FileScores:
        """Of files at the run's thresholds."""
        return _files(self.answers, self.thresholds.t)

    @cached_property
    def windows(self) -> dict[str, dict[str, Any]]:
        """Device -> scores of windows at the run's thresholds."""
        return _windows(self.known, self.answers, self.thresholds.t)

    @cached_property
    def trimmed(self) -> dict[str, dict[str, Any]]:
        """The same without the windows that were set aside as too loud."""
        known, answers = (one.take(~one.rows.outlier) for one in (self.known, self.answers))
        return _windows(known, answers, self.thresholds.t)

    @cached_property
    def folds(self) -> list[dict[str, Any]]:
        """Per fold its files at thresholds of the run and of the other folds, and its windows."""
        parts = zip(self.known.parts(), self.answers.parts(), strict=True)
        return [self._fold(name, part, answers) for (name, part), (_, answers) in parts]

    @cached_property
    def second_rows(self) -> list[dict[str, Any]]:
        """AUROC by the second, where devices switch within recordings."""
        return [] if self.seconds is None else score_seconds(self.seconds, seed=self.options.seed)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Scores of the public state of windows, as every task has them."""
        known, config = self.known, self.run.config
        of_recordings = known.rows.recordings
        table = known.rows.table
        parts = table["daypart"] if table["daypart"].null_count() < len(table) else table["recording_id"]
        groups = of_recordings if known.n_recordings >= FEWEST_RECORDINGS else np.zeros(len(known), np.int64)
        return Evaluation(
            task="appliance",
            run=self.run.name,
            split=self.options.split,
            classes=states(self.scored.devices),
            ids=known.ids,
            paths=known.uris,
            y=known.state,
            p=known.state_p,
            groups=groups,
            folds=known.fold if len(np.unique(known.fold)) > 1 else None,
            baselines=tuple(self._baselines()),
            headline=RANK_BY,
            sources=score_by_source(known.state, known.state_p, parts.fill_null("none").to_numpy(), groups),
            set_aside=self.scored.set_aside,
            stages=(Stage(f"train {self.run.algorithm}", config["seconds"], computed=config["rows"]),),
            openings=self.scored.openings,
            has_test_set=self.scored.rows.room.seal.get("kind") != "none",
            facts=self.facts,
            item_noun="windows",
            created=config["created"],
            seed=self.options.seed,
            warnings=self.notes,
        )

    def to_json(self) -> dict[str, Any]:
        """What every task's evaluation has, and under ``appliance`` what is this task's own."""
        from earmark.tasks.appliance.evaluation.targets import target_rows

        own = {
            "notes": list(self.notes),
            "recordings": self.known.n_recordings,
            "thresholds": dict(self.thresholds.t),
            "threshold_spread": dict(self.thresholds.chosen.get("spread", {})),
            "files": _file_json(self.files),
            "windows": self.windows,
            "windows_trimmed": self.trimmed,
            "folds": self.folds,
            "models": model_rows(self),
            "level_rule": [] if self.level is None else list(self.level.rows),
            "targets": target_rows(self),
            "robustness": list(self.altered),
            "time": [one.to_json(self.scored.devices) for one in self.timings],
            "seconds": self.second_rows,
        }
        document: dict[str, Any] = _finite(self.evaluation.to_json() | {"appliance": own})
        return document

    def _baselines(self) -> list[baselines.Baseline]:
        """Those that could be fitted; the level rule only answers, so it has no scores of probabilities."""
        known, kept, devices = self.known, self.scored.rows.is_known, self.scored.devices
        found = []
        if len(np.unique(known.fold)) > 1:
            found.append(baselines.majority(known.state, known.fold, len(states(devices))))
        for one in self.rivals:
            if one.p is not None:
                p, is_graded = state_probabilities(one.p[kept], devices), one.name != LEVEL_RULE
                about = (
                    f"logistic regression on {one.name}"
                    if is_graded
                    else "a threshold on the level of a window"
                )
                found.append(baselines.Baseline(one.name, p, is_graded, about))
        return found

    def _fold(self, name: str, part: Scored, answers: Scored) -> dict[str, Any]:
        others, t = self._thresholds_of_others(int(part.fold[0])), self.thresholds.t
        return {
            "fold": name,
            "n": len(part),
            "files": _file_json(_files(answers, t)),
            "files_by_other_folds": others | _at_others(part, others),
            "windows": _windows(part, answers, t),
            "state_accuracy": float(np.mean(said_state(answers.p, t, part) == part.state)),
        }

    def _thresholds_of_others(self, number: int) -> dict[str, Any]:
        """Thresholds that the other folds give; or why they give none."""
        if self.options.split == "test":
            return {"undefined": "the thresholds were chosen on other windows than the test's"}
        table = self.run.out_of_fold()
        try:
            settings = ChoiceSettings(method=self.thresholds.chosen.get("method", "f1"))
            choice = choose(table.filter(table["fold"] != number), self.scored.devices, settings)
        except EarmarkError as problem:
            return {"undefined": str(problem)}
        return {"thresholds": dict(choice.thresholds.t)}


def evaluate_appliance(
    project: Project,
    run: Run,
    options: Options | None = None,
    *,
    reason: str = "evaluate appliance --split test",
    progress: ProgressCallback | None = None,
    tell: Callable[[str], None] | None = None,
) -> ApplianceEvaluation:
    """Score a run.

    Parameters
    ----------
    reason : str
        Why the seal is opened, where the sealed test is scored; the ledger keeps it.
    progress, tell : callable, optional
        Told of features that are computed, and of each step.

    Raises
    ------
    RunError
        The run is no detector, has no thresholds, or was trained on other windows than are prepared.
    SealError, UsageError
        As `read_scored`.
    """
    options = options or Options()
    if run.config.get("kind") == "detector":  # another kind has a better message below
        _require_thresholds(run)
    scored = read_scored(project, run, options.split, reason=reason, progress=progress)
    final = Detector.load(run)
    thresholds = Thresholds.of_run(run.path, final.devices, final.hash)
    say = tell or (lambda _: None)
    found: dict[str, Any] = {}
    if options.rivals:
        found |= _rivals(project, scored, say)
    if options.robustness:
        say("altered windows")
        answered = timing.as_final(scored, final)
        found["altered"] = altered_scores(answered, final, thresholds.t, seed=options.seed, tell=say)
    if options.timing:
        say("decoders")
        found["timings"] = _timings(project, scored, final, thresholds, options.seed)
    if scored.has_switches:
        say("seconds")
        found["seconds"] = seconds_of(project, scored, final)
    return ApplianceEvaluation(
        run,
        options,
        scored,
        final,
        thresholds,
        notes=_notes(project, scored, thresholds),
        facts=_facts(run, scored, thresholds),
        **found,
    )


def model_rows(found: ApplianceEvaluation) -> list[dict[str, Any]]:
    """The run and its rivals, all at 0.5 and the level rule at its own limit; the best worse fold first."""
    known, kept = found.known, found.scored.rows.is_known
    own = Rival(f"{found.run.algorithm} (this run)", found.scored.p)
    rows = [
        {"model": one.name, "undefined": one.undefined}
        if one.p is None
        else _model_row(one.name, known, one.p[kept])
        for one in (own, *found.rivals)
    ]
    return sorted(rows, key=lambda row: -row.get("state_worst_fold", -1.0))


def _model_row(name: str, known: Scored, p: np.ndarray) -> dict[str, Any]:
    plain = dict.fromkeys(known.devices.names, PLAIN_THRESHOLD)
    right = said_state(p, plain, known) == known.state
    per_fold = [float(right[known.fold == number].mean()) for number in np.unique(known.fold)]
    files = file_scores(file_medians(known.files.tolist(), known.rows.y, p), plain, known.devices)
    row: dict[str, Any] = {
        "model": name,
        "state_worst_fold": min(per_fold),
        "state_accuracy": float(right.mean()),
        "state_acc_files": files.state_acc,
    }
    for device, of in window_scores(known.rows.y, p, known.devices, plain).items():
        row |= {f"accuracy {device}": of["accuracy"], f"AUROC {device}": of["auroc"]}
    return row | {f"file F1 {device}": f1 for device, f1 in files.f1.items()}


def _require_thresholds(run: Run) -> None:
    """Before anything is opened or computed."""
    final = Detector.load(run)
    Thresholds.of_run(run.path, final.devices, final.hash)


def _rivals(project: Project, scored: Scored, say: Callable[[str], None]) -> dict[str, Any]:
    level, found = level_rule(project, scored), []
    for name in rival_names(scored):
        say(f"baseline {name}")
        found.append(rival(project, scored, name))
    return {"level": level, "rivals": (level.rival, *found)}


def _timings(
    project: Project, scored: Scored, final: Detector, thresholds: Thresholds, seed: int
) -> list[timing.Timing]:
    scored, hop_s = timing.as_final(scored, final), scored.rows.room.hop_s
    scored = as_stream(project, scored, final, own=methodcaller("calibrated_as", final))
    rules = timing.rules_of(thresholds.rule)
    if scored.has_switches:
        rules = {name: replace(rule, hop_s=hop_s) for name, rule in rules.items()}
        # rooms sealed before the seal kept the spans of windows with a switch do not know when one was
        is_told = scored.rows.table["on_spans"].null_count() == 0
        switching: list[Trace] = timing.natural_traces(scored) if is_told else []
    else:
        switching = timing.spliced_of(scored, replace(final, hop_s=thresholds.rule.hop_s), seed=seed)
    steady = timing.steady_traces(scored)
    if not switching and not steady:
        return []
    return timing.time_rules(rules, switching, steady, scored.devices, steady_hop_s=hop_s)


def _notes(project: Project, scored: Scored, thresholds: Thresholds) -> tuple[str, ...]:
    """What a reader must know before trusting the scores."""
    config, found = scored.run.config, []
    if config.get("leaky"):
        found.append(
            "leaky: windows of one recording were on both sides of the split, so nothing here is a result"
        )
    if scored.split == "val" and thresholds.chosen:
        found.append(
            "thresholds: selected on the same files that are scored here; beside them stand scores with thresholds of "
            "the other folds"
        )
    if config["recipe"].get("protocol") == "single":
        found.append("selected on the same files: the epochs of this run were chosen on these recordings too")
    sealed = Room.read(project).seal.get("kind")
    if scored.split == "test" and sealed == "tail":
        found.append(f"{OPTIMISTIC}: training heard other parts of every recording")
    if sealed == "none":
        found.append("nothing is sealed in this room, so there is no untouched test behind these scores")
    found += [*_cells(scored), *_shared_groups(project, scored)]
    if scored.n_recordings < FEWEST_RECORDINGS:
        found.append(
            f"{scored.n_recordings} recordings are scored, fewer than {FEWEST_RECORDINGS}: each is listed, and no "
            "interval is claimed"
        )
    found += config["fit"].get("warnings", [])
    return tuple(found)


def _cells(scored: Scored) -> list[str]:
    """Of a room with one recording per cell of facts and daypart: what cannot be told apart."""
    table, names = scored.rows.table, list(scored.devices.names)
    if scored.has_switches or table["daypart"].null_count() == len(table):
        return []
    per_cell = table.select("recording_id", "daypart", *names).unique().group_by("daypart", *names).len()
    if per_cell["len"].max() != 1:
        return []
    return [
        "daypart = recording = background: each cell of facts and daypart is one recording, so a score may be one of "
        "the background; record further takes (earmark collect appliance)"
    ]


def _shared_groups(project: Project, scored: Scored) -> list[str]:
    """Of a sealed test: whether what the protocol keeps apart, such as a machine, was heard in training."""
    settings, table = settings_of(scored.run), scored.rows.table
    asked = settings.protocol_settings.get("group_on", "machine_src")
    columns = [name for name in ([asked] if isinstance(asked, str) else asked) if name in table.columns]
    if scored.split == "val" or settings.protocol != "groups" or not columns:
        return []
    training = read_rows(project, settings.only_device).table
    shared = [name for name in columns if set(table[name]) & set(training[name])]
    return [
        f"sealed recordings share their {name} with recordings that train, so this is no score of an unheard one; seal "
        f"whole ones: earmark prepare appliance --seal-on {name}"
        for name in shared
    ]


def _facts(run: Run, scored: Scored, thresholds: Thresholds) -> dict[str, dict[str, object]]:
    config, room = run.config, scored.rows.room
    settings = settings_of(run)
    rule = thresholds.rule
    return {
        "Model": {
            "model": settings.model,
            "protocol": settings.protocol,
            "masked loss": settings.masked_loss,
        },
        "Windows": {
            "seconds": room.window_s,
            "hop, s": room.hop_s,
            "scored": len(scored),
            "of known truth": int(scored.rows.is_known.sum()),
            "recordings": scored.n_recordings,
        },
        "Thresholds": {**thresholds.t, "decoder": rule.name},
        "Hashes": dict(config["hashes"]),
        "Versions": dict(config["versions"]),
        "Seeds": {"training": settings.seed},
    }


def _files(part: Scored, t: Mapping[str, float]) -> FileScores:
    return file_scores(file_medians(part.files.tolist(), part.rows.y, part.p), t, part.devices)


def _windows(known: Scored, answers: Scored, t: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    return window_scores(known.rows.y, known.p, known.devices, t, answers=answers.p)


def _at_others(part: Scored, others: Mapping[str, Any]) -> dict[str, Any]:
    return _file_json(_files(part, others["thresholds"])) if "thresholds" in others else {}


def _file_json(files: FileScores) -> dict[str, Any]:
    return {
        "n": files.n_files,
        "state_acc": files.state_acc,
        "f1": dict(files.f1),
        "margin": dict(files.margin),
        "rows": [dict(row) for row in files.rows],
    }


def _finite(value: Any) -> Any:
    """Undefined scores become null, which JSON has."""
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
