"""The clip: mono audio with its rate, and the analyses already made of it.

Conventions: samples are float32 in about [-1, 1], mono, shape ``(n_samples,)``; rates are in Hz.
Analysis functions take the clip first and keyword parameters after; ``clip.memo(function, **parameters)``
computes each of them once per clip, whoever asks, and frees the results together with the clip.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from earmark.errors import InputError, UsageError

T = TypeVar("T")


@dataclass(eq=False)
class Clip:
    """Mono audio of one item.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,), real
        Mono samples; converted to contiguous float32. May be empty.
    sample_rate : int
        Samples per second, Hz, > 0.
    uri : str or None
        Where the audio came from, for messages.

    Raises
    ------
    UsageError
        If the array is not one-dimensional or the rate is not positive.
    InputError
        If a sample is NaN or infinite.

    Examples
    --------
    >>> clip = Clip(np.zeros(22_050, dtype=np.float32), 22_050)
    >>> clip.duration_s
    1.0
    """

    samples: NDArray[np.float32]
    sample_rate: int
    uri: str | None = None
    _memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.samples = np.ascontiguousarray(self.samples, dtype=np.float32)
        if self.samples.ndim != 1:
            raise UsageError(
                f"Samples have shape {self.samples.shape}; a clip is mono, shape (n_samples,). "
                f"Average the channels first."
            )
        if self.sample_rate <= 0:
            raise UsageError(f"The sample rate is {self.sample_rate} Hz; expected a positive number of Hz.")
        if not _all_finite(self.samples):
            raise InputError(
                f"{self.uri or 'The clip'} holds NaN or infinite samples; expected finite numbers. Repair or remove it."
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def memo(self, function: Callable[..., T], /, **parameters: Any) -> T:
        """Result of ``function(self, **parameters)``, computed once per clip.

        Defaults spelled out and defaults left out are the same request. Results are shared: do not write to
        them.
        """
        key = (function, _bound(function, tuple(sorted(parameters.items()))))
        if key not in self._memo:
            self._memo[key] = function(self, **parameters)
        return self._memo[key]  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        """Without the intermediates: they are cheaper to compute again than to send."""
        return {"samples": self.samples, "sample_rate": self.sample_rate, "uri": self.uri, "_memo": {}}


@lru_cache(maxsize=1024)
def _bound(
    function: Callable[..., Any], parameters: tuple[tuple[str, Any], ...]
) -> tuple[tuple[str, Any], ...]:
    """All parameters of a call after the clip, defaults included."""
    call = inspect.signature(function).bind(None, **dict(parameters))
    call.apply_defaults()
    return tuple(call.arguments.items())[1:]


def _all_finite(samples: NDArray[np.float32]) -> bool:
    """True if no sample is NaN or infinite; one dot product unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(samples, samples)) or np.isfinite(samples).all())
