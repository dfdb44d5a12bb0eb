"""The table that most tests of estimators fit on."""

from __future__ import annotations

import numpy as np
import pytest
from model_tables import blobs


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    return blobs()
