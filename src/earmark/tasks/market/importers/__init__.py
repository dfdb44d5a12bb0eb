"""Recorded markets of other projects, as the events that a venue would have sent.

``read_source(path)`` tells by the layout what a folder holds and gives one `Recording` per symbol. ``lean``, ``okcoin``
and ``sgx`` read one layout each and say in their docstring what its numbers mean.
"""
