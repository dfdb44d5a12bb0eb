"""Which file system a folder is on, and the refusal of those that cannot hold a cache.

LMDB needs memory maps that all processes see alike and locks that reach all of them. Network file systems
promise neither: two machines that write at once corrupt the store. So they are refused before anything is
created there.

The type is read from ``/proc/self/mountinfo`` on Linux (format: proc_pid_mountinfo(5)) and from the output of
``mount`` on macOS. Where neither exists the type is unknown (``None``) and the folder is accepted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from earmark.errors import CacheError

__all__ = ["ALLOW_NETWORK_VARIABLE", "file_system_type", "is_network", "refuse_network"]

ALLOW_NETWORK_VARIABLE = "EARMARK_CACHE_ALLOW_NETWORK"

# fmt: off
NETWORK_TYPES = frozenset({
    "9p", "acfs", "afpfs", "afs", "auristorfs", "beegfs", "ceph", "cifs", "coda",
    "davfs", "fhgfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs3", "nfs4", "ocfs2", "orangefs", "osxfuse", "macfuse", "panfs", "pvfs2", "smb",
    "smb2", "smb3", "smbfs", "sshfs", "vboxsf", "vmhgfs", "webdav",
})
"""Served by another machine or by the host of a virtual one, as Linux and macOS spell them."""

LOCAL_FUSE = frozenset({
    "bindfs", "cryfs", "encfs", "exfat", "exfat-fuse", "fuse-overlayfs",
    "gocryptfs", "mergerfs", "ntfs", "ntfs-3g", "squashfuse", "unionfs",
})
# fmt: on
"""FUSE programs on a local disk. All others (sshfs, rclone, s3fs, gcsfuse, drive, ...) count as network."""


def refuse_network(folder: Path) -> None:
    """Raise `CacheError` when ``folder`` (which need not exist yet) lies on a network file system.

    ``EARMARK_CACHE_ALLOW_NETWORK=1`` accepts it, for a mount that only one machine uses.
    """
    if os.environ.get(ALLOW_NETWORK_VARIABLE) == "1":
        return
    kind = file_system_type(folder)
    if kind is not None and is_network(kind):
        raise CacheError(
            f"The cache folder {folder} is on a network file system ({kind}), where two machines that "
            "write would corrupt it. It must lie on a local disk. Set EARMARK_CACHE to a local folder, "
            f"or {ALLOW_NETWORK_VARIABLE}=1 if only this machine ever uses that mount."
        )


def is_network(kind: str) -> bool:
    """Whether the file system type ``kind`` is served from outside this machine."""
    name = kind.lower()
    if name.startswith("fuse."):
        return name.removeprefix("fuse.") not in LOCAL_FUSE
    return name == "fuse" or name in NETWORK_TYPES


def file_system_type(folder: Path) -> str | None:
    """Type of the file system that holds ``folder``, which need not exist; ``None`` where it is unknown."""
    mounts = _mounts()
    path = folder.resolve()
    holders = [point for point in mounts if path.is_relative_to(point)]
    if not holders:
        return None
    return mounts[max(holders, key=lambda point: len(Path(point).parts))]


def _mounts() -> Mapping[str, str]:
    """Mount point -> type; where one is mounted over another, the later one."""
    table = Path("/proc/self/mountinfo")
    if table.exists():
        return parse_mountinfo(table.read_text(encoding="utf-8", errors="surrogateescape"))
    if sys.platform == "darwin":
        listing = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=True).stdout
        return parse_mount_listing(listing)
    return {}


def parse_mountinfo(text: str) -> dict[str, str]:
    """Mount point -> type from the text of Linux's ``mountinfo``."""
    mounts = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        if separator:
            mounts[_unescape(before.split(" ")[4])] = after.split(" ")[0]
    return mounts


def parse_mount_listing(text: str) -> dict[str, str]:
    """Mount point -> type from lines such as ``/dev/disk1 on / (apfs, local)``, as macOS prints them."""
    mounts = {}
    for line in text.splitlines():
        place, separator, flags = line.rpartition(" (")
        if separator and " on " in place:
            mounts[place.partition(" on ")[2]] = flags.rstrip(")").split(",")[0]
    return mounts


def _unescape(field: str) -> str:
    """Undo the octal escapes that the kernel writes for space, tab, newline and backslash."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
