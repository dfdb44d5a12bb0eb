"""`live --confirm both-off`: the level of the room while everything is off, measured by the same ear that listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from earmark.audio.clip import Clip
from earmark.errors import InputError
from earmark.inference.capture import Piece
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.tasks.appliance.serving.engine import level_dbfs
from earmark.tasks.appliance.serving.floor import Floor
from earmark.tasks.appliance.serving.health import Ear
from earmark.tasks.appliance.serving.ring import Grid, Ring

__all__ = ["measure_floor"]


def measure_floor(
    pieces: Iterable[Piece],
    source_rate: int,
    grid: Grid,
    seconds: float,
    *,
    on_window: Callable[[Clip], None] = lambda _clip: None,
) -> Floor:
    """The median level of the windows in the next `seconds` of audio; each is given to `on_window`.

    Raises
    ------
    InputError
        Audio was lost, nothing was heard, or the source ended too soon: such a level would be that of a fault.
    """
    ear, ring, levels = Ear(source_rate), Ring(grid), list[float]()
    resampler = PcmDecoder(PcmFormat("f32le", source_rate), [grid.sample_rate], "<live>")
    for piece in pieces:
        if piece.is_behind_a_gap or piece.problem is not None:
            raise InputError(
                f"audio was lost after {ear.heard_s:.1f} s, so no level was measured. Try again."
            )
        ear.hear(piece.samples)
        samples = resampler.push(piece.samples.astype("<f4", copy=False).tobytes())[grid.sample_rate]
        for window in ring.push(samples):
            levels.append(level_dbfs(window.clip))
            on_window(window.clip)
        if ear.heard_s >= seconds and levels:
            return _checked(ear, levels)
    raise InputError(
        f"the source ended after {ear.heard_s:.1f} s of {seconds:g} s, so no level was measured. Try again."
    )


def _checked(ear: Ear, levels: list[float]) -> Floor:
    if ear.holds(0.0, ear.heard_s):
        raise InputError(
            "the source was silent, as one that is muted or unplugged, so no level was measured."
        )
    return Floor.of_levels(levels, ear.heard_s)
