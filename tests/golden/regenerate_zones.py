"""Write the golden vectors of the zones features: ``python tests/golden/regenerate_zones.py``.

Run it only when a definition changed on purpose, and say in the commit which and why. The signals are rendered from
seeds, so the numbers depend on nothing but the code and the libraries beneath it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks" / "zones"))

from zone_signals import coloured_noise, planted_drop, synthetic_tracks

from earmark.audio.clip import Clip
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.frames import FRAMES38_GROUPS, frames15
from earmark.tasks.zones.frames79 import FRAMES79_GROUPS, added_statistics
from earmark.tasks.zones.frames90 import FRAMES90_GROUPS, frames90_statistics

GOLDEN = Path(__file__).parent / "zones_vectors.json"


def golden_clips() -> dict[str, Clip]:
    """Signals by name: a track with a drop, one without, pink noise."""
    return {
        "planted_drop": planted_drop()[0],
        "steady": synthetic_tracks(1)[0],
        "pink_noise": coloured_noise(1.0, 12.0, seed=1),
    }


def golden_values(clip: Clip) -> dict[str, float]:
    """All vector columns of a clip by full name, and the time average of each column of the frame tables.

    The 1599 statistics of frames79 and frames90 are left out: arithmetic on frame columns, tested by hand.
    """
    groups = dict.fromkeys(group for chosen in FEATURE_SETS.values() for group in chosen.groups)
    left_out = (added_statistics, frames90_statistics)
    rows = [
        (group.column_names, group(clip))
        for group in groups
        if group.kind == "vector" and group not in left_out
    ]
    wider = [group for group in (*FRAMES79_GROUPS, *FRAMES90_GROUPS) if group not in FRAMES38_GROUPS]
    for group in (frames15, *dict.fromkeys(wider)):
        rows.append((group.column_names, np.mean(group(clip), axis=0)))
    return {
        name: float(f"{value:.6g}")
        for names, values in rows
        for name, value in zip(names, values, strict=True)
    }


if __name__ == "__main__":
    vectors = {name: golden_values(clip) for name, clip in golden_clips().items()}
    GOLDEN.write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")
    print(f"{GOLDEN}: {len(vectors)} signals of {len(next(iter(vectors.values())))} columns")
