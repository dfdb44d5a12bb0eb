"""How soon a switch in a room is told, by decoder and by the length of windows, against what is asked of them.

    python -u benchmarks/appliance_delay.py [FOLDER] [--model spectral] [--splices 2]

FOLDER holds recordings whose names follow the default pattern, m4a or flac; without one a synthetic room is made.
Asked: no false event on steady recordings, and a median delay of 5 s at most for the air conditioner and 12 s for the
fridge.

Two models are trained by swap: on windows of 6 s, and with the air conditioner heard in the last 2 s (``--lengths
ac=2.0``). Each fold's model answers splices of recordings it never heard. A fitted rule is fitted on the splices of one
fold and scored on those of the other, both ways, so that no rule is scored on what chose it; what `thresholds` writes
is fitted on splices of both and scored on others of the same recordings. Calibration is that of the final model: two
numbers per device, which all windows that no fold had heard decide.

Printed per rule and device: median and 90th percentile of the delays, missed changes, false events per hour of splices
and per hour of steady recordings. Of a synthetic room also two long recordings with disturbances, by the final models.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from earmark.audio.decode import decode
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import FAST, preset
from earmark.tasks.appliance.demo import make_demo
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.changes import ChangeScores, Trace, pooled
from earmark.tasks.appliance.evaluation.splice import Piece, Spliced, splice
from earmark.tasks.appliance.evaluation.traces import (
    fold_detector,
    spliced_traces,
    steady_stretches,
    trace_of,
)
from earmark.tasks.appliance.prepare import PrepareOptions, prepare
from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
from earmark.tasks.appliance.thresholds.fit_decoder import fit_decoder, score_rule
from earmark.tasks.appliance.thresholds.run import choose_for_run
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import train
from earmark.tasks.project import Project
from earmark.training.runs import Run

TARGETS_S = {"ac": 5.0, "fridge": 12.0}
UNUSED_SEED = 1000
"""Splices from here on are others than those that `thresholds` chooses on."""
FAST_HOP_S = preset(FAST).hop_s


def main() -> None:
    """Train, splice, play every rule, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", default="spectral", help="level, spectral, logmel256, g1 or cnn")
    parser.add_argument("--splices", type=int, default=2, help="of 24 pieces, per fold")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project, long = room(Path(scratch), given.folder)
        for lengths, hop_s in (
            ({}, 1.5),
            ({}, FAST_HOP_S),
            ({"ac": preset(FAST).windows_s["ac"]}, FAST_HOP_S),
        ):
            settings = TrainSettings(model=given.model, lengths=lengths)
            run = train(project, settings, with_baselines=False).run
            measure(project, run, hop_s, given.splices, long)


def room(scratch: Path, folder: Path | None) -> tuple[Project, Mapping[Path, Mapping[str, Sequence]]]:
    """A prepared project, and long recordings with the spans in which each device runs."""
    project = Project.open("appliance", scratch)
    if folder is not None:
        suffixes = tuple(
            {path.suffix.lstrip(".") for path in folder.iterdir() if path.suffix in (".m4a", ".flac")}
        )
        prepare(project, PrepareOptions(folder=folder.resolve(), suffixes=suffixes, seal="none"))
        return project, {}
    files = make_demo(scratch / "room")
    prepare(project, PrepareOptions(folder=files.samples, suffixes=("flac",), seal="none"))
    return project, files.on_spans


