"""Labelled clips from a source of scores: generated patterns, music21's corpus, a folder of MIDI files.

Clip number i depends on the seed, the source and i alone: more workers, an interruption and a second run change
nothing. A piece that cannot be played is counted as failed and named; no other takes its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import InputError, UsageError
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.clips import CLIP_S, Take, long_enough, write_clip, write_labels
from earmark.tasks.meter.scores.midi import read_midi
from earmark.tasks.meter.scores.patterns import generate
from earmark.tasks.meter.scores.render import find_sound_fonts, has_fluidsynth
from earmark.tasks.meter.scores.score import Score

__all__ = ["SOURCES", "Rendered", "render_source"]

SOURCES = ("patterns", "music21", "midi")
_SEED_OF = {"patterns": 1, "music21": 2, "midi": 3}

ScoreOf = Callable[[int, np.random.Generator], Score]


@dataclass(frozen=True)
class Rendered:
    """What a run left.

    Parameters
    ----------
    labels_csv : Path
    n_clips : int
    by_signature : dict
        Signature -> number of clips, most first.
    failed : tuple of str
        What was said of each piece that gave no clip.
    """

    labels_csv: Path
    n_clips: int
    by_signature: dict[str, int]
    failed: tuple[str, ...]


def render_source(
    source: str,
    folder: str | Path,
    *,
    n_clips: int | None = None,
    seed: int = 42,
    workers: int = 1,
    progress: ProgressCallback | None = None,
    soundfont: str | Path | None = None,
    midi_dir: str | Path | None = None,
    duration_s: float = CLIP_S,
    suffix: str = "flac",
) -> Rendered:
    """Make labelled clips in a folder.

    Parameters
    ----------
    source : str
        One of `SOURCES`.
    folder : path
        Gets ``audio/`` and ``labels.csv``; clips that are there are kept.
    n_clips : int, optional
        Balanced over the classes for patterns. Default: 600; for ``midi`` one per file.
    seed : int
    workers : int
        Processes.
    progress : callable, optional
    soundfont : path, optional
        Default: those that are installed, in turn; without fluidsynth the built-in synthesiser plays patterns, while
        scores and MIDI files ask for it.
    midi_dir : path, optional
        Folder of MIDI files, for ``midi``.
    duration_s : float
    suffix : str
        ``flac`` or ``ogg``.

    Raises
    ------
    UsageError
        An unknown source, no MIDI files, no clip at all, or fluidsynth missing where it is needed.
    """
    if source not in SOURCES:
        raise UsageError(f"no source of scores is called `{source}`; expected one of {', '.join(SOURCES)}.")
    folder = Path(folder)
    files = _midi_files(midi_dir) if source == "midi" else ()
    count = n_clips if n_clips is not None else len(files) or 600
    fonts = (Path(soundfont),) if soundfont is not None else _fonts(source)
    make = partial(_make_clip, source=source, folder=folder, seed=seed, files=files, fonts=fonts,
                   duration_s=duration_s, suffix=suffix)  # fmt: skip
    rows, failed = [], []
    for done, outcome in enumerate(_outcomes(make, count, workers), 1):
        if isinstance(outcome, str):
            failed.append(outcome)
        else:
            rows.append(outcome)
        if progress is not None:
            progress(Progress("render", done, count, len(failed)))
    if not rows:
        raise UsageError(
            f"none of {count} pieces gave a clip; the first said: {failed[0] if failed else 'nothing'}"
        )
    by_signature = Counter(row["signature"] for row in rows)
    return Rendered(write_labels(folder, rows), len(rows), dict(by_signature.most_common()), tuple(failed))


def _outcomes(
    make: Callable[[int], dict[str, Any] | str], count: int, workers: int
) -> Iterator[dict[str, Any] | str]:
    if workers <= 1:
        yield from map(make, range(count))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, range(count), chunksize=8)


def _make_clip(
    index: int,
    *,
    source: str,
    folder: Path,
    seed: int,
    files: Sequence[Path],
    fonts: Sequence[Path],
    duration_s: float,
    suffix: str,
) -> dict[str, Any] | str:
    """The row of clip `index`, or what was wrong with it."""
    rng = np.random.default_rng((seed, _SEED_OF[source], index))
    try:
        score = _score(source, index, rng, files, duration_s)
        take = Take.draw(rng, score, fonts, duration_s=duration_s, suffix=suffix)
        return write_clip(score, take, folder, f"{source}-{index:05d}")
    except InputError as problem:
        return str(problem)


def _score(
    source: str, index: int, rng: np.random.Generator, files: Sequence[Path], duration_s: float
) -> Score:
    if source == "patterns":
        return generate(rng, CLASSES[index % len(CLASSES)], duration_s=duration_s)
    if source == "music21":
        from earmark.tasks.meter.scores.music21_corpus import corpus_score

        return corpus_score(index, rng, duration_s=duration_s)
    path = files[index % len(files)]
    return long_enough(read_midi(path.read_bytes(), path.name), duration_s + 1)


def _midi_files(folder: str | Path | None) -> tuple[Path, ...]:
    if folder is None:
        raise UsageError("the source `midi` needs a folder. Run: earmark prepare meter --source midi DIR")
    found = tuple(
        sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    )
    if not found:
        raise UsageError(f"`{folder}` holds no MIDI files. Expected *.mid or *.midi. Name another folder.")
    return found


def _fonts(source: str) -> tuple[Path, ...]:
    if source == "patterns" and not has_fluidsynth():
        return ()
    return find_sound_fonts()
