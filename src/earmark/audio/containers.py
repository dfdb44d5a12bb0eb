"""What kind of audio file a stream of bytes is, and whether its end is missing.

Files are known by content, never by suffix. Decoders accept a truncated file in silence (a WAV header that
promises more than is there, an Ogg stream without its last page), so each container's own promise is checked
before decoding:

=========  ==========================================================================================
container  what must hold
=========  ==========================================================================================
wav, aiff  the sample chunk ends inside the file
au, caf    the same
ogg        the last page is complete and marked as the end of the stream
mp4        the boxes at top level fill the file, the index box ``moov`` is among them; no entry is encrypted
flac       the decoded length is the one in STREAMINFO (checked while decoding)
matroska   the segment ends inside the file
mp3        size and decoded length are those in the Xing/Info header, if there is one
=========  ==========================================================================================

An mp3 without such a header carries no length, so a cut between two frames cannot be told from a shorter
recording.

References: RIFF/WAVE (IBM & Microsoft 1991), EBU Tech 3306 (RF64), RFC 3533 (Ogg), RFC 7845 (Opus in Ogg),
RFC 9639 (FLAC), RFC 8794 and 9559 (EBML, Matroska), ISO/IEC 14496-12 (boxes) and 23001-7 (``enca``:
encrypted audio entry).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

HEAD_BYTES = 8192
OGG_TAIL_BYTES = 2 * 65_307  # two pages of the largest size
UNKNOWN_LENGTH = 0x7FFF_0000  # writers that cannot seek back leave a placeholder at least this large
WIDE_UNKNOWN_LENGTH = 1 << 62  # of a field of 8 bytes
MAX_MOOV_BYTES = 64 << 20
_MAGIC = (
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
)


def sniff(head: bytes) -> str:
    """Name of the container that a file's first bytes announce.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, at best ``HEAD_BYTES`` of them.

    Returns
    -------
    str
        ``wav``, ``aiff``, ``au``, ``caf``, ``flac``, ``ogg``, ``opus``, ``mp3``, ``mp4``, ``matroska`` or ``other``.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in head[:512] else "ogg"
    if head[4:8] == b"ftyp":
        return "mp4"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "mp3" if _is_mpeg_layer3(head) else "other"


def find_damage(stream: BinaryIO, size: int, container: str) -> str | None:
    """What is missing from a file, in words, or None if its container's promise is kept.

    Parameters
    ----------
    stream : binary file, seekable
        Left at an arbitrary position.
    size : int
        Its length in bytes.
    container : str
        Result of `sniff`.
    """
    if container == "wav":
        return _chunk_damage(stream, size, b"data", "<")
    if container == "aiff":
        return _chunk_damage(stream, size, b"SSND", ">")
    checks = {
        "au": _au_damage,
        "caf": _caf_damage,
        "ogg": _ogg_damage,
        "opus": _ogg_damage,
        "mp3": _mp3_damage,
        "mp4": _mp4_damage,
        "matroska": _matroska_damage,
    }
    return checks[container](stream, size) if container in checks else None


def is_encrypted(stream: BinaryIO, size: int) -> bool:
    """True if an mp4 file has an encrypted sample entry (``enca``, or ``drms`` of older shops)."""
    for kind, start, end in _boxes(stream, 0, size):
        if kind == b"moov":
            return any(
                entry in (b"enca", b"drms") for entry in _sample_entries(stream, start, min(end, size))
            )
    return False


def _is_mpeg_layer3(head: bytes) -> bool:
    """True if a layer III frame header stands at the start: 11 sync bits, a valid version, rate and bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer == 1 and head[2] >> 4 not in (0, 15) and head[2] >> 2 & 3 != 3


def _chunk_damage(stream: BinaryIO, size: int, wanted: bytes, order: str) -> str | None:
    """Damage of a RIFF or IFF file: its sample chunk is absent or ends behind the end of the file."""
    position, wide_length = 12, None
    while position + 8 <= size:
        stream.seek(position)
        name, length = struct.unpack(f"{order}4sI", stream.read(8))
        if name == b"ds64":  # RF64: the lengths that do not fit into 32 bits, of the file and of the samples
            wide_length = struct.unpack("<8xQ", stream.read(16).ljust(16, b"\xff"))[0]
        if name == wanted and wide_length is not None:
            return _broken_promise(wide_length, size - position - 8, WIDE_UNKNOWN_LENGTH)
        if name == wanted:
            return _broken_promise(length, size - position - 8)
        position += 8 + length + (length & 1)
    return "it ends before its samples begin"


def _broken_promise(promised: int, found: int, unknown: int = UNKNOWN_LENGTH) -> str | None:
    """Damage where fewer bytes follow than a header says; from ``unknown`` on it says nothing."""
    if found < promised < unknown:
        return f"its header promises {promised:,} bytes of audio and {max(0, found):,} are there"
    return None


def _au_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of a Sun audio file: fewer bytes of samples than the header says."""
    stream.seek(4)
    head = stream.read(8)
    if len(head) < 8:
        return "it ends before its samples begin"
    offset, promised = struct.unpack(">II", head)
    return _broken_promise(promised, size - offset)


