"""`earmark prepare appliance`: from recordings of a room to windows, a manifest and a sealed part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project

if TYPE_CHECKING:
    from earmark.tasks.appliance.prepare import Prepared, PrepareOptions
    from earmark.tasks.appliance.windows import Windowing

__all__ = ["prepare"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _words(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@command("prepare")
@click.argument("folder", required=False, type=_FOLDER)
@click.option("--samples-dir", type=_FOLDER, help="Folder of the recordings (default: samples).")
@click.option("--ext", callback=_words, metavar="wav,ogg", help="Suffixes that count (default: flac,m4a).")
@click.option(
    "--pattern",
    metavar="PATTERN",
    help='Of the names; "auto" derives it (default: ac-(on|off)-fridge-(on|off)-(day|night)).',
)
@click.option(
    "--labels", type=_FILE, help="CSV or YAML with file, 0 or 1 per device, daypart; not the names."
)
@click.option("--legacy-names", is_flag=True, help="Names are ac_on, fridge_on, all_on, all_off.")
@click.option(
    "--allow-heuristics", is_flag=True, help="Names are free; whole words such as ac, fridge, both count."
)
@click.option(
    "--segments", type=_FILE, help="CSV with file, on, off: recordings in which one machine goes on and off."
)
@click.option(
    "--table", type=_FILE, help="Of --segments: CSV with file and free columns, a row per recording."
)
@click.option("--device-name", metavar="NAME", help="Of --segments: the machine's name (default: machine).")
@click.option(
    "--priority", callback=_words, metavar="A,B", help="Which device gives the state (default: order)."
)
@click.option(
    "--mask",
    "masks",
    multiple=True,
    metavar="BY:HIDES",
    help='A device that hides another, or "none"; may repeat.',
)
@click.option("--window-sec", "--window-s", "window_s", type=float, help="Seconds of a window (default: 6).")
@click.option("--hop-sec", "--hop-s", "hop_s", type=float, help="Seconds between windows (default: 1.5).")
@click.option("--target-sr", "--sample-rate", "sample_rate", type=int, help="Rate in Hz; 16000 and no other.")
@click.option(
    "--drop-top-pct",
    "drop_top_share",
    type=float,
    help="Share of a recording's windows to set aside (default: 0.01).",
)
@click.option(
    "--drop-by", type=click.Choice(["rms", "flux", "rms+flux"]), default="rms", help="What makes an outlier."
)
@click.option("--skip-short", is_flag=True, help="List and leave out recordings shorter than a window.")
@click.option(
    "--mono",
    type=click.Choice(["mean", "ffmpeg"]),
    default="mean",
    help="Levels of windows.parquet: mean of the channels, or FFmpeg's mix, 3 dB higher. Features hear the mean.",
)
@click.option(
    "--seal",
    type=click.Choice(["auto", "none"]),
    default="auto",
    help="Seal a test part, or none (default: auto).",
)
@click.option(
    "--seal-sec",
    "seal_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds sealed of each recording, where takes are few.",
)
@click.option(
    "--seal-gap-sec",
    "gap_s",
    type=click.FloatRange(min=0),
    help="Seconds before them that are used in no part.",
)
@click.option(
    "--seal-on", metavar="COLUMN", help="Of --table: its equal values are sealed together (machine_src)."
)
@click.option("--reseal", "reseal_reason", metavar="REASON", help="Seal anew; the ledger keeps the reason.")
@click.option("--seed", type=int, help="Seed of what is drawn.")
@click.option(
    "--only", type=click.Choice(["files", "windows"]), help="Write files.csv alone, or start from it."
)
@click.option("--files-manifest", type=_OUT, help="Where files.csv lies (default: data/manifests/files.csv).")
@click.option(
    "--windows-manifest",
    type=_OUT,
    help="Where windows.parquet lies (default: data/manifests/windows.parquet).",
)
@click.option("--summary", "--dry-run", "dry_run", is_flag=True, help="Read and measure; write nothing.")
@click.pass_obj
def prepare(invocation: Invocation, /, **given: Any) -> int:
    """Cut the recordings of a room into windows, and seal what the test is made of.

    Names say what was on: ac-on-fridge-off-day.m4a. Everything that is wrong in a folder is told at once, and nothing
    is written then.

    \b
    Examples:
      earmark prepare appliance samples/
      earmark prepare appliance samples/ --pattern auto --ext wav
      earmark prepare appliance samples/ --labels labels.csv --seal none
      earmark prepare appliance scenes/ --segments on_segments.csv --table manifest.csv
    """
    from earmark.cli.output import complain, emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.appliance.prepare import prepare as run_prepare

    project = open_project(invocation, "appliance", seed=given["seed"])
    options = _options(invocation, given)
    with progress(invocation) as tell:
        prepared = run_prepare(project, options, tell)
    for text in prepared.skipped:
        complain(f"left out: {text}")
    for text in prepared.warnings:
        complain(f"warning: {text}")
    emit(invocation, prepared.rows, document=_document(prepared))
    if prepared.seal:
        note(invocation, f"{prepared.seal[0].upper()}{prepared.seal[1:]}.")
    if prepared.files:
        note(invocation, f"Written: {', '.join(map(str, prepared.files))}. Next: earmark train appliance")
    return 0


def _options(invocation: Invocation, given: dict[str, Any]) -> PrepareOptions:
    from earmark.errors import UsageError
    from earmark.tasks.appliance.prepare import PrepareOptions

    ways = {
        "--pattern": given["pattern"],
        "--labels": given["labels"],
        "--legacy-names": given["legacy_names"],
        "--allow-heuristics": given["allow_heuristics"],
        "--segments": given["segments"],
    }
    chosen = [flag for flag, value in ways.items() if value]
    if len(chosen) > 1:
        raise UsageError(
            f"{' and '.join(chosen)} each say how states are told; expected one of them. Give one."
        )
    of_segments = [name for name in ("table", "device_name", "seal_on") if given[name]]
    if of_segments and not given["segments"]:
        raise UsageError(f"--{of_segments[0].replace('_', '-')} belongs to --segments, which was not given.")
    naming = "legacy" if given["legacy_names"] else "heuristic" if given["allow_heuristics"] else "pattern"
    names = (
        *(
            "labels",
            "segments",
            "table",
            "device_name",
            "priority",
            "drop_top_share",
            "drop_by",
            "skip_short",
        ),
        *("only", "files_manifest", "windows_manifest", "seal", "seal_on", "reseal_reason", "dry_run"),
    )
    defaulted = {name: given[name] for name in ("pattern", "seal_s", "gap_s") if given[name] is not None}
    return PrepareOptions(
        folder=given["folder"] or given["samples_dir"] or invocation.folder / "samples",
        naming=naming,
        windowing=_windowing(given),
        masks=_masks(given["masks"]),
        ffmpeg_mono=given["mono"] == "ffmpeg",
        **({"suffixes": given["ext"]} if given["ext"] else {}),
        **defaulted,
        **{name: given[name] for name in names},
    )


def _windowing(given: dict[str, Any]) -> Windowing:
    from earmark.errors import UsageError
    from earmark.tasks.appliance.schema import SAMPLE_RATE
    from earmark.tasks.appliance.windows import Windowing

    if given["sample_rate"] not in (None, SAMPLE_RATE):
        raise UsageError(
            f"the rate is {given['sample_rate']} Hz; expected {SAMPLE_RATE}, at which every feature is defined. "
            "Leave the option out: recordings of any rate are resampled."
        )
    return Windowing(**{name: given[name] for name in ("window_s", "hop_s") if given[name] is not None})


def _masks(given: tuple[str, ...]) -> tuple[tuple[str, str], ...] | None:
    from earmark.errors import UsageError

    if not given or given == ("none",):
        return () if given else None
    pairs = [tuple(text.split(":")) for text in given]
    if any(len(pair) != 2 for pair in pairs):
        raise UsageError(f"--mask was given {', '.join(given)}; expected BY:HIDES, e.g. ac:fridge, or none.")
    return tuple((pair[0], pair[1]) for pair in pairs)


def _document(prepared: Prepared) -> dict[str, Any]:
    return {
        "task": "appliance",
        "devices": prepared.devices.names,
        "priority": prepared.devices.priority,
        "masks": prepared.devices.masks,
        "pattern": prepared.pattern,
        "recordings": prepared.rows,
        "windows": prepared.parts,
        "seal": prepared.seal,
        "warnings": prepared.warnings,
        "skipped": prepared.skipped,
        "files": prepared.files,
    }
