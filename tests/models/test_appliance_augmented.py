"""Altered windows as inputs of a fit: drawn anew, or cached copies of an encoder's tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acoustic_fits import DEVICES, N_BINS, QUICK, TinyEncoder, tokens_of

from earmark.audio.augment import PRESETS, Place
from earmark.cache.entries import FeatureCache
from earmark.errors import UsageError
from earmark.models.acoustic.augmented import AugmentedFbanks, AugmentedTokens, TrainingAudio
from earmark.models.acoustic.inputs import Fixed, Source, source_of
from earmark.models.acoustic.settings import HeadSettings
from earmark.models.acoustic.trainer import fit_head

RATE, N_SAMPLES, N_FRAMES = 16_000, 3200, 32
N = 12
Y = np.stack([np.arange(N) % 2, np.arange(N) // 2 % 2], axis=1).astype(np.float32)


SMALL = replace(PRESETS["g3"], frames_per_mask=8, bins_per_mask=3)
"""Masks that leave something of so small a bank."""


def training_audio(n=N):
    rng = np.random.default_rng(0)
    samples = rng.normal(scale=0.01, size=(n, N_SAMPLES)).astype(np.float32)
    places = [Place("r", 6.0 * k, 6.0 * k + 6.0) for k in range(n)]
    off = [k for k in range(n) if not Y[k].any()]
    return TrainingAudio([bytes([k]) * 16 for k in range(n)], places, lambda k: samples[k], RATE, off)


def bank(samples):
    """A filter bank of sorts: decibels of band-pass halves, (32, 12)."""
    frames = samples.reshape(N_FRAMES, -1)
    power = (
        np.abs(np.fft.rfft(frames, axis=1))[:, 1 : 1 + 4 * N_BINS].reshape(N_FRAMES, N_BINS, 4).sum(axis=2)
    )
    return (np.log(power + 1e-6) / 10).astype(np.float32)


def fbanks(augmentation=SMALL, seed=0, audio=None):
    return AugmentedFbanks(audio or training_audio(), augmentation, bank, seed=seed, front_end_key="toy")


def tokens(encoder, source=None, key="tiny", **given):
    return AugmentedTokens(
        source or fbanks(), lambda banks: tokens_of(encoder, banks), encoder_key=key, batch_size=5, **given
    )


def test_banks_differ_by_epoch_and_repeat_by_key():
    source, rows = fbanks(), np.arange(N)
    first, second = source.batch(rows, 0), source.batch(rows, 1)
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    again = fbanks().batch(rows[::-1], 0)[::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    plain = fbanks(PRESETS["none"]).batch(rows, 3)
    assert all((a == bank(training_audio().samples(k))).all() for k, a in enumerate(plain))


def test_the_identity_tells_whatever_decides_the_inputs():
    base = fbanks()
    others = [
        fbanks(replace(SMALL, gain_db=0.0)),
        fbanks(seed=1),
        fbanks(audio=training_audio(N - 1)),
        fbanks(audio=replace(training_audio(), off=[0])),
        AugmentedFbanks(base.audio, base.augmentation, bank, seed=0, front_end_key="other"),
    ]
    assert base.identity == fbanks().identity
    assert len({base.identity, *(other.identity for other in others)}) == 6
    assert isinstance(base, Source) and source_of(base) is base
    assert Fixed([np.zeros((1, 2))]).identity != Fixed([np.zeros((2, 1))]).identity


def test_copies_are_encoded_once_and_a_second_training_calls_no_encoder(tmp_path):
    settings = HeadSettings(**{**QUICK, "epochs": 5})
    fits, encoders = [], []
    for _ in range(2):
        encoder = TinyEncoder()
        with FeatureCache(tmp_path / "cache") as cache:
            source = tokens(encoder, copies=3, cache=cache)
            fits.append(fit_head(source, Y, devices=DEVICES, settings=settings))
        encoders.append(encoder.n_calls)
    assert encoders == [3 * N, 0]
    for name, tensor in fits[0].tensors.items():
        assert (tensor == fits[1].tensors[name]).all()


def test_epochs_take_turns_and_each_sees_every_copy(tmp_path):
    with FeatureCache(tmp_path / "cache") as cache:
        source, rows = tokens(TinyEncoder(), copies=3, cache=cache), np.arange(6)
        epochs = [source.batch(rows, epoch) for epoch in range(4)]
        for k in range(6):
            assert (epochs[0][k] == epochs[3][k]).all()
            assert len({epochs[e][k].tobytes() for e in range(3)}) == 3
        fresh = tokens(TinyEncoder(), copies=0).batch(np.array([1]), 2)  # epoch 1 of window 1 is its copy 2
        np.testing.assert_array_equal(epochs[1][1], fresh[0])
        assert epochs[0][0].dtype == np.float16


@pytest.mark.parametrize(
    "change",
    [
        {"source": fbanks(replace(SMALL, gain_db=2.0))},
        {"source": fbanks(seed=5)},
        {"source": fbanks(audio=replace(training_audio(), off=[]))},
        {"key": "retrained"},
    ],
)
def test_other_audio_draws_or_encoders_never_meet_the_same_entries(tmp_path, change):
    with FeatureCache(tmp_path / "cache") as cache:
        tokens(TinyEncoder(), copies=1, cache=cache).batch(np.arange(N), 0)
        encoder = TinyEncoder()
        tokens(encoder, copies=1, cache=cache, **change).batch(np.arange(N), 0)
        assert encoder.n_calls == N


def test_without_copies_each_epoch_is_encoded_anew():
    encoder = TinyEncoder()
    source = tokens(encoder, copies=0)
    fit_head(source, Y, devices=DEVICES, settings=HeadSettings(**{**QUICK, "epochs": 3}))
    assert encoder.n_calls == 3 * N + 1  # one to see how wide a token is


@pytest.mark.parametrize("copies", [-1, 4])
def test_copies_need_a_cache(copies):
    with pytest.raises(UsageError, match=f"copies is {copies} with no cache"):
        tokens(TinyEncoder(), copies=copies)
