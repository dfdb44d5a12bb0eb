"""Gradient-boosted trees (XGBoost, ``multi:softprob``), kept as ``model.ubj``.

Defaults: depth 6, eta 0.1, 300 trees, 0.8 of the rows and of the columns per tree, stop after 50 rounds
without a better validation log-loss. The thread count is a parameter, because histogram sums, and so the
last bits of a model, depend on it; with all parameters equal a fit repeats bit for bit. Missing values go
the way that training found better.

References: Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from earmark.models.constraints import Interval, Parameter
from earmark.models.estimator import Epoch, FitRequest, Floats, FoldEstimator, OnEpoch

__all__ = ["XGBoost"]

MODEL_FILE = "model.ubj"
_INHERITED = "earmark_inherited_rounds"
_FRACTION = Interval(float, 0, 1, open_low=True)
_NON_NEGATIVE = Interval(float, 0)


class XGBoost(FoldEstimator):
    """Boosted trees with early stopping on validation log-loss."""

    name: ClassVar[str] = "xgboost"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    distributions: ClassVar[tuple[str, ...]] = ("xgboost-cpu|xgboost",)
    stops_early: ClassVar[bool] = True
    continues: ClassVar[bool] = True
    length_parameter: ClassVar[str | None] = "n_trees"
    accepts_nan: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "max_depth": Parameter(6, Interval(int, 1, 20), "greatest depth of a tree"),
        "learning_rate": Parameter(0.1, Interval(float, 0, 1, open_low=True), "shrinkage of each tree (eta)"),
        "n_trees": Parameter(300, Interval(int, 1, 100_000), "boosting rounds at most"),
        "subsample": Parameter(0.8, _FRACTION, "share of rows per tree"),
        "colsample": Parameter(0.8, _FRACTION, "share of columns per tree"),
        "min_child_weight": Parameter(1.0, _NON_NEGATIVE, "least sum of hessians in a leaf"),
        "gamma": Parameter(0.0, _NON_NEGATIVE, "least loss reduction of a split"),
        "l1": Parameter(0.0, _NON_NEGATIVE, "L1 penalty on leaf values"),
        "l2": Parameter(1.0, _NON_NEGATIVE, "L2 penalty on leaf values"),
        "early_stopping_rounds": Parameter(
            50, Interval(int, 1), "rounds without improvement before stopping"
        ),
        "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of row and column sampling"),
        "n_threads": Parameter(1, Interval(int, 1, 1024), "threads; part of what makes a fit repeat"),
    }

    booster: Any = None

    @property
    def length(self) -> int | None:
        """Trees per class that this fit added and kept, i.e. up to the best validation round."""
        return None if self.booster is None else int(self.booster.num_boosted_rounds()) - self._n_inherited

    @property
    def _n_inherited(self) -> int:
        """Trees per class that came from the fit that this one continued."""
        return int(self.booster.attr(_INHERITED) or 0)

    def feature_gain(self) -> Floats:
        """Mean gain per column, float32, shape (n_features,); 0 for columns that no tree uses."""
        gain = np.zeros(self.n_features, dtype=np.float32)
        if self.booster is not None:
            for feature, value in self.booster.get_score(importance_type="gain").items():
                gain[int(feature[1:])] = value
        return gain

    def _fit(self, request: FitRequest) -> None:
        import xgboost

        train = self._matrix(request.X, request.y, request.sample_weight)
        watched = [] if request.validation is None else [(self._matrix(*request.validation), "validation")]
        booster = xgboost.train(
            self._settings(request.n_codes),
            train,
            num_boost_round=self.params["n_trees"],
            evals=watched,
            early_stopping_rounds=self.params["early_stopping_rounds"] if watched else None,
            verbose_eval=False,
            callbacks=[_recorder(self.history, request.on_epoch)],
            xgb_model=None if request.start is None else request.start.booster,
        )
        # Only the rounds up to the best are kept: the file then predicts the same whoever reads it.
        self.booster = booster[: booster.best_iteration + 1] if watched else booster
        inherited = 0 if request.start is None else request.start.booster.num_boosted_rounds()
        self.booster.set_attr(**{_INHERITED: str(inherited) if inherited else None})

    def _predict(self, X: Floats) -> Floats:
        return np.asarray(self.booster.predict(self._matrix(X)), dtype=np.float32)

    def _save(self, folder: Path) -> None:
        # Not by save_model, whose error on a full disk is a stack trace of C++ instead of an OSError.
        (folder / MODEL_FILE).write_bytes(self.booster.save_raw("ubj"))

    def _load(self, folder: Path) -> None:
        import xgboost

        path = folder / MODEL_FILE
        raw = path.read_bytes()
        try:
            self.booster = xgboost.Booster({"nthread": self.params["n_threads"]}, model_file=bytearray(raw))
        except xgboost.core.XGBoostError as error:
            raise ValueError(f"{MODEL_FILE} is damaged: {str(error).splitlines()[0]}") from error

    def _matrix(self, X: Floats, y: Any = None, weight: Any = None) -> Any:
        import xgboost

        return xgboost.DMatrix(X, label=y, weight=weight, missing=np.nan, nthread=self.params["n_threads"])

    def _settings(self, n_codes: int) -> dict[str, Any]:
        params = self.params
        return {
            "objective": "multi:softprob",
            "eval_metric": "mlogloss",
            "tree_method": "hist",
            "num_class": n_codes,
            "max_depth": params["max_depth"],
            "eta": params["learning_rate"],
            "subsample": params["subsample"],
            "colsample_bytree": params["colsample"],
            "min_child_weight": params["min_child_weight"],
            "gamma": params["gamma"],
            "alpha": params["l1"],
            "lambda": params["l2"],
            "seed": params["seed"],
            "nthread": params["n_threads"],
            "verbosity": 0,
        }


def _recorder(history: list[Epoch], on_epoch: OnEpoch | None) -> Any:
    """A callback of XGBoost that notes the validation loss of each round."""
    from xgboost.callback import TrainingCallback

    class Recorder(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:
            entry: Epoch = {"epoch": epoch}
            if evals_log:
                entry["validation_loss"] = float(evals_log["validation"]["mlogloss"][-1])
            history.append(entry)
            if on_epoch is not None:
                on_epoch(entry)
            return False

    return Recorder()