def _caf_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of a Core Audio file: the data chunk is absent or ends behind the end of the file."""
    position = 8
    while position + 12 <= size:
        stream.seek(position)
        name, length = struct.unpack(">4sq", stream.read(12))
        if name == b"data":
            found = size - position - 12
            return _broken_promise(length, found, WIDE_UNKNOWN_LENGTH)
        if length < 0:
            break
        position += 12 + length
    return "it ends before its samples begin"


def _mp3_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of an mp3 file: fewer bytes than its Xing or Info header says; None without such a header."""
    stream.seek(0)
    head = stream.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
    stream.seek(start)
    frame = stream.read(64)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0 or len(frame) < place + 16:
        return None
    flags = struct.unpack(">I", frame[place + 4 : place + 8])[0]
    if not flags & 2:
        return None
    count = place + 8 + 4 * (flags & 1)
    return _broken_promise(struct.unpack(">I", frame[count : count + 4])[0], size - start)


def _matroska_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of a Matroska file: its segment ends behind the end of the file; live streams do not say where."""
    position = 4
    for _ in range(2):  # the header's content, then the segment's
        stream.seek(position)
        coded = stream.read(8)
        if not coded or not coded[0]:
            return "it ends before its audio begins"
        width = 9 - coded[0].bit_length()
        length = int.from_bytes(coded[:width], "big") & ((1 << 7 * width) - 1)
        position += width
        if length == (1 << 7 * width) - 1:
            return None
        if position + length > size:
            return _broken_promise(length, size - position, WIDE_UNKNOWN_LENGTH)
        position += length + 4
    return None


def _ogg_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of an Ogg file: the last page is cut or is not marked as the last."""
    start = max(0, size - OGG_TAIL_BYTES)
    stream.seek(start)
    tail = stream.read(size - start)
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return "its last page is cut"
    n_segments = tail[page + 26]
    lacing = tail[page + 27 : page + 27 + n_segments]
    if len(lacing) < n_segments or len(tail) < page + 27 + n_segments + sum(lacing):
        return "its last page is cut"
    if not tail[page + 5] & 4:
        return "it has no page marked as the end of the stream"
    return None


def _mp4_damage(stream: BinaryIO, size: int) -> str | None:
    """Damage of an mp4 file: a box ends behind the end of the file, or the index is missing."""
    kinds = set()
    for kind, _, end in _boxes(stream, 0, size):
        kinds.add(kind)
        if end > size:
            return f"its box `{kind.decode('latin-1')}` ends {end - size:,} bytes behind the end of the file"
    return None if b"moov" in kinds else "its index (box `moov`) is missing"


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Boxes between two positions: kind, start and end of the content."""
    while start + 8 <= end:
        stream.seek(start)
        head = stream.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        header = 8
        if length == 1:
            wide = stream.read(8)
            if len(wide) < 8:
                return
            length, header = struct.unpack(">Q", wide)[0], 16
        elif length == 0:
            length = end - start
        if length < header:
            return
        yield kind, start + header, start + length
        start += length


def _sample_entries(stream: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Kinds of all sample entries in an index box; the way there is trak, mdia, minf, stbl, stsd."""
    for kind, inner, inner_end in _boxes(stream, start, min(end, start + MAX_MOOV_BYTES)):
        if kind in (b"trak", b"mdia", b"minf", b"stbl"):
            yield from _sample_entries(stream, inner, inner_end)
        elif kind == b"stsd":
            for entry, _, _ in _boxes(stream, inner + 8, inner_end):
                yield entry
