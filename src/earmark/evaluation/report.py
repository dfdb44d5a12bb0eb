"""The report of an evaluation: one self-contained page, figures, tables and a model card, from one `Evaluation`.

====================================== =====================================================================
file                                   what it holds
====================================== =====================================================================
``report.html``                        everything for a reader: no scripts, nothing fetched, light and dark
``metrics.json``                       what ``evaluate --format json`` prints
``confusion_matrix.png``               counts and shares of the true class
``reliability.png``                    accuracy against confidence, with the size of each bin
``coverage.png``                       accuracy against coverage
``feature_importance.csv``, ``.png``   ``feature,importance,spread``, most important first
``errors.csv``                         ``filename,actual,predicted,confidence,path`` and the probability of
                                       the truth, most confident first
``sources.csv``                        scores by where the items come from
``MODEL_CARD.md``                      what the model is, how it scored, where it ends
``prediction_analysis.png``            labels, predictions and errors in the plane of the features' first two
                                       principal components; where the evaluation has a plane
``domain_shift.csv``                   every feature on both sides; where items of another source train
====================================== =====================================================================

All text is UTF-8; every string that came from outside (paths, class names, messages) is escaped. The same
evaluation gives the same bytes. Each file is written whole or not at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation import plots
from earmark.evaluation.domain_shift import domain_shift_csv
from earmark.evaluation.goals import words_of
from earmark.evaluation.intervals import Interval
from earmark.evaluation.metrics import METRICS, coverage_curve, reliability_bins
from earmark.evaluation.result import Evaluation, show_difference, show_interval
from earmark.evaluation.sections import cell_text, data_uri
from earmark.evaluation.sources import SOURCE_METRICS, sources_csv
from earmark.evaluation.tables import csv_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["REPORT_FILES", "render_model_card", "render_report", "write_report"]

REPORT_FILES = (
    "report.html",
    "metrics.json",
    "confusion_matrix.png",
    "reliability.png",
    "coverage.png",
    "feature_importance.csv",
    "feature_importance.png",
    "errors.csv",
    "sources.csv",
    "MODEL_CARD.md",
)
"""Files of a report of items; `write_report` returns those of one evaluation."""

_FILES_OF = {
    "sources": ("sources.csv",),
    "importance": ("feature_importance.csv", "feature_importance.png"),
}

_SECTIONS = (
    ("scores", "Scores"),
    ("baselines", "Baselines"),
    ("sources", "Sources"),
    ("confusion", "Confusion"),
    ("confidence", "Confidence"),
    ("importance", "Importance"),
    ("errors", "Errors"),
    ("shift", "Domain shift"),
    ("inputs", "Left out"),
    ("cost", "Cost"),
    ("seal", "Test set"),
    ("provenance", "Provenance"),
)

_NO_TEST_SET = "Nothing is sealed, so there is no test set."

_COMPARED = ("balanced_accuracy", "accuracy", "log_loss")
"""Metrics of the comparison table, besides the headline; all of them are in ``metrics.json``."""


def write_report(evaluation: Evaluation, folder: str | Path) -> tuple[Path, ...]:
    """Write all files of the report.

    Parameters
    ----------
    evaluation : Evaluation
        What is reported.
    folder : path
        Made if absent; files of the same names are replaced.

    Returns
    -------
    tuple of Path
        The files: `REPORT_FILES`, then those that this evaluation has besides.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    figures = _figures(evaluation)
    writers: dict[str, Callable[[Path], object]] = {
        "report.html": _text(_page(evaluation, figures)),
        "metrics.json": _text(evaluation.to_json_text()),
        "confusion_matrix.png": _png(plots.confusion_figure(evaluation.confusion, evaluation.classes)),
        "reliability.png": _png(figures["reliability"]),
        "coverage.png": _png(figures["coverage"]),
        "feature_importance.csv": _text(_importance_csv(evaluation)),
        "feature_importance.png": _png(figures["importance"]),
        "errors.csv": _text(_errors_csv(evaluation)),
        "sources.csv": _text(sources_csv(evaluation.sources)),
        "MODEL_CARD.md": _text(render_model_card(evaluation)),
    }
    if evaluation.plane is not None:
        writers["prediction_analysis.png"] = _png(figures["plane"])
    if evaluation.shift is not None:
        writers["domain_shift.csv"] = _text(domain_shift_csv(evaluation.shift))
    written = [name for name in writers if name not in _unwritten(evaluation)]
    for name in written:
        writers[name](target / name)
    return tuple(target / name for name in written)


