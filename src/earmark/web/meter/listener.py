"""What listens in a worker process of its own: the listener of `earmark live meter`, fed with samples from a socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import WorkerError
from earmark.web.meter.opened import analyst_of

if TYPE_CHECKING:
    from earmark.inference.pcm import PcmDecoder
    from earmark.tasks.meter.serving.live import Listener

__all__ = ["begin", "hear"]


@dataclass(frozen=True)
class _Heard:
    decoder: PcmDecoder
    listener: Listener


_heard: dict[str, _Heard] = {}
"""Of this worker; one at most."""


def begin(key: str, folder: Path) -> dict[str, Any]:
    """Listen to a new signal, and give up the one before; gives the first message, that the warm-up begins.

    Parameters
    ----------
    key : str
        What `hear` names it by: what was on its way when a client left is not heard by the next one's listener.
    folder : Path
        The project that answers; errors as of `analyst_of`.
    """
    from earmark.inference.pcm import PcmDecoder, PcmFormat
    from earmark.tasks.meter.schema import SAMPLE_RATE
    from earmark.tasks.meter.serving.live import LIVE_NAME, Listener

    _heard.clear()
    analyst = analyst_of(folder)
    listener = Listener(analyst, catch_up=True)
    _heard[key] = _Heard(PcmDecoder(PcmFormat("f32le", SAMPLE_RATE), listener.rates, LIVE_NAME), listener)
    total_s = analyst.project.settings.meter.warmup_seconds
    return {"type": "warmup_progress", "seconds": 0.0, "total": total_s, "onset_count": 0}


def hear(key: str, data: bytes) -> list[dict[str, Any]]:
    """Take samples in, float32 little endian at 22 050 Hz; gives the messages that are due.

    Raises
    ------
    DecodeError
        A sample is not finite, or so large that it cannot be one.
    """
    try:
        heard = _heard[key]
    except KeyError:
        raise WorkerError("The process that listened was started anew. Begin again.") from None
    return list(heard.listener.hear(heard.decoder.push(data)))
