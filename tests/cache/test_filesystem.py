"""Network file systems are told apart from local ones and refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.cache import filesystem
from earmark.cache.entries import FeatureCache
from earmark.cache.filesystem import file_system_type, is_network, parse_mount_listing, parse_mountinfo
from earmark.errors import CacheError

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw,relatime shared:2 master:3 - nfs4 server:/export rw,vers=4.2
31 22 0:41 / /mnt/with\\040space rw - cifs //server/share rw
32 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
33 22 0:50 / /home/me/remote rw,nosuid - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.rclone", "fuse", "9p"]
)
def test_network_types(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "apfs", "tmpfs", "overlay", "fuseblk", "fuse.mergerfs"]
)
def test_local_types(kind: str) -> None:
    assert not is_network(kind)


def test_linux_mounts() -> None:
    assert parse_mountinfo(MOUNTINFO) == {
        "/": "ext4",
        "/mnt/share": "nfs4",
        "/mnt/with space": "cifs",
        "/mnt/share/local": "xfs",
        "/home/me/remote": "fuse.sshfs",
    }


def test_macos_mounts() -> None:
    listing = "/dev/disk3s1 on / (apfs, local, journaled)\n//me@host/Music on /Volumes/My Music (1) (smbfs, nodev)\n"
    assert parse_mount_listing(listing) == {"/": "apfs", "/Volumes/My Music (1)": "smbfs"}


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/cache", "ext4"),
        ("/mnt/share/a/b", "nfs4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/share/local/cache", "xfs"),
        ("/home/me/remote", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_counts(folder: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_mounts", lambda: parse_mountinfo(MOUNTINFO))
    assert file_system_type(Path(folder)) == kind


def test_this_machine_knows_its_own(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("needs /proc/self/mountinfo")
    assert file_system_type(tmp_path) is not None


def test_a_network_folder_is_refused_with_a_reason_and_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARMARK_CACHE_ALLOW_NETWORK", raising=False)
    monkeypatch.setattr(filesystem, "_mounts", lambda: {"/": "ext4", str(tmp_path.resolve()): "nfs4"})
    with pytest.raises(CacheError, match=r"nfs4.*local disk.*EARMARK_CACHE_ALLOW_NETWORK=1"):
        FeatureCache(tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("EARMARK_CACHE_ALLOW_NETWORK", "1")
    FeatureCache(tmp_path / "cache").close()
