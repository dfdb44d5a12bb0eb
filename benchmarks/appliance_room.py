"""Eight recordings of a room, both swaps and leave-one-out: every model, every decoder, against the numbers to beat.

    python benchmarks/appliance_room.py FOLDER [--models level,spectral,...] [--decoders-of spectral] [--json]

FOLDER holds recordings with pattern names, by day and by night. Nothing is sealed. A model that was trained by day
answers the night, and the other way round; ``loro`` leaves out one recording at a time. Each direction is answered
with thresholds that were chosen on the other one, and left-out recordings with those chosen on all others, so no
figure was chosen on what it is scored on. Windows are those that trimming kept, as in the numbers to beat, which are of
another set of recordings of the same levels; ``rms`` is the same level rule on these recordings.

Decoders are played over splices of the recordings that a fold's model had not heard (switches of known times, 20 to 40
s apart), and over these recordings as they are (steady: every report of a wrong state is false). Their limits are those
of the run, chosen over both directions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import appliance_rooms

MODELS = ("level", "spectral", "logmel256", "g1", "cnn")
CELLS = {
    "AC windows": "ac_accuracy",
    "AC files F1": "ac_file_f1",
    "fridge windows, AC off": "fridge_accuracy",
    "fridge AUROC, AC off": "fridge_auroc",
    "fridge AUROC, all": "fridge_auroc_all",
    "fridge F1, AC off": "fridge_f1",
    "fridge files F1": "fridge_file_f1",
    "state, windows": "state_windows",
    "state, files": "state_files",
}
TO_BEAT = {
    "day-to-night": (1.0, 1.0, 0.647, 0.967, 0.697, 0.739, 0.667, 0.823, 0.75),
    "night-to-day": (1.0, 1.0, 0.517, 0.764, 0.597, 0.300, 0.500, 0.759, 0.75),
}
"""The level rule on another set of eight recordings, in the order of `CELLS`."""


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--decoders-of", default="spectral")
    parser.add_argument("--window-sec", help="of all windows (default: 6)")
    parser.add_argument("--hop-sec", help="between them (default: 1.5)")
    parser.add_argument(
        "--project", type=Path, help="work here and keep the runs (default: a temporary folder)"
    )
    parser.add_argument("--splices", type=int, default=3, help="of each direction, 12 minutes each")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes = {"--window-sec": given.window_sec, "--hop-sec": given.hop_sec}
    cut = [word for flag, value in sizes.items() if value for word in (flag, value)]
    with tempfile.TemporaryDirectory() as temporary:
        project = given.project or Path(temporary)
        appliance_rooms.prepared(project, given.folder, "--seal", "none", *cut)
        result = measured(project, given.models.split(","), given.decoders_of, given.splices)
    print(json.dumps(result, indent=2) if given.json else as_text(result))


def measured(project: Path, models: list[str], decoders_of: str, n_splices: int) -> dict[str, Any]:
    """``directions``: fold -> model -> cells; ``loro``: model -> cells; ``decoders``: rows of a table."""
    result: dict[str, Any] = {"directions": {}, "loro": {}, "thresholds": {}, "decoders": []}
    for model in models:
        runs = {
            protocol: appliance_rooms.trained(project, model, "--protocol", protocol)
            for protocol in ("swap", "loro")
        }
        for protocol, run in runs.items():
            for fold, cells, t in scored(run, protocol):
                place = result["loro"] if fold is None else result["directions"].setdefault(fold, {})
                place[model] = cells
                result["thresholds"][f"{model}, {fold or 'loro'}"] = t
        if model == decoders_of:
            result["decoders"] = decoder_rows(project, runs["swap"], n_splices)
    for fold, cells in level_rule(project).items():
        result["directions"][fold] = {"rms": cells, **result["directions"][fold]}
    return result


def scored(run: Path, protocol: str) -> Iterator[tuple[str | None, dict[str, float], dict[str, Any]]]:
    """Cells of each direction, or of all left-out recordings together; and the thresholds that they had."""
    import polars as pl

    table = pl.read_parquet(run / "out_of_fold.parquet").filter(~pl.col("outlier"))
    numbers = table["fold"].unique(maintain_order=True).to_list()
    t = {number: thresholds_of(table.filter(pl.col("fold") != number)) for number in numbers}
    if protocol == "loro":
        limits = np.array([t[number] for number in table["fold"].to_list()])
        yield None, cells_of(table, limits), _spread(t.values())
        return
    for number in numbers:
        part = table.filter(pl.col("fold") == number)
        scored_by_night = part["recording_id"][0].endswith("night")
        name = "day-to-night" if scored_by_night else "night-to-day"
        yield name, cells_of(part, np.tile(t[number], (len(part), 1))), _spread([t[number]])


def thresholds_of(table: Any) -> tuple[float, ...]:
    """What `earmark thresholds appliance` would choose on these windows."""
    from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    from earmark.tasks.appliance.thresholds.choose import ChoiceSettings, choose

    chosen = choose(table, DEFAULT_DEVICES, ChoiceSettings()).thresholds.t
    return tuple(chosen[name] for name in appliance_rooms.DEVICES)


def cells_of(table: Any, limits: np.ndarray) -> dict[str, float]:
    """The cells of one part; `limits` are thresholds per window, shape (n, 2)."""
    from sklearn.metrics import roc_auc_score

    from earmark.tasks.appliance.evaluation.scores import file_medians, positive_f1

    y = table.select("y_ac", "y_fridge").to_numpy()
    p = table.select("p_ac", "p_fridge").to_numpy()
    names = table["recording_id"].to_list()
    files = file_medians(names, y, p)
    first = [names.index(name) for name in files.names]
    said, said_files = p >= limits, files.p >= limits[first]
    heard = y[:, 0] == 0
    return {
        "ac_accuracy": float(np.mean(said[:, 0] == y[:, 0])),
        "ac_file_f1": positive_f1(files.y[:, 0], said_files[:, 0]),
        "fridge_accuracy": float(np.mean(said[heard, 1] == y[heard, 1])),
        "fridge_auroc": float(roc_auc_score(y[heard, 1], p[heard, 1])),
        "fridge_auroc_all": float(roc_auc_score(y[:, 1], p[:, 1])),
        "fridge_f1": positive_f1(y[heard, 1], said[heard, 1]),
        "fridge_file_f1": positive_f1(files.y[:, 1], said_files[:, 1]),
        "state_windows": float(np.mean(_states(said) == _states(y))),
        "state_files": float(np.mean(_states(said_files) == _states(files.y))),
    }


def level_rule(project: Path) -> dict[str, dict[str, float]]:
    """The level rule in both directions."""
    import polars as pl

    from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    from earmark.tasks.appliance.training.level_rule import level_baseline

    table = pl.read_parquet(project / "data" / "manifests" / "windows.parquet")
    y, level = table.select("ac", "fridge").to_numpy(), table["rms"].to_numpy()
    names = table["recording_id"].to_list()
    is_night = np.array([name.endswith("night") for name in names])
    found = {}
    for fold, fit in (("day-to-night", ~is_night), ("night-to-day", is_night)):
        rule = level_baseline(level, y, names, np.flatnonzero(fit), np.flatnonzero(~fit), DEFAULT_DEVICES)
        ac, fridge = rule["ac"], rule["fridge"]
        values = (ac["accuracy"], ac["file_f1"], fridge["accuracy"], fridge["auroc"], fridge["auroc_all"])
        values += (fridge["f1"], fridge["file_f1"], rule["state_acc"], rule["file_state_acc"])
        found[fold] = dict(zip(CELLS.values(), values, strict=True))
    return found


def decoder_rows(project: Path, folder: Path, n_splices: int) -> list[dict[str, Any]]:
    """Delays and false events of each decoder on splices, and reports of wrong states on steady recordings."""
    from earmark.tasks.appliance.evaluation.changes import pooled, score_changes
    from earmark.tasks.appliance.evaluation.traces import spliced_traces
    from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    from earmark.tasks.appliance.thresholds.fit_decoder import follow, score_rule
    from earmark.tasks.project import Project
    from earmark.training.runs import load_run

    run = load_run(folder)
    uris = {item.id: item.uri for item in Project.open("appliance", str(project)).manifest}
    traces = [trace for seed in range(n_splices) for trace in spliced_traces(run, uris, seed=100 * seed)]
    steady = list(_steady(run))
    rows = []
    for name, rule in rules_of(project, folder).items():
        spliced = score_rule(traces, rule, DEFAULT_DEVICES)
        still = pooled(
            score_changes(one, follow(one, rule, DEFAULT_DEVICES), DEFAULT_DEVICES) for one in steady
        )
        rows.append(
            {
                "decoder": name,
                "hours": spliced.hours,
                "changes": len(spliced.changes),
                "missed": spliced.n_missed,
                "false_events": len(spliced.false_events),
                "steady_false": len(still.false_events),
                "steady_hours": still.hours,
                "delays": {row["device"] + " " + row["kind"]: row for row in spliced.rows(DEFAULT_DEVICES)},
            }
        )
    return rows


def rules_of(project: Path, run: Path) -> Mapping[str, Any]:
    """Name -> rule: plain decoders with the run's limits, what is chosen, and what the fit finds."""
    from earmark.tasks.appliance.decoding.presets import DECODERS, PRESETS
    from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    from earmark.tasks.appliance.thresholds_file import Thresholds

    def chosen(name: str, *options: str) -> Any:
        file = project / f"{name}.yaml"
        words = ("thresholds", "appliance", "--run", run.name, "--output", str(file), *options)
        appliance_rooms.earmark(project, *words)
        return Thresholds.read(file, DEFAULT_DEVICES).rule

    own, fitted = chosen("plain"), chosen("fitted", "--fit-decoder")
    plain = {f"{name}, run's limits": replace(own, settings=kind()) for name, kind in DECODERS.items()}
    percentile = chosen("percentile", "--method", "percentile")
    presets = {
        f"preset {name}": rule
        for name, rule in PRESETS.items()
        if set(rule.windows_of(DEFAULT_DEVICES).values()) == {own.window_s} and rule.hop_s == own.hop_s
    }
    return {
        **plain,
        "median, percentile limits": percentile,
        f"fitted: {fitted.name} {_told(fitted.settings)}": fitted,
        **presets,
    }


