"""Small series for tests of windows and of splits through time."""

import numpy as np

from earmark.data.windows import SeriesTable

MINUTE = 60_000


def times_of(gaps, start_ms=0):
    """One row more than `gaps`: a minute between two rows, an hour where there is a gap."""
    steps = [0, *(60 * MINUTE if gap else MINUTE for gap in gaps)]
    return (start_ms + np.cumsum(steps)).tolist()


def table_of(times, *, horizon_ms=2 * MINUTE, y=None):
    """A series of {symbol: times}; column 0 is the row's position, column 1 the symbol's; classes go round."""
    time_ms = np.array([t for of in times.values() for t in of], dtype=np.int64)
    symbol = np.repeat(np.arange(len(times)), [len(of) for of in times.values()]).astype(np.int32)
    position = np.arange(len(time_ms))
    return SeriesTable(
        symbols=tuple(times),
        symbol=symbol,
        time_ms=time_ms,
        X=np.stack([position, symbol], axis=1).astype(np.float32),
        columns=("position", "symbol"),
        y=np.asarray(position % 3 if y is None else y, dtype=np.int8),
        movement=np.zeros(len(time_ms), np.float32),
        label_end_ms=time_ms + horizon_ms,
        price=np.ones(len(time_ms)),
        interval_ms=MINUTE,
    )
