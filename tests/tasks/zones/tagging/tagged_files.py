"""Files of every format that can be tagged, with tags of other programs in them; written by other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

mutagen = pytest.importorskip("mutagen")

from mutagen import aiff, flac, id3, mp3, mp4, oggopus, oggvorbis, wave  # noqa: E402

TIT1, TXXX = id3.TIT1, id3.TXXX

FIELDS = ("zone", "grouping", "energy", "comment")
FORMATS = ("mp3", "wav", "aiff", "flac", "ogg", "opus", "m4a", "mp4")
ID3_FORMATS = ("mp3", "wav", "aiff")
VORBIS_FORMATS = ("flac", "ogg", "opus")
COVER = bytes(range(256)) * 40
RATE = 48_000


def tone(seconds: float = 1.5) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return np.stack([0.4 * np.sin(2 * np.pi * 440 * t), 0.2 * np.sin(2 * np.pi * 660 * t)], 1).astype(
        np.float32
    )


def write_plain(path: Path, seconds: float = 1.5) -> Path:
    """Write a tone without tags, in the format of the suffix."""
    suffix = path.suffix[1:]
    if suffix in ("m4a", "mp4"):
        return _write_aac(path, tone(seconds))
    import soundfile

    options = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(suffix, {})
    with soundfile.SoundFile(path, "w", RATE, 2, **options) as file:
        samples = tone(seconds)
        for start in range(0, len(samples), 1 << 14):
            file.write(samples[start : start + (1 << 14)])
    return path


def _write_aac(path: Path, samples: np.ndarray) -> Path:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=RATE)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE, frame_size=1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


def opened(path: Path):
    """The file in mutagen's class."""
    classes = {"mp3": mp3.MP3, "wav": wave.WAVE, "aiff": aiff.AIFF, "flac": flac.FLAC, "ogg": oggvorbis.OggVorbis,
               "opus": oggopus.OggOpus, "m4a": mp4.MP4, "mp4": mp4.MP4}  # fmt: skip
    return classes[path.suffix[1:]](path)


def add_foreign_tags(path: Path, grouping: str | None = None) -> Path:
    """Tags as DJ programs leave them: cover, several comments, rating, cue points, odd cases, a genre."""
    suffix = path.suffix[1:]
    add = _add_id3 if suffix in ID3_FORMATS else _add_vorbis if suffix in VORBIS_FORMATS else _add_mp4
    add(path, grouping)
    return path


def _add_id3(path: Path, grouping: str | None) -> None:
    file = opened(path)
    if file.tags is None:
        file.add_tags()
    for frame in [
        id3.TIT2(encoding=3, text="Größe 🟪"),
        id3.TCON(encoding=3, text="Techno"),
        id3.COMM(encoding=3, lang="eng", desc="", text="8A - Energy 6"),
        id3.COMM(encoding=1, lang="deu", desc="", text="zweiter Kommentar"),
        id3.COMM(encoding=3, lang="eng", desc="iTunNORM", text=" 00000A12"),
        id3.POPM(email="dj@example.org", rating=196, count=7),
        id3.GEOB(
            encoding=0,
            mime="application/octet-stream",
            desc="Serato Markers2",
            data=b"\x01\x01AQ" + bytes(470),
        ),
        id3.TXXX(encoding=3, desc="SERATO_PLAYCOUNT", text="12"),
        id3.APIC(encoding=0, mime="image/png", type=3, desc="cover", data=COVER),
        id3.PRIV(owner="TRAKTOR4", data=b"\xff\xe0\x00\xff"),
        *([id3.TIT1(encoding=3, text=grouping)] if grouping else []),
    ]:
        file.tags.add(frame)
    file.save()


