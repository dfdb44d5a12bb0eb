"""The same extractor on an existing Dask scheduler; the driver alone writes the cache."""

from __future__ import annotations

from pathlib import Path

import engine_groups
import numpy as np
import pytest

from earmark.cache.entries import FeatureCache
from earmark.features import Extractor

distributed = pytest.importorskip("distributed", reason='needs Dask: pip install "earmark[cluster]"')


@pytest.fixture
def scheduler(monkeypatch):
    # Workers of a cluster import the user's code as any process of theirs would.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as cluster:
        yield cluster.scheduler_address.removeprefix("tcp://")


@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_bits_and_fills_the_cache(scheduler, tones, cache, tmp_path):
    groups = [engine_groups.level, engine_groups.blocks]
    here = Extractor(groups, FeatureCache(tmp_path / "here"), workers=0).run(tones)
    there = Extractor(groups, cache, cluster=f"dask://{scheduler}").run(tones)
    assert there.ids == here.ids
    assert there.computed == {"engine.level": 5, "engine.blocks": 5}
    np.testing.assert_array_equal(there.values, here.values)
    assert Extractor(groups, cache, workers=0).run(tones).computed == {"engine.level": 0, "engine.blocks": 0}
