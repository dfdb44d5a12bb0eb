"""Standard MIDI files: a writer that ends every note, and a reader of pieces whose meter they state.

Conventions: the writer uses `TICKS` per quarter note and one track per part; the reader takes types 0 and 1 with
metrical time. Of what a file holds, notes, programs, the sustain pedal, tempo and time signatures are read; the rest
is passed over. A broken file is a `DecodeError`, a file without a stretch in one known meter an `InputError`.

Reference: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (MMA, 1996).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from earmark.errors import DecodeError, InputError
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap

__all__ = ["DRUM_CHANNEL", "TICKS", "read_midi", "write_midi"]

TICKS = 480
DRUM_CHANNEL = 9
MAX_EVENTS = 2_000_000
"""Events of a file beyond which it is not read: an hour of dense music has a tenth of it."""

_NOTE_OFF, _NOTE_ON, _CONTROL, _PROGRAM = 0x80, 0x90, 0xB0, 0xC0
_SUSTAIN = 64
_TEMPO, _SIGNATURE, _END = 0x51, 0x58, 0x2F
_DEFAULT_QUARTER_US = 500_000
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


def write_midi(score: Score) -> bytes:
    """The score as a MIDI file of type 1; a note that is struck again ends first, and none outlasts the piece."""
    parts = [
        _part_track(part, channel, score.end)
        for part, channel in zip(score.parts, _channels(score), strict=True)
    ]
    tracks = [_conductor(score), *parts]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), TICKS)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def _channels(score: Score) -> Iterator[int]:
    melodic = iter([channel for channel in range(16) if channel != DRUM_CHANNEL] * 8)
    return (DRUM_CHANNEL if part.is_drums else next(melodic) for part in score.parts)


def _conductor(score: Score) -> bytes:
    power = score.meter.denominator.bit_length() - 1
    signature = bytes([0xFF, _SIGNATURE, 4, score.meter.pulses, power, 24, 8])
    events = [(_tick(score.first_bar), signature)]
    if events[0][0] > 0:
        events.insert(0, (0, signature))
    for start, quarter_s in zip(score.tempo.starts, score.tempo.quarter_s, strict=True):
        length = round(quarter_s * 1e6).to_bytes(3, "big")
        events.append((_tick(start), bytes([0xFF, _TEMPO, 3]) + length))
    return _track(events)


def _part_track(part: Part, channel: int, end: float) -> bytes:
    events = [(0, bytes([_PROGRAM | channel, part.program & 127]))]
    for note in _separated(part.notes, end):
        on, off = _tick(note.start), _tick(note.start + note.duration)
        events.append((on, bytes([_NOTE_ON | channel, note.pitch, note.velocity])))
        events.append((max(off, on + 1), bytes([_NOTE_OFF | channel, note.pitch, 0])))
    return _track(events)


def _separated(notes: Iterable[Note], end: float) -> list[Note]:
    """Notes cut where the same pitch starts again and at the end of the piece."""
    by_pitch: dict[int, list[Note]] = {}
    for note in sorted(notes, key=lambda note: note.start):
        by_pitch.setdefault(note.pitch, []).append(note)
    result = []
    for same in by_pitch.values():
        limits = [*(note.start for note in same[1:]), end]
        result += [
            replace(note, duration=min(note.duration, limit - note.start), start=max(note.start, 0.0))
            for note, limit in zip(same, limits, strict=True)
            if limit - note.start > 1 / TICKS
        ]
    return result


def _track(events: list[tuple[int, bytes]]) -> bytes:
    """Events in time with their distances; at one time what ends comes before what starts."""
    ordered = sorted(events, key=lambda event: (event[0], event[1][0] & 0xF0 == _NOTE_ON))
    ticks = [0, *(tick for tick, _ in ordered)]
    body = b"".join(
        _variable_length(after - before) + message
        for (before, after), (_, message) in zip(pairwise(ticks), ordered, strict=True)
    )
    return body + bytes([0, 0xFF, _END, 0])


def _tick(quarters: float) -> int:
    return max(0, round(quarters * TICKS))


def _variable_length(value: int) -> bytes:
    digits = [value & 127]
    while value := value >> 7:
        digits.append(128 | value & 127)
    return bytes(reversed(digits))


@dataclass(frozen=True)
class _Event:
    tick: int
    channel: int
    kind: int
    data: bytes


def read_midi(data: bytes, name: str = "MIDI file") -> Score:
    """The longest stretch of a MIDI file that keeps one time signature.

    Parameters
    ----------
    data : bytes
    name : str
        What the file is called in messages; also the title and group of the score.

    Returns
    -------
    Score
        From the first full bar of the stretch, which lies at 0, to its end.

    Raises
    ------
    DecodeError
        Not a standard MIDI file, cut off, or with time in seconds.
    InputError
        No time signature, none that a class covers, or no notes under it.
    """
    try:
        ticks, tracks = _parse(data)
    except DecodeError as problem:
        raise DecodeError(f"{name}: {problem}") from problem
    except (IndexError, struct.error) as problem:
        raise DecodeError(
            f"{name}: the file ends in the middle of an event. Expected a whole standard MIDI file. Fetch it again."
        ) from problem
    events = [event for track in tracks for event in track]
    last = max((event.tick for event in events), default=0)
    start, stop, meter = _longest_stretch(events, ticks, last, name)
    tempo = _tempo_map(events, ticks, start)
    parts = tuple(_parts(tracks, ticks, start, stop))
    if not any(part.notes for part in parts):
        raise InputError(f"{name}: no notes in its stretch of {meter.signature}. Leave it out.")
    n_bars = int((stop - start) / ticks // meter.bar_quarters)
    return Score(meter, n_bars, tempo, parts, title=name, group=name, style="midi", source="midi")


def _parse(data: bytes) -> tuple[int, list[list[_Event]]]:
    if data[:4] != b"MThd":
        raise DecodeError("the file does not start with `MThd`. Expected a standard MIDI file. Leave it out.")
    length, kind, _, division = struct.unpack(">IHHH", data[4:14])
    if kind > 1 or division & 0x8000 or division == 0:
        raise DecodeError(
            f"a MIDI file of type {kind} with division {division:#06x}; expected type 0 or 1 with ticks per quarter "
            "note. Convert it."
        )
    tracks, position = [], 8 + length
    while position + 8 <= len(data):
        tag, size = struct.unpack(">4sI", data[position : position + 8])
        if tag == b"MTrk":
            tracks.append(_parse_track(data[position + 8 : position + 8 + size]))
        position += 8 + size
    if sum(len(track) for track in tracks) > MAX_EVENTS:
        raise DecodeError(f"more than {MAX_EVENTS} events; expected one piece of music. Split the file.")
    return division, tracks


def _parse_track(data: bytes) -> list[_Event]:
    events, position, tick, status = [], 0, 0, 0
    while position < len(data):
        delta, position = _read_length(data, position)
        tick += delta
        if data[position] & 0x80:
            status = data[position]
            position += 1
        if status in (0xFF, 0xF0, 0xF7):
            kind = data[position] if status == 0xFF else -1
            size, position = _read_length(data, position + (status == 0xFF))
            events.append(_Event(tick, -1, kind, data[position : position + size]))
            if kind == _END:
                break
        else:
            size = _DATA_BYTES.get(status & 0xF0, 0)
            if not size:
                raise DecodeError(
                    f"an event with status {status:#04x}; expected a MIDI event. Leave the file out."
                )
            values = bytes(data[position + index] for index in range(size))
            events.append(_Event(tick, status & 15, status & 0xF0, values))
        position += size
    return events


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for _ in range(4):
        byte = data[position]
        position += 1
        value = value << 7 | byte & 127
        if byte < 128:
            return value, position
    raise DecodeError("a length of more than four bytes; expected a standard MIDI file. Leave it out.")


def _longest_stretch(events: Sequence[_Event], ticks: int, last: int, name: str) -> tuple[int, int, Meter]:
    """Start, end and meter of the longest run of bars under one signature; a repeated statement changes nothing."""
    stated = sorted(
        (event.tick, f"{event.data[0]}/{2 ** event.data[1]}")
        for event in events
        if event.kind == _SIGNATURE and event.channel < 0 and len(event.data) >= 2 and event.data[1] < 6
    )
    changes = [now for before, now in pairwise([(-1, ""), *stated]) if now[1] != before[1]]
    if not changes:
        raise InputError(f"{name}: no time signature is stated, so its meter is not known. Leave it out.")
    ends = [*(tick for tick, _ in changes[1:]), last]
    runs = sorted(
        ((end - start, start, end, signature) for (start, signature), end in zip(changes, ends, strict=True)),
        reverse=True,
    )
    for length, start, end, signature in runs:
        meter = _known_meter(signature)
        if meter is not None and length >= meter.bar_quarters * ticks:
            return start, end, meter
    signatures = ", ".join(signature for *_, signature in runs)
    raise InputError(
        f"{name}: no full bar in a meter that a class covers; it states {signatures}. Leave it out."
    )


def _known_meter(signature: str) -> Meter | None:
    try:
        return Meter.of(signature)
    except InputError:
        return None


def _tempo_map(events: Iterable[_Event], ticks: int, start: int) -> TempoMap:
    changes = {0: _DEFAULT_QUARTER_US / 1e6}
    for event in sorted(
        (event for event in events if event.kind == _TEMPO and event.channel < 0 and len(event.data) == 3),
        key=lambda event: event.tick,
    ):
        microseconds = int.from_bytes(event.data, "big")
        if microseconds:
            changes[max(0, event.tick - start)] = microseconds / 1e6
    ordered = sorted(changes.items())
    return TempoMap(tuple(tick / ticks for tick, _ in ordered), tuple(length for _, length in ordered))


def _parts(tracks: Iterable[Sequence[_Event]], ticks: int, start: int, stop: int) -> Iterator[Part]:
    for number, track in enumerate(tracks):
        for channel in sorted(
            {event.channel for event in track if event.kind == _NOTE_ON and event.channel >= 0}
        ):
            own = [event for event in track if event.channel == channel]
            programs = [event.data[0] for event in own if event.kind == _PROGRAM]
            notes = tuple(
                replace(note, start=note.start - start / ticks)
                for note in _notes(own, ticks)
                if start / ticks <= note.start < stop / ticks
            )
            is_drums = channel == DRUM_CHANNEL
            yield Part(f"track {number}", programs[0] if programs else 0, notes, is_drums)


def _notes(events: Sequence[_Event], ticks: int) -> Iterator[Note]:
    """Notes from strokes and releases: what is released under the pedal ends with the pedal, or is struck anew; what is
    never released ends with the last event."""
    sounding: dict[int, tuple[int, int]] = {}
    released: set[int] = set()
    pedal, tick = False, 0
    for event in sorted(events, key=lambda event: (event.tick, event.kind == _NOTE_ON and event.data[1] > 0)):
        tick, ended = event.tick, []
        if event.kind == _CONTROL and event.data[0] == _SUSTAIN:
            pedal = event.data[1] >= 64
            ended = [] if pedal else sorted(released)
        elif event.kind in (_NOTE_ON, _NOTE_OFF):
            pitch, velocity = event.data
            is_struck = event.kind == _NOTE_ON and velocity > 0
            if pitch in sounding and pedal and not is_struck:
                released.add(pitch)
            elif pitch in sounding:
                ended = [pitch]
        for pitch in ended:
            released.discard(pitch)
            yield _note(pitch, *sounding.pop(pitch), tick, ticks)
        if event.kind == _NOTE_ON and event.data[1] > 0:
            sounding[event.data[0]] = (tick, event.data[1])
    yield from (_note(pitch, *struck, tick, ticks) for pitch, struck in sounding.items())


def _note(pitch: int, on: int, velocity: int, off: int, ticks: int) -> Note:
    return Note(on / ticks, max(off - on, 1) / ticks, pitch & 127, velocity & 127)
