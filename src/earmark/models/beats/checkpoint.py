"""A user's BEATs checkpoint: a file of plain tensors, known by its SHA-256, opened without executing anything in it.

The file is a dictionary with ``cfg``, the hyper-parameters, and ``model``, the tensors. earmark ships none and fetches
none: the user gives the path. The digest, not the path, is what cached tokens and trained heads know it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.models.beats.config import BeatsConfig
from earmark.models.weights import Weights

if TYPE_CHECKING:
    from earmark.models.beats.encoder import BeatsEncoder

__all__ = ["PUBLISHED", "BeatsCheckpoint"]

PUBLISHED: Mapping[str, str] = {}
"""SHA-256 -> name of checkpoints whose digest their authors state. They state none so far, and the official links are
dead; a digest of unknown origin would vouch for a file that nobody has checked."""


@dataclass(frozen=True)
class BeatsCheckpoint:
    """A checkpoint by its path and digest; nothing is loaded before `load`.

    Parameters
    ----------
    weights : Weights

    Examples
    --------
    >>> encoder = BeatsCheckpoint.open("BEATs_iter3_plus_AS2M.pt").load()   # doctest: +SKIP
    """

    weights: Weights

    @classmethod
    def open(cls, path: str | Path) -> BeatsCheckpoint:
        """Of a file, whose digest is taken.

        Raises
        ------
        UsageError
            There is no such file.
        """
        return cls(Weights.of(path))

    @property
    def path(self) -> str:
        """Where the file lies."""
        return self.weights.path

    @property
    def sha256(self) -> str:
        """Of the file's content when it was opened."""
        return self.weights.sha256

    @property
    def known_name(self) -> str | None:
        """Its published name; None for a file that is not in `PUBLISHED`."""
        return PUBLISHED.get(self.sha256)

    @property
    def warning(self) -> str | None:
        """What to tell the user of a file that is not known; None for one that is."""
        if self.known_name is not None:
            return None
        return (
            f"{self.path} (SHA-256 {self.sha256}) is not in the table of published BEATs checkpoints; its form is "
            "checked, its origin is not."
        )

    def __fingerprint__(self) -> object:
        """What counts in a cache key."""
        return self.sha256

    def contents(self) -> tuple[BeatsConfig, dict[str, Any]]:
        """Configuration and published tensors.

        Raises
        ------
        UsageError
            The file is gone, has changed, holds more than plain tensors, or is no BEATs checkpoint.
        MissingExtraError
            torch is not installed.
        """
        loaded = self.weights.load()
        found = (loaded.get("cfg"), loaded.get("model")) if isinstance(loaded, Mapping) else (None, None)
        cfg, tensors = found
        if not isinstance(cfg, Mapping) or not isinstance(tensors, Mapping) or not _all_tensors(tensors):
            raise UsageError(
                f"{self.path} is no BEATs checkpoint; expected a dictionary with `cfg`, the hyper-parameters, and "
                "`model`, the tensors. Give the published file."
            )
        return BeatsConfig.of(cfg), dict(tensors)

    def load(self) -> BeatsEncoder:
        """The network in evaluation mode on the CPU; errors as of `contents`, and tensors that do not fit."""
        config, tensors = self.contents()
        from earmark.models.beats.official import encoder_of

        return encoder_of(config, tensors)


def _all_tensors(tensors: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in tensors.items())
