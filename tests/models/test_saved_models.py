"""Models saved by earlier versions still load and still say the same."""

from __future__ import annotations

import numpy as np
import pytest
from model_tables import blobs
from save_models import COLUMNS, SAVED

from earmark.models.classifier import Classifier
from earmark.models.registry import ESTIMATORS


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_model_saved_earlier_still_predicts(name):
    model = Classifier.load(SAVED / name)
    p = model.predict_proba(blobs()[0], COLUMNS)
    np.testing.assert_allclose(p, np.load(SAVED / name / "expected.npy", allow_pickle=False), atol=1e-6)
