"""`earmark live appliance`: the state of the room, as a microphone hears it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.appliance.capturing import complaining, opened_capture, print_devices, source_options
from earmark.cli.appliance.clipping import clip_options, clips_of, opened_writer
from earmark.cli.appliance.listening import FILE, flags_of, model_options, opened_model, rule_options
from earmark.cli.appliance.outputs import opened_outputs, output_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from contextlib import ExitStack

    from earmark.inference.capture import Capture, Piece
    from earmark.tasks.appliance.serving.clips import Write
    from earmark.tasks.appliance.serving.engine import Answered
    from earmark.tasks.appliance.serving.live import Session
    from earmark.tasks.appliance.serving.model import Model
    from earmark.tasks.appliance.serving.settings import LiveSettings
    from earmark.tasks.appliance.serving.sinks import Sink
    from earmark.tasks.appliance.serving.tables import LiveTables

__all__ = ["live"]

_LOG = click.Path(dir_okay=False, path_type=Path)


@command("live")
@model_options
@rule_options
@source_options
@click.option("--input-sr", type=click.IntRange(min=1), help="Hz of the sound device (default: 44100).")
@click.option(
    "--config", type=FILE, help="Settings (default: live.toml of the project folder, if it is there)."
)
@click.option("--only-changes", is_flag=True, help="Lines with debounced_status alone, and a sign of life.")
@click.option("--heartbeat", type=click.FloatRange(min=0), default=60.0, help="Its seconds (60); 0: none.")
@click.option("--log-jsonl", type=_LOG, help="Append the lines to a file.")
@click.option("--log-probs", type=_LOG, help="Append probabilities to a CSV file, a row per window.")
@click.option("--log-events", type=_LOG, help="Append devices that switched to a CSV file.")
@clip_options
@click.option("--dry-run", metavar="PATH", help="Hear a recording, or each of a folder, without waiting.")
@click.option(
    "--confirm", metavar="STATE", help="Everything is off, as both-off says: measure the level of the room."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, help="Of --confirm (60)."
)
@click.option(
    "--duration",
    "--duration-s",
    "duration",
    type=click.FloatRange(min=0, min_open=True),
    help="End after so many seconds.",
)
@click.option("--latency", is_flag=True, help="Print how late a switch is told, and end.")
@click.option("--show-config", is_flag=True, help="Print every setting and where it comes from, and end.")
@output_options
@click.option("--schema", is_flag=True, help="Print the JSON schema of a line, and hear nothing.")
@click.pass_obj
def live(invocation: Invocation, /, **given: Any) -> int:
    """Hear a microphone and tell which machines run: a line of JSON per hop. Ctrl-C ends it.

    Settings come from flags, else from live.toml, else from the run's thresholds. Overflow, lag and a microphone that
    is unplugged are told in the field health and never end the program; the state is held meanwhile. Nothing is
    recorded or kept, but the seconds around each switch where --clips asks for them.

    \b
    Examples:
      earmark live appliance --only-changes --log-jsonl states.jsonl
      earmark live appliance --clips clips/ --clips-s 20
      earmark live appliance --input rtsp://camera.local/stream --mqtt mqtt://homeassistant.local
      earmark live appliance --dry-run samples/
      earmark live appliance --confirm both-off --seconds 60
    """
    if given["list_devices"] or given["list_devices_json"]:
        print_devices(invocation, as_json=given["list_devices_json"])
        return 0
    model = opened_model(invocation, given)
    settings = _settings(invocation, model, given)
    if _printed(invocation, model, settings, given):
        return 0
    if given["confirm"] is not None:
        return _confirm(invocation, model, settings, given)
    try:
        return _listen(invocation, _Room(invocation, model, settings, given))
    except KeyboardInterrupt:
        return 0


def _settings(invocation: Invocation, model: Model, given: dict[str, Any]) -> LiveSettings:
    from earmark.cli.output import note
    from earmark.tasks.appliance.serving.settings import LIVE_FILE, read_live_toml, resolve

    path: Path = given["config"] or invocation.folder / LIVE_FILE
    file = read_live_toml(path, model.detector.devices) if path.is_file() else None
    if file is not None:
        note(invocation, f"Settings of {path} apply.")
    return resolve(model.thresholds, flags_of(given), file)


def _printed(invocation: Invocation, model: Model, settings: LiveSettings, given: dict[str, Any]) -> bool:
    """Print what was asked for in place of hearing; whether something was."""
    from earmark.cli.output import emit, to_json

    devices = model.detector.devices
    if given["schema"]:
        from earmark.tasks.appliance.serving.lines import live_schema

        click.echo(to_json(live_schema(devices)), nl=False)
    elif given["show_config"]:
        emit(invocation, [vars(one) for one in settings.origins], columns=("setting", "value", "origin"))
    elif given["latency"]:
        emit(invocation, _latencies(model, settings))
    else:
        return False
    return True


def _latencies(model: Model, settings: LiveSettings) -> list[dict[str, Any]]:
    """A row per device; `basis` says what the numbers stand on."""
    import polars as pl

    from earmark.tasks.appliance.decoding.latency import P_OFF, P_ON, latency
    from earmark.tasks.appliance.thresholds.clarity import typical_switches
    from earmark.tasks.appliance.thresholds.run import unseen_rows
    from earmark.training.runs import OUT_OF_FOLD_FILE

    devices, path = model.detector.devices, model.folder / OUT_OF_FOLD_FILE
    is_formula = settings.rule.name == "median"
    seen = {}
    if path.is_file() and not is_formula:
        seen = typical_switches(unseen_rows(pl.read_parquet(path), model.detector), devices)
    plain = "a formula" if is_formula else f"played from {P_OFF:g} to {P_ON:g}, assumed"
    rows = []
    for k, name in enumerate(devices.names):
        switch = seen.get(name)
        found = latency(settings.rule, devices, name, switch=switch)
        played = (
            None if switch is None else f"played from {switch.off[k]:.3f} to {switch.on[k]:.3f}, as heard"
        )
        rows.append({"device": name} | vars(found) | {"basis": played or plain})
    return rows


@dataclass(frozen=True)
class _Room:
    """What one call hears with."""

    invocation: Invocation
    model: Model
    settings: LiveSettings
    given: dict[str, Any]

    def capture(self) -> Capture:
        settings, detector = self.settings, self.model.detector
        return opened_capture(
            self.given,
            sample_rate=settings.input_sr,
            file_rate=detector.sample_rate,
            block_s=settings.rule.hop_s,
            device=settings.sd_device,
            max_lag_s=settings.max_lag_sec,
            keep_s=detector.window_s + settings.rule.hop_s,
        )

    @property
    def on_loss(self) -> Callable[[str], None] | None:
        """A full disk does not end what hears a microphone; a dry run it does."""
        from earmark.cli.output import complain

        return complain if self.given["dry_run"] is None else None

    def told(self) -> Sink:
        """Standard output and the log, as far as a line is to be told."""
        from earmark.tasks.appliance.serving.live import Announcer
        from earmark.tasks.appliance.serving.sinks import JsonLines, TextSink

        sinks: list[Sink] = [TextSink(sys.stdout)]
        if self.given["log_jsonl"] is not None:
            sinks.append(JsonLines(self.given["log_jsonl"], self.on_loss))
        return Announcer(sinks, only_changes=self.given["only_changes"], heartbeat_s=self.given["heartbeat"])

    def tables(self) -> LiveTables:
        """What `--log-probs` and `--log-events` write."""
        from earmark.tasks.appliance.serving.tables import LiveTables

        return LiveTables(
            self.model.detector.devices, self.given["log_probs"], self.given["log_events"], self.on_loss
        )

    def writer(self, stack: ExitStack) -> Write | None:
        """What writes clips; a sound device is never made to wait for it."""
        return opened_writer(self.given, self.model.detector.sample_rate, stack, on_loss=self.on_loss)

    @contextmanager
    def session(self, source: str, rate: int, ends: _Ends, *, is_told: bool) -> Iterator[Session]:
        """What hears a source; `is_told` names it in each line."""
        from earmark.cli.appliance.watched import Watched, tell_listening
        from earmark.tasks.appliance.serving.engine import Engine
        from earmark.tasks.appliance.serving.live import Session

        model, rule, detector = self.model, self.settings.rule, self.model.detector
        with clips_of(ends.write, detector.sample_rate, self.given["clips_s"]) as clips:
            engine = Engine(detector, rule, source, on_heard=None if clips is None else clips.hear)
            watched = Watched(engine, clips)

            def answered(one: Answered, timestamp: float) -> None:
                ends.tables.take(one, timestamp)
                watched.take(one, timestamp)

            tell_listening(model, rule, source)
            named = source if is_told else None
            yield Session(engine, rate, floor_dbfs=model.floor_dbfs, source=named, on_answered=answered)

    def outputs(self, capture: Capture | None) -> Sequence[Sink]:
        """Whatever takes every line, and what is known of each device."""
        named = ("mqtt_room", "mqtt_prefix", "mqtt_discovery", "mqtt_password_file", "mqtt_ca")
        return opened_outputs(
            self.invocation,
            self.model.detector.devices,
            capture=capture,
            mqtt=self.given["mqtt"],
            prometheus=self.given["prometheus"],
            **{name: self.given[name] for name in named},
        )


@dataclass(frozen=True)
class _Ends:
    """Where what is heard goes."""

    told: Sink
    outputs: Sequence[Sink]
    tables: LiveTables
    write: Write | None


def _listen(invocation: Invocation, room: _Room) -> int:
    import signal
    from contextlib import ExitStack

    from earmark.cli.output import note

    started, cpu, code = time.monotonic(), time.process_time(), 0
    with ExitStack() as stack:
        # A service is ended by this signal: sinks are closed as by Ctrl-C.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack.callback(signal.signal, signal.SIGTERM, before)
        capture = None if room.given["dry_run"] is not None else room.capture()
        ends = _Ends(room.told(), room.outputs(capture), room.tables(), room.writer(stack))
        stack.callback(ends.tables.close)
        for sink in (ends.told, *ends.outputs):
            stack.callback(sink.close)
        try:
            if capture is None:
                code = _dry_run(room, ends)
            else:
                _hear(room, capture, ends)
        except KeyboardInterrupt:
            pass  # which ends it, with all that follows
        note(invocation, _cost(started, cpu))
    return code


def _hear(room: _Room, capture: Capture, ends: _Ends) -> None:
    from earmark.tasks.appliance.serving.live import listen

    source = capture.source
    with room.session(source.name, source.sample_rate, ends, is_told=False) as session:
        listen(
            session,
            capture,
            [ends.told],
            outputs=ends.outputs,
            seconds=room.given["duration"],
            on_piece=complaining(room.invocation),
        )


def _dry_run(room: _Room, ends: _Ends) -> int:
    from earmark.cli.output import complain_of
    from earmark.errors import InputError
    from earmark.inference.inputs import expand_inputs
    from earmark.inference.prediction import Failed
    from earmark.tasks.appliance.serving.live import run

    n_failed, rate = 0, room.model.detector.sample_rate
    for entry in expand_inputs([room.given["dry_run"]]):
        if isinstance(entry, Failed):
            complain_of(entry.path, entry.error)
            n_failed += 1
            continue
        try:
            with room.session(entry, rate, ends, is_told=True) as session:
                run(session, _pieces_of(entry, rate), [ends.told], outputs=ends.outputs)
        except InputError as problem:
            complain_of(entry, str(problem))
            n_failed += 1
    return 1 if n_failed else 0


def _pieces_of(source: str, sample_rate: int) -> Iterator[Piece]:
    from earmark.inference.capture import Piece
    from earmark.tasks.appliance.serving.stream import blocks_of_file

    return (Piece(block) for block in blocks_of_file(source, sample_rate) if len(block))


def _confirm(invocation: Invocation, model: Model, settings: LiveSettings, given: dict[str, Any]) -> int:
    from earmark.cli.output import emit, note
    from earmark.errors import UsageError
    from earmark.tasks.appliance.schema import none_on
    from earmark.tasks.appliance.serving.confirm import measure_floor
    from earmark.tasks.appliance.serving.engine import grid_of

    expected = none_on(model.detector.devices)
    if given["confirm"] != expected:
        raise UsageError(
            f"--confirm is {given['confirm']!r}; expected `{expected}`: the level of the room is measured while "
            "everything is off. Turn everything off first."
        )
    capture = _Room(invocation, model, settings, given).capture()
    pieces = capture.pieces(tick_s=settings.rule.hop_s)
    grid = grid_of(model.detector, settings.rule)
    rows: list[Any] = []
    floor = measure_floor(
        pieces,
        capture.source.sample_rate,
        grid,
        given["seconds"],
        on_window=lambda clip: rows.append(model.detector.probabilities([clip])[0]),
    )
    _doubt(model, rows, expected)
    path = floor.write(model.folder)
    trained = model.detector.card.get("floor_dbfs")
    emit(invocation, [vars(floor) | {"training_floor_dbfs": trained}])
    note(invocation, f"Written: {path}. The model is as it was; delete the file to take this back.")
    return 0


def _doubt(model: Model, rows: list[Any], expected: str) -> None:
    """Warn where the model heard another state than the one that was said."""
    import numpy as np

    from earmark.cli.output import complain
    from earmark.tasks.appliance.schema import state_of

    devices = model.detector.devices
    medians = dict(zip(devices.names, np.median(rows, axis=0).tolist(), strict=True))
    heard = state_of(model.thresholds.facts(medians), devices)
    if heard == expected:
        return
    told = ", ".join(f"{name} {p:.2f}" for name, p in medians.items())
    complain(
        f"warning: the model heard {heard} ({told}), not {expected}. If something ran, the level is too high: turn it "
        "off and measure again."
    )


def _cost(started: float, cpu: float) -> str:
    elapsed_s = max(time.monotonic() - started, 1e-9)
    used_s = time.process_time() - cpu
    return (
        f"Used {used_s:.2f} s of processor time in {elapsed_s:.1f} s: {used_s / elapsed_s:.1%} of one core."
    )
