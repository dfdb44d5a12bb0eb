"""Figures: the same bytes for the same numbers, nothing global changed, odd names and empty inputs drawn."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from earmark.evaluation import plots
from earmark.evaluation.importance import Importance
from earmark.evaluation.metrics import coverage_curve, reliability_bins
from earmark.evaluation.plane import Plane

ODD_NAMES = ("$x^{2", "<b>&\"'", "日本 🟨")


@pytest.fixture
def figures(evaluation):
    e = evaluation
    return {
        "confusion": lambda: plots.confusion_figure(e.confusion, e.classes),
        "reliability": lambda: plots.reliability_figure(reliability_bins(e.y, e.p)),
        "coverage": lambda: plots.coverage_figure(coverage_curve(e.y, e.p)),
        "importance": lambda: plots.importance_figure(e.importance, "balanced accuracy"),
        "probabilities": lambda: plots.probability_figure(e.y, e.p, e.classes, e.class_colours),
        "comparison": lambda: plots.comparison_figure(e.comparison, "balanced_accuracy", "balanced accuracy"),
        "plane": lambda: plots.plane_figure(e.plane, e.y, e.p, e.classes, e.class_colours),
    }


NAMES = ("confusion", "reliability", "coverage", "importance", "probabilities", "comparison", "plane")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_give_the_same_bytes(figures, name, tmp_path):
    one, two = (plots.save_png(figures[name](), tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert one == two and one.startswith(b"\x89PNG")
    assert b"Software" not in one and b"tEXt" not in one
    assert plots.to_svg(figures[name](), name, "x") == plots.to_svg(figures[name](), name, "x")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", NAMES)
def test_the_svg_is_well_formed_labelled_and_takes_the_ink_of_the_page(figures, name):
    text = plots.to_svg(figures[name](), name, 'a "label" & more')
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == 'a "label" & more'
    assert "viewBox" in root.attrib and "width" not in root.attrib
    assert "currentColor" in text and plots._INK not in text
    assert "http" not in text.replace("http://www.w3.org/", "")
    assert "<metadata>" not in text or "date" not in text


def test_identifiers_of_two_figures_do_not_clash(figures):
    def identifiers(name):
        root = ElementTree.fromstring(plots.to_svg(figures[name](), name, name))
        return {node.attrib["id"] for node in root.iter() if "id" in node.attrib}

    seen = [identifiers(name) for name in NAMES]
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_axes_are_labelled_with_units(figures):
    for name in ("reliability", "coverage", "importance", "comparison"):
        axes = figures[name]().axes
        assert axes[-1].get_xlabel(), name
    assert figures["probabilities"]().axes[0].get_ylabel() == "probability given"
    assert [axes.get_title(loc="left") for axes in figures["confusion"]().axes] == [
        "Counts",
        "Share of the true class, %",
    ]


def test_cells_say_counts_and_shares():
    texts = [
        [text.get_text() for text in axes.texts]
        for axes in plots.confusion_figure([[3, 1], [0, 4]], ("a", "b")).axes
    ]
    assert texts == [["3", "1", "0", "4"], ["75", "25", "0", "100"]]


def test_the_plane_shows_every_item_and_the_errors_apart(evaluation, figures):
    labels, predictions, errors = (
        [len(dots.get_offsets()) for dots in axes.collections] for axes in figures["plane"]().axes
    )
    assert sum(labels) == sum(predictions) == sum(errors) == 60
    assert errors[0] == 60 - len(evaluation.errors)


def test_numbers_are_readable_on_their_cells():
    figure = plots.confusion_figure([[10, 0], [0, 10]], ("a", "b"))
    assert {text.get_color() for text in figure.axes[0].texts} == {"#ffffff", "#111111"}


def test_bins_carry_their_counts(evaluation):
    bins = reliability_bins(evaluation.y, evaluation.p)
    lower = plots.reliability_figure(bins).axes[1]
    assert [text.get_text() for text in lower.texts] == [str(count) for count in bins.count if count]


def test_names_are_text_never_formulas_or_markup(tmp_path):
    y = np.array([0, 1, 2, 1])
    p = np.full((4, 3), 1 / 3)
    for figure in (
        plots.probability_figure(y, p, ODD_NAMES),
        plots.plane_figure(Plane(np.zeros((4, 2)), np.zeros(2)), y, p, ODD_NAMES),
        plots.confusion_figure(np.eye(3), ODD_NAMES),
        plots.importance_figure([Importance(name, 0.1, 0.01) for name in ODD_NAMES], "$y_"),
    ):
        plots.save_png(figure, tmp_path / "odd.png")
        text = plots.to_svg(figure, "odd", "odd")
        found = {node.text for node in ElementTree.fromstring(text).iter() if node.text}
        assert all(any(name in line for line in found) for name in ODD_NAMES)
        assert "<b>" not in text


def test_nothing_to_draw_is_drawn_empty(tmp_path):
    y, p = np.zeros(0, int), np.empty((0, 2))
    for i, figure in enumerate(
        [
            plots.confusion_figure(np.zeros((2, 2)), ("a", "b")),
            plots.reliability_figure(reliability_bins(y, p)),
            plots.coverage_figure(coverage_curve(y, p)),
            plots.importance_figure([], "accuracy"),
            plots.probability_figure(y, p, ("a", "b")),
            plots.comparison_figure([], "accuracy", "accuracy"),
            plots.plane_figure(Plane(np.empty((0, 2)), np.zeros(2)), y, p, ("a", "b")),
        ]
    ):
        assert plots.save_png(figure, tmp_path / f"{i}.png").stat().st_size > 0


def test_drawing_changes_no_global_setting(figures):
    before = dict(matplotlib.rcParams)
    for name, make in figures.items():
        plots.to_svg(make(), name, name)
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from earmark.evaluation import plots; "
        "plots.to_svg(plots.confusion_figure([[1, 0], [0, 1]], ('a', 'b')), 'n', 'l'); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