def _add_vorbis(path: Path, grouping: str | None) -> None:
    file = opened(path)
    if file.tags is None:
        file.add_tags()
    file.tags += [
        ("TITLE", "Größe 🟪"),
        ("Genre", "Techno"),
        ("COMMENT", "first"),
        ("comment", "second"),
        ("RATING", "80"),
        ("SERATO_MARKERS_V2", "AQFB" * 50),
        ("METADATA_BLOCK_PICTURE", "AAAA" * 9000),
    ]
    if grouping:
        file.tags.append(("Grouping", grouping))
    if path.suffix == ".flac":
        picture = flac.Picture()
        picture.data, picture.mime, picture.desc = COVER, "image/png", "cover"
        file.add_picture(picture)
    file.save()


def _add_mp4(path: Path, grouping: str | None) -> None:
    file = opened(path)
    if file.tags is None:
        file.add_tags()
    file.tags["\xa9nam"] = ["Größe 🟪"]
    file.tags["\xa9gen"] = ["Techno"]
    file.tags["\xa9cmt"] = ["8A - Energy 6"]
    file.tags["tmpo"] = [128]
    file.tags["covr"] = [mp4.MP4Cover(COVER, mp4.MP4Cover.FORMAT_PNG)]
    file.tags["----:com.serato.dj:markersv2"] = [mp4.MP4FreeForm(b"AQFB" * 30)]
    if grouping:
        file.tags["\xa9grp"] = [grouping]
    file.save()


def read_fields(path: Path) -> dict[str, list[str]]:
    """Our four fields, as mutagen reads them."""
    file, suffix = opened(path), path.suffix[1:]
    tags = file.tags if file.tags is not None else {}
    if suffix in ID3_FORMATS:
        keys = dict(
            zip(FIELDS, ("TXXX:ENERGYZONE", "TIT1", "TXXX:EnergyLevel", "COMM:earmark:eng"), strict=True)
        )
        return {
            name: [str(text) for text in tags[key].text] if key in tags else [] for name, key in keys.items()
        }
    if suffix in VORBIS_FORMATS:
        pairs = [(key.upper(), value) for key, value in tags]
        keys = {"zone": "ENERGYZONE", "grouping": "GROUPING", "energy": "ENERGYLEVEL", "comment": "COMMENT"}
        found = {name: [value for key, value in pairs if key == wanted] for name, wanted in keys.items()}
        return found | {"comment": [value for value in found["comment"] if "[earmark]" in value]}
    itunes = "----:com.apple.iTunes:"
    plain = dict(
        zip(FIELDS, (itunes + "ENERGYZONE", "\xa9grp", itunes + "ENERGYLEVEL", "\xa9cmt"), strict=True)
    )
    found = {
        name: [value.decode() if isinstance(value, bytes) else value for value in tags.get(key, [])]
        for name, key in plain.items()
    }
    return found | {"comment": [value for value in found["comment"] if "[earmark]" in value]}


def foreign_tags(path: Path) -> object:
    """All tags that are not ours, as mutagen reads them, down to the bytes that it would write."""
    file, suffix = opened(path), path.suffix[1:]
    if file.tags is None:
        return []
    if suffix in ID3_FORMATS:
        ours = ("TXXX:ENERGYZONE", "TXXX:EnergyLevel", "TIT1", "COMM:earmark:eng")
        return sorted((key, repr(frame)) for key, frame in file.tags.items() if key not in ours)
    if suffix in VORBIS_FORMATS:
        ours = ("ENERGYZONE", "ENERGYLEVEL", "GROUPING")
        pairs = [(k, v) for k, v in file.tags if k.upper() not in ours and "[earmark]" not in v]
        pictures = [picture.write() for picture in getattr(file, "pictures", [])]
        return (file.tags.vendor if pairs else "", pairs, pictures)
    ours = ("----:com.apple.iTunes:ENERGYZONE", "----:com.apple.iTunes:ENERGYLEVEL", "\xa9grp")
    return sorted(
        (
            key,
            repr([v for v in values if "[earmark]" not in str(v)])
            if isinstance(values, list)
            else repr(values),
        )
        for key, values in file.tags.items()
        if key not in ours and [v for v in values if "[earmark]" not in str(v)]
    )


def packets(path: Path) -> list[tuple[int | None, bytes]]:
    """The audio as its codec gets it."""
    import av

    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio) if packet.size]
