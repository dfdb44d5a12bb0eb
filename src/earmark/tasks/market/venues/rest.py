"""Requests that may fail: a time limit, a few tries with growing pauses, and an error that says what was asked.

What may pass is tried again: no answer, HTTP 5xx, HTTP 429 and the venue's own codes for overload. What will not
pass (a symbol that does not exist, a bad parameter) is raised at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from earmark.errors import MissingExtraError
from earmark.tasks.market.venues.base import (
    POLICIES,
    Policies,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    UnknownSymbolError,
    UnreachableError,
    VenueError,
    check_symbol,
    head_of,
)
from earmark.tasks.market.venues.fields import FIELD_ERRORS

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Requests", "instrument_symbol", "require_aiohttp", "unreadable"]

_log = logging.getLogger(__name__)

_MAX_PAUSE_S = 60.0

_BANNED = frozenset({403, 418, 429})
"""HTTP statuses by which Bybit (403, 429) and Binance (418, 429) refuse a client that asks too often."""

Row = TypeVar("Row")


def require_aiohttp(purpose: str) -> ModuleType:
    """The module `aiohttp`; `purpose` is the subject of the error's sentence where it is not installed."""
    try:
        import aiohttp
    except ImportError as error:
        raise MissingExtraError("aiohttp", "live", purpose) from error
    return aiohttp


class Requests(ABC):
    """GET requests to one venue.

    Parameters
    ----------
    session : aiohttp.ClientSession
    base_url : str
    now_ns : callable
        The clock that stamps receipts.
    policies : Policies
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        now_ns: Callable[[], int],
        policies: Policies = POLICIES,
    ) -> None:
        self.now_ns = now_ns
        self.policies = policies
        self.refused_rows = 0
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._in_flight = asyncio.Semaphore(policies.concurrency)

    @abstractmethod
    def refusal(self, payload: Any, asked: str) -> Exception | None:
        """The error that the venue's own form of an answer tells, or None; `asked` is the request as text."""

    async def get(self, path: str, parameters: Mapping[str, str | int | None], policy: RetryPolicy) -> Any:
        """The JSON of an answer that the venue does not refuse.

        Raises
        ------
        VenueError
            After the last try.
        UnknownSymbolError
            The venue says that there is no such symbol.
        """
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        asked = f"GET {self._base_url}{path} {given}"
        for attempt in range(1, policy.tries + 1):
            try:
                return await self._once(path, given, asked, policy.timeout_s)
            except VenueError as error:
                if attempt == policy.tries or not _may_pass(error):
                    raise
                await asyncio.sleep(_pause_s(error, policy.pause_s * 2 ** (attempt - 1)))
        raise ValueError(f"a policy of {policy.tries} tries asks nothing")

    async def _once(self, path: str, given: Mapping[str, str], asked: str, timeout_s: float) -> Any:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with (
                self._in_flight,
                self._session.get(self._base_url + path, params=given, timeout=limit) as response,
            ):
                text = await response.text()
                _check_status(response.status, response.headers.get("Retry-After"), text, asked)
        except TimeoutError as error:
            raise UnreachableError(
                f"{asked} had no answer within {timeout_s:g} s. Is the venue up?"
            ) from error
        except aiohttp.ClientError as error:
            raise UnreachableError(
                f"{asked} failed: {error}. Is the network up, and the address right?"
            ) from error
        payload = _json(text, asked)
        refused = self.refusal(payload, asked)
        if refused is not None:
            raise refused
        return payload

    def rows(self, raw: Iterable[Any], read: Callable[[Any], Row], asked: str) -> list[Row]:
        """`read` of each row that can be read; the rest is logged and counted in `refused_rows`."""
        kept: list[Row] = []
        for row in raw:
            try:
                kept.append(read(row))
            except FIELD_ERRORS as error:
                self.refused_rows += 1
                _log.warning("a row of %s is left out: %s (%s)", asked, error, head_of(row))
        return kept


def _may_pass(error: VenueError) -> bool:
    """Whether the same request may succeed later: all but an answer that says no for good."""
    return not isinstance(error, ResponseError) or error.may_pass


def _pause_s(error: VenueError, pause_s: float) -> float:
    asked_for = error.retry_after_s if isinstance(error, RateLimitError) else None
    return min(_MAX_PAUSE_S, max(pause_s, asked_for or 0.0))


def _check_status(status: int, retry_after: str | None, text: str, asked: str) -> None:
    if status in _BANNED:
        wait_s = float(retry_after) if retry_after and retry_after.isdecimal() else None
        raise RateLimitError(
            f"{asked} was refused with HTTP {status}: too many requests. Ask less often.", status, wait_s
        )
    if status >= 500 or (status >= 400 and not text.lstrip().startswith("{")):
        raise ResponseError(
            f"{asked} was answered with HTTP {status}: {head_of(text)}", status, may_pass=status >= 500
        )


def _json(text: str, asked: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ResponseError(
            f"the answer to {asked} is not JSON: {head_of(text)}", 200, may_pass=True
        ) from error


def instrument_symbol(symbol: str) -> str:
    """`symbol`, or the ValueError by which a row of the list of instruments is left out."""
    try:
        return check_symbol(symbol)
    except UnknownSymbolError as error:
        raise ValueError(str(error)) from error


def unreadable(asked: str, payload: Any) -> ResponseError:
    """The error of an answer that lacks what its documentation says."""
    return ResponseError(f"the answer to {asked} is not in the documented form: {head_of(payload)}", 200)
