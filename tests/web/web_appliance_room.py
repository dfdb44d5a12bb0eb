"""A project with a run that answers, and recordings: for tests of the appliance's page and API."""

import sys
from pathlib import Path

import soundfile

sys.path.append(str(Path(__file__).parents[1] / "tasks" / "appliance"))

from appliance_small_room import RATE, steady, switching, written_run

__all__ = ["RATE", "make_room", "steady", "switching"]


def make_room(folder, seconds=90.0):
    """A project: `evening.flac`, in which ac runs from 30 s to 30 s before its end, and `quiet.wav`."""
    written_run(folder / "runs")
    samples = switching({"ac": ((30.0, seconds - 30.0),)}, seconds, 4)
    soundfile.write(folder / "evening.flac", samples, RATE, subtype="PCM_24")
    soundfile.write(folder / "quiet.wav", steady(False, False, 20.0, 5), RATE)
    return folder
