"""Files over HTTP that are whole, or a part to go on from; and archives from which nothing leaves its folder.

A download goes to ``NAME.part`` and is renamed when its size and checksum are those expected. A part that is there
already is gone on from (``Range``); where the server sends the whole again, it starts anew. What does not match after
having been gone on from is fetched once from the start, since the file may have changed in between.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO

from earmark.errors import InputError, UsageError
from earmark.tasks.meter.datasets.audio_files import without_audio_suffix

__all__ = ["RemoteFile", "checksum", "extract_audio", "fetch", "read_url"]

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60.0
ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
MAX_MEMBER_BYTES = 1 << 30
"""A clip of 30 s has a few MB; an archive that claims more for one member is none of clips."""

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: name below the folder, URL, and what is known of its content.

    `checksum` is ``md5:HEX`` or ``sha256:HEX``, or empty; `size` in bytes, or None.
    """

    name: str
    url: str
    checksum: str = ""
    size: int | None = None


def fetch(
    file: RemoteFile, folder: Path, *, on_bytes: OnBytes | None = None, pause_s: float = FIRST_PAUSE_S
) -> bool:
    """Fetch a file unless it is there with the right content.

    Parameters
    ----------
    file : RemoteFile
    folder : Path
        Made if absent.
    on_bytes : callable, optional
        Called with the number of bytes of each block.
    pause_s : float
        Wait before the second attempt; doubled each time.

    Returns
    -------
    bool
        False where it was there.

    Raises
    ------
    InputError
        The server refuses, breaks off too often, or sends other content.
    """
    target = folder / file.name
    if target.is_file() and _complaint(target, file) is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for is_last in (False, True):
        resumed = part.is_file() and part.stat().st_size > 0
        _download(file, part, on_bytes, pause_s)
        complaint = _complaint(part, file)
        if complaint is None:
            part.replace(target)
            return True
        part.unlink()
        if is_last or not resumed:
            raise InputError(
                f"{file.url} sent {complaint}. Expected the file as published. Try again later, or fetch "
                f"`{file.name}` by hand into `{folder}`."
            )
    raise AssertionError("unreachable")


def checksum(path: Path, kind: str) -> str:
    """Checksum of a file, ``kind:HEX``."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def read_url(url: str, *, pause_s: float = FIRST_PAUSE_S) -> bytes:
    """Content behind a URL, tried several times; raises InputError where it cannot be had."""
    content = b""

    def read() -> bool:
        nonlocal content
        with _opened(url, 0) as response:
            content = response.read()
        return True

    _tried(url, read, pause_s)
    return content


def extract_audio(archive: Path, folder: Path, name_of: Callable[[PurePosixPath], str | None]) -> int:
    """Write the files of a tar archive into one folder, flat.

    Parameters
    ----------
    archive : Path
    folder : Path
    name_of : callable
        Name in `folder` of a member by its path in the archive; None leaves it out. A name cannot lead elsewhere.

    Returns
    -------
    int
        Files of the archive that lie in the folder now.

    Raises
    ------
    InputError
        It is no tar archive, is cut short, two members get one name, or a member is larger than 1 GiB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    try:
        with tarfile.open(archive) as tar:
            for member in _clips(tar):
                name = name_of(PurePosixPath(member.name))
                if name is None:
                    continue
                name = PurePosixPath(name).name
                _refuse(archive, member, name, written)
                content = tar.extractfile(member)
                assert content is not None  # it is a regular file
                _write_stream(folder / name, content)
                written.add(name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"`{archive}` cannot be unpacked ({error}). Expected a whole tar archive. Remove it and fetch it again."
        ) from error
    return len(written)


def _clips(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular audio files of an archive: no links, devices or shadow files of other systems."""
    for member in tar:
        name = PurePosixPath(member.name).name
        if member.isreg() and not name.startswith(".") and without_audio_suffix(name) != name:
            yield member


def _refuse(archive: Path, member: tarfile.TarInfo, name: str, written: set[str]) -> None:
    if member.size > MAX_MEMBER_BYTES:
        raise InputError(
            f"`{archive}` claims {member.size} bytes for `{member.name}`; expected clips of a few MB."
        )
    if name in written:
        raise InputError(
            f"`{archive}` holds two files that would be `{name}`; expected each once. Unpack it by hand."
        )


def _write_stream(path: Path, content: IO[bytes]) -> None:
    """A member as a file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        while block := content.read(BLOCK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _complaint(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with a file's content, None where it is as expected, as far as that is known."""
    if file.checksum:
        found = checksum(path, file.checksum.partition(":")[0])
        return (
            None if found == file.checksum.lower() else f"content with {found}, published is {file.checksum}"
        )
    size = path.stat().st_size
    return f"{size} bytes instead of {file.size}" if file.size is not None and size != file.size else None


def _download(file: RemoteFile, part: Path, on_bytes: OnBytes | None, pause_s: float) -> None:
    _tried(file.url, lambda: _append(file, part, on_bytes), pause_s)


def _tried(url: str, attempt: Callable[[], bool], pause_s: float) -> None:
    """Run an attempt until it succeeds, with growing pauses; what will not change is not tried again."""
    for number in range(1, ATTEMPTS + 1):
        try:
            if attempt():
                return
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code < 500 and error.code not in (408, 429):
                break
        except (OSError, HTTPException) as error:
            problem = str(getattr(error, "reason", error))
        if number < ATTEMPTS:
            time.sleep(pause_s * 2 ** (number - 1))
    raise InputError(
        f"{url} cannot be fetched: {problem}. Expected an answer of the server. Try again later."
    )


def _append(file: RemoteFile, part: Path, on_bytes: OnBytes | None) -> bool:
    """Write what a part lacks; False where the connection ended before all was sent."""
    start = part.stat().st_size if part.is_file() else 0
    if file.size is not None and start == file.size:
        return True
    try:
        response = _opened(file.url, start)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the part is as long as the file, or longer: its content decides
            raise
        error.close()
        return True
    with response, part.open("ab" if start and response.status == 206 else "wb") as target:
        announced = response.headers.get("Content-Length")
        received = 0
        while block := response.read(BLOCK_BYTES):
            target.write(block)
            received += len(block)
            if on_bytes is not None:
                on_bytes(len(block))
        target.flush()
        os.fsync(target.fileno())
    return announced is None or received >= int(announced)


def _opened(url: str, start: int):  # type: ignore[no-untyped-def]  # urllib's response has no public type
    if not url.startswith(("https://", "http://")):
        raise UsageError(
            f"{url!r} is no address of the web; expected http:// or https://. Correct the catalogue."
        )
    headers = {"User-Agent": "earmark", **({"Range": f"bytes={start}-"} if start else {})}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
