"""Feature groups that the engine's tests run, here so that worker processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from earmark.features import feature_group

RATE = 16_000


@feature_group("engine.level", columns=("mean", "peak"), sample_rate=RATE)
def level(clip):
    return [np.abs(clip.samples).mean(), np.abs(clip.samples).max()]


@feature_group("engine.length", columns=("seconds",), sample_rate=8_000)
def length(clip):
    return [clip.duration_s]


@feature_group(
    "engine.blocks", columns=("rms",), sample_rate=RATE, kind="frames", frame_s=0.1, lookahead_s=0.0
)
def blocks(clip):
    whole = clip.samples[: clip.samples.size // 1600 * 1600].reshape(-1, 1600)
    return np.sqrt((whole**2).mean(axis=1, keepdims=True))


@feature_group(
    "engine.forward", columns=("next_rms",), sample_rate=RATE, kind="frames", frame_s=0.1, lookahead_s=0.0
)
def forward(clip):
    """Declares no look-ahead, yet each frame holds the next frame's value."""
    return np.roll(blocks.function(clip), -1, axis=0)


@feature_group("engine.loud_only", columns=("peak",), sample_rate=RATE)
def loud_only(clip):
    peak = np.abs(clip.samples).max()
    if peak < 0.05:
        raise ValueError(f"peak {peak:.3f} is below 0.05")
    return [peak]


@feature_group("engine.deadly", columns=("peak",), sample_rate=RATE)
def deadly(clip):
    """Kills its process on the quietest clip, as a codec that segfaults would."""
    peak = np.abs(clip.samples).max()
    if peak < 0.05:
        os.kill(os.getpid(), signal.SIGSEGV)
    return [peak]


@feature_group("engine.slow", columns=("peak",), sample_rate=RATE)
def slow(clip):
    time.sleep(0.3)
    return [np.abs(clip.samples).max()]


@feature_group("engine.broken", columns=("ratio",), sample_rate=RATE)
def broken(clip):
    return [np.float32("nan")]


@feature_group("engine.wrong_shape", columns=("a", "b"), sample_rate=RATE)
def wrong_shape(clip):
    return [1.0, 2.0, 3.0]


@feature_group("engine.needs_two_seconds", columns=("mean",), sample_rate=RATE, min_duration_s=2.0)
def needs_two_seconds(clip):
    return [clip.samples.mean()]


def scaled(factor):
    """A group made by a function, as a notebook would make it: workers get it by value."""

    @feature_group("engine.scaled", columns=("peak",), sample_rate=RATE, parameters={"factor": factor})
    def group(clip, factor):
        return [factor * np.abs(clip.samples).max()]

    return group


def offset():
    return float(Path(os.environ["ENGINE_OFFSET"]).read_text())


@feature_group("engine.offset", columns=("offset",), sample_rate=RATE)
def with_offset(clip):
    time.sleep(0.1)
    return [offset()]
