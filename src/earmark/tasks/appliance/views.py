"""The feature sets of the task, by the models that read them."""

from __future__ import annotations

from earmark.features.sets import FeatureSet
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.groups.g1 import g1
from earmark.tasks.appliance.groups.level import level
from earmark.tasks.appliance.groups.lines import lines
from earmark.tasks.appliance.groups.logmel256 import logmel256
from earmark.tasks.appliance.groups.spectrum import spectrum

__all__ = ["DEFAULT_VIEW", "VIEWS"]

DEFAULT_VIEW = "spectral"

VIEWS: dict[str, FeatureSet] = {
    view.name: view
    for view in (
        FeatureSet("level", (level,), description="8 columns: how loud a window is"),
        FeatureSet(
            "spectral",
            (level, spectrum, lines),
            description="105 columns: level, third octaves, shape and modulation, harmonics of motors",
        ),
        FeatureSet(
            "logmel256",
            (logmel256,),
            description="256 columns: mean and deviation of 128 mel bands, baseline",
        ),
        FeatureSet(
            "g1", (g1,), description="155 columns: mel levels and cepstrum without the level, baseline"
        ),
        FeatureSet("fbank", (fbank,), description="frames of 128 mel bands, the input of networks"),
    )
}
"""By name; all but `fbank` give one row per window."""
