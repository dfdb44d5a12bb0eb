"""The built-in demo of the meter task: clicks and small pieces of all classes, made without any other program.

Eight pieces of each class, played by the built-in synthesiser, and clicks that show one thing each: plain, compound,
short, quiet, a ramp of tempo, gaps. The pairs that are easy to confuse are there: 6/8 against 3/4, 2+2+3 against 3+2+2.
Every stage of earmark runs on them; their sound is too plain to say how well a model does on music.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.clips import Take, write_clip, write_labels
from earmark.tasks.meter.scores.patterns import generate
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap

__all__ = ["CLICKS", "Click", "click_score", "make_demo"]

PIECES_PER_CLASS = 8
PIECE_S = (14.0, 20.0)
SEED = 42
_ACCENT, _GROUP, _PULSE = 76, 77, 42  # wood blocks, high and low, and a closed hat
_VELOCITIES = (120, 92, 60)


@dataclass(frozen=True)
class Click:
    """A click track: what it shows, its meter, pulses per minute, length, and what is odd about it.

    Parameters
    ----------
    name, signature : str
    groups : tuple of int
    pulses_per_minute : float
    duration_s : float
    level : float
        Factor on the amplitude.
    ramp : float
        Tempo at the end as a multiple of that at the start.
    gaps : float
        Share of pulses that are silent; never at the start of a bar.
    """

    name: str
    signature: str
    groups: tuple[int, ...]
    pulses_per_minute: float
    duration_s: float = 15.0
    level: float = 1.0
    ramp: float = 1.0
    gaps: float = 0.0


CLICKS = (
    Click("plain", "4/4", (2, 2), 120),
    Click("waltz", "3/4", (3,), 150),
    Click("compound", "6/8", (3, 3), 330),
    Click("compound-slow", "12/8", (3, 3, 3, 3), 300),
    Click("five", "5/4", (3, 2), 140),
    Click("seven-end", "7/8", (2, 2, 3), 300),
    Click("seven-start", "7/8", (3, 2, 2), 300),
    Click("nine", "9/8", (2, 2, 2, 3), 320),
    Click("eleven", "11/8", (2, 2, 3, 2, 2), 340),
    Click("short", "4/4", (2, 2), 132, duration_s=6.0),
    Click("quiet", "3/4", (3,), 110, level=0.02),
    Click("ramp", "4/4", (2, 2), 100, ramp=1.35),
    Click("gaps", "4/4", (2, 2), 140, gaps=0.3),
)


def make_demo(folder: str | Path, seed: int = SEED) -> Path:
    """Write the demo's clips into a folder, or complete what is there.

    Parameters
    ----------
    folder : path
        Gets ``audio/`` and ``labels.csv``.
    seed : int
        Same seed, same bytes.

    Returns
    -------
    Path
        The table of labels, as `earmark prepare meter` reads it.
    """
    folder = Path(folder)
    rows = [write_clip(score, take, folder, name) for name, score, take in _clips(seed)]
    return write_labels(folder, rows)


def click_score(click: Click, seed: int = SEED) -> Score:
    """The clicks as a score: wood blocks at bars and groups, a hat on the other pulses."""
    meter = Meter(click.signature, click.groups)
    rng = np.random.default_rng((seed, 5))
    pulse_s = 60 / click.pulses_per_minute
    n_bars = int(np.ceil(click.duration_s * max(1.0, click.ramp) / (pulse_s * meter.pulses))) + 1
    pulses = [
        pulse
        for pulse in range(n_bars * meter.pulses)
        if pulse % meter.pulses == 0 or rng.random() >= click.gaps
    ]
    notes = tuple(_click(pulse, meter) for pulse in pulses)
    return Score(
        meter,
        n_bars,
        _ramp(click, meter, n_bars),
        (Part("clicks", 0, notes, is_drums=True),),
        title=click.name,
        group=f"click-{click.name}",
        style="clicks",
        source="demo",
    )


def _clips(seed: int) -> Iterator[tuple[str, Score, Take]]:
    for click in CLICKS:
        take = Take(duration_s=click.duration_s, is_coloured=False, level=0.8 * click.level)
        yield f"click-{click.name}", click_score(click, seed), take
    for number in range(PIECES_PER_CLASS * len(CLASSES)):
        label = CLASSES[number % len(CLASSES)]
        rng = np.random.default_rng((seed, 11, number))
        duration_s = round(float(rng.uniform(*PIECE_S)), 1)
        score = generate(rng, label, duration_s=duration_s)
        name = f"piece-{label}-{number // len(CLASSES) + 1}"
        yield name, score, Take.draw(rng, score, (), duration_s=duration_s, suffix="flac")


def _click(pulse: int, meter: Meter) -> Note:
    place = pulse % meter.pulses
    level = 0 if place == 0 else 1 if place in meter.group_starts else 2
    key = (_ACCENT, _GROUP, _PULSE)[level]
    return Note(pulse * meter.pulse_quarters, 0.1, key, _VELOCITIES[level])


def _ramp(click: Click, meter: Meter, n_bars: int) -> TempoMap:
    quarter_s = 60 / click.pulses_per_minute / meter.pulse_quarters
    if click.ramp == 1:
        return TempoMap.constant(quarter_s)
    count = n_bars * meter.pulses
    speeds = np.linspace(1, click.ramp, count)
    return TempoMap(
        tuple((np.arange(count) * meter.pulse_quarters).tolist()), tuple((quarter_s / speeds).tolist())
    )