def render_report(evaluation: Evaluation) -> str:
    """Give the page as HTML text."""
    return _page(evaluation, _figures(evaluation))


def render_model_card(evaluation: Evaluation) -> str:
    """Give the model card as Markdown text."""
    return _render("model_card.md.j2", evaluation, {}, escape=False)


@dataclass(frozen=True)
class _ErrorKind:
    actual: str
    predicted: str
    count: int
    confidence: float


def _render(template: str, evaluation: Evaluation, figures: Mapping[str, Any], *, escape: bool) -> str:
    text = (
        _environment(escape)
        .get_template(template)
        .render(
            e=evaluation,
            figures=figures,
            sections=_sections(evaluation),
            hidden=_hidden(evaluation),
            resampled=_resampled(evaluation),
            files=_files(evaluation),
            split_words=_split_words(evaluation),
            openings_sentence=_openings_sentence(evaluation),
            directions={name: metric.direction for name, metric in METRICS.items()},
            source_metrics=SOURCE_METRICS,
            compared=tuple(name for name in _COMPARED if name != evaluation.headline),
            missed=sum(not outcome.reached for outcome in evaluation.goal_outcomes),
            bins=_bin_rows(evaluation),
            kinds=_error_kinds(evaluation),
            unsure=int((np.asarray(evaluation.p).max(axis=1, initial=0.0) < 0.5).sum()),
        )
    )
    return text if escape else re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


@cache
def _environment(escape: bool) -> Environment:
    """Of the templates, which are compiled once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("earmark.evaluation"),
        autoescape=escape,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= _FILTERS
    return environment


def _sections(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Anchors and titles of the page's sections, in order."""
    hidden = _hidden(evaluation)
    found = [section for section in _SECTIONS if section[0] not in hidden]
    own = [(f"analysis-{i}", section.title) for i, section in enumerate(evaluation.analyses)]
    review = [] if evaluation.label_review is None else [("labels", "Labels in doubt")]
    place = next(i for i, (anchor, _) in enumerate(found) if anchor in ("inputs", "cost", "seal"))
    return found[:place] + review + own + found[place:]


def _hidden(evaluation: Evaluation) -> set[str]:
    """Sections that the page lacks: of windows of a series, all that say nothing; of items that are drawn, the shift
    alone, since there an empty section tells what was not looked at.
    """
    empty = {
        "shift": evaluation.shift is None,
        "sources": not evaluation.sources,
        "importance": not evaluation.importance,
        "inputs": not evaluation.set_aside,
        "cost": not evaluation.stages,
    }
    return {
        name for name, is_empty in empty.items() if is_empty and (evaluation.scored_on or name == "shift")
    }


def _files(evaluation: Evaluation) -> list[str]:
    """What lies beside the page."""
    optional = {"prediction_analysis.png": evaluation.plane, "domain_shift.csv": evaluation.shift}
    more = [name for name, source in optional.items() if source is not None]
    unwritten = _unwritten(evaluation)
    return [
        *(name for name in REPORT_FILES if name not in unwritten),
        *more,
        *(name for section in evaluation.analyses for name in section.files),
    ]


