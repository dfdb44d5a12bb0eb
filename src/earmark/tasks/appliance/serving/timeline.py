"""When devices ran in a recording, told afterwards: segments from the posterior over all of its windows.

Offline by nature: each window is judged by those after it, too. Of a room with one device the recording also teaches
its two states (`earmark.tasks.appliance.scene_adaptation`); of several, whose states would be taken for each other's,
and where there are no third octaves, the posterior is that of the sticky chain alone.

Conventions: a window tells of its middle; a switch lies half-way between the middles of two windows; what runs in the
first window runs from the start of the recording, what runs in the last one to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.features.table import FeatureTable
from earmark.tasks.appliance.layers import BAND_LEVEL
from earmark.tasks.appliance.scene_adaptation import adapted_posterior, log_odds, sticky_posterior
from earmark.tasks.appliance.stretches import stretches

__all__ = ["bands_of", "segments_of"]

Doubles = npt.NDArray[np.float64]


def bands_of(table: FeatureTable) -> Doubles | None:
    """Third octaves of each window in dB, shape (n, 26); None where the model does not read them."""
    names = [name for name in table.columns if name.startswith(BAND_LEVEL)]
    return table.select(names).values.astype(np.float64) if names else None


def segments_of(
    p: npt.NDArray[np.float32],
    bands: Doubles | None,
    names: Sequence[str],
    *,
    window_s: float,
    hop_s: float,
) -> list[dict[str, Any]]:
    """Segments in which each device runs.

    Parameters
    ----------
    p : ndarray, shape (n, n_devices)
        Of windows that follow each other at `hop_s`.
    bands : ndarray, shape (n, n_bands), or None
    names : sequence of str
        Devices.

    Returns
    -------
    list of dict
        ``device``, ``on_s``, ``off_s``: seconds from the start of the recording, in order per device.
    """
    found = []
    for k, name in enumerate(names):
        if bands is not None and len(names) == 1:
            posterior = adapted_posterior(p[:, k], bands, hop_s)
        else:
            posterior = sticky_posterior(log_odds(p[:, k]), hop_s)
        for first, last in stretches(posterior >= 0.5):
            on_s = 0.0 if first == 0 else (first - 0.5) * hop_s + window_s / 2
            at_end = last == len(p) - 1
            off_s = last * hop_s + window_s if at_end else (last + 0.5) * hop_s + window_s / 2
            found.append({"device": name, "on_s": round(on_s, 3), "off_s": round(off_s, 3)})
    return found
