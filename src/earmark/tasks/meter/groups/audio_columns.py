"""Names of the columns of group ``meter.audio``, by block and version.

Versions are those of earlier systems: ``v3`` autocorrelation at three tempi; ``v4`` adds blocks B to E; ``v5`` a fourth
tempo, F to 7 beats, G to 7 beats with the first nine ratios, and H; ``v6`` all of F and G.
"""

from __future__ import annotations

from earmark.tasks.meter.schema import CURVES

VERSIONS = ("v3", "v4", "v5", "v6")

N_TEMPI = {"v3": 3, "v4": 3, "v5": 4, "v6": 4}
N_ACF_LAGS = 64
N_PROFILE = 64
N_MFCC = 13
N_CONTRAST = 7
N_BAR_BINS = 32

BAR_BEATS = {"v5": (2, 3, 4, 5, 7), "v6": (2, 3, 4, 5, 7, 9, 11)}
"""Bars of block F, in beats."""

PEAK_BEATS = {"v5": (2, 3, 4, 5, 6, 7), "v6": (2, 3, 4, 5, 6, 7, 9, 11)}
"""Lags of block G, in beats."""

_RATIOS = (
    *((3, 4), (5, 4), (7, 4), (3, 2), (5, 3), (7, 3), (5, 7), (9, 4), (11, 4)),
    *((9, 7), (11, 7), (9, 3), (11, 3)),
)
RATIOS = {"v5": _RATIOS[:9], "v6": _RATIOS}
"""Pairs (a, b) of block G, whose value is (a - b) / (a + b)."""

SALIENCE_BEATS = (2, 3, 4, 5, 6, 7, 9, 11, 12)
"""Bars of block H, in beats."""


def audio_columns(version: str = "v6") -> tuple[str, ...]:
    """Column names of a version, in order: 768, 876, 1361 or 1449."""
    blocks = [_autocorrelation(version)]
    if version != "v3":
        blocks += [_profile(), _timbre(), _onsets()]
    if version in BAR_BEATS:
        blocks += [_bars(version), _ratios(version), [f"salience_{n}" for n in SALIENCE_BEATS]]
    return tuple(name for block in blocks for name in block)


def _autocorrelation(version: str) -> list[str]:
    tempi = range(1, N_TEMPI[version] + 1)
    return [f"acf_t{t}_{curve}_k{k:02d}" for t in tempi for curve in CURVES for k in range(N_ACF_LAGS)]


def _profile() -> list[str]:
    return [f"tgram_{i:02d}" for i in range(N_PROFILE)]


def _timbre() -> list[str]:
    return [
        *(f"mfcc_{moment}_{i:02d}" for moment in ("mean", "std") for i in range(1, N_MFCC + 1)),
        *(f"contrast_{moment}_{i}" for moment in ("mean", "std") for i in range(1, N_CONTRAST + 1)),
    ]


def _onsets() -> list[str]:
    return ["ioi_mean", "ioi_std", "ioi_median", "onset_rate"]


def _bars(version: str) -> list[str]:
    return [f"bar{n}_b{i:02d}" for n in BAR_BEATS[version] for i in range(N_BAR_BINS)]


def _ratios(version: str) -> list[str]:
    return [
        f"acr_{curve}_{value}"
        for curve in CURVES
        for value in (
            *(f"p{n}" for n in PEAK_BEATS[version]),
            *(f"r{a}_{b}" for a, b in RATIOS[version]),
        )
    ]
