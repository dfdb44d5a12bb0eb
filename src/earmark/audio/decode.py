"""Decoding: any audio file to a mono clip at one rate.

wav, aiff, flac, ogg/vorbis and mp3 go through libsndfile; m4a, aac, mp4, opus and everything else through
FFmpeg's libraries (PyAV). The content decides, not the suffix. Audio is read in blocks, the channels averaged
with equal weight (FFmpeg's own down-mix is 3 dB louder) and resampled by soxr at quality HQ as it comes, so a
long file is never held at its source rate.

Every file that cannot be used raises one `DecodeError` that says what was found, what was expected and what
to do: missing, a folder, empty, not audio, cut short, protected, without an audio track, without samples,
with NaN or infinite samples. A partial result is never returned: what counts as cut short is listed in
`earmark.audio.containers`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.containers import HEAD_BYTES, find_damage, is_encrypted, sniff
from earmark.audio.quiet import quiet_stderr
from earmark.errors import DecodeError, UsageError

AUDIO_SUFFIXES: frozenset[str] = frozenset(
    {
        *(
            ".wav",
            ".wave",
            ".aif",
            ".aiff",
            ".aifc",
            ".flac",
            ".ogg",
            ".oga",
            ".opus",
            ".mp3",
            ".mp2",
            ".caf",
            ".au",
        ),
        *(".m4a", ".m4b", ".mp4", ".aac", ".wma", ".mka", ".webm", ".ac3", ".ape", ".wv", ".mov", ".mkv"),
    }
)
"""Suffixes of files that a folder scan offers to `decode`; lower case, with the dot."""

AV_CONTAINERS = frozenset({"other", "mp4", "opus", "matroska"})  # the rest is libsndfile's
BLOCK_SAMPLES = 1 << 17  # read at once, all channels: 0.5 MB, inside the second-level cache
RATES_HZ = (1_000, 1_000_000)  # other rates come from damaged headers, and soxr crashes on some of them
MAX_ABS_SAMPLE = 1e8  # beyond this the sums of squares of a track leave float32
EXPECTED = "Expected a playable audio file (wav, flac, ogg, mp3, m4a, opus, ...)"
ADVICE = "Replace the file or remove it from the list."

Source = str | os.PathLike[str] | BinaryIO
Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: length in seconds, rate in Hz, channels, name of the codec."""

    duration_s: float
    sample_rate: int
    channels: int
    codec: str


def decode(source: Source, *, sample_rate: int) -> Clip:
    """Read audio as a mono clip.

    Parameters
    ----------
    source : str, path or binary file
        A local path, a URI that fsspec opens (``file://``, ``memory://``, ``s3://`` ...), or an open binary
        file.
    sample_rate : int
        Rate of the clip in Hz, > 0.

    Returns
    -------
    Clip
        float32, mono, at least one sample, all finite.

    Raises
    ------
    DecodeError
        If the source is missing, not audio, cut short, protected, or holds no finite samples.
    UsageError
        If the rate is not positive.
    """
    if sample_rate <= 0:
        raise UsageError(f"The sample rate is {sample_rate} Hz; expected a positive number of Hz.")
    name = _name_of(source)
    with _opened(source, name) as file:
        container = _examine(file, name)
        if container in AV_CONTAINERS:
            samples = _decode_av(file, name, sample_rate)
        else:
            samples = _decode_soundfile(file, name, sample_rate, container)
    if not len(samples):
        raise _error(name, "holds no samples", "Expected at least one sample of audio")
    return Clip(samples, sample_rate, uri=name)


def decode_into(sink: BinaryIO, source: Source, *, sample_rate: int) -> int:
    """Write the samples of `decode`, bit for bit, as raw float32, without ever holding all of them.

    Returns
    -------
    int
        Number of samples written.

    Raises
    ------
    DecodeError
        As `decode`; what was written by then is no recording.
    """
    n_written = 0
    for block in decode_blocks(source, sample_rate=sample_rate):
        sink.write(np.ascontiguousarray(block).data)
        n_written += len(block)
    return n_written


def decode_blocks(source: Source, *, sample_rate: int) -> Blocks:
    """The samples of `decode`, bit for bit, in blocks as they are decoded: memory does not grow with the length.

    Yields
    ------
    ndarray, float32, shape (n,)
        Of changing length, also 0.

    Raises
    ------
    DecodeError
        As `decode`, some only at the end; what was given by then is no recording.
    """
    import soxr

    name = _name_of(source)
    n_given = 0
    with _opened(source, name) as file, _reading(file, name) as (source_rate, blocks):
        stream = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")
        for block in blocks:
            given = block if source_rate == sample_rate else stream.resample_chunk(block)
            n_given += len(given)
            yield given
        if source_rate != sample_rate:
            given = stream.resample_chunk(np.empty(0, dtype=np.float32), last=True)
            n_given += len(given)
            yield given
    if not n_given:
        raise _error(name, "holds no samples", "Expected at least one sample of audio")


def mono_frames(frame: Any) -> NDArray[np.float32]:
    """Samples of one FFmpeg frame, channels averaged, as `decode` gives them before it resamples."""
    return _mono(_channels(frame))


