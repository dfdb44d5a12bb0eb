"""Group ``meter.onset_model``: what the project's onset model says of a clip, in twelve signatures.

Conventions: a class of n beats is n/4 up to 7 and n/8 above; values are probabilities, 0 for signatures that are no
class. `earmark.tasks.meter.configured` gives the group its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.audio_v6 import AUDIO
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE, SIGNATURES

if TYPE_CHECKING:
    from earmark.tasks.meter.onset_runs import OnsetModel

__all__ = ["ONSET_MODEL"]

QUARTERS_UP_TO = 7


def _class_of(signature: str) -> str | None:
    """The class that a signature stands for; None for those that are no class's own."""
    beats, unit = signature.split("/")
    return beats if unit == ("4" if int(beats) <= QUARTERS_UP_TO else "8") else None


@feature_group(
    "meter.onset_model",
    columns=tuple(name.replace("/", "_") for name in SIGNATURES),
    sample_rate=SAMPLE_RATE,
    # A parameter, as the function would reach by name another object than a worker gets in `reuses`.
    parameters={"audio": AUDIO},
    min_duration_s=MIN_DURATION_S,
    reuses=(AUDIO,),
)
def ONSET_MODEL(  # noqa: N802  # a group
    clip: Clip, *, audio: FeatureGroup, model: OnsetModel | None = None
) -> NDArray[np.float32]:
    """The onset model's answer, by models that did not learn the clip's row."""
    if model is None:
        raise UsageError(
            "There is no onset model; expected a run of it. Train one: earmark train meter --model onset"
        )
    answers = model.answers(audio.on(clip))
    return np.array([answers.get(_class_of(name) or "", 0.0) for name in SIGNATURES], dtype=np.float32)
