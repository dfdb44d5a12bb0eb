"""Pictures of what a run works with, as PNG files: drawn without a screen, from training rows alone.

=========================== ===============================================================================
``activations_<class>.png``  mean of a class's rows: autocorrelation map and bar histograms where the view has
                             them, standardised columns, and the probabilities that the rows get out of fold
``redundancy.png``           how alike the parts of the features are, and how many dimensions each has
``attention.png``            what the answer of a transformer attends to, per layer and head
=========================== ===============================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.dataset import Dataset
from earmark.evaluation.attention import answer_attention, has_attention, token_names
from earmark.evaluation.plots import save_png
from earmark.models.column_blocks import block_of_columns
from earmark.tasks.meter.groups.audio_columns import BAR_BEATS, N_ACF_LAGS, N_BAR_BINS
from earmark.tasks.meter.schema import CURVES
from earmark.tasks.meter.training.token_plans import TOKEN_PLANS
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import scored_rows
from earmark.training.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "redundancy"]

Floats = NDArray[Any]

VARIANCE = 0.95
"""Share of the variance that the dimensions of a part explain."""

_FINGERPRINT_WIDTH = 64
_MOST_COLUMNS = 128
"""Of a part, evenly spread, in correlations."""


def draw(project: Project, run: Run, folder: Path, *, n_samples: int = 200, seed: int = 42) -> list[Path]:
    """Draw all figures that the run's view and model allow; their paths.

    Parameters
    ----------
    project : Project
    run : Run
    folder : Path
        Made if absent.
    n_samples : int
        Rows of a class at most, drawn with `seed`.
    """
    scored = scored_rows(project, run)
    data, rng = scored.data, np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {
        label: rng.permutation(np.flatnonzero(data.y == label))[:n_samples]
        for label in np.unique(data.y).tolist()
    }
    paths = [
        save_png(
            _class_figure(data, scored.p, label, rows), folder / f"activations_{data.classes[label]}.png"
        )
        for label, rows in chosen.items()
    ]
    rows = np.concatenate(list(chosen.values()))
    paths.append(save_png(_redundancy_figure(*redundancy(data.take(rows))), folder / "redundancy.png"))
    classifier = run.classifier()
    if has_attention(classifier):
        shares = answer_attention(classifier, data.X[rows], data.columns)
        paths.append(save_png(_attention_figure(shares, token_names(classifier)), folder / "attention.png"))
    return paths


def redundancy(data: Dataset) -> tuple[list[str], Floats, list[int]]:
    """Parts of the features, the mean absolute correlation of their columns, and the dimensions of each.

    Returns
    -------
    names : list of str, length n_parts
        Groups; those of audio by block.
    alike : ndarray, shape (n_parts, n_parts)
        0 to 1; on the diagonal of different columns of one part (1 where it has one).
    ranks : list of int
        Principal components that explain `VARIANCE` of a part.
    """
    block = block_of_columns(TOKEN_PLANS["semantic"], len(data.columns), data.columns)
    spread = data.X.std(axis=0)
    Z = np.nan_to_num((data.X - data.X.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float64)
    parts = [np.flatnonzero((block == i) & (spread > 0)) for i in range(int(block.max()) + 1)]
    parts = [part for part in parts if len(part)]
    names = [_part_name([data.columns[i] for i in part]) for part in parts]
    thin = [
        Z[:, part[np.linspace(0, len(part) - 1, min(len(part), _MOST_COLUMNS)).astype(int)]] for part in parts
    ]
    alike = np.array(
        [[_mean_correlation(a, b, same=i == j) for j, b in enumerate(thin)] for i, a in enumerate(thin)]
    )
    return names, alike, [_rank(Z[:, part]) for part in parts]


def _part_name(columns: list[str]) -> str:
    """The group, and of audio what the columns begin with."""
    group, _, first = columns[0].rpartition(".")
    words = first.split("_")
    start = "_".join(words[:2]) if words[0] == "acf" else words[0]
    return f"{group.removeprefix('meter.')}.{start}" if group.startswith("meter.audio") else group


def _mean_correlation(a: Floats, b: Floats, *, same: bool) -> float:
    found = np.abs(a.T @ b) / len(a)
    if not same:
        return float(found.mean())
    n = len(found)
    return float((found.sum() - np.trace(found)) / (n * (n - 1))) if n > 1 else 1.0


def _rank(Z: Floats) -> int:
    values = np.linalg.svd(Z, compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(values) / values.sum(), VARIANCE) + 1)


def _class_figure(data: Dataset, p: Floats, label: int, rows: NDArray[np.int64]) -> Figure:
    figure = _figure(10, 7)
    mean = np.nan_to_num(data.X[rows].mean(axis=0))
    maps = {
        "autocorrelation: tempo and curve by lag": _acf_map(data, mean),
        "bars by 32nd": _bar_map(data, mean),
    }
    known = {title: values for title, values in maps.items() if values is not None}
    axes = figure.subplots(len(known) + 2, 1, squeeze=False)[:, 0]
    for one, (title, values) in zip(axes, known.items(), strict=False):
        _heat(one, values, title)
    _heat(
        axes[-2],
        _fingerprint(data, rows),
        "columns in order, standard deviations from the mean of all",
        "coolwarm",
    )
    axes[-1].bar(data.classes, p[rows].mean(axis=0))
    axes[-1].set_ylim(0, 1)
    axes[-1].set_title(
        f"mean probability, {len(rows)} rows of class {data.classes[label]}", fontsize=9, loc="left"
    )
    return figure


def _acf_map(data: Dataset, mean: Floats) -> Floats | None:
    """Tempi x curves by lag, shape (4 * n_tempi, 64)."""
    starts = [f"acf_t{t}_{curve}_k" for t in range(1, 5) for curve in CURVES]
    return _stacked(data, mean, starts, N_ACF_LAGS)


def _bar_map(data: Dataset, mean: Floats) -> Floats | None:
    return _stacked(data, mean, [f"bar{n}_b" for n in BAR_BEATS["v6"]], N_BAR_BINS)


def _stacked(data: Dataset, mean: Floats, starts: list[str], width: int) -> Floats | None:
    """A row per beginning of a name that has all its columns; None without any."""
    bare = [name.rpartition(".")[2] for name in data.columns]
    found = [[i for i, name in enumerate(bare) if name.startswith(start)] for start in starts]
    rows = [mean[index] for index in found if len(index) == width]
    return np.stack(rows) if rows else None


def _fingerprint(data: Dataset, rows: NDArray[np.int64]) -> Floats:
    spread = data.X.std(axis=0)
    moved = (data.X[rows].mean(axis=0) - data.X.mean(axis=0)) / np.where(spread > 0, spread, 1)
    n_rows = -(-len(moved) // _FINGERPRINT_WIDTH)
    padded = np.full(n_rows * min(_FINGERPRINT_WIDTH, len(moved)), np.nan)
    padded[: len(moved)] = moved
    return padded.reshape(n_rows, -1)


def _redundancy_figure(names: list[str], alike: Floats, ranks: list[int]) -> Figure:
    figure = _figure(2.5 + 0.5 * len(names), 2 + 0.5 * len(names))
    axes = figure.subplots()
    _heat(axes, alike, "mean absolute correlation of columns", limits=(0, 1))
    labels = [f"{name} ({rank})" for name, rank in zip(names, ranks, strict=True)]
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), labels, fontsize=7)
    axes.set_xlabel(f"in brackets: dimensions with {VARIANCE:.0%} of the variance")
    return figure


def _attention_figure(shares: Floats, names: list[str]) -> Figure:
    figure = _figure(3 + 0.5 * len(names), 1.5 + 1.2 * len(shares))
    for axes, (number, layer) in zip(
        figure.subplots(len(shares), 1, squeeze=False)[:, 0], enumerate(shares), strict=True
    ):
        _heat(axes, layer, f"layer {number + 1}: share of attention by head", limits=(0, 1))
        axes.set_yticks(range(len(layer)))
        axes.set_xticks(
            range(len(names)), names if number == len(shares) - 1 else [], rotation=90, fontsize=7
        )
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _heat(
    axes: Axes,
    values: Floats,
    title: str,
    colours: str = "viridis",
    limits: tuple[float, float] | None = None,
) -> None:
    largest = float(np.nanmax(np.abs(values), initial=1e-9))
    low, high = limits or ((-largest, largest) if colours == "coolwarm" else (0.0, largest))
    drawn = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_yticks([])
    axes.figure.colorbar(drawn, ax=axes)
