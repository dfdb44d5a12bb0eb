"""Multinomial logistic regression on the last row of a window: the baseline that knows the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from earmark.errors import UsageError
from earmark.models.constraints import Choice, Parameter
from earmark.models.estimator import Floats
from earmark.models.linear import Logistic
from earmark.models.sequence.base import ABSENT_LOGIT
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

    def onnx_bytes(self) -> bytes:
        """The regression as an ONNX model; only for the last row's features."""
        from earmark.models.sequence.export import logistic_to_onnx

        if self.params["summary"] != "last":
            raise UsageError(
                f"The ONNX form of `{self.name}` reads the last row, and summary is {self.params['summary']!r}. Train "
                "with summary 'last'."
            )
        return logistic_to_onnx(self)

    def coefficients(self) -> tuple[Floats, Floats]:
        """Weights, shape (n_columns of the design, n_classes), and intercepts, which rule out absent classes."""
        n_rows = self.fitted_rows.n_features
        weights = np.zeros((n_rows, self.n_classes), np.float32)
        intercepts = np.full(self.n_classes, ABSENT_LOGIT, np.float32)
        if len(self.present) == 1:
            intercepts[self.present] = 0
            return weights, intercepts
        solution = self.fitted_rows.solution.reshape(n_rows + 1, -1)
        weights[:, self.present], intercepts[self.present] = solution[:-1], solution[-1]
        return weights, intercepts

    @property
    def n_parameters(self) -> int:
        """Coefficients and intercepts; 0 where one class alone was there to learn."""
        return int(self.fitted_rows.solution.size) if self.rows is not None else 0
