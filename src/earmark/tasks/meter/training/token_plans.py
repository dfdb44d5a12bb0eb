"""Which columns of a meter's features belong together: tokens of the transformer, blocks that CutMix swaps.

============ ==================================================================================================
``uniform``  12 runs of neighbouring columns, whatever they are
``semantic`` the autocorrelation of each tempo; profile, timbre and onsets; bar histograms; ratios; salience
``v2``       the same with a token per tempo and curve
``v3``       as ``v2``, MERT's means and maxima a token each
``v4``       as ``semantic``, MERT's means and maxima a token each
============ ==================================================================================================

Every other group is one token. Of a plan only the blocks count whose columns are there, so each serves all views.
"""

from __future__ import annotations

from earmark.tasks.meter.schema import CURVES

__all__ = ["TOKEN_PLANS"]

_TEMPI = tuple((f"meter.audio.acf_t{t}_",) for t in range(1, 5))
_TEMPI_AND_CURVES = tuple((f"meter.audio.acf_t{t}_{curve}_",) for t in range(1, 5) for curve in CURVES)
_REST = (
    tuple(f"meter.audio.{start}" for start in ("tgram_", "mfcc_", "contrast_", "ioi_", "onset_rate")),
    ("meter.audio.bar",),
    ("meter.audio.acr_",),
    ("meter.audio.salience_",),
)
_MERT = (("meter.mert.mean",), ("meter.mert.max",))

TOKEN_PLANS: dict[str, int | tuple[tuple[str, ...], ...]] = {
    "uniform": 12,
    "semantic": (*_TEMPI, *_REST),
    "v2": (*_TEMPI_AND_CURVES, *_REST),
    "v3": (*_TEMPI_AND_CURVES, *_REST, *_MERT),
    "v4": (*_TEMPI, *_REST, *_MERT),
}
"""Name -> plan as `earmark.models.column_blocks` takes it."""
