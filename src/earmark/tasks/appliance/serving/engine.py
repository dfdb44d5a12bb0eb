"""Heard audio to decided windows: cut, asked, decoded. `stream` and `live` are this, with other ends.

Conventions: audio is mono float32 at the rate of the detector; seconds count from the first sample heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.levels import amplitude_dbfs, whole_rms
from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decided, Facts
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.references import SoFar
from earmark.tasks.appliance.schema import hidden_by
from earmark.tasks.appliance.serving.ring import Grid, Ring, Window

__all__ = ["Answered", "Engine", "grid_of", "level_dbfs", "require_windows"]

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Answered:
    """What became of a window.

    Parameters
    ----------
    window : Window
    p : ndarray, float32, shape (n_devices,)
        Of the detector, before any decoder.
    decided : Decided
    is_held : bool
        The decoder was not asked: the window could not be heard.
    seconds : float
        What it took.
    """

    window: Window
    p: NDArray[np.float32]
    decided: Decided
    is_held: bool
    seconds: float

    @property
    def level_dbfs(self) -> float:
        """RMS of the window."""
        return level_dbfs(self.window.clip)


def _never(_window: Window) -> bool:
    return False


class Engine:
    """Answers windows of what it hears.

    Parameters
    ----------
    detector : Detector
    rule : Rule
        Its windows must be those of the detector.
    name : str
        Of the source, for messages.
    initial : mapping of device to bool, optional
        What is known of the start.
    on_heard : callable, optional
        Given all samples, before the windows that they complete are answered.

    Raises
    ------
    UsageError
        The rule was made for windows of another length.
    """

    def __init__(
        self,
        detector: Detector,
        rule: Rule,
        name: str = "<stream>",
        *,
        initial: Facts | None = None,
        on_heard: Callable[[Samples], None] | None = None,
    ) -> None:
        require_windows(detector, rule)
        self.detector = detector
        self.rule = rule
        self.ring = Ring(grid_of(detector, rule), name)
        self._on_heard = on_heard
        self._decoder = rule.decoder(detector.devices)
        self._decoder.reset(initial)
        self._last = Decided(-1)
        self._reference = SoFar() if detector.needs_reference else None

    def hear(self, samples: Samples, *, holds: Callable[[Window], bool] = _never) -> Iterator[Answered]:
        """Take the next samples; gives each window that they complete.

        Parameters
        ----------
        holds : callable
            Whether a window cannot be heard, so that the state stays as it is.
        """
        if self._on_heard is not None:
            self._on_heard(samples)
        for window in self.ring.push(samples):
            yield self._answered(window, is_held=holds(window))

    def restart(self) -> None:
        """Audio was lost: windows begin anew, the state stays."""
        self.ring.restart()

    def held(self) -> Decided:
        """The state where nothing is heard at all."""
        return self._last.held(self.ring.n_windows - 1)

    @property
    def on(self) -> dict[str, bool | None]:
        """Which devices run: None where that has not settled yet, or a louder one that runs hides it."""
        settled = self._last.settled
        hidden = hidden_by(settled, self.detector.devices)
        return {name: None if name in hidden else settled.get(name) for name in self.detector.devices.names}

    def _answered(self, window: Window, *, is_held: bool) -> Answered:
        started = time.perf_counter()
        # what cannot be heard is not what the room usually sounds like
        reference = self._reference.aside() if is_held and self._reference else self._reference
        [p] = self.detector.probabilities([window.clip], reference)
        self._last = self._last.held(window.index) if is_held else self._decoder.step(p, window.index)
        return Answered(window, p, self._last, is_held, time.perf_counter() - started)


def level_dbfs(clip: Clip) -> float:
    """RMS of a clip."""
    return float(amplitude_dbfs(whole_rms(clip)))


def grid_of(detector: Detector, rule: Rule) -> Grid:
    """Where the windows of a detector lie under a rule: as long as it was trained on, at the rule's hop."""
    return Grid(detector.window_s, rule.hop_s, detector.sample_rate)


def require_windows(detector: Detector, rule: Rule) -> None:
    """Refuse a rule for windows that the detector does not know."""
    wanted = rule.windows_of(detector.devices)
    if wanted != detector.lengths:
        raise UsageError(
            f"the rule reads windows of {_seconds(wanted)}; the model was trained on {_seconds(detector.lengths)}. "
            "Choose another --preset or --window-sec, or use such windows: prepare --window-sec, train --lengths."
        )


def _seconds(lengths: dict[str, float]) -> str:
    if len(set(lengths.values())) == 1:
        return f"{next(iter(lengths.values())):g} s"
    return ", ".join(f"{seconds:g} s ({name})" for name, seconds in lengths.items())
