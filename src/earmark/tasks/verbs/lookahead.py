"""`check lookahead`: prove on real or generated audio that no frame column sees further ahead than it declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.errors import UsageError
from earmark.features.lookahead import LookaheadRow, check_lookahead
from earmark.tasks.project import Project

__all__ = ["lookahead"]

PROBE_S = 20.0


def lookahead(project: Project, sources: Sequence[str] = ()) -> list[LookaheadRow]:
    """Check every ``frames`` group of the task on the given files, or on a generated probe.

    Raises
    ------
    UsageError
        The task has no frame groups: there is nothing that could see ahead within an item.
    """
    groups = [group for group in project.task.all_groups if group.kind == "frames"]
    if not groups:
        raise UsageError(
            f"task `{project.task.name}` has no frame groups, so there is no look-ahead to check."
        )
    rows: list[LookaheadRow] = []
    for group in groups:
        clips = [decode(source, sample_rate=group.sample_rate) for source in sources] or [
            probe(group.sample_rate)
        ]
        for clip in clips:
            rows.extend(check_lookahead(group, clip))
    return rows


def probe(sample_rate: int, seed: int = 0) -> Clip:
    """Noise bursts over a chord whose level and pitch drift, shape (20 s,): every common feature varies along it."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(int(PROBE_S * sample_rate)) / sample_rate
    drift = 1 + 0.3 * np.sin(2 * np.pi * time_s / 7.3)
    chord = sum(np.sin(2 * np.pi * note_hz * time_s * drift) for note_hz in (110.0, 164.8, 277.2))
    bursts = generator.normal(0, 1, time_s.size) * np.exp(-12 * ((time_s * 2.1) % 1.0))
    samples = (0.1 * chord + 0.4 * bursts) * np.linspace(0.3, 1.0, time_s.size)
    return Clip(samples.astype(np.float32), sample_rate, "generated probe")
