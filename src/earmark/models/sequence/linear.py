"""Multinomial logistic regression on the last row of a window: the baseline that knows the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from earmark.models.constraints import Choice, Parameter
from earmark.models.linear import Logistic
from earmark.models.sequence.tabular import SUMMARIES, TABULAR_PARAMETERS, TabularEstimator

__all__ = ["WindowLogistic"]


class WindowLogistic(TabularEstimator):
    """`models.linear.Logistic` on the last row, or on the last row and the window's statistics."""

    name: ClassVar[str] = "logistic"
    rows_estimator: ClassVar[str] = "logistic"
    distributions: ClassVar[tuple[str, ...]] = Logistic.distributions
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "summary": Parameter("last", Choice(SUMMARIES), "what of a window is read"),
        **TABULAR_PARAMETERS,
        **Logistic.parameters,
    }

    @property
    def n_parameters(self) -> int:
        """Coefficients and intercepts; 0 where one class alone was there to learn."""
        return int(self.fitted_rows.solution.size) if self.rows is not None else 0