def probe(source: Source) -> AudioInfo:
    """Length, rate, channels and codec of a file, from its header.

    Raises
    ------
    DecodeError
        As `decode` does, but for faults that only decoding finds.
    """
    name = _name_of(source)
    with _opened(source, name) as file:
        container = _examine(file, name)
        if container in AV_CONTAINERS:
            return _probe_av(file, name)
        with quiet_stderr(), _sound_file(file, name) as sound:
            return AudioInfo(
                sound.frames / sound.samplerate, sound.samplerate, sound.channels, sound.format.lower()
            )


def _error(name: str, happened: str, expected: str = EXPECTED, advice: str = ADVICE) -> DecodeError:
    return DecodeError(f"`{name}` {happened}. {expected}. {advice}")


def _name_of(source: Source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "name", "<stream>"))


@contextmanager
def _opened(source: Source, name: str) -> Iterator[BinaryIO]:
    """The source as a seekable binary file; closed afterwards unless the caller brought it."""
    if not isinstance(source, (str, os.PathLike)):
        yield source if source.seekable() else io.BytesIO(source.read())
        return
    try:
        is_remote = "://" in name and not Path(source).exists()
        file = _open_uri(name) if is_remote else _open_path(Path(source), name)
    except DecodeError:
        raise
    except FileNotFoundError:
        raise _error(name, "does not exist", advice="Check the path or remove it from the list.") from None
    except Exception as problem:  # each remote file system raises exceptions of its own
        raise _error(name, f"cannot be read ({problem})", "Expected a readable file") from problem
    with file:
        yield file


def _open_uri(uri: str) -> BinaryIO:
    import fsspec

    file_system, path = fsspec.core.url_to_fs(uri)
    opened: BinaryIO = file_system.open(path, "rb")
    return opened


def _open_path(path: Path, name: str) -> BinaryIO:
    if path.is_dir():
        raise _error(name, "is a folder", advice="Name the files in it, or pass the folder to `prepare`.")
    if path.exists() and not path.is_file():
        raise _error(name, "is a device or pipe", "Expected a regular file")
    return path.open("rb")


def _examine(file: BinaryIO, name: str) -> str:
    """Container of a file, after the checks that need no decoding; the file is left at its start."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise _error(name, "is empty (0 bytes)")
    file.seek(0)
    container = sniff(file.read(HEAD_BYTES))
    damage = find_damage(file, size, container)
    if damage:
        raise _cut(name, damage)
    if container == "mp4" and is_encrypted(file, size):
        raise _error(name, "is protected: its audio is encrypted", "Expected audio without copy protection")
    file.seek(0)
    return container


def _cut(name: str, damage: str) -> DecodeError:
    return _error(
        name,
        f"is cut short: {damage}",
        "Expected a complete file",
        "Copy or download it again, or remove it.",
    )


@contextmanager
def _sound_file(file: BinaryIO, name: str) -> Iterator[Any]:
    """The file opened by libsndfile, whose every complaint becomes a `DecodeError`."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            _check_rate(sound.samplerate, name)
            yield sound
    except soundfile.LibsndfileError as problem:
        reason = problem.error_string.removeprefix("Error :").strip().rstrip(".")
        raise _error(name, f"is damaged, cut short or not audio ({reason})") from problem


def _decode_soundfile(file: BinaryIO, name: str, sample_rate: int, container: str) -> NDArray[np.float32]:
    with quiet_stderr(), _sound_file(file, name) as sound:
        promised = sound.frames
        blocks = _checked(_soundfile_blocks(sound), name, sound.samplerate)
        samples, n_read = _resampled(blocks, sound.samplerate, sample_rate)
    if container in ("flac", "mp3") and n_read < promised:
        raise _cut(name, f"its header promises {promised:,} frames and {n_read:,} are there")
    return samples


@contextmanager
def _reading(file: BinaryIO, name: str) -> Iterator[tuple[int, Blocks]]:
    """Source rate and checked mono blocks of an open file."""
    container = _examine(file, name)
    if container in AV_CONTAINERS:
        with _av_container(file, name) as opened:
            track = opened.streams.audio[0]
            rate = _source_rate(track, name)
            yield rate, _checked(_gathered(_av_frames(opened, track, name, rate)), name, rate)
        return
    with ExitStack() as stack:
        with quiet_stderr():
            sound = stack.enter_context(_sound_file(file, name))
        blocks = _checked(_quietly(_soundfile_blocks(sound)), name, sound.samplerate)
        is_counted = container in ("flac", "mp3")
        yield sound.samplerate, _complete(blocks, sound.frames, name) if is_counted else blocks


def _quietly(blocks: Blocks) -> Blocks:
    """The blocks, with standard error silent only while one is made: between them it is the reader's."""
    while True:
        with quiet_stderr():
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _complete(blocks: Blocks, promised: int, name: str) -> Blocks:
    """The blocks; an error at their end if they are fewer frames than the header promises."""
    n_read = 0
    for block in blocks:
        n_read += len(block)
        yield block
    if n_read < promised:
        raise _cut(name, f"its header promises {promised:,} frames and {n_read:,} are there")


