"""A task: one declaration of what the verbs of the command line need to know, about one screen long.

The smallest useful task names its groups::

    task = Task(name="mine", groups=[loudness])

A file that defines ``task`` like this is a task of the command line: ``earmark extract mine.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from earmark.data.policy import SplitPolicy
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.sets import FeatureSet
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from earmark.cache.fingerprint import Fingerprint
    from earmark.data.dataset import Dataset
    from earmark.data.manifest import Manifest
    from earmark.evaluation.result import Evaluation, Goal
    from earmark.features.item import Item
    from earmark.features.progress import ProgressCallback
    from earmark.features.table import FeatureTable
    from earmark.inference.ladder import Abstention
    from earmark.inference.prediction import Failed, Prediction
    from earmark.inference.rules import RuleSet
    from earmark.tasks.project import Project
    from earmark.tasks.settings import EffectiveSettings
    from earmark.training.runs import Run

__all__ = [
    "Analysis",
    "AnalysisRequest",
    "EarlierTables",
    "ImportRequest",
    "Imported",
    "LabelFiles",
    "Outputs",
    "Rule",
    "TableFiles",
    "TagWriting",
    "TargetReport",
    "TargetRequest",
    "Task",
    "Tuning",
]


Refined: TypeAlias = Callable[[Sequence["Prediction | Failed"]], Sequence["Prediction | Failed"]]


@dataclass(frozen=True)
class Rule:
    """A baseline without training: ``answer({column: values})`` gives class positions, shape (n_items,).

    `columns` are full names of columns of the feature set `features`.
    """

    name: str
    features: str
    columns: tuple[str, ...]
    answer: Callable[[Mapping[str, Any]], Any]
    description: str = ""


@dataclass(frozen=True)
class ImportRequest:
    """What `prepare` was asked to read, the project folder, how to identify content, the importer's options."""

    sources: tuple[str, ...]
    root: Path
    identify: Callable[[str], bytes]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What an importer gives back: the manifest and its own account of rows kept and rejected."""

    manifest: Manifest
    report: Any


@dataclass(frozen=True)
class LabelFiles:
    """What a task can do with label files besides importing them.

    Parameters
    ----------
    diff : callable
        ``diff(before, after, relocate=...)`` gives rows of ``change``, ``path``, ``before``, ``after``.
    write : callable
        ``write(path, manifest)`` writes all rows and labels in the task's one normal form.
    mapping_template : callable or None
        ``mapping_template()`` gives the text of a file that says how numbers become labels, with every default.
    """

    diff: Callable[..., list[dict[str, Any]]]
    write: Callable[[Path, Manifest], None]
    mapping_template: Callable[[], str] | None = None


@dataclass(frozen=True)
class Outputs:
    """How predictions are written, where the task has forms of its own.

    Parameters
    ----------
    document : callable
        ``document(outcome)`` gives the JSON object of one prediction or failure.
    csv : callable
        ``csv(outcomes)`` gives the text of a CSV file.
    playlists : callable or None
        ``playlists(outcomes, folder, formats=..., relative=..., force=...)`` writes them and gives their paths.
    library : callable or None
        ``library(project, outcomes, path, force=...)`` writes a collection that other software imports, e.g.
        rekordbox XML, and gives its path.
    tags : TagWriting or None
        How answers are written into the files themselves.
    refine : callable or None
        ``refine(project, options)`` gives ``refined(outcomes) -> outcomes``, which adds fields to predictions. What
        cannot work is refused by the first call, before anything is predicted. Options: ``workers``, ``use_cache``
        and what the command line said.
    """

    document: Callable[[Prediction | Failed], dict[str, Any]]
    csv: Callable[[Sequence[Prediction | Failed]], str]
    playlists: Callable[..., tuple[Path, ...]] | None = None
    library: Callable[..., Path] | None = None
    tags: TagWriting | None = None
    refine: Callable[[Project, Mapping[str, Any]], Refined] | None = None


@dataclass(frozen=True)
class TagWriting:
    """How a task writes its answers into the tags of the files that it answered.

    Parameters
    ----------
    plan : callable
        ``plan(project, outcomes, overwrite=...)`` gives a report: a change per file, or the reason why there is none.
        It writes nothing. A report has ``changes``, each with ``path``, ``status``, ``reason``, ``to_row()`` and
        ``to_json()``, and ``counts()`` by status: ``to write`` in a plan; then ``written`` or ``restored``,
        ``unchanged``, ``kept`` and ``failed``.
    write : callable
        ``write(project, plan, backup_copy=...)`` carries it out and gives a report; a journal of the project holds
        the old values first.
    undo : callable
        ``undo(project, which="last" | "all")`` restores the old values where nobody has changed them since, and
        gives a report.
    carries : callable
        ``carries(path)`` tells whether a file already bears an answer.
    """

    plan: Callable[..., Any]
    write: Callable[..., Any]
    undo: Callable[..., Any]
    carries: Callable[[str], bool]


@dataclass(frozen=True)
class AnalysisRequest:
    """What a task's own analysis of a run may look at; it writes files below `folder` and nothing else.

    Parameters
    ----------
    project : Project
    run : Run
    dataset : Dataset
        The training rows that the run was scored on. Test rows are not in it.
    auxiliary : Dataset or None
        Rows that only train, of another source, with the same columns.
    evaluation : Evaluation
        The scores, out of fold or of the sealed test.
    folder : Path
    options : mapping
        What the command line said.
    """

    project: Project
    run: Run
    dataset: Dataset
    auxiliary: Dataset | None
    evaluation: Evaluation
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """What an analysis found: a title, sentences for the reader, tables by file name, and the files written."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class TargetRequest:
    """What a training of another target than the label is given; its files go below `folder`, which is empty.

    `parameters` are those of the command line, by the target's own names.
    """

    project: Project
    folder: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None
    progress: ProgressCallback | None = None


