"""Choosing the thresholds of a run and writing them beside it: what ``earmark thresholds appliance`` does.

All is chosen on probabilities of windows that no fold had heard, calibrated as the final model is, since that is what
the limits are for.

Streams get the decoder that does best on splices of recordings which the answering fold had not heard: `hmm`, fitted,
if it tells changes sooner than the medians of the limits chosen with no more false events and misses. Where recordings
cannot be spliced, or an encoder would make that a matter of many minutes, they get the medians, and a warning says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import FAST, Rule, preset
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.thresholds.choose import Choice, ChoiceSettings, choose, scored_rows
from earmark.tasks.appliance.thresholds.fit_decoder import DecoderFit, fit_decoder
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE, Thresholds

if TYPE_CHECKING:
    import polars as pl

    from earmark.tasks.appliance.evaluation.changes import Trace
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["FIGURE_FILES", "Chosen", "choose_for_run", "unseen_rows", "write"]

FIGURE_FILES = ("thresholds.svg", "thresholds.png")

TOKENS = "appliance.token"
"""How the names of groups begin that ask an encoder."""

N_SPLICES = 6
"""Of 12 minutes; two of them, one of each direction of a swap, left four false events in others, six left one."""

_FIT = "Run: earmark thresholds appliance --fit-decoder"


@dataclass(frozen=True)
class Chosen:
    """The choice for a run; `fit` where the decoder was fitted as well."""

    run: Run
    choice: Choice
    part: str
    fit: DecoderFit | None = None
    unfitted: str | None = None
    """Why the decoder was not fitted."""

    @property
    def thresholds(self) -> Thresholds:
        """What the file is to say."""
        return self.choice.thresholds

    @property
    def warnings(self) -> tuple[str, ...]:
        """All there is to warn of."""
        config = self.run.config
        found = [*self.choice.warnings]
        if config.get("leaky"):
            found.append(
                "the run is leaky: windows of one recording are on both sides, so these are flattered"
            )
        if config["recipe"].get("protocol") == "single":
            found.append(
                "selected on the same files: the epochs of this run were chosen on these recordings too"
            )
        if self.fit is not None and self.fit.warning:
            found.append(self.fit.warning)
        if self.unfitted is not None:
            found.append(f"streams get the decoder `{self.thresholds.rule.name}`: {self.unfitted}")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        devices = self.thresholds.devices
        document = {"run": self.run.name, **self.thresholds.to_document(), "devices": list(self.choice.rows)}
        if self.fit is not None:
            document |= {
                "decoder_before": self.fit.before.to_json(devices),
                "decoder_after": self.fit.scores.to_json(devices),
            }
        return document | {"warnings": list(self.warnings)}


def choose_for_run(
    project: Project,
    run: Run,
    settings: ChoiceSettings,
    *,
    part: str = "val",
    base: Path | None = None,
    fits_decoder: bool | None = None,
    n_splices: int = N_SPLICES,
    seed: int = 0,
) -> Chosen:
    """Choose on the rows that a run scored without having seen them.

    Parameters
    ----------
    settings, part
        As for `earmark.tasks.appliance.thresholds.choose.choose`.
    base : path, optional
        Thresholds whose decoder and hold times are kept.
    fits_decoder : bool, optional
        Whether the decoder is fitted on splices, answered by models that had not heard them. None: where it can be, is
        a matter of seconds, and `base` names no decoder.
    n_splices : int
        At least so many splices, as many of each fold.

    Raises
    ------
    RunError
        The run is no detector.
    SealError
        Rows of the run were sealed since.
    """
    from earmark.tasks.verbs.thresholds import refuse_sealed

    if run.config.get("kind") != "detector":
        raise RunError(f"`{run.name}` is no detector of devices; expected one. Run: earmark train appliance")
    refuse_sealed(project, run)
    detector = Detector.load(run)
    rule = _plain_rule(run, detector)
    if base is not None:
        kept = Thresholds.read(base, detector.devices).rule
        rule = replace(kept, window_s=rule.window_s, hop_s=rule.hop_s)
    choice = choose(
        unseen_rows(run.out_of_fold(), detector),
        detector.devices,
        settings,
        part=part,
        rule=rule,
        floor_dbfs=detector.floor_dbfs,
        model=detector.hash,
    )
    chosen = Chosen(run, choice, part)
    if fits_decoder:
        return _with_fit(project, chosen, n_splices, seed)
    if base is not None:
        return chosen
    plain = _with_rule(chosen, _medians(choice.thresholds.rule))
    if fits_decoder is False:
        return plain
    if _has_encoder(detector):
        return replace(plain, unfitted=f"an encoder takes minutes over splices. {_FIT}")
    try:
        return _with_fit(project, chosen, n_splices, seed)
    except UsageError as problem:
        return replace(plain, unfitted=str(problem))


def write(chosen: Chosen, output: Path | None = None) -> tuple[Path, ...]:
    """Write ``thresholds.yaml`` and its figure into the run, or to `output` and beside it.

    An earlier file is kept under a free name.
    """
    from earmark.evaluation.plots import save_png, to_svg
    from earmark.tasks.appliance.thresholds.figure import thresholds_figure

    path = output or chosen.run.path / THRESHOLDS_FILE
    unseen = unseen_rows(chosen.run.out_of_fold(), Detector.load(chosen.run))
    rows = scored_rows(unseen, chosen.thresholds.devices, chosen.part)
    svg, png = (path.with_suffix(Path(name).suffix) for name in FIGURE_FILES)
    label = "Window probabilities with and without each device, and the thresholds chosen"
    write_bytes_atomic(svg, to_svg(thresholds_figure(rows, chosen.thresholds), "thresholds", label).encode())
    save_png(thresholds_figure(rows, chosen.thresholds), png)
    _keep_earlier(path)
    return chosen.thresholds.write(path), svg, png  # last, since it is what takes effect


def unseen_rows(table: pl.DataFrame, detector: Detector) -> pl.DataFrame:
    """``out_of_fold.parquet`` of a run with ``p_<device>`` calibrated as its detector is; see the module."""
    import polars as pl

    names = detector.devices.names
    raw = table.select(f"raw_{name}" for name in names).to_numpy().astype(np.float32)
    p = detector.layer.calibrate(raw)
    return table.with_columns(pl.Series(f"p_{name}", p[:, k]) for k, name in enumerate(names))


def _has_encoder(detector: Detector) -> bool:
    return any(TOKENS in group.name for group in detector.groups)


def _plain_rule(run: Run, detector: Detector) -> Rule:
    """`hmm` for the run's windows; a hidden device weighs what it weighed in the loss.

    Of a run with windows of several lengths answers come as often as those of the preset for it.
    """
    settings = HmmSettings(
        masked_weight=float(run.config["recipe"].get("masked_loss", HmmSettings().masked_weight))
    )
    lengths = {name: s for name, s in detector.lengths.items() if s != detector.window_s}
    hop_s = min(detector.hop_s, preset(FAST).hop_s) if lengths else detector.hop_s
    return Rule(settings, window_s=detector.window_s, hop_s=hop_s, windows_s=lengths)


def _with_fit(project: Project, chosen: Chosen, n_splices: int, seed: int) -> Chosen:
    from earmark.tasks.appliance.evaluation.traces import spliced_traces

    thresholds = chosen.thresholds
    uris = {item.id: item.uri for item in project.manifest}
    traces: list[Trace] = []
    while len(traces) < n_splices:
        # the seeds of a round are those of its folds
        own = seed + len(traces)
        traces += spliced_traces(chosen.run, uris, seed=own, hop_s=thresholds.rule.hop_s)
    fit = fit_decoder(traces, thresholds.rule, thresholds.devices, rivals=[_medians(thresholds.rule)])
    told = {
        "fitted_on_hours": round(fit.scores.hours, 4),
        "fitted_false_events": len(fit.scores.false_events),
    }
    return replace(_with_rule(chosen, fit.rule, **told), fit=fit)


def _with_rule(chosen: Chosen, rule: Rule, **told: Any) -> Chosen:
    thresholds = replace(chosen.thresholds, rule=rule, chosen={**chosen.thresholds.chosen, **told})
    return replace(chosen, choice=replace(chosen.choice, thresholds=thresholds))


def _medians(rule: Rule) -> Rule:
    return replace(rule, settings=MedianSettings())


def _keep_earlier(path: Path) -> None:
    """Copy a file that stands there to the first free ``thresholds.1.yaml``."""
    if not path.is_file():
        return
    number = 1
    while (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    write_bytes_atomic(free, path.read_bytes())
