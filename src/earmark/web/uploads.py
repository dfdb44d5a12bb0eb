"""Files that a browser sends: measured as they come, kept under a name of this server's own.

An upload lies in a folder of its own below ``.earmark/web/uploads``, under its own last name, so that what reads
it sees the suffix that the user gave. What is refused, or cut short, leaves nothing.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from earmark.web.settings import MEBIBYTE

__all__ = ["Upload", "body_of_files", "discard", "discard_old", "safe_name", "take"]

FOLDER = "uploads"
OLD_S = 24 * 3600.0
_FORM_BYTES = 1 << 16
"""What the boundaries and the other fields of a form may take beside its files."""


@dataclass(frozen=True)
class Upload:
    """A file that came."""

    path: Path
    name: str
    n_bytes: int
    fields: dict[str, str]


async def take(
    request: Request,
    *,
    suffixes: Collection[str],
    max_bytes: int | None = None,
    n_files: int = 1,
    field: str = "file",
) -> list[Upload]:
    """Receive the files of a form.

    Parameters
    ----------
    request : Request
        With a body of ``multipart/form-data``.
    suffixes : collection of str
        What names may end with, as ``.wav``; the content is judged by what reads it.
    max_bytes : int, optional
        Of all files together; default: the server's limit.
    n_files : int
        Files at most.
    field : str
        Name of the form's field.

    Raises
    ------
    HTTPException
        400 no such form, or no file; 413 too large; 415 another kind of file.
    """
    site = request.app.state.site
    limit = max_bytes or site.settings.max_upload_bytes
    form = await _form(request, limit, n_files)
    try:
        files = [one for one in form.getlist(field) if isinstance(one, UploadFile) and one.filename]
        if not files:
            raise HTTPException(400, f"No file came in the field `{field}`. Choose a file and send it again.")
        _require_suffixes(files, suffixes)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        root = site.settings.state_folder / FOLDER
        return await run_in_threadpool(lambda: [_kept(root, one, fields) for one in files])
    finally:
        await form.close()


def body_of_files(*, many: bool = True, field: str = "file") -> dict[str, Any]:
    """What OpenAPI says of a route that calls `take`: its ``openapi_extra``."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    sent = {"type": "array", "items": file} if many else file
    schema = {"type": "object", "required": [field], "properties": {field: sent}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def discard(upload: Upload) -> None:
    """Forget a file and its folder."""
    shutil.rmtree(upload.path.parent, ignore_errors=True)


def discard_old(root: Path, now_s: float) -> int:
    """Forget uploads of more than a day ago; how many there were."""
    old = [folder for folder in root.glob("*") if now_s - folder.stat().st_mtime > OLD_S]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)


def safe_name(name: str) -> str:
    """The last part of a name that a browser sent, without what a file system or a shell reads as more.

    Examples
    --------
    >>> safe_name("../../etc/passwd.wav"), safe_name("C:\\\\songs\\\\a b.mp3"), safe_name("..")
    ('passwd.wav', 'a b.mp3', 'upload')
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*\0').strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    return (f"{stem[:100]}{dot}{suffix[:10]}" if dot else kept[:100]) or "upload"


async def _form(request: Request, limit: int, n_files: int) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(400, "Files come as multipart/form-data, in the field `file`.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit + _FORM_BYTES:
        raise _too_large(limit)
    parser = MultiPartParser(
        request.headers, _measured(request.stream(), limit + _FORM_BYTES), max_files=n_files, max_fields=32
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form cannot be read: {error.message}") from error
    except KeyError as error:
        raise HTTPException(400, "The form names no boundary between its parts.") from error


async def _measured(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    async for chunk in stream:
        n_bytes += len(chunk)
        if n_bytes > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> HTTPException:
    return HTTPException(
        413,
        f"The upload is larger than {limit // MEBIBYTE} MiB. Cut it, or start the server with --max-upload-mb.",
    )


def _require_suffixes(files: Sequence[UploadFile], suffixes: Collection[str]) -> None:
    for file in files:
        suffix = Path(safe_name(file.filename or "")).suffix.lower()
        if suffix not in suffixes:
            raise HTTPException(
                415,
                f"`{safe_name(file.filename or '')}` is not a kind of file that is read here. "
                f"Expected: {', '.join(sorted(suffixes))}.",
            )


def _kept(root: Path, file: UploadFile, fields: dict[str, str]) -> Upload:
    folder = root / secrets.token_hex(8)
    folder.mkdir(parents=True)
    path = folder / safe_name(file.filename or "")
    try:
        with path.open("xb") as target:
            shutil.copyfileobj(file.file, target, MEBIBYTE)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Upload(path, path.name, path.stat().st_size, fields)
