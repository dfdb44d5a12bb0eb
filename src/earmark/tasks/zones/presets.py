"""Named trainings of the zones task, a feature set and a recipe that belong together, and how its frames vote.

=============  ===============  ==========================================================================
preset         features         recipe
=============  ===============  ==========================================================================
retrain        full39           boosted trees of moderate size that stop early
production     frames38_agg8    statistics of frames and build-up ratios, the best 100 columns, boosted
                                trees; rows of a second source are moved onto the scored ones' moments
ultimate       frames90_agg14   all statistics of the wide frame table, many small-step trees with penalties
balanced       frames90_agg10   the best 200 columns, more and shallower trees with stronger penalties
=============  ===============  ==========================================================================

Classes are balanced by weights in all of them. Drawing synthetic rows of the rare classes inside each fold
(SMOTE) does the same job by inventing tracks between two real ones: it needs one more package, and in hundreds
of columns with few tracks the points between neighbours are as good as noise. A weight says the same thing to
the loss and invents nothing.

The best columns are those with the largest ANOVA F over the classes of the training rows. The gain of a
preliminary model would rank them by what one fit happened to use among columns that say the same, such as
mean and median, and costs a fit.

Only `retrain` stops early. The others run all their trees, so they need no rows held out of the training part,
which is a fifth of a small library.
"""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike

from earmark.inference.voting import Decision, vote
from earmark.tasks.task import Preset
from earmark.tasks.zones.labels import CLASSES
from earmark.training.recipe import Recipe

__all__ = ["PRESETS", "PURPLE_BOOST", "UNCERTAIN_BELOW", "zone_of_frames"]

PURPLE_BOOST = 1.3  # a peak that is missed costs a set more than one too many
UNCERTAIN_BELOW = 0.7  # share of the boosted scores


def zone_of_frames(probabilities: ArrayLike, method: str = "weighted") -> Decision:
    """Zone of a track from the zone probabilities of its frames, with the boost and threshold of this task.

    Parameters
    ----------
    probabilities : array, shape (n_frames, 3)
        Columns in the order of the zones.
    method : str
        A vote of `earmark.inference.voting`.

    Returns
    -------
    Decision
        Undecided stands for UNCERTAIN.

    Examples
    --------
    >>> zone_of_frames([[0.0, 0.3, 0.7]] * 4).label  # 0.91 to 0.3, so 0.75 for purple
    2
    """
    boosts = [PURPLE_BOOST if zone == "PURPLE" else 1.0 for zone in CLASSES]
    return vote(probabilities, method, boosts=boosts, threshold=UNCERTAIN_BELOW)


def _presets(*presets: Preset) -> dict[str, Preset]:
    return {each.name: each for each in presets}


PRESETS: Mapping[str, Preset] = _presets(
    Preset(
        "retrain",
        "full39",
        Recipe(
            "xgboost",
            params={
                "max_depth": 6,
                "learning_rate": 0.1,
                "n_trees": 200,
                "subsample": 0.8,
                "colsample": 0.8,
                "early_stopping_rounds": 20,
            },
            class_weight="balanced",
        ),
        description="after relabelling: few columns, trees that stop early",
    ),
    Preset(
        "production",
        "frames38_agg8",
        Recipe(
            "xgboost",
            params={
                "max_depth": 5,
                "learning_rate": 0.1,
                "n_trees": 200,
                "min_child_weight": 3.0,
                "subsample": 0.8,
                "colsample": 0.8,
            },
            preprocess={"top_k": 100},
            class_weight="balanced",
            validation_fraction=0.0,
        ),
        strategy="pooled",
        align="moments",
        description="the best 100 statistics of frames; a second source is mapped onto the own tracks",
    ),
    Preset(
        "ultimate",
        "frames90_agg14",
        Recipe(
            "xgboost",
            params={
                "max_depth": 6,
                "learning_rate": 0.05,
                "n_trees": 300,
                "min_child_weight": 3.0,
                "subsample": 0.8,
                "colsample": 0.8,
                "gamma": 0.1,
                "l1": 0.1,
                "l2": 1.0,
            },
            class_weight="balanced",
            validation_fraction=0.0,
        ),
        description="all statistics of the wide frame table, many trees in small steps",
    ),
    Preset(
        "balanced",
        "frames90_agg10",
        Recipe(
            "xgboost",
            params={
                "max_depth": 5,
                "learning_rate": 0.03,
                "n_trees": 500,
                "min_child_weight": 5.0,
                "subsample": 0.7,
                "colsample": 0.7,
                "gamma": 0.2,
                "l1": 0.5,
                "l2": 2.0,
            },
            preprocess={"top_k": 200},
            class_weight="balanced",
            validation_fraction=0.0,
        ),
        description="the best 200 statistics, strongly penalised trees: for zones of unequal size",
    ),
)
