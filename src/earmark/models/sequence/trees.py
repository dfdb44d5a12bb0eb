"""Boosted trees on the last row of a window and the window's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from earmark.models.constraints import Choice, Parameter
from earmark.models.sequence.tabular import SUMMARIES, TABULAR_PARAMETERS, TabularEstimator
from earmark.models.xgboost import XGBoost

__all__ = ["WindowTrees"]


class WindowTrees(TabularEstimator):
    """`models.xgboost.XGBoost` on windows; validation windows stop it early."""

    name: ClassVar[str] = "gbm"
    rows_estimator: ClassVar[str] = "xgboost"
    distributions: ClassVar[tuple[str, ...]] = XGBoost.distributions
    length_parameter: ClassVar[str | None] = XGBoost.length_parameter
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "summary": Parameter("statistics", Choice(SUMMARIES), "what of a window is read"),
        **TABULAR_PARAMETERS,
        **XGBoost.parameters,
    }

    @property
    def n_parameters(self) -> int:
        """Nodes of all trees, each a cut or a value."""
        booster = None if self.rows is None else self.fitted_rows.booster
        return 0 if booster is None else sum(tree.count("\n") for tree in booster.get_dump())
