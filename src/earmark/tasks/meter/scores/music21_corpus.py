"""Tunes and chorales from the corpus that comes with music21, as far as their terms let a model be trained on them.

The music is out of copyright throughout; what differs is the encodings. Used are those that are distributed with
permission and without a restriction of use (`COLLECTIONS`). Left out are, among others, ``essenFolksong`` (its
holders allow non-commercial use), ``josquin`` (GPL), ``nottingham-dataset`` (an evaluation set of this task),
``palestrina``, ``monteverdi`` and ``trecento`` (their bars are the editors').

Classes without notated tunes, and a part of the nines, are made from common meters by the limps of
`earmark.tasks.meter.scores.arrange`; such clips say so in their style and facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import InputError, MissingExtraError
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.arrange import LIMPS, Limp, arranged, limping
from earmark.tasks.meter.scores.meters import MADE
from earmark.tasks.meter.scores.patterns import LAYERS
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap

__all__ = ["COLLECTIONS", "Tune", "corpus_score", "index", "read_tune"]

COLLECTIONS = {
    "ryansMammoth": "Ryan's Mammoth Collection (1883), encoded by Ray Davies and others",
    "oneills1850": "O'Neill's Music of Ireland (1903), encoded by Norbert Paap and others",
    "airdsAirs": "Aird's Selection of Airs (1778-1801), encoded by Jack Campin",
    "miscFolk": "American fife music and Northumbrian Minstrelsy (1882), encoded by Jack Campin",
}
CHORALES = "bach"
CHORALE_SHARE = 0.2
"""Of the clips of classes 3 and 4."""
NATIVE_SHARE = 0.6
"""Of the clips of a class that has notated tunes and limps; the others limp."""
MIN_BARS = 4
_DRAWS = 12

_TUNE_START = re.compile(r"(?m)^(?=X:)")
_METER = re.compile(r"(?m)^M:\s*(C\||C|\d+/\d+)\s*(?:%.*)?$")
_SIGNATURES = {"C": "4/4", "C|": "2/2"}


@dataclass(frozen=True)
class Tune:
    """Where a tune of a collection stands: file, number among the tunes of the file, and its one signature."""

    path: Path
    number: int
    signature: str

    @property
    def name(self) -> str:
        """Name that a split keeps together, e.g. ``airdsAirs/book1#12``."""
        return f"{self.path.parent.name}/{self.path.stem}#{self.number}"


@lru_cache(maxsize=1)
def index() -> dict[str, tuple[Tune, ...]]:
    """All usable tunes by the signature under which they are counted.

    Raises
    ------
    MissingExtraError
        music21 is not installed.
    """
    found: dict[str, list[Tune]] = {}
    for collection in COLLECTIONS:
        for path in sorted((_corpus_folder() / collection).glob("*.abc")):
            for number, text in enumerate(_tunes_of(path)):
                stated = _METER.findall(text)
                if len(stated) == 1 and text.count("M:") == 1:
                    tune = Tune(path, number, _SIGNATURES.get(stated[0], stated[0]))
                    for counted in _counted(tune.signature):
                        found.setdefault(counted, []).append(tune)
    return {signature: tuple(tunes) for signature, tunes in found.items()}


def corpus_score(number: int, rng: np.random.Generator, *, duration_s: float) -> Score:
    """Performance `number`: its class goes round with the number, everything else is drawn.

    Raises
    ------
    InputError
        None of a dozen pieces that were drawn could be read.
    MissingExtraError
        music21 is not installed.
    """
    label = CLASSES[number % len(CLASSES)]
    layers = _draw_layers(rng)
    problems = []
    for _ in range(_DRAWS):
        try:
            return _performance(rng, label, layers, duration_s)
        except InputError as problem:
            problems.append(str(problem))
    raise InputError(f"{_DRAWS} pieces of class {label} could not be read; the last: {problems[-1]}")


def read_tune(tune: Tune) -> Score:
    """A tune as it is notated: its longest run of full bars, without repeats.

    Raises
    ------
    InputError
        music21 cannot read it, or it has fewer than four full bars in a row.
    """
    from music21 import converter
    from music21.exceptions21 import Music21Exception

    text = _tunes_of(tune.path)[tune.number]
    try:
        stream = converter.parseData(text, format="abc")
    except (Music21Exception, ValueError, IndexError, AttributeError, TypeError) as problem:
        raise InputError(f"{tune.name}: music21 cannot read it ({problem}). Leave it out.") from problem
    return _score(stream, Meter.of(tune.signature), tune.name)


def read_chorale(path: Path) -> Score:
    """A chorale in four voices, in the meter it starts in; see `read_tune`."""
    from music21 import converter, meter
    from music21.exceptions21 import Music21Exception

    try:
        stream = converter.parse(path)
    except (Music21Exception, ValueError) as problem:
        raise InputError(f"{path.stem}: music21 cannot read it ({problem}). Leave it out.") from problem
    stated = {sign.ratioString for sign in stream.recurse().getElementsByClass(meter.TimeSignature)}
    if len(stated) != 1:
        raise InputError(f"{path.stem}: {len(stated)} time signatures; expected one. Leave it out.")
    return _score(stream, Meter.of(stated.pop()), f"{CHORALES}/{path.stem}")


