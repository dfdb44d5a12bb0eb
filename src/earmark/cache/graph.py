"""The graph of live objects that a computation depends on, and the digest of what is reachable from given roots.

A node's own text leaves references open; references are numbered by the order in which a walk from the roots
discovers their targets. So neither names, nor modules, nor import order, nor the position in a file count, and
recursion is just a reference back. One graph serves many groups: each object is described once, each group's closure
is one walk over integers.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from earmark.cache import state
from earmark.cache.normal_form import INTROSPECTION, constant_text
from earmark.cache.parts import CONSTANT, LIBRARY, VALUE, Part
from earmark.cache.provenance import FOREIGN, origin_of

__all__ = ["Closure", "Graph", "Node"]

SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_TEXT_LIMIT = 2_000
"""Characters of a value's representation that are kept for display."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_BRIEF = reprlib.Repr()
_BRIEF.maxdict = _BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxset = _BRIEF.maxfrozenset = 100
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = _TEXT_LIMIT


class Node:
    """One object: its description with the references left open.

    ``name`` and ``source`` are for display; ``keywords`` the parameter names that count where a keyword of the
    closure can spell them; ``strings`` what could spell one; ``codes`` identify the code objects, for the data files
    they read.
    """

    __slots__ = (
        "codes", "constants", "digest", "external", "introspection", "keywords", "kind", "libraries", "lines",
        "name", "named", "obj", "open_keywords", "part", "references", "source", "strings",
    )  # fmt: skip

    def __init__(self, obj: Any, name: str) -> None:
        self.obj = obj
        self.name = name
        self.named = False
        self.kind = VALUE
        self.source = ""
        self.lines: list[str] = []
        self.references: list[int] = []
        self.keywords: list[str] = []
        self.strings: set[str] = set()
        self.introspection: set[str] = set()
        self.open_keywords = False
        self.libraries: set[str] = set()
        self.codes: set[str] = set()
        self.constants: list[Part] = []
        self.external = False
        self.digest = b""
        self.part: Part | None = None

    def write(self, text: str) -> None:
        """Add a line that counts."""
        self.lines.append(text)


class Closure:
    """All nodes reachable from some roots in order of discovery, and their common digest."""

    def __init__(self, graph: Graph, roots: Sequence[int]) -> None:
        self.graph = graph
        number: dict[int, int] = {}
        queue = deque(dict.fromkeys(roots))
        self.order: list[int] = []
        for root in queue:
            number[root] = len(number)
        while queue:
            index = queue.popleft()
            self.order.append(index)
            for target in graph.nodes[index].references:
                if target not in number:
                    number[target] = len(number)
                    queue.append(target)
        self.nodes = [graph.nodes[index] for index in self.order]
        self.digest = self._digest(number, roots)

    @property
    def libraries(self) -> dict[str, str]:
        """Third-party distributions reached, by name, with their versions."""
        names = {library for node in self.nodes for library in node.libraries}
        origins = {origin_of(name) for name in names}
        return {origin.distribution: origin.version for origin in sorted(origins)}

    @property
    def codes(self) -> set[str]:
        """Identities of all code objects, as `earmark.cache.data_files` names them."""
        return {code for node in self.nodes for code in node.codes}

    def _digest(self, number: dict[int, int], roots: Sequence[int]) -> bytes:
        spelled = frozenset().union(*(node.strings for node in self.nodes))
        all_names = any(node.open_keywords for node in self.nodes)
        looked_at = frozenset().union(*(node.introspection for node in self.nodes))
        state_ = hashlib.blake2b(digest_size=16)
        state_.update(repr([number[root] for root in roots]).encode())
        for node in self.nodes:
            state_.update(node.digest)
            state_.update(repr([number[target] for target in node.references]).encode())
            named = [
                keyword for keyword in node.keywords if all_names or keyword.partition(" ")[2] in spelled
            ]
            if named:
                state_.update(repr(named).encode())
            if looked_at:
                state_.update(_introspected(node.obj, looked_at).encode())
        for distribution, version in self.libraries.items():
            state_.update(f"library {distribution} {version}\n".encode())
        return state_.digest()

    def parts(self) -> list[Part]:
        """One part per own function, class and named value, and per library; sorted, each once."""
        found = {constant for node in self.nodes for constant in node.constants}
        found |= {part for index in self.order if (part := self.graph.part_of(index)) is not None}
        found |= {
            Part(LIBRARY, name, _short(version.encode()), version) for name, version in self.libraries.items()
        }
        return sorted(found, key=lambda part: (part.kind, part.name, part.digest))


