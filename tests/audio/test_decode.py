"""Decoding: every format to the same samples, every unusable file to one clear error."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from signals import SAMPLE_RATE, broadband, tone, write_av, write_silent_video, write_sound

from earmark.audio.decode import AUDIO_SUFFIXES, decode, probe
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.spectrum import rms
from earmark.errors import DecodeError, UsageError

RATE = 44_100
SECONDS = 3.0
STEREO = np.stack([tone(SECONDS), 0.5 * tone(SECONDS)], axis=1)

FORMATS = {
    "wav16": lambda p: write_sound(p.with_suffix(".wav"), STEREO, RATE),
    "wav24": lambda p: write_sound(p.with_suffix(".wav"), STEREO, RATE, subtype="PCM_24"),
    "wav_float": lambda p: write_sound(p.with_suffix(".wav"), STEREO, RATE, subtype="FLOAT"),
    "wav_double": lambda p: write_sound(p.with_suffix(".wav"), STEREO, RATE, subtype="DOUBLE"),
    "rf64": lambda p: write_sound(p.with_suffix(".wav"), STEREO, RATE, format="RF64"),
    "aiff": lambda p: write_sound(p.with_suffix(".aiff"), STEREO, RATE),
    "au": lambda p: write_sound(p.with_suffix(".au"), STEREO, RATE),
    "caf": lambda p: write_sound(p.with_suffix(".caf"), STEREO, RATE),
    "flac": lambda p: write_sound(p.with_suffix(".flac"), STEREO, RATE),
    "ogg": lambda p: write_sound(p.with_suffix(".ogg"), STEREO, RATE),
    "opus": lambda p: write_sound(p.with_suffix(".opus"), _at_48k(), 48_000, format="OGG", subtype="OPUS"),
    "mp3": lambda p: write_sound(p.with_suffix(".mp3"), STEREO, RATE),
    "m4a": lambda p: write_av(p.with_suffix(".m4a"), STEREO, RATE),
    "mp4": lambda p: write_av(p.with_suffix(".mp4"), STEREO, RATE),
    "aac": lambda p: write_av(p.with_suffix(".aac"), STEREO, RATE, container="adts"),
    "mka_aac": lambda p: write_av(p.with_suffix(".mka"), STEREO, RATE, container="matroska"),
    "mka_pcm": lambda p: write_av(p.with_suffix(".mka"), STEREO, RATE, "pcm_s16le", "matroska"),
    "alac": lambda p: write_av(p.with_suffix(".m4a"), STEREO, RATE, "alac"),
}
LOSSLESS = {"wav24", "wav_float", "wav_double", "flac", "alac"}


def _at_48k() -> np.ndarray:
    return np.stack([tone(SECONDS, 48_000), 0.5 * tone(SECONDS, 48_000)], axis=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same tone in each format."""
    folder = tmp_path_factory.mktemp("formats")
    return {name: write(folder / name) for name, write in FORMATS.items()}


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """Mean of the channels at the target rate."""
    import soxr

    return soxr.resample(STEREO.mean(axis=1), RATE, SAMPLE_RATE, quality="HQ")


@pytest.mark.parametrize("name", FORMATS)
def test_same_tone_in_each_format(name: str, files: dict[str, Path], reference: np.ndarray) -> None:
    clip = decode(files[name], sample_rate=SAMPLE_RATE)
    assert clip.samples.dtype == np.float32 and clip.samples.ndim == 1
    assert clip.sample_rate == SAMPLE_RATE and clip.uri == str(files[name])
    assert abs(clip.duration_s - SECONDS) < 0.11, "an encoder pads at most a tenth of a second"
    middle = slice(SAMPLE_RATE // 2, 2 * SAMPLE_RATE)
    level = np.sqrt(np.mean(clip.samples[middle] ** 2))
    assert level == pytest.approx(np.sqrt(np.mean(reference[middle] ** 2)), rel=0.02), "channels are averaged"
    if name in LOSSLESS:
        assert len(clip.samples) == len(reference)
        np.testing.assert_allclose(clip.samples, reference, atol=2e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_same_features_in_each_format(name: str, files: dict[str, Path], reference: np.ndarray) -> None:
    from earmark.audio.clip import Clip

    expected, clip = Clip(reference, SAMPLE_RATE), decode(files[name], sample_rate=SAMPLE_RATE)
    frames = slice(20, 100)
    centroid = np.median(clip.memo(spectral_descriptors).centroid_hz[frames])
    assert centroid == pytest.approx(
        np.median(expected.memo(spectral_descriptors).centroid_hz[frames]), rel=0.05
    )
    assert np.mean(clip.memo(rms)[frames]) == pytest.approx(np.mean(expected.memo(rms)[frames]), rel=0.02)


@pytest.mark.parametrize("name", FORMATS)
def test_probe_reads_the_header(name: str, files: dict[str, Path]) -> None:
    info = probe(files[name])
    assert info.channels == 2
    assert info.sample_rate == (48_000 if name == "opus" else RATE)
    assert info.duration_s == pytest.approx(SECONDS, abs=0.2 if name == "aac" else 0.11)
    assert info.codec


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.93, 0.999])
def test_cut_file_is_an_error(name: str, share: float, files: dict[str, Path], tmp_path: Path) -> None:
    content = files[name].read_bytes()
    cut = tmp_path / files[name].name
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DecodeError, match="cut short") as caught:
        decode(cut, sample_rate=SAMPLE_RATE)
    _assert_clear(caught.value, cut)


