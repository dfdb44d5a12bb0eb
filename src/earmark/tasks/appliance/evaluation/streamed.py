"""What a stream would have said of scored windows, by the models that answered them.

A model of windows alone says the same. One that compares a window with its recording knows only what came before it:
each recording is heard again from its first scored window on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.scored import Scored, features_of
from earmark.tasks.appliance.references import SoFar
from earmark.tasks.appliance.training.columns import taken

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["as_stream"]


def as_stream(
    project: Project,
    scored: Scored,
    final: Detector,
    *,
    own: Callable[[Detector], Detector] = lambda detector: detector,
) -> Scored:
    """The windows with the probabilities of a stream; `scored` itself where these are the same.

    Parameters
    ----------
    final : Detector
        The run's.
    own : callable
        What is done to the detector of a fold before it is asked, such as another calibration.
    """
    if not final.needs_reference:
        return scored
    table = features_of(project, final.groups, scored.rows)
    p, starts_s = np.empty_like(scored.p), scored.rows.table["start_sec"].to_numpy()
    for number in np.unique(scored.fold):
        detector = own(scored.detector(int(number), final))
        of_fold = np.flatnonzero(scored.fold == number)
        names = scored.rows.recordings[of_fold]
        for name in np.unique(names):
            at = of_fold[names == name]
            at = at[np.argsort(starts_s[at], kind="stable")]
            p[at] = detector.probabilities(taken(table, at), SoFar())
    return replace(scored, p=p)
