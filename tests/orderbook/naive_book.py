"""The order book as plainly as it can be written: dictionaries that are sorted when asked."""

from __future__ import annotations

from earmark.orderbook.events import BookUpdate


class NaiveBook:
    """Levels by price; after each message the best `depth` of a side stay."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def apply(self, update: BookUpdate) -> None:
        if update.is_snapshot:
            self.bids, self.asks = {}, {}
        for book, levels in ((self.bids, update.bids), (self.asks, update.asks)):
            for price, quantity in levels.tolist():
                if quantity:
                    book[price] = quantity
                else:
                    book.pop(price, None)
        self.bids = dict(sorted(self.bids.items(), reverse=True)[: self.depth])
        self.asks = dict(sorted(self.asks.items())[: self.depth])

    @property
    def is_crossed(self) -> bool:
        return bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def top(self) -> tuple[list[list[float]], list[list[float]]]:
        bids = [list(level) for level in sorted(self.bids.items(), reverse=True)]
        return bids, [list(level) for level in sorted(self.asks.items())]
