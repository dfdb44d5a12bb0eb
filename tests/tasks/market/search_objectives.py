"""Objectives of searches: a real model on small windows, and a formula whose best values are known."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from earmark.data import timeline
from earmark.data.windows import SeriesTable, make_windows
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.tasks.market.search.objective import ScoredParts, TrainingObjective

STEP_MS = 30_000


def planted(n=400, signal=1.0, seed=0, columns=5, symbols=("AUSDT", "BUSDT"), step_ms=STEP_MS, edge=0.6):
    """Rows whose first column tells the class and the movement with a strength of `signal`; the rest is noise."""
    rng = np.random.default_rng(seed)
    total = n * len(symbols)
    X = rng.standard_normal((total, columns)).astype(np.float32)
    hidden = signal * X[:, 0] + rng.standard_normal(total)
    y = np.digitize(hidden, [-edge, edge]).astype(np.int8)
    movement = (2e-3 * hidden).astype(np.float32)
    time_ms = np.tile(1_750_000_000_000 // step_ms * step_ms + step_ms * np.arange(n), len(symbols))
    symbol = np.repeat(np.arange(len(symbols)), n).astype(np.int32)
    names = ("bid_ask_spread_abs", "mid_price", "micro_price", "vwap_bid_5", "vwap_ask_5")[:columns]
    return SeriesTable(
        symbols, symbol, time_ms, X, names, y, movement, time_ms + step_ms, np.full(total, 100.0), step_ms
    )


def divided(table, length=4):
    return timeline.split(make_windows(table, length), embargo=2 * STEP_MS)


def logistic_objective(table=None, poison=False):
    division = divided(planted() if table is None else table)
    if poison:
        table, (_, test_ms) = division.train.table, division.instants_ms
        after = table.time_ms >= test_ms
        bad = replace(
            table,
            X=np.where(after[:, None], np.nan, table.X),
            y=np.where(after, 2 - table.y, table.y).astype(np.int8),
            movement=np.where(after, -table.movement, table.movement),
        )
        division = replace(
            division,
            train=replace(division.train, table=bad),
            validation=replace(division.validation, table=bad),
        )
    parts = ScoredParts.before_test(division.train, division.validation, division.instants_ms[1])

    def make(settings):
        strength = settings.get("ml_model_config.strength", 1.0)
        return SequenceClassifier.make("logistic", strength=strength, balance=balance_of(settings))

    return TrainingObjective(make, lambda settings: parts)


def balance_of(settings):
    names = {
        "use_class_weights": "balanced",
        "use_oversampling": "oversample",
        "use_undersampling": "undersample",
    }
    return next((method for name, method in names.items() if settings.get(name)), "none")


class Formula:
    """Best at a learning rate of 1e-4 and a dropout of 0.3; rates above 5e-4 never learn."""

    fingerprint = "formula"

    def __init__(self, pause_s=0.0, n_epochs=4):
        self.pause_s, self.n_epochs, self.calls = pause_s, n_epochs, []

    def __call__(self, settings, on_epoch):
        from earmark.models.sequence.base import StopTraining

        self.calls.append(dict(settings))
        rate, dropout = settings.get("learning_rate", 5e-5), settings.get("dropout", 0.4)
        score = 0.9 - 0.1 * abs(np.log10(rate / 1e-4)) - 0.2 * abs(dropout - 0.3)
        score = 0.05 if rate > 5e-4 else score
        entry = {"largest_share": 0.5}
        try:
            for epoch in range(self.n_epochs):
                time.sleep(self.pause_s)
                on_epoch(entry | {"epoch": epoch, "validation_macro_f1": score * (epoch + 1) / self.n_epochs})
        except StopTraining:
            score = 0.0
        return {
            "val_f1": score,
            "val_accuracy": score,
            "val_mcc": score,
            "val_loss": 1 - score,
            "largest_share": 0.5,
        }


def formula_slow():
    return Formula(pause_s=0.1)


def formula():
    return Formula()


class Broken(Formula):
    def __call__(self, settings, on_epoch):
        from earmark.errors import UsageError

        if settings.get("batch_size") == 32:
            raise UsageError("The network's loss is inf")
        return super().__call__(settings, on_epoch)