class Graph:
    """Nodes by object identity.

    Parameters
    ----------
    describe : callable
        ``describe(graph, node, obj)`` writes the node of an object; it may add further nodes through `value`.
    permissive : bool
        Accept constructs that cannot be followed: the caller declared what they reach.
    own : frozenset of str
        Top-level module names that count as own although they are installed as distributions.
    folders : tuple of str
        Project folders; absolute paths below them are taken relative, so that a project can move.
    depth : int
        How many graphs this one is nested in, where elements of a set are put in order.
    """

    def __init__(
        self,
        describe: Callable[[Graph, Node, Any], None],
        *,
        permissive: bool = False,
        own: frozenset[str] = frozenset(),
        folders: tuple[str, ...] = (),
        depth: int = 0,
    ) -> None:
        self.nodes: list[Node] = []
        self.permissive = permissive
        self.own = own
        self.folders = folders
        self.depth = depth
        self._describe = describe
        self._index: dict[int, int] = {}
        self._is_own: dict[str, bool] = {}
        self._pending: deque[int] = deque()

    def add(self, obj: Any, name: str) -> int:
        """Index of the object's node; everything it reaches is described by the next `complete`."""
        index = self._index.get(id(obj))
        if index is None:
            index = self._index[id(obj)] = len(self.nodes)
            self.nodes.append(Node(obj, name))
            self._pending.append(index)
        return index

    def complete(self) -> None:
        """Describe all objects that were added, and all that they reach."""
        described = []
        while self._pending:
            index = self._pending.popleft()
            node = self.nodes[index]
            self._describe(self, node, node.obj)
            described.append(node)
        for node in described:
            node.digest = hashlib.blake2b("\n".join(node.lines).encode(), digest_size=16).digest()

    def value(self, node: Node, obj: Any, name: str, *, named: bool = False) -> None:
        """Write a reference to ``obj``, or the value itself where it is a scalar or a tuple of scalars.

        ``named`` values of own modules and classes become parts of their own, for `earmark cache why`.
        """
        text = self.scalar_text(obj)
        if text is None:
            index = self.add(obj, name)
            node.write("@")
            node.references.append(index)
            target = self.nodes[index]
            if named and not target.named:
                target.named = True
                if target.kind == VALUE:
                    target.name = name
            return
        node.write(text)
        if type(obj) is str:
            node.strings.add(obj)
        elif type(obj) is tuple:
            node.strings.update(element for element in obj if type(element) is str)
        if named:
            node.constants.append(Part(CONSTANT, name, _short(text.encode()), _shown(obj)))

    def scalar_text(self, obj: Any) -> str | None:
        """Canonical text of a scalar or of a tuple of them; None for everything else."""
        kind = type(obj)
        if kind is str:
            return f"str {self.relative(obj)!a}" if "/" in obj or "\\" in obj else f"str {obj!a}"
        if kind in SCALARS:
            return constant_text(obj)
        if kind is tuple and len(obj) < 64:
            texts = [self.scalar_text(element) for element in obj]
            return None if None in texts else f"tuple({', '.join(map(str, texts))})"
        return None

    def relative(self, path: str) -> str:
        """An absolute path below a project folder as seen from that folder; any other text unchanged."""
        for folder in self.folders:
            if path == folder or path.startswith((folder + "/", folder + "\\")):
                return "<project>" + path[len(folder) :]
        return path

    def library(self, node: Node, module: str) -> None:
        """Note that a node touches a third-party module."""
        if not self.is_own(module) and origin_of(module).kind == FOREIGN:
            node.libraries.add(module.partition(".")[0])

    def is_own(self, module: str) -> bool:
        """True for the project's own modules, and for names under which generated code runs."""
        return module.partition(".")[0] in self.own or origin_of(module).kind not in (
            FOREIGN,
            "standard library",
        )

    def closure(self, roots: Iterable[int]) -> Closure:
        """Everything reachable from the nodes ``roots``."""
        return Closure(self, list(roots))

    def part_of(self, index: int) -> Part | None:
        """The part that stands for a node, if it is worth showing: own functions and classes, and named values."""
        node = self.nodes[index]
        if node.part is None and not node.external and (node.kind != VALUE or node.named):
            digest = self._content(index) if node.kind == VALUE else self._surface(node)
            text = node.source if node.kind != VALUE else _shown(state.content(node.obj))
            node.part = Part(node.kind, node.name, _short(digest), text)
        return node.part

    def _surface(self, node: Node) -> bytes:
        """The node itself and the last names of what it refers to: calling another helper is a change too."""
        names = [self.nodes[target].name.rpartition(".")[2] for target in node.references]
        return node.digest + "\n".join(names).encode()

    def _content(self, root: int) -> bytes:
        """The node with everything in it that is not shown as a part of its own."""
        seen, queue, found = {root}, [root], b""
        while queue:
            index = queue.pop(0)
            found += self.nodes[index].digest
            for target in self.nodes[index].references:
                if target not in seen and self.nodes[target].kind == VALUE and not self.nodes[target].named:
                    seen.add(target)
                    queue.append(target)
        return found


def _introspected(obj: Any, looked_at: frozenset[str]) -> str:
    """Names, docstring or annotations of a node where the code of the closure reads such things."""
    found = []
    for name in sorted(looked_at & INTROSPECTION):
        if name in ("__annotations__", "annotation", "get_annotations", "get_type_hints"):
            name = "__annotations__"
        elif name == "getdoc":
            name = "__doc__"
        value = (
            vars(obj).get(name)
            if isinstance(obj, type)
            else getattr(obj, name, None)
            if callable(obj)
            else None
        )
        found.append(f"{name} {value!r}")
    return "\n".join(found)


def _shown(value: Any) -> str:
    try:
        text = _BRIEF.repr(value)
    except Exception as error:  # noqa: BLE001  a user's __repr__ may raise anything; this is for display only
        text = f"<{type(value).__qualname__} whose repr failed: {error}>"
    text = _ADDRESS.sub("", text)
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + f"... ({len(text)} characters)"


def _short(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
