"""Features from openSMILE tables: formulas by hand, agreement with the audio, what is missing or broken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from earmark.audio.decode import decode
from earmark.errors import InputError, SchemaError
from earmark.features.item import Item
from earmark.tasks.zones.deam.annotations import read_deam
from earmark.tasks.zones.deam.opensmile import (
    COMMON_COLUMNS,
    COMPARABLE,
    EXTRA_COLUMNS,
    FRAME_COLUMNS,
    opensmile_row,
    opensmile_table,
    read_frames,
)
from earmark.tasks.zones.deam.tree import TABLE_COLUMNS, write_deam_tree
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.features import common

N_FRAMES = 24


def table(path, *, leave_out=(), **columns):
    """Write a table in which every column is 1 but those given; ``pcm_zcr`` stands for ``pcm_zcr_sma_amean``."""
    names = [name for name in TABLE_COLUMNS if name not in leave_out]
    values = np.ones((N_FRAMES, len(names)))
    for name, column in columns.items():
        values[:, names.index(name)] = column
    lines = [";".join(["frameTime", *names])]
    lines += [
        ";".join([f"{0.5 * t:g}", *(repr(float(value)) for value in row)]) for t, row in enumerate(values)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def short(row):
    return {name.rpartition(".")[2]: value for name, value in row.items()}


def test_columns_are_those_of_the_group():
    assert FEATURE_SETS["common22"].columns == COMMON_COLUMNS
    assert set(COMPARABLE) == {*COMMON_COLUMNS, *EXTRA_COLUMNS}
    assert set(FRAME_COLUMNS) <= set(TABLE_COLUMNS)
    comparable = {name.rpartition(".")[2] for name, value in COMPARABLE.items() if value}
    assert comparable == {"tempo", "low_energy", "drop_contrast_mean", "drop_intensity"}


def test_formulas_by_hand(tmp_path):
    t = np.arange(N_FRAMES, dtype=float)
    low_then_high = np.where(t < 12, 0.1, 0.9)
    low_then_high[[0, 11, 12, 23]] = 0.5, 0.05, 1.0, 0.5
    row = short(
        opensmile_row(
            table(
                tmp_path / "1.csv",
                **{
                    "pcm_zcr_sma_amean": t,
                    "pcm_RMSenergy_sma_amean": low_then_high,
                    "pcm_RMSenergy_sma_stddev": 0.3,
                    "pcm_RMSenergy_sma_de_amean": -t,
                    "pcm_fftMag_spectralRollOff90.0_sma_amean": 4000,
                    "pcm_fftMag_spectralCentroid_sma_amean": 1000 + t,
                    "pcm_fftMag_spectralFlux_sma_amean": 7,
                    "pcm_fftMag_spectralHarmonicity_sma_amean": np.where(t % 2, 1, -3),
                    "pcm_fftMag_mfcc_sma[2]_amean": np.where(t % 2, 1, -1),
                    "pcm_fftMag_mfcc_sma[2]_stddev": 2,
                    "audSpec_Rfilt_sma[20]_amean": 5,
                    "F0final_sma_amean": np.where(t < 6, 0, 200),
                    "voicingFinalUnclipped_sma_amean": 0.25,
                },
            )
        )
    )
    assert math.isnan(row["tempo"])
    assert row["zero_crossing_rate"] == pytest.approx(11.5)
    assert row["low_energy"] == pytest.approx((low_then_high < low_then_high.mean()).mean())
    assert row["rms_energy"] == pytest.approx(low_then_high.mean())
    assert row["energy_variance"] == pytest.approx(math.sqrt(0.09 + low_then_high.var()))
    assert row["drop_strength"] == pytest.approx(20.7)  # 90 % of the way from 0 to 23
    assert (row["spectral_rolloff"], row["spectral_centroid"]) == (4000, 1011.5)
    assert row["brightness"] == pytest.approx((5 + 5) / (25 + 5), abs=1e-6)
    assert (row["mfcc_2_mean"], row["mfcc_2_std"]) == (0, pytest.approx(math.sqrt(4 + 1)))
    assert (row["mfcc_5_mean"], row["mfcc_5_std"]) == (1, 1)
    assert row["drop_count"] == 1
    assert row["drop_contrast_mean"] == pytest.approx(0.95 / low_then_high.mean())
    assert row["drop_intensity"] == pytest.approx(1 / low_then_high.mean())
    assert row["spectral_flux"] == 7
    assert row["spectral_flatness"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert (row["pitch"], row["pitch_confidence"]) == (200, 0.25)


def test_spread_of_the_level_without_its_column(tmp_path):
    level = np.linspace(0, 1, N_FRAMES)
    path = table(tmp_path / "1.csv", leave_out=("pcm_RMSenergy_sma_stddev",), pcm_RMSenergy_sma_amean=level)
    assert short(opensmile_row(path))["energy_variance"] == pytest.approx(level.std())


def test_missing_stays_missing(tmp_path):
    level = np.linspace(0, 1, N_FRAMES)
    level[5] = np.nan
    zcr = np.ones(N_FRAMES)
    zcr[3] = np.inf
    columns = {"pcm_RMSenergy_sma_amean": level, "pcm_zcr_sma_amean": zcr, "F0final_sma_amean": 0}
    row = short(opensmile_row(table(tmp_path / "1.csv", **columns)))
    missing = {name for name, value in row.items() if math.isnan(value)}
    assert missing == {
        *("tempo", "zero_crossing_rate", "low_energy", "rms_energy", "energy_variance"),
        *("drop_contrast_mean", "drop_count", "drop_intensity", "pitch"),
    }


def test_missing_columns_are_named(tmp_path):
    gone = ("pcm_zcr_sma_amean", "pcm_fftMag_mfcc_sma[3]_stddev")
    path = table(tmp_path / "1.csv", leave_out=gone)
    with pytest.raises(InputError) as error:
        opensmile_row(path)
    assert "lacks 2 columns" in str(error.value)
    assert all(name in str(error.value) for name in gone)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data.split(b"\n")[0] + b"\n",
        lambda data: data.replace(b";", b","),
        lambda data: b"\xff\xfe\x00" + data,
        lambda data: data[: len(data) // 2],
        lambda data: data + b"1;" * 300 + b"1\n",
        lambda data: bytes(range(256)) * 40,
    ],
)
def test_broken_tables_are_set_aside_with_a_sentence(tmp_path, damage):
    good = table(tmp_path / "good.csv")
    bad = tmp_path / "bad.csv"
    bad.write_bytes(damage(good.read_bytes()))
    items = [Item("a", str(good)), Item("b", str(bad)), Item("c", str(tmp_path / "none.csv"))]
    found = opensmile_table(items)
    assert found.ids == ("a",)
    assert [failure.id for failure in found.failures] == ["b", "c"]
    assert all("openSMILE table" in failure.error for failure in found.failures)


def test_spaces_and_unreadable_cells(tmp_path):
    path = table(tmp_path / "1.csv")
    text = path.read_text().replace(";", " ; ").splitlines()
    cells = text[3].split(";")
    cells[1 + TABLE_COLUMNS.index("pcm_zcr_sma_amean")] = " ? "
    text[3] = ";".join(cells)
    path.write_text("﻿" + "\r\n".join(text) + "\r\n")
    zcr = read_frames(path)["pcm_zcr_sma_amean"]
    assert np.flatnonzero(np.isnan(zcr)).tolist() == [2]
    assert np.nanmax(zcr) == np.nanmin(zcr) == 1


def test_what_cannot_be_asked_for(tmp_path):
    items = [Item("a", str(table(tmp_path / "1.csv")))]
    with pytest.raises(SchemaError, match="spectral_contrast"):
        opensmile_table(items, ["zones.frames_spectrum.spectral_contrast"])
    with pytest.raises(SchemaError, match="annotations and not features"):
        opensmile_table(items, [*COMMON_COLUMNS, "ann.arousal"])
    chosen = opensmile_table(items, ["zones.common.mfcc_1_std", "zones.opensmile.spectral_flux"])
    assert (chosen.columns, chosen.values.dtype) == (
        ("zones.common.mfcc_1_std", "zones.opensmile.spectral_flux"),
        np.float32,
    )
    assert opensmile_table([]).values.shape == (0, 22)


def test_tables_of_a_generated_tree_agree_with_its_audio(tmp_path):
    """The generator writes our descriptors in openSMILE's places, so that formulas can be told from units."""
    deam = read_deam(write_deam_tree(tmp_path, 3, seed=5, duration_s=15))
    items = [Item(track.id, str(track.features)) for track in deam.tracks]
    found = dict(zip(common.columns, opensmile_table(items).values.T, strict=True))
    audio = [common(decode(str(track.audio), sample_rate=22_050)) for track in deam.tracks]
    heard = dict(zip(common.columns, np.array(audio).T, strict=True))
    for name in ("zero_crossing_rate", "spectral_rolloff", "spectral_centroid", "mfcc_1_mean", "mfcc_5_mean"):
        np.testing.assert_allclose(found[name], heard[name], rtol=0.02, atol=0.05, err_msg=name)
    for name in ("energy_variance", "mfcc_1_std", "mfcc_3_std"):
        np.testing.assert_allclose(found[name], heard[name], rtol=0.05, err_msg=name)
    np.testing.assert_allclose(found["rms_energy"], heard["rms_energy"], rtol=0.1)
    assert np.isnan(found["tempo"]).all()