def _soundfile_blocks(sound: Any) -> Blocks:
    n_frames = max(1, BLOCK_SAMPLES // sound.channels)
    buffer = np.empty((n_frames, sound.channels), dtype=np.float32)
    while True:
        block = sound.read(n_frames, dtype="float32", always_2d=True, out=buffer)
        if not len(block):
            return
        yield _mono(block.T)


def _mono(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over channels of an array (n_channels, n); the plain ``mean`` is 20 times slower on interleaved audio."""
    if len(channels) == 1:
        return np.array(channels[0])
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused with its place
        total: NDArray[np.float32] = channels[0] + channels[1]
        for channel in channels[2:]:
            total += channel
        total *= np.float32(1.0 / len(channels))
    return total


def _checked(blocks: Blocks, name: str, source_rate: int) -> Blocks:
    """The blocks, as long as their samples are finite and of a size that sums can hold."""
    n_before = 0
    for block in blocks:
        peak = float(np.abs(block).max(initial=0.0))
        if not peak <= MAX_ABS_SAMPLE:
            at = n_before + int(np.argmin(np.abs(block) <= MAX_ABS_SAMPLE))
            raise _error(
                name,
                f"has the sample {block[at - n_before]} at {at / source_rate:.2f} s",
                "Expected finite samples, about -1 to 1",
            )
        n_before += len(block)
        yield block


def _resampled(blocks: Blocks, source_rate: int, sample_rate: int) -> tuple[NDArray[np.float32], int]:
    """All blocks as one array at the new rate, and the number of samples read at the old one."""
    import soxr

    stream = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")
    parts = [np.empty(0, dtype=np.float32)]
    n_read = 0
    for block in blocks:
        n_read += len(block)
        parts.append(block if source_rate == sample_rate else stream.resample_chunk(block))
    if source_rate != sample_rate:
        parts.append(stream.resample_chunk(np.empty(0, dtype=np.float32), last=True))
    return np.concatenate(parts), n_read


@contextmanager
def _av_container(file: BinaryIO, name: str) -> Iterator[Any]:
    """The file opened by FFmpeg's libraries, without their log and without leave to open anything else."""
    import av

    av.logging.set_level(None)
    try:
        with av.open(
            file, mode="r", metadata_errors="ignore", options={"protocol_whitelist": "none"}
        ) as container:
            if not container.streams.audio:
                raise _error(name, "has no audio track", advice=ADVICE)
            yield container
    except (av.FFmpegError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise _error(name, f"is damaged, cut short or not audio ({reason})") from problem


def _probe_av(file: BinaryIO, name: str) -> AudioInfo:
    with _av_container(file, name) as container:
        stream = container.streams.audio[0]
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        else:
            duration_s = (container.duration or 0) / 1e6  # FFmpeg counts a container in microseconds
        context = stream.codec_context
        return AudioInfo(duration_s, _source_rate(stream, name), context.channels, context.name)


def _source_rate(stream: Any, name: str) -> int:
    """Rate of an audio track in Hz; there is none where the codec is unknown."""
    context = stream.codec_context
    if context is None or not context.sample_rate:
        raise _error(name, "has an audio track of an unknown codec")
    _check_rate(context.sample_rate, name)
    return int(context.sample_rate)


def _check_rate(rate: int, name: str) -> None:
    lowest, highest = RATES_HZ
    if not lowest <= rate <= highest:
        raise _error(name, f"has a sample rate of {rate} Hz", f"Expected {lowest} to {highest} Hz")


def _decode_av(file: BinaryIO, name: str, sample_rate: int) -> NDArray[np.float32]:
    with _av_container(file, name) as container:
        stream = container.streams.audio[0]
        source_rate = _source_rate(stream, name)
        blocks = _checked(_gathered(_av_frames(container, stream, name, source_rate)), name, source_rate)
        return _resampled(blocks, source_rate, sample_rate)[0]


def _av_frames(container: Any, stream: Any, name: str, source_rate: int) -> Blocks:
    for frame in container.decode(stream):
        if frame.sample_rate != source_rate:
            raise _error(
                name,
                f"changes its sample rate from {source_rate} to {frame.sample_rate} Hz",
                "Expected one rate throughout",
                "Convert it to one rate first.",
            )
        yield _channels(frame)


def _channels(frame: Any) -> NDArray[np.float32]:
    """Samples of an FFmpeg frame as float32 (n_channels, n), integers scaled to [-1, 1)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)  # type: ignore[no-any-return]
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0  # type: ignore[no-any-return]
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)  # type: ignore[no-any-return]


def _gathered(frames: Blocks) -> Blocks:
    """Mono blocks of about BLOCK_SAMPLES from frames (n_channels, n): codecs hand out a thousand samples at a time."""
    held: list[NDArray[np.float32]] = []
    n_held = 0
    for frame in frames:
        if held and (n_held >= BLOCK_SAMPLES or len(frame) != len(held[0])):
            yield _mono(np.concatenate(held, axis=1))
            held, n_held = [], 0
        held.append(frame)
        n_held += frame.size
    if held:
        yield _mono(np.concatenate(held, axis=1))
