"""What can be heard: sound devices, files and streams that FFmpeg opens, and pipes of raw samples.

====================  =============================================================================================
source                where it ends
====================  =============================================================================================
`DeviceSource`        never; a device that vanishes may come back
`MediaSource`         a file at its end; an address (``rtsp://``, ``http://`` ...) never, it may come back
`PcmSource`           standard input at its end; a named pipe never: who writes into it may come back
====================  =============================================================================================

Conventions: mono float32, channels averaged with equal weight as in `earmark.audio.decode`.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import mono_frames
from earmark.errors import DecodeError, EarmarkError, MissingExtraError, UsageError
from earmark.inference.capture import Inbox
from earmark.inference.pcm import PcmDecoder, PcmFormat

__all__ = ["DeviceSource", "MediaSource", "PcmSource", "input_devices", "is_pipe"]

Samples = NDArray[np.float32]

READ_BYTES = 1 << 14
AHEAD_S = 2.0
"""A file that need not wait for the clock waits for its reader instead."""
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 10.0
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


class DeviceSource:
    """A sound device, by PortAudio.

    Parameters
    ----------
    device : int, str or None
        Number, name or part of a name; None is the one that the system prefers.
    sample_rate : int
        Hz.
    block_s : float
        Seconds between two callbacks.

    Raises
    ------
    MissingExtraError
        The package `sounddevice`, or the PortAudio library that it needs, is not installed.
    UsageError
        There is no such device.
    """

    comes_back = reopens_when_silent = True

    def __init__(self, device: int | str | None, *, sample_rate: int, block_s: float) -> None:
        self.sample_rate = sample_rate
        self.name = "the default sound device" if device in (None, "") else str(device)
        self.problem: str | None = None
        self._device = None if device == "" else device
        self._block = max(1, round(block_s * sample_rate))
        self._sound = _sound_library()
        self._stream: Any = None
        self._was_started = False
        self._require_device()

    @property
    def is_running(self) -> bool:
        """Whether the device is open; `problem` tells why not."""
        if self._stream is not None and not self._stream.active and self.problem is None:
            self.problem = "the device went away"
        return self._stream is not None and self.problem is None

    def start(self, inbox: Inbox) -> None:
        """Open the device; what PortAudio refuses is told by `problem`."""

        def keep(data: Samples, _n: int, _time: Any, status: Any) -> None:
            inbox.put(data[:, 0].copy(), overflowed=bool(status.input_overflow))

        if self._was_started:
            # PortAudio lists devices once, when it starts: what was plugged in since is only seen after a new start.
            self._sound._terminate()
            self._sound._initialize()
        self._was_started, self.problem = True, None
        try:
            self._stream = self._sound.InputStream(
                samplerate=self.sample_rate,
                channels=1,
                dtype="float32",
                device=self._device,
                blocksize=self._block,
                callback=keep,
            )
            self._stream.start()
        except (self._sound.PortAudioError, ValueError) as problem:
            self.problem = str(problem)

    def stop(self) -> None:
        """Close the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except self._sound.PortAudioError as problem:  # it is gone already
                self.problem = self.problem or str(problem)

    def _require_device(self) -> None:
        try:
            self._sound.query_devices(self._device, "input")
        except (ValueError, self._sound.PortAudioError) as problem:
            names = ", ".join(one["name"] for one in input_devices()["devices"])
            raise UsageError(
                f"{self.name} cannot be heard ({problem}). Expected a microphone. "
                f"Name one of: {names or 'none was found'}."
            ) from problem


def input_devices() -> dict[str, Any]:
    """Sound devices that can hear: ``default_input``, ``default_output`` (numbers or null), and ``devices``.

    Raises
    ------
    MissingExtraError
        As of `DeviceSource`.
    """
    sound = _sound_library()
    default_input, default_output = (int(number) for number in sound.default.device)
    return {
        "default_input": default_input if default_input >= 0 else None,
        "default_output": default_output if default_output >= 0 else None,
        "devices": [
            {
                "index": number,
                "name": str(one["name"]),
                "max_input_channels": int(one["max_input_channels"]),
                "default_samplerate": float(one["default_samplerate"]),
            }
            for number, one in enumerate(sound.query_devices())
            if one["max_input_channels"] > 0
        ],
    }


def _sound_library() -> Any:
    try:
        return import_module("sounddevice")
    except (ImportError, OSError):  # the package loads PortAudio when it is imported
        raise MissingExtraError("sounddevice", "live", "Hearing a microphone") from None


