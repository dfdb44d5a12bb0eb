"""The built-in demo library: generated tracks of three zones with labels and the truth about their drops
and tempo.

Zones overlap on purpose, as they do for a human ear: each track has a hidden energy drawn around its zone's
mean, and its tempo, number of drops and level are drawn from distributions that share ground with the
neighbouring zone. Mastering gain is set by album and timbre by artist, so that loudness alone decides
nothing and a model that learns artists fails on held-out ones. No zone can be told apart with certainty.

Files: ``audio/*.flac`` and ``*.wav``, a label file in the layout of a DJ playlist export (tab separated,
zone in "My Tag"), and ``truth.json``. Generation is idempotent: a file whose digest is the recorded one is
not written again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.tasks.zones import synthesis
from earmark.tasks.zones.labels import CLASSES
from earmark.tasks.zones.synthesis import SAMPLE_RATE, Palette, Section, Style, arrange, render

__all__ = ["DEFAULT_TRACKS", "DemoLibrary", "generate_demo"]

DEFAULT_TRACKS = 60
DURATION_S = 60.0
SEED = 42
TRACKS_PER_ARTIST = 3
WAV_EVERY = 8  # every eighth track is WAV, the others FLAC
LABELS_NAME = "playlist.txt"
TRUTH_NAME = "truth.json"

ARTIST_ZONES = (
    (0, 0, 1),
    (1, 1, 2),
    (2, 2, 0),
    (0, 1, 2),
)  # balanced over four artists, and no artist is one zone
ENERGY_MEAN, ENERGY_STD = (0.15, 0.5, 0.85), 0.11
TEMPO_BPM = ((125.0, 7.0), (129.0, 4.0), (134.0, 9.0))  # mean and std of real tracks of these zones
TEMPO_LIMITS_BPM = (100.0, 160.0)
DROP_SHARES = (
    (0.60, 0.30, 0.10, 0.0),
    (0.30, 0.45, 0.20, 0.05),
    (0.15, 0.25, 0.35, 0.25),
)  # of 0, 1, 2, 3 drops
COLUMNS = (
    "#",
    "My Tag",
    "Artwork",
    "BPM",
    "Key",
    "Artist",
    "Track Title",
    "Time",
    "Bitrate",
    "Date Added",
    "Location",
    "Album",
)


@dataclass(frozen=True)
class DemoLibrary:
    """What `generate_demo` leaves on disk.

    Parameters
    ----------
    labels : Path
        Label file; its locations are relative to its folder.
    truth : Path
        JSON: per track zone, tempo, sections and drop times.
    tracks : tuple of Path
    n_written : int
        Audio files written by this call; 0 when all were there.
    """

    labels: Path
    truth: Path
    tracks: tuple[Path, ...]
    n_written: int


@dataclass(frozen=True)
class _Track:
    name: str
    zone: str
    artist: str
    album: str
    title: str
    style: Style
    palette: Palette
    sections: tuple[Section, ...]


def generate_demo(
    folder: str | Path, n_tracks: int = DEFAULT_TRACKS, *, duration_s: float = DURATION_S, seed: int = SEED
) -> DemoLibrary:
    """Write the demo library into a folder, or complete what is there.

    Parameters
    ----------
    folder : path
        Created if needed.
    n_tracks : int
        Balanced over zones for multiples of 12.
    duration_s : float
        Approximate length of a track, rounded to whole bars; at least 45 s, so that three drops fit.
    seed : int
        Same seed, same bytes.

    Returns
    -------
    DemoLibrary

    Raises
    ------
    ValueError
        For fewer than one track or less than 45 s.
    """
    if n_tracks < 1 or duration_s < 45:
        raise ValueError(
            f"a demo of {n_tracks} tracks of {duration_s:g} s was asked for; "
            "expected at least 1 track of 45 s. Raise what is too small."
        )
    folder = Path(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    recipe = _recipe(n_tracks, duration_s, seed)
    known = _known_digests(folder / TRUTH_NAME, recipe)
    truth, written = {}, 0
    for index in range(n_tracks):
        track = _design(index, duration_s, seed)
        path = folder / track.name
        digest = known.get(track.name)
        if digest is None or _digest_of(path) != digest:
            content = _encode(track, np.random.default_rng((seed, index, 1)))
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            _write_atomically(path, content)
            written += 1
        truth[track.name] = {"digest": digest, **_truth_of(track)}
    labels = (
        "\t".join(COLUMNS) + "\n" + "".join(_row(i, name, truth[name]) for i, name in enumerate(truth, 1))
    )
    _write_if_changed(folder / LABELS_NAME, labels)
    _write_if_changed(folder / TRUTH_NAME, json.dumps({"recipe": recipe, "tracks": truth}, indent=1) + "\n")
    tracks = tuple(folder / name for name in truth)
    return DemoLibrary(folder / LABELS_NAME, folder / TRUTH_NAME, tracks, written)


def _design(index: int, duration_s: float, seed: int) -> _Track:
    """Decide everything about a track but its samples."""
    artist, place = divmod(index, TRACKS_PER_ARTIST)
    zone = ARTIST_ZONES[artist % len(ARTIST_ZONES)][place]
    rng = np.random.default_rng((seed, index, 0))
    palette, album_gain = _artist(artist, seed)
    energy = float(np.clip(rng.normal(ENERGY_MEAN[zone], ENERGY_STD), 0.02, 0.98))
    tempo_bpm = round(float(np.clip(rng.normal(*TEMPO_BPM[zone]), *TEMPO_LIMITS_BPM)), 2)
    style = Style(
        tempo_bpm,
        _levels(energy, rng),
        float(np.clip(rng.normal(0.3 + 0.4 * energy, 0.15), 0, 0.9)),
        album_gain,
    )
    n_bars = round(duration_s / style.bar_s)
    n_drops = int(rng.choice(4, p=DROP_SHARES[zone]))
    suffix = "wav" if index % WAV_EVERY == WAV_EVERY - 1 else "flac"
    return _Track(
        name=f"audio/track_{index + 1:03d}.{suffix}",
        zone=CLASSES[zone],
        artist=f"Artist {artist + 1:02d}",
        album=f"Album {artist + 1:02d}",
        title=f"Track {index + 1:03d}",
        style=style,
        palette=palette,
        sections=arrange(n_bars, n_drops, rng),
    )


def _artist(artist: int, seed: int) -> tuple[Palette, float]:
    rng = np.random.default_rng((seed, artist, 2))
    palette = Palette(
        root_hz=float(rng.uniform(41, 62)),
        kick_hz=float(rng.uniform(45, 65)),
        pad_partials=int(rng.integers(4, 9)),
        hat_decay_s=float(rng.uniform(0.015, 0.05)),
        drive=float(rng.uniform(0.8, 1.2)),
    )
    return palette, float(10 ** (rng.uniform(-9, -1) / 20))


def _levels(energy: float, rng: np.random.Generator) -> dict[str, float]:
    """Layer levels: more energy is more kick, bass, hats and clap, and less pad; 1.5 dB of spread each."""
    spread = 10 ** (rng.normal(0, 1.5, len(synthesis.LAYERS)) / 20)
    plain = {
        "kick": 0.25 + 0.75 * energy,
        "bass": 0.2 + 0.5 * energy,
        "hats": 0.15 + 0.85 * energy,
        "pad": 0.55 - 0.2 * energy,
        "clap": 0.1 + 0.8 * energy,
        "riser": 0.1 + 0.4 * energy,
    }
    return {
        layer: plain[layer] * float(factor) for layer, factor in zip(synthesis.LAYERS, spread, strict=True)
    }


def _truth_of(track: _Track) -> dict[str, object]:
    bar_s = track.style.bar_s
    return {
        "zone": track.zone,
        "artist": track.artist,
        "album": track.album,
        "title": track.title,
        "tempo_bpm": track.style.tempo_bpm,
        "duration_s": round((track.sections[-1].start_bar + track.sections[-1].n_bars) * bar_s, 3),
        "drops_s": [round(part.start_bar * bar_s, 3) for part in track.sections if part.kind == "drop"],
        "sections": [[part.kind, round(part.start_bar * bar_s, 3)] for part in track.sections],
    }


def _row(number: int, name: str, truth: dict[str, object]) -> str:
    seconds = round(float(str(truth["duration_s"])))
    cells = {
        "#": number,
        "My Tag": truth["zone"],
        "BPM": f"{truth['tempo_bpm']:.2f}",
        "Artist": truth["artist"],
        "Track Title": truth["title"],
        "Time": f"{seconds // 60:02d}:{seconds % 60:02d}",
        "Location": name,
        "Album": truth["album"],
    }
    return "\t".join(str(cells.get(column, "")) for column in COLUMNS) + "\n"


def _recipe(n_tracks: int, duration_s: float, seed: int) -> str:
    """Digest of all that decides the bytes: this code and the arguments."""
    sources = (Path(__file__), Path(synthesis.__file__))
    text = f"{n_tracks} {duration_s} {seed}".encode() + b"".join(source.read_bytes() for source in sources)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _known_digests(path: Path, recipe: str) -> dict[str, str]:
    """Digests that an earlier call with the same recipe recorded; none if there was no such call."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return {}
    if record.get("recipe") != recipe:
        return {}
    return {name: track["digest"] for name, track in record["tracks"].items()}


def _digest_of(path: Path) -> str | None:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if path.exists() else None


def _encode(track: _Track, rng: np.random.Generator) -> bytes:
    import soundfile

    samples = render(track.sections, track.style, track.palette, rng)
    buffer = io.BytesIO()
    container = "WAV" if track.name.endswith("wav") else "FLAC"
    soundfile.write(buffer, samples, SAMPLE_RATE, format=container, subtype="PCM_16")
    return buffer.getvalue()


def _write_if_changed(path: Path, text: str) -> None:
    content = text.encode("utf-8")
    if not path.exists() or path.read_bytes() != content:
        _write_atomically(path, content)


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
