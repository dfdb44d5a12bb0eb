"""A prepared room of eight short synthetic recordings, made once per test run."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import soundfile

from earmark.tasks.appliance.generator.scene import SyntheticRoom
from earmark.tasks.appliance.prepare import PrepareOptions, prepare
from earmark.tasks.project import Project

SECONDS = 45.0


@cache
def trained_room(seconds: float = SECONDS) -> Path:
    """Folder of a project; tests keep their runs elsewhere."""
    folder = Path(mkdtemp(prefix="earmark-room-"))
    room = SyntheticRoom(is_disturbed=False)
    for number, (ac, fridge, daypart) in enumerate(product((False, True), (False, True), ("day", "night"))):
        heard = room.steady({"ac": ac, "fridge": fridge}, daypart, seconds, np.random.default_rng(number))
        words = ("off", "on")
        path = folder / "samples" / f"ac-{words[ac]}-fridge-{words[fridge]}-{daypart}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, heard.samples, 16_000)
    options = PrepareOptions(folder=folder / "samples", suffixes=("flac",), seal="none")
    prepare(Project.open("appliance", folder), options)
    return folder


def room_project(runs: Path, seconds: float = SECONDS) -> Project:
    """The project with runs in a folder of the test's own."""
    return Project.open("appliance", trained_room(seconds), {"runs": str(runs), "workers": 1})
