"""Samples on their way to the stores: as bytes for the write-ahead log, as rows for the tables.

A row's `timestamp` is the time of the newest update in its book, `sample_time_ms` the tick of the feature clock to
which its features belong, `recv_ns` this machine's clock when the tick was closed. `quality` names what was unusual,
`FOLLOWS_GAP` and `LATE_UPDATES`, and is empty for a sample without blemish. Columns and types are those of
`earmark.tasks.market.schema`. Signals are of a model that was asked while samples were taken
(`earmark.tasks.market.collect.signals`), else null.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.tasks.market.collect.pipeline import Sample
from earmark.tasks.market.collect.signals import SampleKey, Signal, key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "FOLLOWS_GAP",
    "LATE_UPDATES",
    "SAMPLE",
    "V2_GROUP_SUFFIX",
    "WRITTEN",
    "decode_sample",
    "encode_sample",
    "legacy_rows",
    "sample_table",
    "v2_table",
]

SAMPLE, WRITTEN = 1, 2
"""Kinds of records in the sample log: a sample; JSON symbol -> tick up to which its samples are in the stores."""

FOLLOWS_GAP, LATE_UPDATES = "follows_gap", "late_updates"

V2_GROUP_SUFFIX = "_v2"
"""The dimensionless features of group ``g`` are in group ``g_v2``."""

_SIZES = struct.Struct("<III")
_NO_SIGNALS: Mapping[SampleKey, Signal] = MappingProxyType({})
_SILENCE = Signal()
_ARRAYS = ("features", "features_v2")


def encode_sample(sample: Sample) -> bytes:
    """The payload of a record; every bit of it comes back by `decode_sample`."""
    facts = {name: getattr(sample, name) for name in Sample.__slots__ if name not in _ARRAYS}
    parts = [json.dumps(facts).encode(), *(getattr(sample, name).astype("<f4").tobytes() for name in _ARRAYS)]
    return _SIZES.pack(*(len(part) for part in parts)) + b"".join(parts)


def decode_sample(payload: bytes) -> Sample:
    """The sample of a record."""
    n_facts, n_features, n_v2 = _SIZES.unpack_from(payload)
    start = _SIZES.size + n_facts
    values = np.frombuffer(payload[start : start + n_features + n_v2], dtype="<f4").astype(np.float32)
    facts = json.loads(payload[_SIZES.size : start])
    return Sample(**facts, features=values[: n_features // 4], features_v2=values[n_features // 4 :])


def sample_table(
    samples: Sequence[Sample], signals: Mapping[SampleKey, Signal] = _NO_SIGNALS
) -> pl.DataFrame:
    """Rows of the feature store, sorted by symbol and time; shape (n, 2 + 112 + 10)."""
    from earmark.orderbook.catalog import FEATURE_NAMES

    return _table(samples, signals, FEATURE_NAMES, np.stack([sample.features for sample in samples]))


def v2_table(samples: Sequence[Sample], signals: Mapping[SampleKey, Signal] = _NO_SIGNALS) -> pl.DataFrame:
    """The same rows with the dimensionless features."""
    from earmark.orderbook.catalog import V2_NAMES

    return _table(samples, signals, V2_NAMES, np.stack([sample.features_v2 for sample in samples]))


def _table(
    samples: Sequence[Sample], signals: Mapping[SampleKey, Signal], names: Sequence[str], values: Any
) -> pl.DataFrame:
    import polars as pl

    from earmark.tasks.market.schema import SCHEMA

    said = [signals.get(key_of(s), _SILENCE) for s in samples]
    facts = {
        "symbol": [s.symbol for s in samples],
        "timestamp": [s.book_ms for s in samples],
        "current_mid_price": [s.mid for s in samples],
        "current_imbalance": [s.imbalance for s in samples],
        "spread": [s.spread for s in samples],
        **{name: [getattr(signal, name) for signal in said] for name in Signal._fields},
        "sample_time_ms": [s.time_ms for s in samples],
        "recv_ns": [s.closed_ns for s in samples],
        "quality": [_quality(s) for s in samples],
        "origin": ["live"] * len(samples),
    }
    record = pl.DataFrame(facts, schema={name: SCHEMA.by_name[name].polars_dtype for name in facts})
    features = pl.from_numpy(values, schema=dict.fromkeys(names, pl.Float32))
    key, rest = record.select("symbol", "timestamp"), record.drop("symbol", "timestamp")
    return pl.concat([key, features, rest], how="horizontal").sort("symbol", "timestamp")


def legacy_rows(
    samples: Sequence[Sample], signals: Mapping[SampleKey, Signal] = _NO_SIGNALS
) -> tuple[Any, list[dict[str, Any]]]:
    """Features, shape (n, 112), and what the json files say of each sample."""
    rows = [
        {
            "timestamp": sample.book_ms,
            "symbol": sample.symbol,
            "mid_price": sample.mid,
            "current_mid_price": sample.mid,
            "spread": sample.spread,
            "imbalance": sample.imbalance,
            "current_imbalance": sample.imbalance,
            **signals.get(key_of(sample), _SILENCE)._asdict(),
            "feature_count": len(sample.features),
        }
        for sample in samples
    ]
    return np.stack([sample.features for sample in samples]), rows


def _quality(sample: Sample) -> str:
    blemishes = {FOLLOWS_GAP: sample.follows_gap, LATE_UPDATES: sample.n_late > 0}
    return ",".join(name for name, is_so in blemishes.items() if is_so)