@pytest.mark.parametrize("name", ["wav16", "flac", "ogg", "mp3", "m4a", "mka_aac"])
def test_content_decides_not_the_suffix(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    renamed = tmp_path / ("song.wav" if name != "wav16" else "song.mp3")
    renamed.write_bytes(files[name].read_bytes())
    same = decode(files[name], sample_rate=SAMPLE_RATE)
    np.testing.assert_array_equal(decode(renamed, sample_rate=SAMPLE_RATE).samples, same.samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count(rate: int, channels: int, tmp_path: Path) -> None:
    mono = tone(1.0, rate)
    weights = np.arange(channels, dtype=np.float32)
    path = write_sound(tmp_path / "x.wav", mono[:, None] * weights, rate, subtype="FLOAT")
    clip = decode(path, sample_rate=SAMPLE_RATE)
    assert clip.duration_s == pytest.approx(1.0, abs=0.001)
    expected = 0.4 / np.sqrt(2) * weights.mean()
    level = np.sqrt(np.mean(clip.samples[5000:15000] ** 2))
    assert level == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_blocks_leave_no_seam(tmp_path: Path) -> None:
    import soxr

    audio = np.repeat(broadband(10.0), 2)[: 8 * 44_100]
    path = write_sound(tmp_path / "long.wav", audio, RATE, subtype="FLOAT")
    clip = decode(path, sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(clip.samples, soxr.resample(audio, RATE, SAMPLE_RATE, quality="HQ"), atol=1e-6)


def test_uris_and_file_objects(files: dict[str, Path]) -> None:
    import fsspec

    expected = decode(files["flac"], sample_rate=SAMPLE_RATE).samples
    with fsspec.open("memory://earmark/tone.flac", "wb") as memory:
        memory.write(files["flac"].read_bytes())
    sources = [
        str(files["flac"]),
        files["flac"].as_uri(),
        "memory://earmark/tone.flac",
        io.BytesIO(files["flac"].read_bytes()),
    ]
    for source in sources:
        np.testing.assert_array_equal(decode(source, sample_rate=SAMPLE_RATE).samples, expected)
    m4a = files["m4a"]
    np.testing.assert_array_equal(
        decode(m4a.as_uri(), sample_rate=SAMPLE_RATE).samples, decode(m4a, sample_rate=SAMPLE_RATE).samples
    )


def _nan_wav(path: Path) -> Path:
    audio = tone(1.0)
    audio[30_000] = np.nan
    return write_sound(path.with_suffix(".wav"), audio, RATE, subtype="FLOAT")


def _infinite_wav(path: Path) -> Path:
    audio = tone(1.0)
    audio[-1] = -np.inf
    return write_sound(path.with_suffix(".wav"), audio, RATE, subtype="FLOAT")


def _odd_rate(path: Path) -> Path:
    path = write_sound(path.with_suffix(".wav"), tone(0.5), RATE)
    content = bytearray(path.read_bytes())
    place = content.index(b"fmt ") + 12
    content[place : place + 4] = struct.pack("<I", 3)
    path.write_bytes(bytes(content))
    return path


def _huge_wav(path: Path) -> Path:
    return write_sound(path.with_suffix(".wav"), tone(1.0) * np.float32(1e30), RATE, subtype="FLOAT")


def _text(path: Path) -> Path:
    path = path.with_suffix(".wav")
    path.write_text("this is a shopping list, not a song\n" * 50, encoding="utf-8")
    return path


def _playlist(path: Path) -> Path:
    path = path.with_suffix(".m4a")
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n", encoding="utf-8"
    )
    return path


def _empty(path: Path) -> Path:
    path.with_suffix(".mp3").write_bytes(b"")
    return path.with_suffix(".mp3")


def _protected(path: Path, kind: bytes) -> Path:
    path = write_av(path.with_suffix(".m4a"), STEREO, RATE)
    content = path.read_bytes()
    entry = content.rindex(b"mp4a")
    path.write_bytes(content[:entry] + kind + content[entry + 4 :])
    return path


def _folder(path: Path) -> Path:
    path.with_suffix(".wav").mkdir()
    return path.with_suffix(".wav")


def _noise(path: Path) -> Path:
    path.with_suffix(".mp3").write_bytes(np.random.default_rng(1).bytes(20_000))
    return path.with_suffix(".mp3")


def _picture(path: Path) -> Path:
    """A one-pixel PNG."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    path.with_suffix(".ogg").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path.with_suffix(".ogg")


BROKEN = {
    "nan": (_nan_wav, r"has the sample nan at 0\.68 s"),
    "infinite": (_infinite_wav, r"has the sample -inf at 1\.00 s"),
    "huge": (_huge_wav, r"has the sample"),
    "odd_rate": (_odd_rate, r"has a sample rate of 3 Hz"),
    "text": (_text, r"not audio"),
    "playlist": (_playlist, r"not audio|no audio track"),
    "empty": (_empty, r"is empty \(0 bytes\)"),
    "no_samples": (lambda p: write_sound(p.with_suffix(".wav"), np.zeros((0, 2)), RATE), r"holds no samples"),
    "no_samples_flac": (
        lambda p: write_sound(p.with_suffix(".flac"), np.zeros((0, 2)), RATE),
        r"no samples|not audio|is empty",
    ),
    "drm_old": (lambda p: _protected(p, b"drms"), r"is protected"),
    "drm_new": (lambda p: _protected(p, b"enca"), r"is protected"),
    "silent_film": (lambda p: write_silent_video(p.with_suffix(".mp4")), r"has no audio track"),
    "folder": (_folder, r"is a folder"),
    "missing": (lambda p: p.with_suffix(".flac"), r"does not exist"),
    "noise": (_noise, "not audio"),
    "picture": (_picture, r"has no audio track|not audio"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_unusable_file_is_one_clear_error(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = BROKEN[name]
    path = make(tmp_path / "x")
    capfd.readouterr()
    with pytest.raises(DecodeError, match=message) as caught:
        decode(path, sample_rate=SAMPLE_RATE)
    _assert_clear(caught.value, path)
    output = capfd.readouterr()
    assert output.out == "" and output.err == "", "decoders keep their log to themselves"
    if name not in ("nan", "infinite", "huge", "no_samples", "no_samples_flac"):
        with pytest.raises(DecodeError, match=message):
            probe(path)


def test_missing_uri_and_unknown_protocol(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="does not exist"):
        decode((tmp_path / "none.wav").as_uri(), sample_rate=SAMPLE_RATE)
    with pytest.raises(DecodeError, match="cannot be read"):
        decode("nosuchprotocol://bucket/none.wav", sample_rate=SAMPLE_RATE)


def test_remote_file_system_may_raise_anything() -> None:
    import fsspec

    class Unreachable(fsspec.AbstractFileSystem):
        protocol = "unreachable"

        def _open(self, path: str, *args: object, **options: object) -> object:
            raise RuntimeError("no credentials")

    fsspec.register_implementation("unreachable", Unreachable, clobber=True)
    with pytest.raises(DecodeError, match=r"cannot be read \(no credentials\)"):
        decode("unreachable://bucket/song.mp3", sample_rate=SAMPLE_RATE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(DecodeError, match="is a device or pipe"):
        decode(tmp_path / "pipe.wav", sample_rate=SAMPLE_RATE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "x.wav", tone(0.5), RATE)
    path.chmod(0)
    with pytest.raises(DecodeError, match="cannot be read"):
        decode(path, sample_rate=SAMPLE_RATE)


def test_rate_must_be_positive(files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="0 Hz"):
        decode(files["flac"], sample_rate=0)


def test_length_unknown_to_the_writer_is_accepted(files: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(files["wav16"].read_bytes())
    place = content.index(b"data")
    content[place + 4 : place + 8] = b"\xff\xff\xff\xff"
    content[4:8] = b"\xff\xff\xff\xff"
    path = tmp_path / "piped.wav"
    path.write_bytes(bytes(content))
    assert decode(path, sample_rate=SAMPLE_RATE).duration_s == pytest.approx(SECONDS, abs=0.01)


def test_suffixes_cover_the_formats(files: dict[str, Path]) -> None:
    assert {path.suffix for path in files.values()} <= AUDIO_SUFFIXES


def test_flipped_bytes_never_crash(files: dict[str, Path], tmp_path: Path) -> None:
    """In a process of its own, because a codec that crashes takes the process with it."""
    script = """
import sys, numpy as np
from pathlib import Path
from earmark.audio.decode import decode
from earmark.errors import DecodeError
target, rng, n_errors = Path(sys.argv[1]), np.random.default_rng(5), 0
for source in sys.argv[2:]:
    for _ in range(20):
        content = np.frombuffer(Path(source).read_bytes(), np.uint8).copy()
        content[rng.integers(0, len(content), 30)] = rng.integers(0, 256, 30)
        content[rng.integers(0, 200, 2)] = rng.integers(0, 256, 2)
        file = target / Path(source).name
        file.write_bytes(content.tobytes())
        try:
            assert np.isfinite(decode(file, sample_rate=22050).samples).all()
        except DecodeError:
            n_errors += 1
print(n_errors)
"""
    command = [sys.executable, "-c", script, str(tmp_path), *(str(path) for path in files.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0


def _assert_clear(error: DecodeError, path: Path) -> None:
    """What happened with the name, what was expected, what to do: three sentences, no trace of a library's type."""
    text = str(error)
    assert str(path) in text and "Expected" in text and text.endswith(".")
    assert "Error(" not in text and "\n" not in text
