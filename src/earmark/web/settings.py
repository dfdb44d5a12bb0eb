"""What a server was started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WebSettings", "is_local"]

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class WebSettings:
    """Options of a server; plain values, so that a process that answers can be given them.

    Parameters
    ----------
    folder : Path
        Project folder; pages may name paths inside it.
    host, port
        Address that is listened on.
    token : str or None
        What every request must show; None on a local address.
    allowed_folders : tuple of Path
        Folders beside the project whose files pages may name.
    allowed_hosts : tuple of str
        Names besides those of this machine under which it may be asked, as a reverse proxy does.
    max_upload_bytes : int
        Of one request.
    n_jobs : int
        Jobs that run at once.
    allows_uris : bool
        Whether forms may name URIs, which the server would then open.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_folders: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 50 * MEBIBYTE
    n_jobs: int = 1
    allows_uris: bool = False

    @property
    def state_folder(self) -> Path:
        """Where jobs, uploads and the server's secret are kept."""
        return self.folder / ".earmark" / "web"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = self.host if self.host not in ("0.0.0.0", "::") else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def is_local(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name may stand for any address
