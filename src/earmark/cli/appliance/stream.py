"""`earmark stream appliance`: a recording as if it were heard live."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.appliance.clipping import clip_options, clips_of, opened_writer
from earmark.cli.appliance.listening import flags_of, make_folders, model_options, opened_model, rule_options
from earmark.cli.meter.listening import pcm_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.inference.pcm import PcmFormat
    from earmark.tasks.appliance.decoding.presets import Rule
    from earmark.tasks.appliance.serving.clips import Write
    from earmark.tasks.appliance.serving.model import Model
    from earmark.tasks.appliance.serving.stream import FileReport

__all__ = ["stream"]

_OUT = click.Path(dir_okay=False, path_type=Path)


@command("stream")
@click.argument("sources", nargs=-1)
@click.option(
    "--audio",
    "--samples-dir",
    "audio",
    multiple=True,
    metavar="FILE",
    help="A recording or folder; may repeat.",
)
@model_options
@rule_options
@click.option(
    "--initial-state",
    type=click.Choice(["label", "off", "on"]),
    help="What holds at the start: what the name of a file says, all off, or all on (default: nothing is known).",
)
@click.option(
    "--require-no-events", is_flag=True, help="Fail, with exit code 3, where a device switches at all."
)
@click.option("--report", type=_OUT, help="Write a JSON report of all files.")
@click.option("--log-probs", type=_OUT, help="Write a CSV of probabilities, a row per window.")
@click.option("--log-events", type=_OUT, help="Write a CSV of devices that switched.")
@clip_options
@pcm_options
@click.option("--schema", is_flag=True, help="Print the JSON schema of a document, and hear nothing.")
@click.pass_obj
def stream(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    audio: tuple[str, ...],
    **given: Any,
) -> int:
    """Answer SOURCES as if they were heard live: {"events": [...]} with an element per window.

    The state begins anew with each file. With several files each is a line, with its path. - is standard input: raw
    samples with --pcm. Memory does not grow with the length of a recording.

    \b
    Examples:
      earmark stream appliance evening.m4a
      earmark stream appliance samples/ --initial-state label --require-no-events --report report.json
      ffmpeg -i day.mkv -f s16le -ac 1 -ar 16000 - | earmark stream appliance - --pcm s16le --sample-rate 16000
    """
    from earmark.cli.output import note, to_json
    from earmark.cli.stream import pcm_format
    from earmark.tasks.appliance.serving.lines import stream_schema
    from earmark.tasks.appliance.serving.settings import resolve

    model = opened_model(invocation, given)
    if given["schema"]:
        click.echo(to_json(stream_schema(model.detector.devices)), nl=False)
        return 0
    settings = resolve(model.thresholds, flags_of(given))
    outputs = [given[name] for name in ("report", "log_probs", "log_events") if given[name] is not None]
    make_folders(outputs)
    named = (*audio, *sources)
    pcm = pcm_format(
        named[0] if len(named) == 1 else "", given["pcm"], given["sample_rate"], given["channels"]
    )
    run = _Run(
        model, settings.rule, given["initial_state"], pcm, with_path=len(named) > 1 or _is_folder(named)
    )
    with ExitStack() as stack:
        run.open_tables(stack, given["log_probs"], given["log_events"])
        run.open_clips(stack, given)
        run.hear(named)
    if given["report"] is not None:
        run.write_report(given["report"], named, given["require_no_events"])
    note(invocation, run.summary())
    return run.exit_code(is_strict=given["require_no_events"])


class _Run:
    """The files of one call, one after the other."""

    def __init__(
        self, model: Model, rule: Rule, initial: str | None, pcm: PcmFormat | None, *, with_path: bool
    ) -> None:
        self._model, self._rule, self._initial = model, rule, initial
        self._pcm, self._with_path = pcm, with_path
        self._write_clips: Write | None = None
        self._clips_s = 0.0
        self._probabilities: Any = None
        self._events: Any = None
        self._reports: list[FileReport] = []
        self._failed: list[dict[str, Any]] = []
        self._started = time.perf_counter()

    def open_tables(self, stack: ExitStack, probabilities: Path | None, events: Path | None) -> None:
        from earmark.tasks.appliance.serving.tables import GrowingTable

        if probabilities is not None:
            self._probabilities = stack.enter_context(GrowingTable(probabilities))
        if events is not None:
            columns = ("file", "t_s", "device", "kind", "prob", "step", "t_end_s")
            self._events = stack.enter_context(GrowingTable(events, columns))

    def open_clips(self, stack: ExitStack, given: dict[str, Any]) -> None:
        self._write_clips = opened_writer(given, self._model.detector.sample_rate, stack)
        self._clips_s = given["clips_s"]

    def hear(self, named: Iterable[str]) -> None:
        from earmark.cli.output import complain_of
        from earmark.errors import InputError, TooShortError, UsageError
        from earmark.inference.inputs import expand_inputs
        from earmark.inference.prediction import Failed

        named = list(named)
        if not named:
            raise UsageError("no recording was given; name audio files or folders, or - for standard input.")
        for entry in named if named == ["-"] else expand_inputs(named):
            if isinstance(entry, Failed):
                self._failed.append({"file": entry.path, "error": entry.error})
                complain_of(entry.path, entry.error)
                continue
            try:
                self._hear_one(entry)
            except InputError as problem:
                is_short = isinstance(problem, TooShortError)
                self._failed.append({"file": entry, "error": str(problem), "skipped": is_short})
                complain_of(entry, str(problem))

    def _hear_one(self, source: str) -> None:
        from earmark.tasks.appliance.serving.engine import Engine
        from earmark.tasks.appliance.serving.lines import stream_event
        from earmark.tasks.appliance.serving.stream import FileReport, answers_of, event_rows, probability_row

        label = self._label(source)
        devices = self._model.detector.devices
        initial = self._facts(source, label)
        report = FileReport(source, label)
        rate = self._model.detector.sample_rate
        with (
            clips_of(self._write_clips, rate, self._clips_s) as clips,
            _Document({"path": source} if self._with_path else {}) as document,
        ):
            on_heard = None if clips is None else clips.hear
            engine = Engine(self._model.detector, self._rule, source, initial=initial, on_heard=on_heard)
            for answered in answers_of(engine, self._blocks(source)):
                report.take(answered)
                if clips is not None:
                    clips.take(answered, f"{_stem(source)}_{answered.window.end_s:.1f}s")
                if answered.decided.status is not None:
                    document.event(stream_event(devices, answered.decided))
                if self._probabilities is not None:
                    self._probabilities.row(probability_row(source, devices, answered))
                if self._events is not None:
                    self._events.rows(event_rows(source, answered))
        report.duration_s = engine.ring.n_heard / rate
        self._reports.append(report)

    def _blocks(self, source: str) -> Iterator[Any]:
        from earmark.audio.decode import decode_blocks
        from earmark.cli.stream import standard_input
        from earmark.tasks.appliance.serving.stream import blocks_of_file, blocks_of_pcm

        rate = self._model.detector.sample_rate
        if source != "-":
            return blocks_of_file(source, rate)
        if self._pcm is None:
            return decode_blocks(standard_input(), sample_rate=rate)
        return blocks_of_pcm(standard_input(), self._pcm, rate)

    def _label(self, source: str) -> dict[str, bool] | None:
        """What the name of a file says; None where it says nothing."""
        from earmark.tasks.appliance.names import NamePattern

        text = self._model.detector.card.get("pattern")
        parsed = NamePattern.parse(text).match(Path(source).stem) if text else None
        return None if parsed is None else dict(parsed.facts)

    def _facts(self, source: str, label: Mapping[str, bool] | None) -> Mapping[str, bool] | None:
        from earmark.errors import InputError

        if self._initial is None:
            return None
        if self._initial == "label":
            if label is None:
                raise InputError(
                    f"the name of `{source}` does not say what is on; expected one such as ac-on-fridge-off-day. "
                    "Rename it, or take --initial-state off."
                )
            return label
        return dict.fromkeys(self._model.detector.devices.names, self._initial == "on")

    def write_report(self, path: Path, named: tuple[str, ...], is_strict: bool) -> None:
        from earmark.data.parquet import write_bytes_atomic
        from earmark.tasks.appliance.serving.stream import report_of

        document = report_of(
            self._reports,
            self._failed,
            samples_dir=", ".join(named),
            config=f"decoder {self._rule.name}",
            model_path=str(self._model.folder),
            window_s=self._model.detector.window_s,
            hop_s=self._rule.hop_s,
            require_no_events=is_strict,
        )
        write_bytes_atomic(path, (json.dumps(document, indent=1) + "\n").encode())

    def summary(self) -> str:
        heard_s = sum(one.duration_s for one in self._reports)
        spent_s = max(time.perf_counter() - self._started, 1e-9)
        n_events = sum(len(one.events) for one in self._reports)
        windows = sum(one.windows for one in self._reports)
        return f"{windows} windows, {n_events} events, {heard_s / spent_s:.0f} times as fast as it sounds."

    def exit_code(self, *, is_strict: bool) -> int:
        from earmark.errors import GateError

        n_events = sum(len(one.events) for one in self._reports)
        if is_strict and n_events:
            first = next(event for one in self._reports for event in one.events)
            raise GateError(
                f"{n_events} events, the first {first['device']} {first['kind']} in `{first['file']}` at "
                f"{first['t_end_s']:.1f} s; expected none. Hear it, or choose other thresholds."
            )
        return 1 if self._failed else 0


class _Document:
    """``{"events": [...]}`` on standard output, written while it grows; a file that fails has the events until then."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = head
        self._is_open = False

    def __enter__(self) -> _Document:
        return self

    def event(self, event: Mapping[str, Any]) -> None:
        click.echo((", " if self._is_open else self._begin()) + json.dumps(event), nl=False)
        self._is_open = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_open or kind is None:
            click.echo(("" if self._is_open else self._begin()) + "]}")

    def _begin(self) -> str:
        head = json.dumps({**self._head, "events": []})
        return head.removesuffix("]}")


def _stem(source: str) -> str:
    return "stdin" if source == "-" else Path(source).stem


def _is_folder(named: tuple[str, ...]) -> bool:
    return any(Path(one).is_dir() for one in named)
