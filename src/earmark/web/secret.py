"""The server's secret: what only this machine's user may read, and what is derived from it.

It outlives the server, so that a page that was open while the server started again still works.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Secret"]

_N_BYTES = 32


@dataclass(frozen=True)
class Secret:
    """Bytes that sign."""

    key: bytes

    @classmethod
    def of(cls, path: Path) -> Secret:
        """The secret kept in a file that its owner alone reads; made on the first call."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            found = cls(path.read_bytes())
            return found if len(found.key) == _N_BYTES else cls._anew(path)
        with os.fdopen(handle, "wb") as file:
            key = secrets.token_bytes(_N_BYTES)
            file.write(key)
        return cls(key)

    @classmethod
    def _anew(cls, path: Path) -> Secret:
        """In place of a file that was cut short: pages that are open must be loaded again."""
        path.unlink(missing_ok=True)
        return cls.of(path)

    def sign(self, purpose: str, value: str) -> str:
        """A signature of a value that serves one purpose alone, in hexadecimal."""
        return hmac.new(self.key, f"{purpose}\0{value}".encode(), hashlib.sha256).hexdigest()

    def token(self) -> str:
        """The token of a server on an address that others reach, where none was given; 43 characters."""
        return self.sign("token", "")[:43]
