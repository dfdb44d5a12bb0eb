"""Altered training windows as the inputs of a fit: filter banks, or an encoder's tokens of them.

In epoch e a window is read as its copy e, drawn by (seed, window, e). With a frozen encoder that is dear, so a few
copies are made once and cached, and epochs take turns; each window begins at another copy, so that every epoch sees
all.

Conventions: filter banks (n_frames, n_bins) as an encoder or the CNN reads them; tokens (n_tokens, width), float16 in
the cache and so for the network. A cache key holds the window's identity, the augmentation, the seed, the copy, the
encoder's key, what backgrounds there are, and the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.audio.augment import Augmentation, Backgrounds, DrawKey, Place, augmented, masked
from earmark.cache.entries import FeatureCache
from earmark.cache.fingerprint import fingerprint
from earmark.errors import UsageError

__all__ = ["AugmentedFbanks", "AugmentedTokens", "TrainingAudio"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]
FrontEnd = Callable[[Floats], Floats]
Encode = Callable[[Floats], Floats]


@dataclass(frozen=True)
class TrainingAudio:
    """The windows of one training part.

    Parameters
    ----------
    identities : sequence of bytes
        Of the windows' content, 16 bytes each, as the feature cache has them. They seed the draws, so that a file that
        is renamed is altered in the same way.
    places : sequence of Place
    samples : callable
        Position -> samples, float32.
    sample_rate : int
        Hz.
    off : sequence of int
        Positions of windows in which every machine is off: the backgrounds.
    """

    identities: Sequence[bytes]
    places: Sequence[Place]
    samples: Callable[[int], Floats]
    sample_rate: int
    off: Sequence[int] = ()

    @property
    def backgrounds(self) -> Backgrounds | None:
        """What may be mixed in."""
        if not self.off:
            return None
        return Backgrounds([self.places[k] for k in self.off], lambda k: self.samples(self.off[k]))

    def digest(self, positions: Sequence[int]) -> str:
        """Of the content of these windows."""
        return hashlib.blake2b(b"".join(self.identities[k] for k in positions), digest_size=16).hexdigest()


class AugmentedFbanks:
    """Filter banks of altered windows, drawn anew in each epoch; a `Source`.

    Parameters
    ----------
    audio : TrainingAudio
    augmentation : Augmentation
    front_end : callable
        Samples (n_samples,) -> filter bank (n_frames, n_bins).
    seed : int
    front_end_key : str
        What decides the front end's numbers, such as its fingerprint.
    """

    def __init__(
        self,
        audio: TrainingAudio,
        augmentation: Augmentation,
        front_end: FrontEnd,
        *,
        seed: int,
        front_end_key: str,
    ) -> None:
        self.audio, self.augmentation, self.seed = audio, augmentation, seed
        self.front_end, self.front_end_key = front_end, front_end_key
        self._backgrounds = audio.backgrounds

    def __len__(self) -> int:
        return len(self.audio.identities)

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides a copy of a window, beside the window and the copy."""
        return {
            "augmentation": asdict(self.augmentation),
            "seed": self.seed,
            "front_end": self.front_end_key,
            "backgrounds": self.audio.digest(self.audio.off),
        }

    @property
    def identity(self) -> str:
        """What decides the inputs."""
        return json.dumps([self.parameters, self.audio.digest(range(len(self)))], sort_keys=True)

    def batch(self, rows: Ints, epoch: int) -> list[Floats]:
        """Filter banks of these windows in an epoch."""
        return [self.copy_of(int(row), epoch) for row in rows]

    def copy_of(self, row: int, copy: int) -> Floats:
        """Filter bank of one altered window."""
        audio, key = self.audio, DrawKey(self.seed, self.audio.identities[row].hex(), copy)
        samples = augmented(
            audio.samples(row),
            self.augmentation,
            key,
            sample_rate=audio.sample_rate,
            place=audio.places[row],
            backgrounds=self._backgrounds,
        )
        return masked(self.front_end(samples), self.augmentation, key)


class AugmentedTokens:
    """An encoder's tokens of altered windows; a `Source`.

    Parameters
    ----------
    fbanks : AugmentedFbanks
        What the encoder reads.
    encode : callable
        Filter banks (batch, n_frames, n_bins) -> tokens (batch, n_tokens, width).
    encoder_key : str
        What decides the encoder's numbers: its weights' hash and its code's.
    copies : int
        Altered copies of each window, cached; 0 makes a new one in each epoch and caches nothing.
    cache : FeatureCache, optional
        Needed for copies.
    batch_size : int
        Windows that are encoded together.

    Raises
    ------
    UsageError
        Copies are wanted and there is no cache.
    """

    def __init__(
        self,
        fbanks: AugmentedFbanks,
        encode: Encode,
        *,
        encoder_key: str,
        copies: int = 4,
        cache: FeatureCache | None = None,
        batch_size: int = 16,
    ) -> None:
        if copies < 0 or (copies and cache is None):
            raise UsageError(
                f"copies is {copies} with {'a' if cache else 'no'} cache; expected 0 or more, and a cache to keep them "
                "in. Give a cache, or 0 copies."
            )
        self.fbanks, self.encode, self.encoder_key = fbanks, encode, encoder_key
        self.copies, self.cache, self.batch_size = copies, cache, batch_size

    def __len__(self) -> int:
        return len(self.fbanks)

    @property
    def identity(self) -> str:
        """What decides the inputs."""
        return json.dumps([self.fbanks.identity, self.encoder_key, self.copies])

    def batch(self, rows: Ints, epoch: int) -> list[Halves]:
        """Tokens of these windows in an epoch."""
        if not self.copies:
            return self._encoded([(int(row), epoch) for row in rows])
        wanted = [(int(row), (epoch + int(row)) % self.copies) for row in rows]
        return self._cached(wanted)

    def _cached(self, wanted: list[tuple[int, int]]) -> list[Halves]:
        """Copies of windows from the cache; what is missing is computed and put there."""
        assert self.cache is not None
        known, found = self.fbanks.audio.identities, dict[tuple[int, int], Halves]()
        for copy in {copy for _, copy in wanted}:
            rows = [row for row, its in wanted if its == copy]
            tokens = self.cache.get_many(self._digest(copy), [known[row] for row in rows])
            found |= {
                (row, copy): array for row, array in zip(rows, tokens, strict=True) if array is not None
            }
        missing = [item for item in wanted if item not in found]
        computed = dict(zip(missing, self._encoded(missing), strict=True))
        self.cache.put_many(
            (self._digest(copy), known[row], tokens) for (row, copy), tokens in computed.items()
        )
        return [(found | computed)[item] for item in wanted]

    def _encoded(self, wanted: list[tuple[int, int]]) -> list[Halves]:
        tokens: list[Halves] = []
        for start in range(0, len(wanted), self.batch_size):
            chosen = wanted[start : start + self.batch_size]
            banks = np.stack([self.fbanks.copy_of(row, copy) for row, copy in chosen])
            tokens.extend(np.asarray(self.encode(banks), dtype=np.float16))
        return tokens

    def _digest(self, copy: int) -> bytes:
        """Of all that decides the tokens of a copy, beside the window."""
        return _copy_digest(json.dumps([self.fbanks.parameters, self.encoder_key, copy], sort_keys=True))


@lru_cache(maxsize=64)
def _copy_digest(parameters: str) -> bytes:
    return fingerprint(augmented, masked, parameters={"tokens": parameters}).digest