def measure(project: Project, run: Run, hop_s: float, n_splices: int, long: Mapping[Path, Mapping]) -> None:
    """The rules of one run at one hop."""
    detector = replace(Detector.load(run), hop_s=hop_s)
    devices, uris = detector.devices, {item.id: item.uri for item in project.manifest}
    by_fold = list(
        zip(
            *(spliced_traces(run, uris, seed=UNUSED_SEED + 10 * n, hop_s=hop_s) for n in range(n_splices)),
            strict=True,
        )
    )
    steady = steady_by_fold(run, detector, uris)
    written = choose_for_run(project, run, ChoiceSettings(), fits_decoder=True).thresholds.rule
    chosen = choose_for_run(project, run, ChoiceSettings(), fits_decoder=False).thresholds.rule
    own = replace(chosen, hop_s=hop_s)
    hmm, medians = replace(own, settings=HmmSettings()), replace(own, settings=MedianSettings())
    started = time.perf_counter()
    fitted = [fit_decoder(traces, hmm, devices, rivals=[medians]) for traces in by_fold]
    seconds = (time.perf_counter() - started) / len(fitted)
    # a rule is scored on the folds that did not choose it
    others = [fitted[1 - k].rule if len(fitted) == 2 else fitted[k].rule for k in range(len(fitted))]
    lengths = ", ".join(f"{name} {s:g} s" for name, s in detector.lengths.items())
    print(
        f"\n{run.config['recipe']['model']}, windows {lengths}, every {hop_s:g} s; a fit takes {seconds:.0f} s"
    )
    for k, one in enumerate(fitted):
        print(f"  fitted on fold {k}: {one.rule.name} {one.rule.settings}")
    for name, rules in {
        "median of 7, 2 repeats": [medians] * len(by_fold),
        "hmm, its own settings": [hmm] * len(by_fold),
        "fitted on the other fold": others,
        "as `thresholds` writes it": [replace(written, hop_s=hop_s)] * len(by_fold),
    }.items():
        switching = pooled(
            score_rule(traces, rule, devices) for traces, rule in zip(by_fold, rules, strict=True)
        )
        still = pooled(score_rule(traces, rule, devices) for traces, rule in zip(steady, rules, strict=True))
        tell(name, switching, still)
    if long:
        final = choose_for_run(project, run, ChoiceSettings(), fits_decoder=True).thresholds.rule
        traces = [long_trace(path, spans, detector) for path, spans in long.items()]
        tell("long files, as chosen", score_rule(traces, replace(final, hop_s=hop_s), devices), None)


def steady_by_fold(run: Run, detector: Detector, uris: Mapping[str, str]) -> list[list[Trace]]:
    """The recordings that a fold left out, each by itself."""
    found = []
    for number, table in run.out_of_fold().partition_by("fold", as_dict=True, maintain_order=True).items():
        asked = fold_detector(run, detector, int(number[0])).calibrated_as(detector)
        found.append(
            [
                trace_of(splice([Piece(decode(one.uri, sample_rate=detector.sample_rate), one.facts)]), asked)
                for one in steady_stretches(table, uris, detector.devices)
            ]
        )
    return found


def long_trace(path: Path, spans: Mapping[str, Sequence], detector: Detector) -> Trace:
    """A recording in which machines are switched."""
    clip = decode(str(path), sample_rate=detector.sample_rate)
    edges = sorted(
        {edge for of_one in spans.values() for span in of_one for edge in span if edge < clip.duration_s}
    )
    starts = (0.0, *(edge for edge in edges if edge > 0))
    facts = tuple({name: any(on <= t < off for on, off in spans[name]) for name in spans} for t in starts)
    return trace_of(Spliced(clip, starts, facts), detector)


def tell(name: str, switching: ChangeScores, steady: ChangeScores | None) -> None:
    """A line per device, and whether it is as fast as asked."""
    false = f"{len(switching.false_events)} false in {switching.hours:.2f} h of switches"
    if steady is not None:
        false += f", {len(steady.false_events)} in {steady.hours:.2f} h of steady recordings"
    print(f"  {name}: {switching.n_missed} missed of {len(switching.changes)}, {false}")
    for device, limit_s in TARGETS_S.items():
        kinds = {kind: switching.delays_s(device, kind) for kind in ("on", "off")}
        shown = ", ".join(
            f"{kind} {np.median(delays):.1f} s (90 %: {np.quantile(delays, 0.9):.1f})"
            for kind, delays in kinds.items()
            if len(delays)
        )
        delays = switching.delays_s(device)
        if len(delays):
            verdict = "reached" if np.median(delays) <= limit_s else "missed"
            print(
                f"    {device}: {shown}; both {np.median(delays):.1f} s, at most {limit_s:g} asked: {verdict}"
            )


if __name__ == "__main__":
    main()
