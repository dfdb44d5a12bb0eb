"""What changed between two fingerprints, readable: the function and a diff of it, the constant, the library.

Parts are compared by kind and name. A function that merely moved to another module has the same digest under another
name and is no change.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from earmark.cache.parts import CLASS, DATA_FILE, FUNCTION, LIBRARY, PARAMETER, PYTHON, Part

__all__ = ["Change", "diff_parts", "render"]

_ORDER = (PYTHON, LIBRARY, PARAMETER, DATA_FILE, "constant", FUNCTION, "value", CLASS)
_TITLE_WIDTH = 120


@dataclass(frozen=True)
class Change:
    """One difference: ``what`` is ``changed``, ``added`` or ``removed``; ``before`` and ``after`` source or value."""

    kind: str
    name: str
    what: str
    before: str
    after: str

    def render(self) -> str:
        """A title line, and for a changed function a unified diff of its source."""
        title = f"{self.kind} {self.name}"
        if self.what != "changed":
            return f"{title} {self.what}"
        if self.kind == DATA_FILE:
            return f"{title} changed in content"
        if self.kind in (FUNCTION, CLASS) or "\n" in self.before + self.after:
            return f"{title} changed\n{self._diff()}".rstrip()
        return f"{title}: {self.before} -> {self.after}"

    def _diff(self) -> str:
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), "before", "after", lineterm="", n=2
        )
        return "\n".join(f"    {line}" for line in list(lines)[2:])


def diff_parts(old: Sequence[Part], new: Sequence[Part]) -> list[Change]:
    """Changes from ``old`` to ``new`` parts, the most telling kinds first; empty if nothing differs."""
    before, after = _by_key(old), _by_key(new)
    changes = []
    for key in before.keys() & after.keys():
        lost, gained = _unmatched(before[key], after[key]), _unmatched(after[key], before[key])
        changes += [_changed(a, b) for a, b in zip(lost, gained, strict=False)]
        changes += [_one_sided(part, "removed") for part in lost[len(gained) :]]
        changes += [_one_sided(part, "added") for part in gained[len(lost) :]]
    lost = [part for key in before.keys() - after.keys() for part in before[key]]
    gained = [part for key in after.keys() - before.keys() for part in after[key]]
    for part in _unmatched(lost, gained, moved=True):
        changes.append(_one_sided(part, "removed"))
    for part in _unmatched(gained, lost, moved=True):
        changes.append(_one_sided(part, "added"))
    return sorted(
        _informative(changes), key=lambda change: (_ORDER.index(change.kind), change.name, change.what)
    )


def render(changes: Iterable[Change]) -> str:
    """All changes as text, one paragraph each; says so when there is none."""
    return "\n".join(change.render() for change in changes) or "nothing changed"


def _by_key(parts: Sequence[Part]) -> dict[tuple[str, str], list[Part]]:
    found: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        found.setdefault((part.kind, part.name), []).append(part)
    return found


def _unmatched(parts: Sequence[Part], others: Sequence[Part], moved: bool = False) -> list[Part]:
    """Parts without a counterpart of the same digest (and, if ``moved``, of the same last name)."""
    known = {(part.digest, part.name.rpartition(".")[2] if moved else "") for part in others}
    return [
        part for part in parts if (part.digest, part.name.rpartition(".")[2] if moved else "") not in known
    ]


def _changed(old: Part, new: Part) -> Change:
    return Change(new.kind, new.name, "changed", old.text, new.text)


def _one_sided(part: Part, what: str) -> Change:
    return Change(part.kind, part.name, what, *((part.text, "") if what == "removed" else ("", part.text)))


def _informative(changes: list[Change]) -> list[Change]:
    """Leave out what only follows from another change: a class or value whose own text is the same."""
    telling = [change for change in changes if change.what != "changed" or change.before != change.after]
    return telling or changes