def _unwritten(evaluation: Evaluation) -> set[str]:
    """Files of `REPORT_FILES` that belong to hidden sections."""
    hidden = _hidden(evaluation)
    return {name for section, names in _FILES_OF.items() if section in hidden for name in names}


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of the page; those that are files, too, are drawn once for both."""
    words = words_of(evaluation.headline)
    y, p = evaluation.y, evaluation.p
    drawn = {
        "comparison": plots.comparison_figure(evaluation.comparison, evaluation.headline, words),
        "probabilities": plots.probability_figure(y, p, evaluation.classes, evaluation.class_colours),
        "reliability": plots.reliability_figure(reliability_bins(y, p), evaluation.item_noun),
        "coverage": plots.coverage_figure(coverage_curve(y, p), evaluation.item_noun),
        "importance": plots.importance_figure(evaluation.importance, words),
    }
    if evaluation.plane is not None:
        places = evaluation.plane
        drawn["plane"] = plots.plane_figure(places, y, p, evaluation.classes, evaluation.class_colours)
    return drawn


def _page(evaluation: Evaluation, figures: Mapping[str, Any]) -> str:
    from markupsafe import Markup

    words = words_of(evaluation.headline)
    labels = {
        "plane": "labels, predictions and errors in the plane of the first two principal components",
        "comparison": f"{words} of this model and each baseline with intervals",
        "probabilities": "probabilities given for each class, per true class",
        "reliability": f"reliability diagram: accuracy against confidence, and {evaluation.item_noun} per bin",
        "coverage": "accuracy against coverage",
        "importance": f"drop of {words} per scrambled feature",
    }
    drawn = {name: Markup(plots.to_svg(figure, name, labels[name])) for name, figure in figures.items()}
    return _render("report.html.j2", evaluation, drawn, escape=True)


def _split_words(evaluation: Evaluation) -> str:
    if evaluation.scored_on:
        return evaluation.scored_words
    if evaluation.split == "test":
        return f"Scored on the sealed test set: {evaluation.n} {evaluation.item_noun} that no training step could read."
    seal = "The sealed test set was not opened for this." if evaluation.has_test_set else _NO_TEST_SET
    return (
        f"Scored out of fold: each of {evaluation.n} {evaluation.item_noun} by a model that was trained without its "
        f"group. {seal}"
    )


def _resampled(evaluation: Evaluation) -> str:
    """What the bootstrap draws, in words."""
    return "blocks of time" if evaluation.scored_on else "groups"


def _openings_sentence(evaluation: Evaluation) -> str:
    times, runs = evaluation.test_openings, evaluation.test_runs
    if not evaluation.has_test_set:
        return _NO_TEST_SET
    if not times:
        return "This test set has never been opened."
    often = "once" if times == 1 else f"{times} times"
    by = "one run" if runs == 1 else f"{runs} runs"
    trust = "" if times == 1 else " Each further look makes a score on it a little too good."
    return f"This test set has been opened {often}, by {by}.{trust}"


def _bin_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    bins = reliability_bins(evaluation.y, evaluation.p)
    return [
        {
            "span": f"{low:.1f} to {high:.1f}",
            "count": int(count),
            "confidence": confidence,
            "accuracy": accuracy,
        }
        for low, high, count, confidence, accuracy in zip(
            bins.edges, bins.edges[1:], bins.count, bins.confidence, bins.accuracy, strict=False
        )
        if count
    ]


def _error_kinds(evaluation: Evaluation) -> list[_ErrorKind]:
    kinds: dict[tuple[str, str], list[float]] = {}
    for error in evaluation.errors:
        kinds.setdefault((error.actual, error.predicted), []).append(error.confidence)
    rows = [_ErrorKind(*pair, len(some), sum(some) / len(some)) for pair, some in kinds.items()]
    return sorted(rows, key=lambda row: (-row.count, -row.confidence))


def _importance_csv(evaluation: Evaluation) -> str:
    rows = [asdict(row) for row in evaluation.importance]
    return csv_text(rows, ("feature", "importance", "spread"))


def _errors_csv(evaluation: Evaluation) -> str:
    header = ("filename", "actual", "predicted", "confidence", "path", "probability_of_truth")
    rows = [
        asdict(error)
        | {
            "filename": _file_name(error.path),
            "confidence": f"{error.confidence:.6f}",
            "probability_of_truth": f"{error.probability_of_truth:.6f}",
        }
        for error in evaluation.errors
    ]
    return csv_text(rows, header)


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: write_bytes_atomic(path, content.encode())


def _png(figure: Any) -> Callable[[Path], object]:
    return lambda path: plots.save_png(figure, path)


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def _plain(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _bounds(score: Interval) -> str:
    return "–" if math.isnan(score.low) else f"{score.low:.3f} to {score.high:.3f}"


def _spread(scores: tuple[float, ...]) -> str:
    """The folds' lowest and highest score; folds in which it is undefined are left out."""
    defined = [score for score in scores if not math.isnan(score)]
    return f"{min(defined):.3f} to {max(defined):.3f}" if defined else "–"


def _fact(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _markdown(text: object) -> str:
    """Keep text from being read as Markdown or HTML: in a table cell, a list item or a line."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


_FILTERS: dict[str, Callable[..., str]] = {
    "bounds": _bounds,
    "cell": cell_text,
    "data_uri": data_uri,
    "difference": show_difference,
    "fact": _fact,
    "file_name": _file_name,
    "first_upper": lambda text: text[:1].upper() + text[1:],
    "interval": show_interval,
    "md": _markdown,
    "plain": _plain,
    "spread": _spread,
    "words": words_of,
}
