from __future__ import annotations

import numpy as np
import pytest
import soundfile

from earmark.cache.entries import FeatureCache
from earmark.features import Item


@pytest.fixture
def tones(tmp_path):
    """Five one-second tones whose peaks are 0.1, 0.2 ... 0.5, as items in an order that is not alphabetical."""
    folder = tmp_path / "audio"
    folder.mkdir()
    time_s = np.arange(16_000) / 16_000
    items = []
    for number in (3, 1, 5, 2, 4):
        path = folder / f"tone{number}.wav"
        soundfile.write(path, 0.1 * number * np.sin(2 * np.pi * 440 * time_s), 16_000, subtype="FLOAT")
        items.append(Item(path.name, str(path)))
    return items


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")
