"""Options of `live` and `stream` of the task `appliance` that keep the seconds around each switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from earmark.tasks.appliance.serving.clips import Clips, Write

__all__ = ["clip_options", "clips_of", "opened_writer"]

_DIR = click.Path(file_okay=False, path_type=Path)


def clip_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where clips go, how long they are, and how many stay."""
    for option in (
        click.option(
            "--clips-keep", type=click.IntRange(1, 100_000), default=200, help="Newest of them (200)."
        ),
        click.option(
            "--clips-s", type=click.FloatRange(1, 120), default=12.0, help="Seconds of a clip (12)."
        ),
        click.option(
            "--clips", type=_DIR, help="Keep what was heard when a device switched, a FLAC file each."
        ),
    ):
        function = option(function)
    return function


def opened_writer(
    given: dict[str, Any],
    sample_rate: int,
    stack: ExitStack,
    *,
    on_loss: Callable[[str], None] | None = None,
) -> Write | None:
    """What writes clips until `stack` ends, where they were asked for.

    Parameters
    ----------
    on_loss : callable, optional
        Told why clips cannot be written, which a thread does then; without it that is an error.
    """
    if given["clips"] is None:
        return None
    from earmark.tasks.appliance.serving.clips import Background, ClipFolder

    given["clips"].mkdir(parents=True, exist_ok=True)
    write = ClipFolder(given["clips"], sample_rate, given["clips_keep"]).write
    if on_loss is None:
        return write
    background = Background(write, on_loss)
    stack.callback(background.close)
    return background.write


@contextmanager
def clips_of(write: Write | None, sample_rate: int, seconds: float) -> Iterator[Clips | None]:
    """What cuts the clips of one source; those that wait for their end are written when it is left."""
    if write is None:
        yield None
        return
    from earmark.tasks.appliance.serving.clips import Clips

    clips = Clips(write, sample_rate, seconds)
    try:
        yield clips
    finally:
        clips.close()
