"""`earmark collect appliance`: record one take of the room in a known state."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.appliance.capturing import opened_capture, print_devices, source_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.appliance.serving.recorder import Meter

__all__ = ["collect"]

BAR_DBFS = -80.0
"""The left end of the level meter."""
BAR_WIDTH = 40
KEEP_S = 6.0


@command("collect")
@click.option("--set", "state", metavar="ac=on,fridge=off", help="What is on and off while you record.")
@click.option("--daypart", metavar="NAME", help="day, night, or another group of the pattern.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=180.0, help="Length (180).")
@click.option("--pattern", help="Of the names (default: ac-(on|off)-fridge-(on|off)-(day|night)).")
@click.option(
    "--samples-dir",
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the recordings (samples, in the project folder).",
)
@click.option(
    "--ext",
    type=click.Choice(["m4a", "flac", "wav"]),
    default="flac",
    help="Form of the file (flac: lossless).",
)
@click.option(
    "--input-sr", "--sr", "input_sr", type=click.IntRange(min=1), default=44_100, help="Hz (44100)."
)
@source_options
@click.pass_obj
def collect(invocation: Invocation, /, **given: Any) -> int:
    """Record the room for three minutes while nothing changes, and name the file by what is on.

    The level is shown while it is heard, and whether it clips. No file is ever replaced: a second take has the number
    2. Where audio was lost, nothing is written.

    \b
    Examples:
      earmark collect appliance --set ac=on,fridge=off --daypart day
      earmark collect appliance --set washer=on --daypart day --pattern "washer-(on|off)-(day|night)" --seconds 60
    """
    from earmark.cli.output import complain, emit, note
    from earmark.errors import UsageError
    from earmark.tasks.appliance.names import DEFAULT_PATTERN, NamePattern
    from earmark.tasks.appliance.serving.recorder import parse_facts, record, write_take

    if given["list_devices"] or given["list_devices_json"]:
        print_devices(invocation, as_json=given["list_devices_json"])
        return 0
    if given["state"] is None or given["daypart"] is None:
        raise UsageError(
            "--set and --daypart say what is recorded. Give both: --set ac=on,fridge=off --daypart day"
        )
    pattern = NamePattern.parse(given["pattern"] or DEFAULT_PATTERN)
    facts, daypart = parse_facts(given["state"]), given["daypart"]
    pattern.name(facts, daypart)  # a name that cannot be is refused before anything is recorded
    capture = opened_capture(
        given,
        sample_rate=given["input_sr"],
        file_rate=given["input_sr"],
        block_s=0.1,
        device=given["sd_device"] or "",
        max_lag_s=given["max_lag_sec"] or 30.0,
        keep_s=KEEP_S,
    )
    rate = capture.source.sample_rate
    note(
        invocation,
        f"Recording {given['seconds']:g} s at {rate} Hz from {capture.source.name}; change nothing.",
    )
    take = record(capture.pieces(), rate, given["seconds"], on_level=_meter(invocation, given["seconds"]))
    folder = given["folder"] or invocation.folder / "samples"
    path = write_take(take, folder, pattern, facts, daypart, given["ext"])
    for warning in take.warnings:
        complain(f"warning: {warning}")
    row = {
        "path": str(path),
        "seconds": round(len(take.samples) / rate, 3),
        "sample_rate": rate,
        "rms_dbfs": round(take.rms_dbfs, 2),
        "clipped_share": round(take.clipped_share, 6),
    }
    emit(invocation, [row], document=row)
    return 0


def _meter(invocation: Invocation, seconds: float) -> Callable[[Meter], None]:
    """Draws the level on a terminal, where one looks at it."""
    if invocation.quiet or not sys.stderr.isatty():
        return lambda _meter: None

    def draw(meter: Meter) -> None:
        share = min(1.0, max(0.0, 1 - meter.rms_dbfs / BAR_DBFS))
        bar = "#" * round(share * BAR_WIDTH)
        clips = f"  CLIPPED {meter.n_clipped}" if meter.n_clipped else ""
        text = f"\r{meter.seconds:6.1f}/{seconds:g} s  {bar:<{BAR_WIDTH}} {meter.rms_dbfs:6.1f} dBFS{clips}"
        sys.stderr.write(text + ("\n" if meter.seconds >= seconds else ""))
        sys.stderr.flush()

    return draw
