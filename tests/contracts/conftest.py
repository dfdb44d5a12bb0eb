from __future__ import annotations

import csv

import numpy as np
import pytest
from tone_task import write_tone


@pytest.fixture
def tone_folder(tmp_path):
    """48 tones of 16 singers, low or high with some overlap, and their labels as a CSV file."""
    folder = tmp_path / "tones"
    folder.mkdir()
    rng = np.random.default_rng(7)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group"])
        for number in range(48):
            label = ("low", "high")[number % 2]
            write_tone(folder / f"{number:02d}.wav", rng.normal({"low": 500, "high": 700}[label], 90), number)
            table.writerow([f"{number:02d}.wav", label, f"singer{number // 3}"])
    return folder
