"""Pure state of a market: book, trades, candles, indicators and their features. No sockets, no files."""
