"""A project whose commands are real, small, and as slow as a test needs."""

import time

import numpy as np
import soundfile

SLOW_TASK = """
import time

from earmark import Task, feature_group


@feature_group("slow.mean", columns=("mean",), sample_rate=8_000)
def mean(clip):
    time.sleep({seconds})
    return [abs(clip.samples).mean()]


task = Task(name="slow", groups=[mean])
"""


def make_project(folder, n_items=4, seconds=0.05):
    """A folder with a task of one's own and recordings; `extract slow.py audio` takes `n_items` x `seconds`."""
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(n_items):
        soundfile.write(folder / "audio" / f"{number:02}.wav", 0.1 * rng.standard_normal(800), 8_000)
    (folder / "slow.py").write_text(SLOW_TASK.format(seconds=seconds))
    return folder


EXTRACT = ("extract", "slow.py", ["audio", "--workers=0"])


def wait_until(condition, timeout_s=60):
    """Return what `condition` gives once that is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def ended(store, job_id, timeout_s=60):
    """The job, once it is over."""

    def is_over():
        job = store.get(job_id)
        return job if job.is_over else None

    return wait_until(is_over, timeout_s)
