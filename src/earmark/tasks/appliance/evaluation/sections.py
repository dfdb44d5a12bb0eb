"""What the report of an appliance run shows besides the general scores, section by section; and its files.

Tables lie beside the page as CSV under their names; all pictures are in the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation.report import write_report
from earmark.evaluation.sections import Section
from earmark.evaluation.tables import csv_text
from earmark.tasks.appliance.evaluation.evaluate import ApplianceEvaluation, model_rows
from earmark.tasks.appliance.evaluation.figures import (
    calibration_picture,
    delay_picture,
    roc_picture,
    snr_picture,
    time_picture,
)
from earmark.tasks.appliance.evaluation.scenes import PLAIN, SNR, STREAMED
from earmark.tasks.appliance.evaluation.scores import ECE_BINS
from earmark.tasks.appliance.evaluation.targets import target_rows

__all__ = ["HISTOGRAM_BINS", "histogram_csv", "sections_of", "write_appliance_report"]

HISTOGRAM_BINS = 50
_CURVES = 4
"""Models drawn in one panel."""

Rows = Sequence[Mapping[str, Any]]


def write_appliance_report(found: ApplianceEvaluation, folder: Path) -> tuple[Path, ...]:
    """Write the page, the general files and a CSV per table; `metrics.json` is the whole document.

    Returns
    -------
    tuple of Path
        ``report.html`` first.
    """
    sections = sections_of(found)
    files = write_report(replace(found.evaluation, analyses=sections), folder)
    for section in sections:
        for name, rows in section.tables.items():
            write_bytes_atomic(folder / name, csv_text(rows).encode())
    histogram = folder / "histogram.csv"
    write_bytes_atomic(histogram, histogram_csv(found).encode())
    document = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes_atomic(folder / "metrics.json", document.encode())
    own = (folder / name for section in sections for name in section.files)
    return (*files, *own, histogram)


def sections_of(found: ApplianceEvaluation) -> tuple[Section, ...]:
    """All sections that have something to say."""
    made = (
        _files(found),
        _windows(found),
        _models(found),
        _targets(found),
        _calibration(found),
        _time(found),
        _seconds(found),
        _robustness(found),
    )
    return tuple(section for section in made if section is not None)


def histogram_csv(found: ApplianceEvaluation, bins: int = HISTOGRAM_BINS) -> str:
    """``label,bin_start,bin_end,present_count,absent_count``: windows by probability, a row per device and bin."""
    edges, known, rows = np.linspace(0, 1, bins + 1), found.known, []
    for k, name in enumerate(known.devices.names):
        on = known.rows.y[:, k] == 1
        present, absent = (np.histogram(known.p[part, k], edges)[0] for part in (on, ~on))
        rows += [
            {
                "label": name,
                "bin_start": round(float(edges[i]), 6),
                "bin_end": round(float(edges[i + 1]), 6),
                "present_count": int(present[i]),
                "absent_count": int(absent[i]),
            }
            for i in range(bins)
        ]
    return csv_text(rows)


def _files(found: ApplianceEvaluation) -> Section:
    own, rows = found.files, []
    for fold in found.folds:
        others = fold["files_by_other_folds"]
        rows.append(
            {
                "fold": fold["fold"],
                "files": fold["files"]["n"],
                "state_acc": fold["files"]["state_acc"],
                **{f"F1 {name}": f1 for name, f1 in fold["files"]["f1"].items()},
                **{f"margin {name}": value for name, value in fold["files"]["margin"].items()},
                "state_acc, thresholds of other folds": others.get("state_acc"),
            }
        )
    f1 = ", ".join(f"{name} {value:.3f}" for name, value in own.f1.items())
    right = round(own.state_acc * own.n_files)
    spread = found.thresholds.chosen.get("spread", {})
    told = ", ".join(f"{name} {t:.3f}{_spread(spread.get(name))}" for name, t in found.thresholds.t.items())
    sentences = (
        f"The public state of {right} of {own.n_files} files is right, by the median of each file's windows. F1 of "
        f"files: {f1}.",
        f"Thresholds: {told}. Bars above the curves say when a device truly is on; dashed lines are thresholds.",
    )
    tables: dict[str, Rows] = {"files.csv": list(own.rows), "folds.csv": rows}
    picture = {"probability over time": time_picture(found.answered, found.thresholds.t, found.seconds)}
    return Section("files", "Recordings", sentences, tables, picture, tuple(tables), is_open=True)


def _windows(found: ApplianceEvaluation) -> Section:
    n = int(found.known.rows.outlier.sum())
    parts = {"all": found.windows, "without trimmed": found.trimmed if n else {}}
    if len(found.folds) > 1:
        parts |= {fold["fold"]: fold["windows"] for fold in found.folds}
    names = ("n", "accuracy", "f1", "auroc", "auprc", "brier", "ece")
    rows = [
        {
            "windows": what,
            "device": device,
            **{name: of[name] for name in names},
            "undefined": of.get("undefined"),
        }
        for what, scores in parts.items()
        for device, of in scores.items()
    ]
    trimmed = (
        f"The headline is of all windows; beside it stand scores without the {n} that were trimmed as too loud, which "
        "training leaves out and a microphone does not."
    )
    sentences = (
        "Accuracy and F1 are at the run's thresholds, on probabilities calibrated as the final model's, which these "
        "are for; the rest is of the probabilities that each fold calibrated by itself.",
        trimmed if n else "No window was trimmed as too loud.",
    )
    tables = {"windows.csv": rows}
    return Section("windows", "Windows per device", sentences, tables, files=tuple(tables), is_open=True)


def _models(found: ApplianceEvaluation) -> Section | None:
    if not found.rivals:
        return None
    rows = _filled(model_rows(found))
    place = next(i for i, row in enumerate(rows, 1) if str(row["model"]).endswith("(this run)"))
    sentences = [
        f"By the worse fold this run is number {place} of {len(rows)}. All answer at 0.5, the level rule at the limit "
        "it was fitted with; a model that is no better has not earned its weights."
    ]
    tables: dict[str, Rows] = {"models.csv": rows}
    level = [row for one in (found.level.rows if found.level else ()) for row in _level_rows(one)]
    if level:
        tables["level_rule.csv"] = level
        sentences.append(
            "The level rule is a threshold on the RMS of a window, the best on the recordings that a fold did not "
            "score; a device that another one masks is fitted and scored where the other is off."
        )
    return Section(
        "models",
        "Against the level and small models",
        tuple(sentences),
        tables,
        _roc(found),
        tuple(tables),
        is_open=True,
    )


def _targets(found: ApplianceEvaluation) -> Section | None:
    rows = target_rows(found)
    if not rows:
        return None
    missed = [row for row in rows if not row["reached"]]
    sentence = f"{len(rows) - len(missed)} of {len(rows)} targets are reached."
    return Section(
        "targets", "Targets", (sentence,), {"targets.csv": rows}, files=("targets.csv",), is_open=True
    )


def _calibration(found: ApplianceEvaluation) -> Section:
    known = found.known
    told = ", ".join(f"{name} {found.windows[name]['ece']:.3f}" for name in known.devices.names)
    sentence = (
        f"Expected calibration error over {ECE_BINS} bins: {told}. On the dashed line, windows given 0.7 are on in "
        "70 % of cases."
    )
    whose = (
        "These are the probabilities that each fold calibrated by itself, the more cautious the fewer its recordings; "
        "the final model calibrates on all that no fold had heard."
    )
    picture = {"calibration": calibration_picture(known.rows.y, known.p, known.devices)}
    return Section(
        "calibration",
        "Calibration per device",
        (sentence, whose),
        {},
        picture,
        ("histogram.csv",),
        is_open=True,
    )


def _time(found: ApplianceEvaluation) -> Section | None:
    if not found.timings:
        return None
    own, devices = found.timings[0], found.scored.devices
    tables: dict[str, Rows] = {
        "decoders.csv": [one.row() for one in found.timings],
        "delays.csv": [
            {"decoder": one.name, **row} for one in found.timings for row in one.switching.rows(devices)
        ],
    }
    if not own.switching.hours:
        sentence = "Behind the seal nobody knows when a device switched: only what was told of steady parts is counted."
        return Section(
            "time",
            "Decoders over time",
            (sentence,),
            {"decoders.csv": tables["decoders.csv"]},
            files=("decoders.csv",),
        )
    where = (
        "the recordings themselves"
        if found.scored.has_switches
        else "splices of recordings: a switch there has no motor that starts, so delays are the window's and decoder's"
    )
    row = own.row()
    median = (
        "–" if row["delay_s"] is None else f"{row['delay_s']:.1f} s (90 % within {row['delay_p90_s']:.1f} s)"
    )
    sentence = (
        f"{own.name}: median delay {median}, {row['missed']} of {row['changes']} switches missed, "
        f"{row['false_events']} false events in {row['hours']:.2f} h. On {where}."
    )
    steady = f"Of steady recordings, {row['steady_hours']:.2f} h of them: {row['steady_false_events']} false events."
    picture = (
        {"delay of switches": delay_picture(own.switching, devices)} if len(own.switching.delays_s()) else {}
    )
    return Section(
        "time", "Decoders over time", (sentence, steady), tables, picture, tuple(tables), is_open=True
    )


def _seconds(found: ApplianceEvaluation) -> Section | None:
    rows = found.second_rows
    if not rows:
        return None
    overall = {row["way"]: row for row in rows if not row["by"]}
    told = "; ".join(f"{way} {_bounded(row)}" for way, row in overall.items())
    sentences = (
        f"Area under the ROC curve over all seconds: {told}.",
        "What is marked offline reads the whole recording, whose future a live stream does not have; "
        f"“{PLAIN}” is what predict says of the windows around a second, “{STREAMED}” what stream and live say when it "
        "ends.",
    )
    pictures = {
        f"by {by.replace('_', ' ')}": snr_picture(rows, by)
        for by in dict.fromkeys(row["by"] for row in rows if row["by"])
        if by
    }
    ordered = dict(sorted(pictures.items(), key=lambda one: one[0] != f"by {SNR.replace('_', ' ')}"))
    return Section(
        "seconds", "By the second", sentences, {"seconds.csv": rows}, ordered, ("seconds.csv",), is_open=True
    )


def _robustness(found: ApplianceEvaluation) -> Section | None:
    if not found.altered:
        return None
    worst = min(found.altered, key=lambda row: row["state_accuracy"])
    sentence = (
        f"Windows altered as sound and asked anew: worst is {worst['alteration']}, with the state of "
        f"{100 * worst['state_accuracy']:.0f} % of windows right; {100 * found.altered[0]['state_accuracy']:.0f} % as "
        "recorded. SNR is over the window itself; shift is how far the mean probability moved."
    )
    return Section(
        "robustness",
        "Other gain, noise and speech",
        (sentence,),
        {"robustness.csv": list(found.altered)},
        files=("robustness.csv",),
        is_open=True,
    )


def _roc(found: ApplianceEvaluation) -> dict[str, bytes]:
    """One panel per device; of one that is masked, among windows in which it can be heard."""
    known, kept = found.known, found.scored.rows.is_known
    models = [(found.run.algorithm, known.p)]
    models += [(one.name, one.p[kept]) for one in found.rivals if one.p is not None and one.name != "rms"]
    index = {name: k for k, name in enumerate(known.devices.names)}
    hidden = {hides: by for by, hides in known.devices.masks}
    curves = {}
    for name, k in index.items():
        rows = (
            np.ones(len(known), dtype=bool)
            if name not in hidden
            else known.rows.y[:, index[hidden[name]]] == 0
        )
        truth = known.rows.y[rows, k] == 1
        if truth.any() and not truth.all():
            title = name if name not in hidden else f"{name} when {hidden[name]} is off"
            curves[title] = [(model, truth, p[rows, k]) for model, p in models[: _CURVES + 1]]
    return {"ROC curves": roc_picture(curves)} if curves else {}


def _level_rows(row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    names = ("threshold", "fitted_accuracy", "accuracy", "f1", "auroc", "auroc_all", "file_f1")
    for device, of in row.items():
        if isinstance(of, Mapping):
            yield {
                "fold": row["fold"],
                "device": device,
                **{name: of[name] for name in names},
                "state_acc": row["state_acc"],
                "file_state_acc": row["file_state_acc"],
            }


def _spread(between: Sequence[float] | None) -> str:
    return "" if between is None else f" ({between[0]:.3f} to {between[1]:.3f} over folds)"


def _bounded(row: Mapping[str, Any]) -> str:
    bounds = "" if not np.isfinite(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['auroc']:.3f}{bounds}"


def _filled(rows: Rows) -> list[dict[str, Any]]:
    """Rows of the same columns: a model that could not be fitted has few."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]
