"""What is played by `live --latency`: medians of unseen windows, everything off and one device alone."""

import polars as pl

from earmark.tasks.appliance.decoding.latency import Switch
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.thresholds.clarity import typical_switches

DEVICES = Devices(("ac", "fridge"))


def table(*rows):
    """Windows as (ac, fridge, p of ac, p of fridge), and one outlier that must not count."""
    names = ("y_ac", "y_fridge", "p_ac", "p_fridge")
    kept = [dict(zip(names, row, strict=True)) | {"outlier": False} for row in rows]
    outlier = dict(zip(names, (0, 0, 0.9, 0.9), strict=True)) | {"outlier": True}
    return pl.DataFrame([*kept, outlier]).with_columns(recording_id=pl.lit("a"), fold=pl.lit(0))


def test_switches_are_between_all_off_and_the_device_alone():
    off = [(0, 0, 0.1, 0.2), (0, 0, 0.3, 0.0), (0, 0, 0.2, 0.1)]
    found = typical_switches(table(*off, (1, 0, 0.8, 0.4), (1, 0, 0.6, 0.2), (1, 1, 0.0, 1.0)), DEVICES)
    assert found == {"ac": Switch((0.2, 0.1), (0.7, 0.30000000000000004))}
    assert typical_switches(table((1, 0, 0.8, 0.4), (0, 1, 0.1, 0.9)), DEVICES) == {}
