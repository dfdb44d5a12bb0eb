"""What the engine needs to know of one row of a manifest."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Item"]


@dataclass(frozen=True, slots=True)
class Item:
    """One input: a name that is unique within the run, and where its bytes are.

    Parameters
    ----------
    id : str
        Unique within a manifest; tables, failures and predictions are keyed by it.
    uri : str
        Local path, or a URI that fsspec opens (``s3://``, ``memory://`` ...).
    """

    id: str
    uri: str
