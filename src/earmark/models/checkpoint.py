"""The state of a fit in progress: arrays and a record in one safetensors file, replaced after each epoch.

A file is bound to what is being fitted by `fit_key`, a hash of parameters and data: the state of another
fit is never continued. The file is written beside and renamed, so a killed process leaves the state before
or after, never half of one. It is not forced to the disk: after a power cut it may be torn, which its
checksum shows; a torn file is as good as none, and the fit starts over.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

__all__ = ["Checkpoint", "fit_key", "read_checkpoint", "write_checkpoint"]

log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, and a JSON record of everything else."""

    arrays: Arrays
    record: dict[str, Any]


def fit_key(params: Mapping[str, Any], *arrays: npt.NDArray[Any] | None) -> str:
    """Hash of parameters and data, 32 hexadecimal digits; None counts as an array that is absent."""
    digest = hashlib.blake2b(json.dumps(params, sort_keys=True).encode(), digest_size=16)
    for array in arrays:
        digest.update(b"absent" if array is None else f"{array.dtype}{array.shape}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the state at `path`; its folder is made if absent."""
    from safetensors.numpy import save

    payload = save(checkpoint.arrays, metadata={"record": json.dumps(checkpoint.record)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(xxhash.xxh3_128_digest(payload) + payload)
    partial.replace(path)


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """The state at `path` if there is one, it is whole, and its record's ``key`` is `key`; None otherwise."""
    from safetensors.numpy import load

    if not path.exists():
        return None
    raw = path.read_bytes()
    if xxhash.xxh3_128_digest(raw[16:]) != raw[:16]:
        log.warning("`%s` is damaged and cannot be continued; this fit starts over.", path)
        return None
    length = int.from_bytes(raw[16:24], "little")
    record = json.loads(json.loads(raw[24 : 24 + length])["__metadata__"]["record"])
    return Checkpoint(load(raw[16:]), record) if record["key"] == key else None
