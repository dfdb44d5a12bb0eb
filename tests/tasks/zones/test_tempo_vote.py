"""The tempo vote: scoring by hand, and tempos of rendered tracks."""

from __future__ import annotations

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, planted_drop

from earmark.audio.clip import Clip
from earmark.tasks.zones.tempo_vote import TempoVote, tempo_vote, vote


def test_agreement_within_the_dance_range_wins_with_full_confidence() -> None:
    assert vote([128.0, 129.0, 127.5]) == TempoVote(128.0, 0.95)


def test_half_tempo_is_doubled() -> None:
    # 64 BPM is worth 0.7, its double 0.8 * 1.3.
    found = vote([64.0, 64.0, 64.0])
    assert found.bpm == 128.0
    assert found.confidence == pytest.approx(0.85)


def test_double_tempo_is_halved() -> None:
    # 190 BPM is worth 0.7, its half 0.8 * 1.1.
    assert vote([190.0]).bpm == 95.0


def test_a_wide_vote_is_less_certain() -> None:
    assert vote([120.0, 124.0, 128.0]).confidence == pytest.approx(0.7)
    assert vote([120.0, 122.0, 124.0]).confidence == pytest.approx(0.85)
    assert vote([120.0, 121.0, 122.0]).confidence == pytest.approx(0.95)


def test_two_that_agree_outvote_a_third() -> None:
    assert vote([118.0, 131.0, 131.5]).bpm == 131.0


def test_no_estimates() -> None:
    assert vote([]) == TempoVote(0.0, 0.0)
    assert vote([20.0]) == TempoVote(0.0, 0.0)  # 40 BPM even when doubled


@pytest.mark.parametrize("tempo_bpm", [112.0, 126.0, 139.0, 150.0])
def test_planted_tempo_is_found(tempo_bpm: float) -> None:
    found = tempo_vote(planted_drop(tempo_bpm)[0])
    assert found.bpm == pytest.approx(tempo_bpm, rel=0.02)
    assert 0.5 <= found.confidence <= 0.95


def test_silence_has_no_tempo() -> None:
    assert tempo_vote(Clip(np.zeros(10 * SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE)) == TempoVote(0.0, 0.0)
