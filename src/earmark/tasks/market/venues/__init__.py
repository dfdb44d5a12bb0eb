"""Exchanges: what they are called, where they are, how their messages read.

`venue` gives one by name; `base` says what each offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.tasks.market.venues.base import Venue

__all__ = ["VENUES", "venue"]

VENUES = ("bybit", "binance")


def venue(
    name: str, *, testnet: bool = False, websocket_url: str | None = None, rest_url: str | None = None
) -> Venue:
    """The venue called `name`, at its own addresses unless others are given.

    Parameters
    ----------
    name : {"bybit", "binance"}
    testnet : bool
        Its test exchange; addresses given win.
    websocket_url, rest_url : str, optional
        Of a simulator, say.

    Raises
    ------
    UsageError
        No such venue.
    """
    from earmark.tasks.market.venues.binance import Binance
    from earmark.tasks.market.venues.bybit import Bybit

    known: dict[str, type[Bybit] | type[Binance]] = {"bybit": Bybit, "binance": Binance}
    if name not in known:
        raise UsageError(f"there is no venue `{name}`. Known are {', '.join(VENUES)}.")
    return known[name].at(testnet=testnet, websocket_url=websocket_url, rest_url=rest_url)
