"""Kernels compile where nothing can be kept on disk, and all of them are ready before a live process connects."""

from __future__ import annotations

from earmark.orderbook import candle_features, history, indicators, lob
from earmark.orderbook.compiled import compiled
from earmark.orderbook.engine import prepare_kernels


def test_a_function_without_a_file_compiles() -> None:
    namespace: dict[str, object] = {}
    exec("def double(x):\n    return 2 * x\n", namespace)
    assert compiled(namespace["double"])(21) == 42


def test_prepared_kernels_are_those_of_a_step() -> None:
    prepare_kernels()
    used = (
        *(lob.book_features, lob.lives, lob.best_prices, lob.top_quantity, history.history_features),
        *(candle_features.candle_features, indicators.indicators, indicators.running_changes),
    )
    assert all(kernel.signatures for kernel in used)
