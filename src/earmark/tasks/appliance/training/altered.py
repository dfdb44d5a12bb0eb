"""Training windows of a room as a network reads them altered: decoded once, cut, altered, through its front end.

Backgrounds are training windows of the same fit in which every machine is off; nothing of what selects or scores is
mixed in. Recordings are kept as samples while a training lasts, 4 MB per minute: windows overlap, so they would take
four times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.audio.augment import Place
from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
from earmark.audio.kaldi_fbank import normalised_fbank
from earmark.models.acoustic.augmented import AugmentedFbanks, AugmentedTokens, TrainingAudio
from earmark.models.acoustic.inputs import Source
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.groups.tokens import encoder_of, token_groups
from earmark.tasks.appliance.schema import SAMPLE_RATE
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import COPIES, TrainSettings

if TYPE_CHECKING:
    from earmark.models.beats.checkpoint import BeatsCheckpoint
    from earmark.tasks.project import Project

__all__ = ["Altered"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Altered:
    """Altered windows of a training.

    Parameters
    ----------
    project : Project
        Whose cache keeps altered tokens.
    rows : Rows
    settings : TrainSettings
    checkpoint : BeatsCheckpoint, optional
        Of networks on tokens.
    """

    project: Project
    rows: Rows
    settings: TrainSettings
    checkpoint: BeatsCheckpoint | None = None

    def banks(self, positions: Ints) -> AugmentedFbanks:
        """Filter banks of the windows at `positions`, drawn anew in each epoch."""
        return AugmentedFbanks(
            self._audio(positions),
            self.settings.augmentation,
            lambda samples: normalised_fbank(samples, SAMPLE_RATE),
            seed=self.settings.seed,
            front_end_key=self._digests[fbank.name],
        )

    def inputs(self, positions: Ints) -> Source:
        """What the network reads of them: filter banks, or tokens, of which a few copies are cached."""
        if self.checkpoint is None:
            return self.banks(positions)
        copies = self.settings.augment.get("copies", COPIES)
        return AugmentedTokens(
            self.banks(positions),
            self._encoded,
            encoder_key=self._digests[token_groups(self.checkpoint)[0].name],
            copies=copies,
            cache=self.project.cache if copies else None,
            batch_size=1,  # alone, so that a window has the same bits whatever else was missing in the cache
        )

    def _audio(self, positions: Ints) -> TrainingAudio:
        rows, table = self.rows, self.rows.table[positions]
        places = [Place(*place) for place in table.select("recording_id", "start_sec", "end_sec").iter_rows()]
        off = np.flatnonzero((rows.y[positions] == 0).all(axis=1)).tolist()
        uris = table["uri"].to_list()
        return TrainingAudio(
            [self._identities[uri] for uri in uris],
            places,
            lambda k: self._samples(uris[k]),
            SAMPLE_RATE,
            off,
        )

    @cached_property
    def _identities(self) -> dict[str, bytes]:
        uris = self.rows.table["uri"].to_list()
        return {uri: self.project.cache.identify(uri) for uri in uris}

    @cached_property
    def _recordings(self) -> dict[str, Clip]:
        return {}

    def _samples(self, uri: str) -> Floats:
        recording, span = split_fragment(uri)
        if recording not in self._recordings:
            self._recordings[recording] = decode(recording, sample_rate=SAMPLE_RATE)
        whole = self._recordings[recording]
        return whole.samples if span is None else cut(whole, span).samples

    @cached_property
    def _digests(self) -> dict[str, str]:
        """Of the code that reads a window, and of the checkpoint."""
        groups = [fbank, *(token_groups(self.checkpoint)[:1] if self.checkpoint is not None else ())]
        return {name: digest.hex() for name, digest in self.project.digests(groups).items()}

    def _encoded(self, banks: Floats) -> Any:
        import torch

        assert self.checkpoint is not None
        with torch.inference_mode():
            return encoder_of(self.checkpoint).encode(torch.from_numpy(banks)).numpy()
