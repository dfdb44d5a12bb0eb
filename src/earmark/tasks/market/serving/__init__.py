"""Predictions of market models over stored rows, recordings and a running exchange: one code for all of them."""
