"""Weights of a network as a parameter of its group: a path to find them by, a digest to know them by."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.errors import MissingExtraError, UsageError

__all__ = ["Weights"]


@dataclass(frozen=True)
class Weights:
    """A checkpoint: the digest joins the cache key, the path does not.

    Parameters
    ----------
    path : str
        Where the file lies.
    sha256 : str
        Of its content when it was chosen; loading refuses any other.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> Weights:
        """Of a file.

        Raises
        ------
        UsageError
            There is no such file.
        """
        return cls(str(Path(path).resolve()), hashlib.sha256(_content(Path(path))).hexdigest())

    def __fingerprint__(self) -> object:
        """What counts in a cache key."""
        return self.sha256

    def content(self) -> bytes:
        """The file's bytes, those that the key knows.

        Raises
        ------
        UsageError
            The file is gone or has changed.
        """
        from earmark.cache.data_files import exempt

        with exempt(self.path):  # the digest is in the key already
            content = _content(Path(self.path))
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise UsageError(
                f"{self.path} has changed since it was chosen; expected SHA-256 {self.sha256}. Start again."
            )
        return content

    def load(self) -> dict[str, Any]:
        """The file's tensors; nothing in the file is executed.

        Raises
        ------
        UsageError
            The file is gone, has changed, or is no file of plain tensors.
        MissingExtraError
            torch is not installed.
        """
        import pickle

        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "torch", "A network by its checkpoint") from None
        content = self.content()
        # What torch raises for a file of another kind depends on its first bytes.
        damaged = (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
        )
        try:
            loaded: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except damaged as error:
            raise UsageError(
                f"{self.path} is no file of plain tensors ({_first_sentence(error)}); expected a PyTorch state dict or "
                "checkpoint that loads with weights_only=True. Fetch it again."
            ) from error
        return loaded


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The weights {path} cannot be read ({error.strerror}); expected a file. Correct its path."
        ) from error


def _first_sentence(error: Exception) -> str:
    """Not more: torch goes on with the advice to load the file unsafely."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