@dataclass(frozen=True)
class TargetReport:
    """What such a training found: a row per score, sentences for the reader, and the document of ``--format json``."""

    rows: Sequence[Mapping[str, Any]]
    sentences: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tuning:
    """A choice of thresholds: what each was worth, best first, sentences for the reader, and the files written."""

    rows: Sequence[Mapping[str, Any]]
    sentences: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class EarlierTables:
    """Feature tables of an earlier program: names by length of a vector, and columns of now with the same number."""

    columns_by_length: Mapping[int, tuple[str, ...]]
    comparable: Mapping[str, str]


@dataclass(frozen=True)
class TableFiles:
    """Items whose features somebody else computed: files of a suffix that hold numbers instead of audio.

    Parameters
    ----------
    read : callable
        ``read(items, columns)`` gives a feature table with these columns, NaN where a file cannot say.
    comparable : mapping of column to bool
        Whether a column means the same, in the same unit, as the one of that name made from audio. Rows with
        others are pooled only after a mapping.
    """

    read: Callable[[Sequence[Item], Sequence[str]], FeatureTable]
    comparable: Mapping[str, bool]


@dataclass(frozen=True)
class Preset:
    """A training under one name: what belongs together.

    Parameters
    ----------
    name : str
    features : str
        A feature set of the task.
    recipe : Recipe
        Algorithm, parameters, preprocessing with the number of columns to select, class weights.
    strategy, align : str
        How rows of a second source take part where there are some, and how they are moved first.
    description : str
        One line for listings.
    """

    name: str
    features: str
    recipe: Recipe
    strategy: str = "user"
    align: str = "none"
    description: str = ""


