"""Choosing the thresholds of a run and writing them beside it: what ``earmark thresholds appliance`` does.

Streams get the medians with the limits chosen. Where the decoder is fitted, `hmm` takes their place if it tells changes
sooner with no more false events and misses: unfitted it is as slow as calibrated probabilities of few recordings are
cautious, so it is never written without that proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.thresholds.choose import Choice, ChoiceSettings, choose, scored_rows
from earmark.tasks.appliance.thresholds.fit_decoder import DecoderFit, fit_decoder
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE, Thresholds

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["FIGURE_FILES", "Chosen", "choose_for_run", "write"]

FIGURE_FILES = ("thresholds.svg", "thresholds.png")


@dataclass(frozen=True)
class Chosen:
    """The choice for a run; `fit` where the decoder was fitted as well."""

    run: Run
    choice: Choice
    part: str
    fit: DecoderFit | None = None

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
    fits_decoder: bool = False,
    n_pieces: int = 24,
    seed: int = 0,
) -> Chosen:
    """Choose on the rows that a run scored without having seen them.

    Parameters
    ----------
    settings, part
        As for `earmark.tasks.appliance.thresholds.choose.choose`.
    base : path, optional
        Thresholds whose decoder and hold times are kept.
    fits_decoder : bool
        Also fit the decoder on splices of `n_pieces` pieces per fold, answered by the fold's model.

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
        run.out_of_fold(),
        detector.devices,
        settings,
        part=part,
        rule=rule,
        floor_dbfs=detector.floor_dbfs,
        model=detector.hash,
    )
    chosen = Chosen(run, choice, part)
    if fits_decoder:
        return _with_fit(project, chosen, n_pieces, seed)
    return chosen if base is not None else _with_rule(chosen, _medians(choice.thresholds.rule))


def write(chosen: Chosen, output: Path | None = None) -> tuple[Path, ...]:
    """Write ``thresholds.yaml`` and its figure into the run, or to `output` and beside it.

    An earlier file is kept under a free name.
    """
    from earmark.evaluation.plots import save_png, to_svg
    from earmark.tasks.appliance.thresholds.figure import thresholds_figure

    path = output or chosen.run.path / THRESHOLDS_FILE
    rows = scored_rows(chosen.run.out_of_fold(), chosen.thresholds.devices, chosen.part)
    svg, png = (path.with_suffix(Path(name).suffix) for name in FIGURE_FILES)
    label = "Window probabilities with and without each device, and the thresholds chosen"
    write_bytes_atomic(svg, to_svg(thresholds_figure(rows, chosen.thresholds), "thresholds", label).encode())
    save_png(thresholds_figure(rows, chosen.thresholds), png)
    _keep_earlier(path)
    return chosen.thresholds.write(path), svg, png  # last, since it is what takes effect


def _plain_rule(run: Run, detector: Detector) -> Rule:
    """`hmm` for the run's windows; a hidden device weighs what it weighed in the loss."""
    settings = HmmSettings(
        masked_weight=float(run.config["recipe"].get("masked_loss", HmmSettings().masked_weight))
    )
    lengths = {name: s for name, s in detector.lengths.items() if s != detector.window_s}
    return Rule(settings, window_s=detector.window_s, hop_s=detector.hop_s, windows_s=lengths)


def _with_fit(project: Project, chosen: Chosen, n_pieces: int, seed: int) -> Chosen:
    from earmark.tasks.appliance.evaluation.traces import spliced_traces

    thresholds = chosen.thresholds
    uris = {item.id: item.uri for item in project.manifest}
    traces = list(spliced_traces(chosen.run, uris, n_pieces=n_pieces, seed=seed))
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
