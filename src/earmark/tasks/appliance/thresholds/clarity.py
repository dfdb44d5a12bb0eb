"""How clearly a run hears a device come on: the switch that `live --latency` plays to its decoder.

Before it are the medians of the probabilities of windows with everything off, after it those of windows with this
device alone; both of windows that no fold had seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark.tasks.appliance.decoding.latency import Switch
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.thresholds.choose import scored_rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["typical_switches"]


def typical_switches(table: pl.DataFrame, devices: Devices) -> dict[str, Switch]:
    """Device -> its switch; without those of which there are no windows alone, and none where nothing was ever off.

    Parameters
    ----------
    table : polars.DataFrame
        ``out_of_fold.parquet`` of the run.
    """
    rows = scored_rows(table, devices)
    truth = rows.select(f"y_{name}" for name in devices.names).to_numpy() == 1
    p = rows.select(f"p_{name}" for name in devices.names).to_numpy()
    quiet = ~truth.any(axis=1)
    alone = {name: truth[:, k] & (truth.sum(axis=1) == 1) for k, name in enumerate(devices.names)}
    if not quiet.any():
        return {}
    return {
        name: Switch(_medians(p[quiet]), _medians(p[of_device]))
        for name, of_device in alone.items()
        if of_device.any()
    }


def _medians(p: np.ndarray) -> tuple[float, ...]:
    return tuple(np.median(p.astype(np.float64), axis=0).tolist())
