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
``MODEL_CARD.md``                      what the model is, how it scored, where it ends
====================================== =====================================================================

All text is UTF-8; every string that came from outside (paths, class names, messages) is escaped. The same
evaluation gives the same bytes. Each file is written whole or not at all.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation import plots
from earmark.evaluation.intervals import Interval
from earmark.evaluation.metrics import METRICS, coverage_curve, reliability_bins
from earmark.evaluation.result import Evaluation, show_difference, show_interval, words_of

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
    "MODEL_CARD.md",
)

_SECTIONS = (
    ("scores", "Scores"),
    ("baselines", "Baselines"),
    ("confusion", "Confusion"),
    ("confidence", "Confidence"),
    ("importance", "Importance"),
    ("errors", "Errors"),
    ("inputs", "Left out"),
    ("cost", "Cost"),
    ("seal", "Test set"),
    ("provenance", "Provenance"),
)

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
        The files, in the order of `REPORT_FILES`.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    words = words_of(evaluation.headline)
    bins = reliability_bins(evaluation.y, evaluation.p)
    writers: Mapping[str, Callable[[Path], object]] = {
        "report.html": _text(render_report(evaluation)),
        "metrics.json": _text(evaluation.to_json_text()),
        "confusion_matrix.png": _png(plots.confusion_figure(evaluation.confusion, evaluation.classes)),
        "reliability.png": _png(plots.reliability_figure(bins)),
        "coverage.png": _png(plots.coverage_figure(coverage_curve(evaluation.y, evaluation.p))),
        "feature_importance.csv": _text(_importance_csv(evaluation)),
        "feature_importance.png": _png(plots.importance_figure(evaluation.importance, words)),
        "errors.csv": _text(_errors_csv(evaluation)),
        "MODEL_CARD.md": _text(render_model_card(evaluation)),
    }
    for name in REPORT_FILES:
        writers[name](target / name)
    return tuple(target / name for name in REPORT_FILES)


def render_report(evaluation: Evaluation) -> str:
    """Give the page as HTML text."""
    return _render("report.html.j2", evaluation, _figures(evaluation), escape=True)


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
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("earmark.evaluation"),
        autoescape=escape,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= _FILTERS
    text = environment.get_template(template).render(
        e=evaluation,
        figures=figures,
        sections=_SECTIONS,
        files=REPORT_FILES,
        split_words=_split_words(evaluation),
        openings_sentence=_openings_sentence(evaluation),
        directions={name: metric.direction for name, metric in METRICS.items()},
        compared=tuple(name for name in _COMPARED if name != evaluation.headline),
        missed=sum(not outcome.reached for outcome in evaluation.goal_outcomes),
        bins=_bin_rows(evaluation),
        kinds=_error_kinds(evaluation),
        unsure=int((np.asarray(evaluation.p).max(axis=1, initial=0.0) < 0.5).sum()),
    )
    return text if escape else re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    from markupsafe import Markup

    words = words_of(evaluation.headline)
    y, p = evaluation.y, evaluation.p
    drawn = {
        "comparison": plots.comparison_figure(evaluation.comparison, evaluation.headline, words),
        "probabilities": plots.probability_figure(y, p, evaluation.classes, evaluation.class_colours),
        "reliability": plots.reliability_figure(reliability_bins(y, p)),
        "coverage": plots.coverage_figure(coverage_curve(y, p)),
        "importance": plots.importance_figure(evaluation.importance, words),
    }
    labels = {
        "comparison": f"{words} of this model and each baseline with intervals",
        "probabilities": "probabilities given for each class, per true class",
        "reliability": "reliability diagram: accuracy against confidence, and items per bin",
        "coverage": "accuracy against coverage",
        "importance": f"drop of {words} per scrambled feature",
    }
    return {name: Markup(plots.to_svg(figure, name, labels[name])) for name, figure in drawn.items()}


def _split_words(evaluation: Evaluation) -> str:
    if evaluation.split == "test":
        return f"Scored on the sealed test set: {evaluation.n} {evaluation.item_noun} that no training step could read."
    return (
        f"Scored out of fold: each of {evaluation.n} {evaluation.item_noun} by a model that was trained "
        "without its "
        "group. The sealed test set was not opened for this."
    )


def _openings_sentence(evaluation: Evaluation) -> str:
    times, runs = evaluation.test_openings, evaluation.test_runs
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
    rows = [(row.feature, repr(row.importance), repr(row.spread)) for row in evaluation.importance]
    return _csv([("feature", "importance", "spread"), *rows])


def _errors_csv(evaluation: Evaluation) -> str:
    header = ("filename", "actual", "predicted", "confidence", "path", "probability_of_truth")
    rows = [
        (
            _file_name(error.path),
            error.actual,
            error.predicted,
            f"{error.confidence:.6f}",
            error.path,
            f"{error.probability_of_truth:.6f}",
        )
        for error in evaluation.errors
    ]
    return _csv([header, *rows])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


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
    "difference": show_difference,
    "fact": _fact,
    "file_name": _file_name,
    "first_upper": lambda text: text[:1].upper() + text[1:],
    "interval": show_interval,
    "md": _markdown,
    "plain": _plain,
    "words": words_of,
}