def _performance(rng: np.random.Generator, label: str, layers: str, duration_s: float) -> Score:
    if label in ("3", "4") and rng.random() < CHORALE_SHARE:
        chorales = _chorales()
        score = replace(read_chorale(chorales[int(rng.integers(len(chorales)))]), style="chorale")
        return arranged(rng, score, duration_s=duration_s, layers="")
    tune, limp = _draw(rng, label)
    score = read_tune(tune)
    facts = {"tune": tune.name, "layers": layers}
    if limp is not None:
        score, facts = limping(score, limp), {**facts, "limps_from": tune.signature}
    style = f"{layers}{' limping' if limp else ''}"
    return arranged(rng, replace(score, style=style, facts=facts), duration_s=duration_s, layers=layers)


def _draw(rng: np.random.Generator, label: str) -> tuple[Tune, Limp | None]:
    """A tune of the class, or one that limps into it."""
    signatures = [signature for signature in index() if Meter.of(signature).label == label]
    limps = [(index()[limp.signature], limp) for limp in LIMPS if limp.meter.label == label]
    n_native = sum(len(index()[signature]) for signature in signatures)
    if n_native > 50 and (not limps or rng.random() < NATIVE_SHARE):
        shares = np.array([_share(signature, len(index()[signature])) for signature in signatures])
        tunes, limp = index()[str(rng.choice(signatures, p=shares / shares.sum()))], None
    else:
        tunes, limp = limps[int(rng.integers(len(limps)))]
    return tunes[int(rng.integers(len(tunes)))], limp


def _share(signature: str, n_tunes: int) -> float:
    """As often as generated pieces have it, less where few tunes would be heard again and again."""
    wanted = next((made.share for made in MADE if made.signature == signature), 0.05)
    return wanted * min(1.0, n_tunes / 100)


def _draw_layers(rng: np.random.Generator) -> str:
    melodic = {layers: share for layers, share in LAYERS.items() if "melody" in layers}
    shares = np.array(list(melodic.values()))
    return str(rng.choice(list(melodic), p=shares / shares.sum()))


def _score(stream: Any, meter: Meter, name: str) -> Score:
    parts = list(stream.parts)
    first, n_bars = _longest_run(parts[0], meter, name)
    upbeat = min(first, meter.bar_quarters / 2)
    start, stop = first - upbeat, first + n_bars * meter.bar_quarters
    made = tuple(
        Part(f"voice {number}", 0, tuple(_notes(part, start, stop))) for number, part in enumerate(parts, 1)
    )
    return Score(meter, n_bars, TempoMap.constant(0.5), made, upbeat, name, name, source="music21")


def _longest_run(part: Any, meter: Meter, name: str) -> tuple[float, int]:
    """Start and number of the full bars that follow each other longest; a bar may be split by a repeat sign."""
    starts = sorted(float(measure.offset) for measure in part.getElementsByClass("Measure"))
    known, best = (
        {round(start, 4) for start in starts} | {round(float(part.duration.quarterLength), 4)},
        (0.0, 0),
    )
    for start in starts[:3]:
        count = 0
        while round(start + (count + 1) * meter.bar_quarters, 4) in known:
            count += 1
        best = max(best, (start, count), key=lambda run: run[1])
    if best[1] < MIN_BARS:
        raise InputError(
            f"{name}: {best[1]} full bars of {meter.signature} in a row; expected {MIN_BARS}. Leave it out."
        )
    return best


def _notes(part: Any, start: float, stop: float) -> Iterator[Note]:
    for sound in part.stripTies().flatten().notes:
        at, length = float(sound.offset), float(sound.duration.quarterLength)
        if length > 0 and start - 1e-6 <= at < stop - 1e-6:
            for pitch in sound.pitches:
                yield Note(at - start, min(length, stop - at), int(pitch.midi))


def _counted(signature: str) -> tuple[str, ...]:
    try:
        return (Meter.of(signature).counted,)
    except InputError:
        return ()


@lru_cache(maxsize=64)
def _tunes_of(path: Path) -> tuple[str, ...]:
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    return tuple(tune for tune in _TUNE_START.split(text) if tune.startswith("X:"))


@lru_cache(maxsize=1)
def _chorales() -> tuple[Path, ...]:
    return tuple(sorted((_corpus_folder() / CHORALES).glob("*.mxl")))


def _corpus_folder() -> Path:
    try:
        import music21
    except ImportError as problem:
        raise MissingExtraError("music21", "scores", "`prepare meter --source music21`") from problem
    return Path(music21.__file__).parent / "corpus"