def _told(settings: Any) -> str:
    names = ("evidence", "dwell_s", "confidence")
    return " ".join(f"{name}={getattr(settings, name)}" for name in names if hasattr(settings, name))


def _steady(run: Any) -> Iterator[Any]:
    """Each recording as the model that had not heard it answers."""
    from earmark.tasks.appliance.evaluation.changes import Trace

    for part in run.out_of_fold().sort("recording_id", "start_sec").partition_by("recording_id"):
        facts = {name: bool(part[f"y_{name}"][0]) for name in appliance_rooms.DEVICES}
        ends_s = part["end_sec"].to_numpy()
        yield Trace(
            part.select("p_ac", "p_fridge").to_numpy().astype(float),
            ends_s,
            (0.0,),
            (facts,),
            float(ends_s[-1]),
        )


def _states(facts: np.ndarray) -> np.ndarray:
    """2 for ac-on, 1 for fridge-on, 0 for both-off."""
    on = np.asarray(facts) == 1
    return np.where(on[:, 0], 2, on[:, 1].astype(int))


def _spread(thresholds: Any) -> dict[str, list[float]]:
    values = np.array(list(thresholds))
    return {
        name: [float(values[:, k].min()), float(values[:, k].max())]
        for k, name in enumerate(appliance_rooms.DEVICES)
    }


def as_text(result: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for fold, models in (*result["directions"].items(), ("loro", result["loro"])):
        to_beat = dict(zip(CELLS.values(), TO_BEAT.get(fold, ()), strict=False))
        lines += ["", f"{fold:24}" + "".join(f"{name:>11}" for name in (*models, "to beat"))]
        for title, key in CELLS.items():
            values = [cells[key] for cells in models.values()] + [to_beat.get(key)]
            lines.append(
                f"{title:24}" + "".join(f"{'' if v is None else format(v, '.3f'):>11}" for v in values)
            )
    lines += ["", "thresholds, lowest and highest: ac, fridge"]
    lines += [f"  {name:28} {t['ac']} {t['fridge']}" for name, t in result["thresholds"].items()]
    lines += ["", f"{'decoder':58} {'false':>5} {'missed':>9} {'steady':>6}  median (90 %) delay, s"]
    for row in result["decoders"]:
        delays = "; ".join(
            f"{name} {one['delay_s']:.1f} ({one['delay_p90_s']:.1f})" for name, one in row["delays"].items()
        )
        lines.append(
            f"{row['decoder']:58} {row['false_events']:5} {row['missed']:4}/{row['changes']:4} "
            f"{row['steady_false']:6}  {delays}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
