"""Kernels compile where nothing can be kept on disk, and all of them are ready before a live process connects."""

from __future__ import annotations

import importlib
import pkgutil

import earmark.orderbook
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


def test_kernels_call_kernels_of_their_own_module() -> None:
    """What numba keeps on disk is renewed when the file of the kernel changes, not when another one does."""
    n_kernels = 0
    for found in pkgutil.iter_modules(earmark.orderbook.__path__, "earmark.orderbook."):
        module = importlib.import_module(found.name)
        kernels = [value for value in vars(module).values() if hasattr(value, "py_func")]
        for kernel in (kernel for kernel in kernels if kernel.py_func.__module__ == found.name):
            n_kernels += 1
            used = (vars(module).get(name) for name in kernel.py_func.__code__.co_names)
            foreign = [other for other in used if getattr(other, "__module__", found.name) != found.name]
            assert [other for other in foreign if hasattr(other, "py_func")] == [], kernel
    assert n_kernels > 30
