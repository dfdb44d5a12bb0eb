"""`stream`: a file as if it were heard live, without waiting: what each window says, and when a device switched.

State begins anew with each file. Audio is decoded in blocks and windows are forgotten once they are answered, so memory
does not grow with the length of a file; probabilities are those of `predict`, and of `live`, to the last bit.

Conventions: ``t_s`` is the start of a window and ``t_end_s`` its end, seconds from the start of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import decode_blocks
from earmark.audio.fragment import cut_blocks, split_fragment
from earmark.errors import TooShortError
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.serving.engine import Answered, Engine
from earmark.tasks.appliance.serving.lines import p_fields

__all__ = [
    "FileReport",
    "answers_of",
    "blocks_of_file",
    "blocks_of_pcm",
    "event_rows",
    "probability_row",
    "report_of",
]

Samples = NDArray[np.float32]

READ_BYTES = 1 << 14


@dataclass
class FileReport:
    """What a report says of one file; counts grow while it is heard.

    Parameters
    ----------
    file : str
    label : mapping of device to bool, or None
        What is known to be on.
    """

    file: str
    label: Mapping[str, bool] | None = None
    duration_s: float = 0.0
    windows: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def take(self, answered: Answered) -> None:
        """Count a window."""
        self.windows += 1
        self.events += event_rows(self.file, answered)

    def document(self) -> dict[str, Any]:
        """An element of ``per_file``."""
        return {
            "file": self.file,
            "label": None if self.label is None else label_text(self.label),
            "duration_s": round(self.duration_s, 4),
            "windows": self.windows,
            "events": self.events,
            "event_total": len(self.events),
        }


def label_text(facts: Mapping[str, bool]) -> str:
    """``none``, the name of the one device that is on, ``both`` of two, else names joined by ``+``."""
    names = [name for name, is_on in facts.items() if is_on]
    return "both" if len(names) == len(facts) == 2 else "+".join(names) or "none"


def answers_of(engine: Engine, blocks: Iterable[Samples]) -> Iterator[Answered]:
    """Every window of a signal, in order.

    Raises
    ------
    TooShortError
        The signal ended before its first window.
    """
    for block in blocks:
        yield from engine.hear(block)
    ring = engine.ring
    if not ring.n_windows:
        raise TooShortError(
            f"`{ring.name}` lasts {ring.n_heard / ring.grid.sample_rate:.2f} s; expected at least one window of "
            f"{ring.grid.window_s:g} s. Record longer."
        )


def blocks_of_file(source: str, sample_rate: int) -> Iterator[Samples]:
    """Samples of a file as it is decoded, or of the part of it that is named."""
    recording, part = split_fragment(source)
    blocks = decode_blocks(recording, sample_rate=sample_rate)
    return cut_blocks(blocks, part, sample_rate=sample_rate, uri=recording)


def blocks_of_pcm(source: BinaryIO, pcm: PcmFormat, sample_rate: int) -> Iterator[Samples]:
    """Raw samples of a pipe as they come."""
    decoder = PcmDecoder(pcm, [sample_rate], "<stdin>")
    read = getattr(source, "read1", source.read)  # of a pipe `read` waits for the full number of bytes
    while data := read(READ_BYTES):
        yield decoder.push(data)[sample_rate]
    yield decoder.finish()[sample_rate]


def probability_row(file: str, devices: Devices, answered: Answered) -> dict[str, Any]:
    """A row of the table of probabilities: of the window alone, and as the decoder shows them."""
    window = answered.window
    return {
        "file": file,
        "t_s": window.start_s,
        **p_fields(devices, answered.p.tolist()),
        **p_fields(devices, answered.decided.p_shown, "_smooth"),
        "t_end_s": window.end_s,
    }


def event_rows(file: str, answered: Answered) -> list[dict[str, Any]]:
    """Rows of the table of events: devices that switched with this window."""
    window = answered.window
    return [
        {
            "file": file,
            "t_s": window.start_s,
            "device": event.device,
            "kind": event.kind,
            "prob": round(event.prob, 6),
            "step": event.step,
            "t_end_s": window.end_s,
        }
        for event in answered.decided.events
    ]


def report_of(
    reports: Iterable[FileReport], failed: Iterable[Mapping[str, str]], **settings: Any
) -> dict[str, Any]:
    """The document of ``--report``.

    Parameters
    ----------
    failed : iterable of mapping
        ``file`` and ``error`` of what could not be heard; what is too short for a window has ``skipped`` true.
    settings : object
        ``samples_dir``, ``config``, ``model_path``, ``window_s``, ``hop_s``, ``require_no_events``.
    """
    reports, failed = list(reports), list(failed)
    skipped = [one for one in failed if one.get("skipped")]
    n_events = sum(len(one.events) for one in reports)
    n_failed = len(failed) - len(skipped)
    is_strict = bool(settings["require_no_events"])
    return {
        **{name: settings[name] for name in ("samples_dir", "config", "model_path", "window_s", "hop_s")},
        "files": len(reports) + len(failed),
        "processed_files": len(reports),
        "skipped_files": len(skipped),
        "failed_files": n_failed,
        "total_windows": sum(one.windows for one in reports),
        "total_events": n_events,
        "require_no_events": is_strict,
        "passed": not n_failed and not (is_strict and n_events),
        "per_file": [one.document() for one in reports],
    }
