"""`market`: direction of the mid price from order book, trades and candles."""