@dataclass(frozen=True)
class Task:
    """Declaration of a task; every verb works from it.

    Parameters
    ----------
    name : str
        Folder name of its data and runs.
    groups : sequence of FeatureGroup
        For a task with one feature set, called ``default``.
    feature_sets : mapping of str to FeatureSet
        Named sets; the first is the default unless `default_features` names another.
    classes : tuple of str
        In the order of every table and matrix; empty takes the labels found, sorted.
    split : SplitPolicy
        How `prepare` divides the items.
    sources_noun : str
        What `prepare` reads, as its usage names it.
    soft_labels : str or None
        Column of the manifest with labels of several classes (`earmark.data.soft_labels`); sealed with the label.
    recipes : sequence of Recipe
        Algorithms with the task's own parameters; an algorithm without one here gets its defaults.
    algorithms : tuple of str
        Trained by default, all recipes if empty; the best by `metric` predicts.
    grids : mapping of algorithm to mapping of parameter to values
        What `grid` searches.
    metric : str
        Ranks models and heads the report; a name of `earmark.evaluation.metrics.METRICS`.
    baselines : sequence of str
        Feature sets on which the first recipe is trained, on the same folds, as baselines.
    rules : sequence of Rule
        Baselines without training.
    rule_set, rule_features, rules_enough : RuleSet or None, str, float
        Soft rules that predict without a model, the feature set they read, and the rule score from which
        ``--method rules-first`` does not ask the model.
    goals : sequence of Goal
    importer : callable or None
        ``importer(ImportRequest) -> Imported``; None reads CSV files with ``path`` and ``label``, and folders.
    label_files : LabelFiles or None
        Comparing and rewriting label files, where the task has a form of its own.
    extras : mapping of field to (feature set, column)
        Fields of a prediction that are features, such as the tempo.
    abstention : Abstention or None
        Inputs that no model of the task is asked to decide, e.g. silence.
    uncertain : str or None
        Label of a prediction whose confidence is below the threshold.
    class_colours : mapping of class to ``#RRGGBB``
    item_noun : str
        What one item is called, in the plural.
    outputs : Outputs or None
    table_files : mapping of suffix to TableFiles
        Items that are tables instead of audio, e.g. ``{".csv": ...}``.
    presets : mapping of name to Preset
        What ``train --preset NAME`` trains.
    earlier : EarlierTables or None
        What ``cache import`` reads.
    analyses : mapping of name to callable
        ``analysis(AnalysisRequest) -> Analysis``, run by ``evaluate --analysis NAME``.
    label_noun : str
        What a label says, in the singular: the target that `train` learns without ``--target``.
    targets : mapping of name to callable
        ``target(TargetRequest) -> TargetReport``, run by ``train --target NAME``: models of something else.
    tunings : mapping of name to callable
        ``tuning(project, output, progress) -> Tuning``, run by ``thresholds --NAME``: thresholds that belong to no
        run. `output` is a path or None.
    tempo_table : callable or None
        ``tempo_table(project, sources, path, workers=..., limit=..., progress=...)``, run by ``extract --tempo-csv``;
        gives the feature table that it wrote from.
    demo : callable or None
        ``demo(folder) -> label file``: makes the built-in data.
    init_files : mapping of file name to callable
        ``text()`` of files that `init` writes beside ``earmark.toml``.
    phases : mapping of name to sequence of FeatureGroup
        What builds on what, in order: `cache stats` shows how far each is cached.
    min_coverage : float
        Share of the training items, 0 to 1, that must have all features; `train` refuses below it.
    session_groups : callable, optional
        Of a series: groups that are cached by session, and the fingerprint of the code of each as it is now.
    configure : callable, optional
        ``configure(task, settings)`` gives the task as the settings of a project want it, with other features say.
    absent_features : mapping of str to str, optional
        Feature sets that need something the project lacks, and what to do; `configure` may bring them.
    is_series : bool
        Its rows are a series through time in the feature store, not items of a manifest: no feature sets, and the
        verbs that read rows are commands of its own.
    """

    name: str
    groups: Sequence[FeatureGroup] = ()
    feature_sets: Mapping[str, FeatureSet] = field(default_factory=dict)
    default_features: str = ""
    classes: tuple[str, ...] = ()
    split: SplitPolicy = field(default_factory=SplitPolicy)
    sources_noun: str = "LABELS"
    soft_labels: str | None = None
    recipes: Sequence[Recipe] = (Recipe("xgboost"),)
    algorithms: tuple[str, ...] = ()
    grids: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    metric: str = "balanced_accuracy"
    baselines: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    rule_set: RuleSet | None = None
    rule_features: str = ""
    rules_enough: float = 0.7
    goals: Sequence[Goal] = ()
    importer: Callable[[ImportRequest], Imported] | None = None
    label_files: LabelFiles | None = None
    extras: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    abstention: Abstention | None = None
    uncertain: str | None = None
    class_colours: Mapping[str, str] = field(default_factory=dict)
    item_noun: str = "items"
    outputs: Outputs | None = None
    table_files: Mapping[str, TableFiles] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    earlier: EarlierTables | None = None
    analyses: Mapping[str, Callable[[AnalysisRequest], Analysis]] = field(default_factory=dict)
    label_noun: str = "label"
    targets: Mapping[str, Callable[[TargetRequest], TargetReport]] = field(default_factory=dict)
    tunings: Mapping[str, Callable[[Project, Path | None, ProgressCallback | None], Tuning]] = field(
        default_factory=dict
    )
    tempo_table: Callable[..., FeatureTable] | None = None
    demo: Callable[[Path], Path] | None = None
    init_files: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    phases: Mapping[str, Sequence[FeatureGroup]] = field(default_factory=dict)
    min_coverage: float = 0.0
    is_series: bool = False
    session_groups: Callable[[Project], Mapping[str, Fingerprint]] | None = None
    configure: Callable[[Task, EffectiveSettings], Task] | None = None
    absent_features: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.groups and not self.feature_sets:
            object.__setattr__(self, "feature_sets", {"default": FeatureSet("default", tuple(self.groups))})
        if self.is_series:
            return
        if self.soft_labels is not None and self.soft_labels not in self.split.sealed_columns:
            raise UsageError(
                f"task `{self.name}` has soft labels in `{self.soft_labels}`, which its split does not seal. "
                f"Give SplitPolicy(sealed_columns=({self.soft_labels!r}, ...))."
            )
        if not self.feature_sets:
            raise UsageError(
                f"task `{self.name}` has no features; give groups=[...] or feature_sets={{...}}."
            )
        if not self.default_features:
            object.__setattr__(self, "default_features", next(iter(self.feature_sets)))
        self.features(self.default_features)

    def configured(self, settings: EffectiveSettings) -> Task:
        """The task as the settings of a project want it."""
        return self.configure(self, settings) if self.configure is not None else self

    def features(self, name: str | None = None) -> FeatureSet:
        """The feature set called `name`, or the default one."""
        chosen = name or self.default_features
        if self.is_series:
            raise UsageError(
                f"task `{self.name}` has rows of a feature store, and no feature sets of files. "
                f"See what there is: earmark store show {self.name} --features"
            )
        if chosen in self.absent_features:
            raise UsageError(
                f"task `{self.name}` has no feature set {chosen!r} here: {self.absent_features[chosen]}"
            )
        if chosen not in self.feature_sets:
            from earmark.models.constraints import closest

            raise UsageError(
                f"task `{self.name}` has no feature set {chosen!r}{closest(chosen, self.feature_sets)}. "
                f"Known: {', '.join(self.feature_sets)}."
            )
        return self.feature_sets[chosen]

    def preset(self, name: str) -> Preset:
        """The preset called `name`; case and ``-`` do not matter."""
        from earmark.models.constraints import closest

        folded = name.strip().lower().replace("-", "_")
        if folded not in self.presets:
            raise UsageError(
                f"task `{self.name}` has no preset {name!r}{closest(folded, self.presets)}. "
                f"Known: {', '.join(self.presets) or 'none'}."
            )
        return self.presets[folded]

    @property
    def all_groups(self) -> tuple[FeatureGroup, ...]:
        """Every group of every feature set and phase, once, in order of first mention."""
        sets = [feature_set.groups for feature_set in self.feature_sets.values()]
        return tuple(
            {group.name: group for groups in (*sets, *self.phases.values()) for group in groups}.values()
        )
