"""`earmark web`: the same from a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    import socket

    from earmark.web.settings import WebSettings

__all__ = ["web"]


@command("web")
@click.option(
    "--host", default="127.0.0.1", help="Address to listen on; any but this machine's asks for a token."
)
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, help="Port; 0 takes a free one.")
@click.option("--open/--no-open", "opens", default=False, help="Open the page in the browser.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the token (default: EARMARK_WEB_TOKEN, else one is made and kept).",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder besides the project's whose files pages may name; may be repeated.",
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name of a proxy in front of it."
)
@click.option("--max-upload-mb", type=click.IntRange(1, 10_000), default=50, help="Largest upload, MiB.")
@click.option("--jobs", "n_jobs", type=click.IntRange(1, 16), default=1, help="Jobs that run at once.")
@click.pass_obj
def web(
    invocation: Invocation,
    host: str,
    port: int,
    opens: bool,
    token_file: Path | None,
    allowed: tuple[Path, ...],
    hosts: tuple[str, ...],
    max_upload_mb: int,
    n_jobs: int,
) -> int:
    """Serve pages for the project: start a training and watch it, drop a track, see a room or an exchange live.

    Everything runs on this machine and works offline. Jobs are the commands of this program in processes of their
    own: they go on when the server ends, and are found again when it starts.

    \b
    Examples:
      earmark web
      earmark web --open --port 8080
      earmark web --host 0.0.0.0           # other machines, with the token that is printed
      earmark web --allow ~/Music --max-upload-mb 200
    """
    from earmark.web.settings import MEBIBYTE, WebSettings

    folder = invocation.folder.resolve()
    invocation.settings()  # a folder that is none, or settings that are wrong, are told before anything listens
    listening = _listening(host, port)
    settings = WebSettings(
        folder=folder,
        host=host,
        port=listening.getsockname()[1],
        token=_token(folder, host, token_file),
        allowed_folders=tuple(one.resolve() for one in allowed),
        allowed_hosts=hosts,
        max_upload_bytes=max_upload_mb * MEBIBYTE,
        n_jobs=n_jobs,
    )
    return _serve(settings, listening, opens=opens)


def _serve(settings: WebSettings, listening: socket.socket, *, opens: bool) -> int:
    try:
        import python_multipart  # noqa: F401
        import uvicorn

        from earmark.web.app import create_app
    except ImportError as error:
        from earmark.errors import MissingExtraError

        if (error.name or "").startswith("earmark"):
            raise  # a defect of our own is no package to install
        raise MissingExtraError(error.name or "fastapi", "web", "`earmark web`") from error

    app = create_app(settings)
    address = settings.url + (f"login?token={settings.token}" if settings.token else "")
    print(f"earmark is at {address}  (Ctrl-C ends it; jobs go on)", file=sys.stderr, flush=True)
    if opens:
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, ws_max_size=1 << 20
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """A socket on the address, taken before anything else is started."""
    import socket

    from earmark.errors import UsageError

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)  # the address is printed before the server accepts: who connects at once waits
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"Cannot listen on {host} port {port}: {reason}. Name another with --port, or 0 for a free one."
        ) from error
    return listening


def _token(folder: Path, host: str, file: Path | None) -> str | None:
    """The token that was given, else, on an address that others reach, the one that belongs to the project's secret."""
    import os

    from earmark.web.secret import Secret
    from earmark.web.settings import is_local

    if file is not None:
        return _read(file)
    if is_local(host):
        return None
    return os.environ.get("EARMARK_WEB_TOKEN") or Secret.of(folder / ".earmark" / "web" / "secret").token()


def _read(file: Path) -> str:
    from earmark.errors import UsageError

    found = file.read_text(encoding="utf-8").strip()
    if len(found) < 16:
        raise UsageError(f"`{file}` holds a token of {len(found)} characters; expected 16 or more.")
    return found
