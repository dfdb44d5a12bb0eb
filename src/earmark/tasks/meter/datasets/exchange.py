"""What changed from one label file to another; the clips themselves need not exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.meter.datasets.plain import read_plain

__all__ = ["diff_rows"]


def diff_rows(
    before: str | Path, after: str | Path, *, relocate: Sequence[str] = ()
) -> list[dict[str, str | None]]:
    """One row per ``change`` (``new``, ``removed``, ``relabelled``), with ``path``, ``before`` and ``after``.

    Raises
    ------
    UsageError
        A file cannot be read, or `relocate` was given, which label files of this task do not know.
    """
    if relocate:
        raise UsageError(
            f"--relocate {relocate[0]} was given for label files of meter, whose paths are compared as written. "
            "Leave it out."
        )
    old, new = _labels(Path(before)), _labels(Path(after))
    changes: list[tuple[str, str, str | None, str | None]] = [
        *(("new", name, None, new[name]) for name in sorted(new.keys() - old.keys())),
        *(("removed", name, old[name], None) for name in sorted(old.keys() - new.keys())),
        *(
            ("relabelled", name, old[name], new[name])
            for name in sorted(old.keys() & new.keys())
            if old[name] != new[name]
        ),
    ]
    return [dict(zip(("change", "path", "before", "after"), change, strict=True)) for change in changes]


def _labels(file: Path) -> dict[str, str]:
    """Soft label of each path that has one."""
    rows, _ = read_plain(file)
    return {row.name: row.meters for row in rows if row.meters}