class _ThreadSource:
    """A source that is read by a thread; subclasses give its samples."""

    reopens_when_silent = False

    def __init__(self, name: str, sample_rate: int, *, ends: bool, is_paced: bool, waits: bool) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.comes_back = not ends
        self.problem: str | None = None
        self._is_paced, self._waits = is_paced, waits
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether more may come."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, inbox: Inbox) -> None:
        """Begin to read; what goes wrong is told by `problem`."""
        self.problem, self._stopped = None, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(inbox, self._stopped), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that waits for a network ends when that answers, and puts nothing any more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self, inbox: Inbox, stopped: threading.Event) -> None:
        problem = "it ended" if self.comes_back else None
        try:
            self._put_all(inbox, stopped)
        except EarmarkError as error:
            problem = str(error).rstrip(".")
        except Exception as error:  # noqa: BLE001  a decoder may raise anything on hostile bytes; the reader is told
            problem = f"{type(error).__name__}: {error}"
        if not stopped.is_set():
            self.problem = problem

    def _put_all(self, inbox: Inbox, stopped: threading.Event) -> None:
        started, n_put = time.monotonic(), 0
        for samples in self._pieces(stopped):
            n_put += len(samples)
            if self._is_paced:
                stopped.wait(max(0.0, started + n_put / self.sample_rate - time.monotonic()))
            while self._waits and inbox.waiting_s > AHEAD_S and not stopped.is_set():
                stopped.wait(0.005)
            if stopped.is_set():
                return
            inbox.put(samples)

    def _pieces(self, stopped: threading.Event) -> Iterator[Samples]:
        raise NotImplementedError


class MediaSource(_ThreadSource):
    """A file or an address, by FFmpeg's libraries.

    Parameters
    ----------
    uri : str
        A path, or an address that FFmpeg opens.
    is_paced : bool
        Give a file no faster than it sounds.

    Raises
    ------
    DecodeError
        A file that is not there, or no audio. An address is only tried when it is started.
    """

    def __init__(self, uri: str, *, sample_rate: int, is_paced: bool = True) -> None:
        is_address = _ADDRESS.match(uri) is not None
        self.reopens_when_silent = is_address
        self._uri = uri
        if not is_address and not Path(uri).is_file():
            raise DecodeError(
                f"`{uri}` does not exist. Expected an audio file, a pipe or an address. Check the path."
            )
        super().__init__(
            uri,
            sample_rate,
            ends=not is_address,
            is_paced=is_paced and not is_address,
            waits=not is_paced and not is_address,
        )

    def _pieces(self, stopped: threading.Event) -> Iterator[Samples]:
        import av
        import soxr

        resampler: Any = None
        rate = 0
        with av.open(
            self._uri, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S), options=self._options()
        ) as container:
            if not container.streams.audio:
                raise DecodeError("it has no audio track")
            for frame in container.decode(container.streams.audio[0]):
                if stopped.is_set():
                    return
                mono = mono_frames(frame)
                if frame.sample_rate != rate:  # the first frame, or a stream that changed its rate
                    rate = frame.sample_rate
                    resampler = soxr.ResampleStream(rate, self.sample_rate, 1, dtype="float32", quality="HQ")
                yield mono if rate == self.sample_rate else resampler.resample_chunk(mono)
        if resampler is not None and rate != self.sample_rate:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)

    def _options(self) -> dict[str, str]:
        # Over UDP a busy network loses packets, which sounds like clanks; TCP is asked for.
        return {"rtsp_transport": "tcp"} if self._uri.startswith("rtsp") else {}


class PcmSource(_ThreadSource):
    """Raw samples of a named pipe, or of an open file such as standard input.

    Parameters
    ----------
    source : str or int
        Path of the pipe, or a file descriptor.
    pcm : PcmFormat
    waits : bool
        Let who writes wait for the reader, instead of dropping the oldest audio.
    """

    def __init__(self, source: str | int, pcm: PcmFormat, *, waits: bool = False) -> None:
        self._source, self._pcm = source, pcm
        name = source if isinstance(source, str) else "<stdin>"
        super().__init__(name, pcm.sample_rate, ends=isinstance(source, int), is_paced=False, waits=waits)

    def _pieces(self, stopped: threading.Event) -> Iterator[Samples]:
        decoder = PcmDecoder(self._pcm, [self.sample_rate], self.name)
        for data in self._bytes(stopped):
            samples = decoder.push(data)[self.sample_rate]
            if len(samples):
                yield samples
        if not stopped.is_set():
            yield decoder.finish()[self.sample_rate]

    def _bytes(self, stopped: threading.Event) -> Iterator[bytes]:
        """Bytes as they come, until who writes has left; notices within 100 ms that the reader stops."""
        descriptor = self._source
        if isinstance(descriptor, str):  # not to wait in `open` for one who writes
            descriptor = os.open(descriptor, os.O_RDONLY | os.O_NONBLOCK)
        try:
            has_begun = False
            while not stopped.is_set():
                if not select.select([descriptor], [], [], 0.1)[0]:
                    continue
                data = os.read(descriptor, READ_BYTES)
                if data:
                    has_begun = True
                    yield data
                elif has_begun or isinstance(self._source, int):
                    return
                else:  # nobody writes into the pipe yet
                    stopped.wait(0.05)
        finally:
            if isinstance(self._source, str):
                os.close(descriptor)


def is_pipe(path: str) -> bool:
    """Whether `path` is a named pipe."""
    return Path(path).is_fifo()
