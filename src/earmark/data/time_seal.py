"""The sealed period: the newest stretch of a series, which nothing reads before it is opened on the record.

`SealedPeriod` keeps where it begins and ends in ``seal.json`` and every opening in ``ledger.jsonl`` beside it, as
`earmark.data.seal` does for labels of items. A loader of training rows asks `bounds` and reads nothing from the first
sealed instant on; a loader of sealed rows asks for a `PeriodOpening`, which only `SealedPeriod.open` makes.

With more data the period moves on as long as nobody has looked into it. Once opened it stays where it is and only
grows at its end, until it is resealed with a reason; the ledger tells of both. The guard is against mistakes, not
malice.

Conventions: milliseconds since 1970 UTC; a period includes its first instant and its last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.ledger import LEDGER_FILE, Openings, append_event, count_openings, ledger_event, read_ledger
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import SealError

__all__ = ["SEAL_FILE", "Bounds", "PeriodOpening", "SealedPeriod"]

SEAL_FILE = "seal.json"
_TOKEN = object()  # only this module makes openings


@dataclass(frozen=True)
class Bounds:
    """First and last sealed instant."""

    first_ms: int
    last_ms: int

    def __str__(self) -> str:
        return f"{self.first_ms}:{self.last_ms}"


class PeriodOpening:
    """Proof that the period was opened; made by `SealedPeriod.open` alone.

    Attributes
    ----------
    bounds : Bounds
    record : dict
        The line of the ledger.
    """

    def __init__(self, bounds: Bounds, record: Mapping[str, Any], *, token: object) -> None:
        if token is not _TOKEN:
            raise SealError(
                "an opening of the sealed period was made by hand. Expected one from `SealedPeriod.open`, which "
                "writes it to the ledger. Use `earmark evaluate market --sealed`."
            )
        self.bounds = bounds
        self.record = dict(record)


class SealedPeriod:
    """The sealed period of one data folder.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def bounds(self) -> Bounds | None:
        """Where it lies; None where nothing was sealed.

        Raises
        ------
        SealError
            The file is broken: nothing may be trained on until it is known where the period begins.
        """
        path = self.folder / SEAL_FILE
        try:
            found = json.loads(path.read_bytes())
            return Bounds(int(found["first_ms"]), int(found["last_ms"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise SealError(
                f"`{path}` does not say where the sealed period begins ({error}). Expected first_ms and last_ms: "
                "restore the file from a copy."
            ) from error

    def seal(self, first_ms: int, last_ms: int, *, reseal_reason: str | None = None) -> Bounds:
        """Seal a period, in place of an earlier one where that was never opened.

        Parameters
        ----------
        first_ms, last_ms : int
        reseal_reason : str, optional
            Let the period begin at `first_ms` whatever was sealed before; written to the ledger first.

        Returns
        -------
        Bounds
            What is sealed from now on: the beginning of an opened period stays, and an earlier beginning is not taken
            without a reason, since models may have been trained on the rows behind it.

        Raises
        ------
        SealError
            The period is empty, or the ledger cannot be written.
        """
        earlier = self.bounds
        bounds = Bounds(first_ms, last_ms)
        if earlier is not None and reseal_reason:
            self._tell("reseal", bounds, reseal_reason)
        elif earlier is not None and first_ms > earlier.first_ms and not self.openings().count:
            self._tell("move", bounds, "more data, and never opened")
        elif earlier is not None:
            bounds = Bounds(earlier.first_ms, max(last_ms, earlier.last_ms))
        if not bounds.first_ms <= bounds.last_ms:
            raise SealError(
                f"a period was to be sealed from {first_ms} to {last_ms}; expected an end behind it."
            )
        if bounds != earlier:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"first_ms": bounds.first_ms, "last_ms": bounds.last_ms}) + "\n"
            write_bytes_atomic(self.folder / SEAL_FILE, text.encode())
        return bounds

    def open(self, *, run: str, reason: str, commit: str | None = None) -> PeriodOpening:
        """Record the opening, then return the proof of it.

        Raises
        ------
        SealError
            Nothing is sealed, run or reason is empty, or the ledger cannot be written.
        """
        if not run.strip() or not reason.strip():
            raise SealError(
                f"the sealed period was to be opened by run {run!r} for reason {reason!r}; both must be named."
            )
        bounds = self.bounds
        if bounds is None:
            raise SealError(f"nothing is sealed in `{self.folder}`. Run `earmark prepare market` first.")
        record = ledger_event("open", str(bounds), run=run, commit=commit, reason=reason, n=0)
        append_event(self.folder / LEDGER_FILE, record)
        return PeriodOpening(bounds, record, token=_TOKEN)

    def _tell(self, event: str, bounds: Bounds, reason: str) -> None:
        record = ledger_event(event, str(bounds), run="", commit=None, reason=reason, n=0)
        append_event(self.folder / LEDGER_FILE, record)

    def openings(self) -> Openings:
        """How often, and by how many runs, the period was opened."""
        return count_openings(read_ledger(self.folder / LEDGER_FILE))
