"""A small generated collection in the shape of DEAM, to try what reads DEAM without having it.

Songs are synthetic dance music whose energy grows with a drawn arousal and whose brightness grows with the
valence; the annotations are those numbers with a little noise, as listeners would give them. Feature tables
have the 260 columns of openSMILE. The descriptors that `earmark.tasks.zones.deam.opensmile` reads are computed
from the song, in openSMILE's places but with our definitions; the others are 0.

Numbers of songs are spread so that both annotation files and all three metadata files, with a header of its
own each, have rows. Two songs in a row are of one artist. The same seed writes the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.mel import mfcc
from earmark.audio.pitch import yin
from earmark.audio.spectrum import rms, zero_crossing_rate
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.tasks.zones.deam.annotations import ANNOTATION_FILES, ANNOTATION_FOLDER, DENIED_COLUMNS
from earmark.tasks.zones.frames import FRAME_S, MIN_DURATION_S, N_CEPSTRAL, frame_means
from earmark.tasks.zones.synthesis import LAYERS, SAMPLE_RATE, Palette, Style, arrange, render

__all__ = ["DESCRIPTORS", "TABLE_COLUMNS", "write_deam_tree"]

DESCRIPTORS = (
    "F0final_sma{}",
    "voicingFinalUnclipped_sma{}",
    "jitterLocal_sma{}",
    "jitterDDP_sma{}",
    "shimmerLocal_sma{}",
    "logHNR_sma{}",
    "audspec_lengthL1norm_sma{}",
    "audspecRasta_lengthL1norm_sma{}",
    "pcm_RMSenergy_sma{}",
    "pcm_zcr_sma{}",
    *(f"audSpec_Rfilt_sma{{}}[{band}]" for band in range(26)),
    "pcm_fftMag_fband250-650_sma{}",
    "pcm_fftMag_fband1000-4000_sma{}",
    "pcm_fftMag_spectralRollOff25.0_sma{}",
    "pcm_fftMag_spectralRollOff50.0_sma{}",
    "pcm_fftMag_spectralRollOff75.0_sma{}",
    "pcm_fftMag_spectralRollOff90.0_sma{}",
    "pcm_fftMag_spectralFlux_sma{}",
    "pcm_fftMag_spectralCentroid_sma{}",
    "pcm_fftMag_spectralEntropy_sma{}",
    "pcm_fftMag_spectralVariance_sma{}",
    "pcm_fftMag_spectralSkewness_sma{}",
    "pcm_fftMag_spectralKurtosis_sma{}",
    "pcm_fftMag_spectralSlope_sma{}",
    "pcm_fftMag_psySharpness_sma{}",
    "pcm_fftMag_spectralHarmonicity_sma{}",
    *(f"pcm_fftMag_mfcc_sma{{}}[{k}]" for k in range(1, 15)),
)
"""The 65 descriptors of the ComParE set; ``{}`` is empty, or ``_de`` for the slope."""
TABLE_COLUMNS = tuple(
    f"{descriptor.format(slope)}_{statistic}"
    for slope in ("", "_de")
    for descriptor in DESCRIPTORS
    for statistic in ("stddev", "amean")
)
"""The 260 columns after ``frameTime``."""

AROUSAL, VALENCE = (1.6, 8.1), (1.6, 8.4)  # as observed, on the scale 1 to 9
RATING_STD = 0.15  # what the average over listeners is off by
TEMPO_BPM = (96.0, 48.0)  # at the lowest arousal, and how much more at the highest
WAV_EVERY = 4  # every fourth song is WAV, the others FLAC
SONGS_PER_ARTIST = 2
# First number of the songs of each metadata file; from the last on, they are in the second annotation file.
FIRST_NUMBERS = (2, 1001, 2001)
GENRES = ("Electronic", "Rock", "Pop", "Folk", "Classical")
HEADERS = (
    "song_id, Artist, Song title, Genre",
    "Id,Artist,Track,Album,Genre",
    "id;title;artist;album",
)
DROPS_FROM_S = 45.0  # a breakdown and a drop do not fit into less


@dataclass(frozen=True)
class _Song:
    number: int
    year: int  # position of its metadata file
    arousal: float
    valence: float
    artist: str
    genre: str

    def annotated(self, rng: np.random.Generator) -> tuple[float, float]:
        """Arousal and valence as listeners would give them."""
        noisy = np.array([self.arousal, self.valence]) + rng.normal(0, RATING_STD, 2)
        low, high = np.transpose([AROUSAL, VALENCE])
        arousal, valence = np.clip(noisy, low, high).round(2).tolist()
        return arousal, valence


def write_deam_tree(
    folder: str | Path,
    n_tracks: int = 30,
    seed: int = 0,
    *,
    audio: bool = True,
    csv: bool = True,
    duration_s: float = 12.0,
) -> Path:
    """Write the collection.

    Parameters
    ----------
    folder : path
        Created if needed; files of the same names are replaced.
    n_tracks : int
        From 6 on every zone occurs.
    seed : int
    audio, csv : bool
        Write ``MEMD_audio`` and ``features``; at least one of them.
    duration_s : float
        Approximate length of a song, rounded to whole bars, at least 10.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        No track, songs that are too short to analyse, or neither audio nor tables.
    """
    if n_tracks < 1 or duration_s < MIN_DURATION_S + 2 or not (audio or csv):
        raise UsageError(
            f"a collection of {n_tracks} songs of {duration_s:g} s with audio={audio}, csv={csv} was asked for; "
            f"expected at least 1 song of {MIN_DURATION_S + 2:g} s, and audio or tables. Raise what is too small."
        )
    folder = Path(folder)
    songs = _songs(n_tracks, seed)
    for index, song in enumerate(songs):
        clip = _clip(song, duration_s, np.random.default_rng((seed, song.number)))
        if audio:
            suffix = "wav" if index % WAV_EVERY == WAV_EVERY - 1 else "flac"
            write_bytes_atomic(folder / "MEMD_audio" / f"{song.number}.{suffix}", _encoded(clip, suffix))
        if csv:
            _write(folder / "features" / f"{song.number}.csv", _table_lines(clip))
    _write_annotations(folder / ANNOTATION_FOLDER, songs, seed)
    _write_metadata(folder / "metadata", songs)
    return folder


def _songs(n_tracks: int, seed: int) -> list[_Song]:
    """All that is drawn of each song but its sound: arousal in even steps, valence that goes with it."""
    rng = np.random.default_rng((seed, n_tracks))
    shares = rng.permutation((np.arange(n_tracks) + 0.5) / n_tracks)
    songs = []
    for index, share in enumerate(shares):
        arousal = AROUSAL[0] + share * (AROUSAL[1] - AROUSAL[0])
        valence = np.clip(5.2 + 0.5 * (arousal - 5) + rng.normal(0, 0.7), *VALENCE)
        year, place = divmod(index * len(FIRST_NUMBERS), n_tracks)
        songs.append(
            _Song(
                number=FIRST_NUMBERS[year] + place // len(FIRST_NUMBERS),
                year=year,
                arousal=float(arousal),
                valence=float(valence),
                artist=f"Singer {index // SONGS_PER_ARTIST + 1:02d}",
                genre=GENRES[index % len(GENRES)],
            )
        )
    return songs


def _clip(song: _Song, duration_s: float, rng: np.random.Generator) -> Clip:
    energy = (song.arousal - AROUSAL[0]) / (AROUSAL[1] - AROUSAL[0])
    cheer = (song.valence - VALENCE[0]) / (VALENCE[1] - VALENCE[0])
    levels = dict(zip(LAYERS, 0.15 + 0.85 * energy * rng.uniform(0.85, 1.15, len(LAYERS)), strict=True))
    levels["pad"] = 0.6 - 0.3 * energy
    style = Style(TEMPO_BPM[0] + TEMPO_BPM[1] * energy, levels, 0.6, 0.2 + 0.5 * energy)
    palette = Palette(
        root_hz=float(rng.uniform(41, 62)),
        kick_hz=float(rng.uniform(45, 65)),
        pad_partials=2 + round(6 * cheer),
        hat_decay_s=float(rng.uniform(0.015, 0.05)),
        drive=0.8 + 0.4 * energy,
    )
    n_bars = max(5, round(duration_s / style.bar_s))
    n_drops = round(2 * energy) if duration_s >= DROPS_FROM_S else 0
    return Clip(render(arrange(n_bars, n_drops, rng), style, palette, rng), SAMPLE_RATE)


def _encoded(clip: Clip, suffix: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, clip.samples, clip.sample_rate, format=suffix.upper())
    return buffer.getvalue()


def _table_lines(clip: Clip) -> Iterable[str]:
    """Lines of the feature table: the time of each half second, and mean and spread of each descriptor in it."""
    values = _descriptors(clip)
    both = np.column_stack([values, np.diff(values, axis=0, prepend=values[:1])])
    means = frame_means(clip, both)
    stds = np.sqrt(np.maximum(frame_means(clip, both**2) - means**2, 0))
    numbers = np.stack([stds, means], axis=2).reshape(len(means), -1)
    yield ";".join(["frameTime", *TABLE_COLUMNS])
    for frame, row in enumerate(numbers):
        yield ";".join([f"{frame * FRAME_S:.6f}", *(f"{value:.6e}" for value in row)])


def _descriptors(clip: Clip) -> NDArray[np.float64]:
    """Values every 23 ms in the order of `DESCRIPTORS`, shape (n_hops, 65); 0 for what nobody reads."""
    shape = clip.memo(spectral_descriptors)
    f0_hz, aperiodicity = clip.memo(yin)
    edges = np.linspace(0, shape.mel_power.shape[1], 27).astype(int)[:-1]
    known = {
        "F0final_sma{}": np.where(aperiodicity < 0.3, f0_hz, 0),
        "voicingFinalUnclipped_sma{}": 1 - aperiodicity,
        "pcm_RMSenergy_sma{}": clip.memo(rms),
        "pcm_zcr_sma{}": clip.memo(zero_crossing_rate),
        "pcm_fftMag_spectralRollOff90.0_sma{}": shape.rolloff90_hz,
        "pcm_fftMag_spectralFlux_sma{}": shape.flux,
        "pcm_fftMag_spectralCentroid_sma{}": shape.centroid_hz,
        "pcm_fftMag_spectralHarmonicity_sma{}": 1 / np.maximum(shape.flatness, 1e-4) - 1,
        **_numbered("audSpec_Rfilt_sma{{}}[{}]", np.cbrt(np.add.reduceat(shape.mel_power, edges, axis=1)), 0),
        **_numbered("pcm_fftMag_mfcc_sma{{}}[{}]", clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, 1:15], 1),
    }
    n_hops = min(len(values) for values in known.values())
    empty = np.zeros(n_hops)
    return np.column_stack(
        [np.asarray(known.get(name, empty)[:n_hops], dtype=np.float64) for name in DESCRIPTORS]
    )


def _numbered(name: str, values: NDArray[np.float32], first: int) -> dict[str, NDArray[np.float32]]:
    return {name.format(number): column for number, column in enumerate(values.T, start=first)}


def _write_annotations(folder: Path, songs: Sequence[_Song], seed: int) -> None:
    """Both files, separated by comma and space; the second with the columns of extremes."""
    means = ("valence_mean", "valence_std", "arousal_mean", "arousal_std")
    first = [", ".join(["song_id", *means])]
    second = [", ".join(["song_id", *means, *DENIED_COLUMNS])]
    for song in songs:
        rng = np.random.default_rng((seed, song.number, 1))
        arousal, valence = song.annotated(rng)
        spread = rng.uniform(0.8, 1.8, 2)
        cells = [f"{song.number}", f"{valence:g}", f"{spread[0]:.2f}", f"{arousal:g}", f"{spread[1]:.2f}"]
        if song.number < FIRST_NUMBERS[-1]:
            first.append(", ".join(cells))
        else:
            extremes = [arousal + 0.5, 1.0, arousal - 0.5, 1.0, valence + 0.5, 1.0, valence - 0.5, 1.0]
            second.append(", ".join([*cells, *(f"{value:.2f}" for value in extremes)]))
    for name, lines in zip(ANNOTATION_FILES, (first, second), strict=True):
        _write(folder / name, lines)


def _write_metadata(folder: Path, songs: Sequence[_Song]) -> None:
    for year, header in enumerate(HEADERS):
        lines = [header]
        for song in songs:
            if song.year == year:
                title, album = f"Song {song.number}", f"Album of {song.artist}"
                lines.append(
                    (
                        f"{song.number}, {song.artist}, {title}, {song.genre}",
                        f"{song.number},{song.artist},{title},{album},{song.genre}",
                        f"{song.number};{title};{song.artist};{album}",
                    )[year]
                )
        _write(folder / f"metadata_{2013 + year}.csv", lines)


def _write(path: Path, lines: Iterable[str]) -> None:
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())
