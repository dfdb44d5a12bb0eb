"""Writes ``saved/``: one small saved classifier per estimator, with the probabilities it gave.

Run as ``python tests/models/save_models.py NAME...`` when a new estimator or a new format arrives; models
that exist stay as they are, since they stand for the files that users have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from model_tables import QUICK, blobs

from earmark.models.classifier import Classifier

SAVED = Path(__file__).parent / "saved"
COLUMNS = tuple(f"zones.column_{i}" for i in range(6))


def main(names: list[str]) -> None:
    X, y = blobs()
    for name in names:
        model = Classifier.make(name, classes=("YELLOW", "GREEN", "PURPLE"), **QUICK[name]).fit(X, y, COLUMNS)
        model.save(SAVED / name)
        np.save(SAVED / name / "expected.npy", model.predict_proba(X, COLUMNS), allow_pickle=False)


if __name__ == "__main__":
    main(sys.argv[1:] or sorted(QUICK))
