"""Binds the symbolic references of a normal form to the live objects they mean right now.

``cfg.audio.GAIN`` is followed through modules, classes and instances for as long as nothing but stored attributes is
involved, so that a function depends on the one value it reads and not on all of ``cfg``. Where a property, a
``__getattribute__`` or the like comes in, the whole object is taken.
"""

from __future__ import annotations

import builtins
import enum
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType, ModuleType
from typing import Any

from earmark.cache import state
from earmark.cache.bytecode import decode
from earmark.cache.dynamic import CONSTANT_DECIDES, MAKERS, NATIVE_READERS, UNFOLLOWABLE, unfollowable
from earmark.cache.graph import SCALARS, Graph, Node
from earmark.cache.provenance import MISSING, OWN, origin_of
from earmark.cache.symbols import Argument, Calling, Import, Load, Mutation, Nested, NormalForm, Parameter
from earmark.errors import FingerprintError

__all__ = [
    "Binder",
    "attributes_of",
    "external_name",
    "note_mutations",
    "static_attribute",
    "write_own_members",
]

_MODULE_NAMES = {
    "__name__",
    "__file__",
    "__package__",
    "__spec__",
    "__doc__",
    "__path__",
    "__loader__",
    "__cached__",
}
_MISSING = object()
_HEAP_TYPE = 1 << 9
"""Flag of classes made by Python code: only these can be changed."""

_PLAIN_METACLASSES = {"builtins.type", "abc.ABCMeta"}


class Binder:
    """Writes one function's normal form to its node."""

    def __init__(self, graph: Graph, node: Node, form: NormalForm, namespace: dict[str, Any]) -> None:
        self.graph = graph
        self.node = node
        self.form = form
        self.namespace = namespace
        self.module = str(namespace.get("__name__", "builtins"))
        self.called: dict[int, FunctionType] = {}

    def bind(self, form: NormalForm) -> None:
        """Write ``form`` and what is nested in it."""
        node = self.node
        node.codes.add(code_identity(form))
        if "__subclasses__" in form.code.co_names and not self.graph.permissive:
            offset = next(ins.offset for ins in decode(form.code) if ins.value == "__subclasses__")
            raise unfollowable("builtins.type.__subclasses__", form.code, offset, self.module)
        for token in form.tokens:
            if type(token) is str:
                node.write(token)
            elif type(token) is Load:
                self._load(form, token)
            elif type(token) is Parameter:
                node.keywords.append(f"{len(node.codes)}:{token.position} {token.name}")
            elif type(token) is Nested:
                self._nested(token.form)
            elif type(token) is Calling:
                self._calling(token)
            elif type(token) is Import:
                self._import(form, token)

    def _nested(self, form: NormalForm) -> None:
        outer, self.called = self.called, {}
        self.node.write("{")
        self.bind(form)
        self.node.write("}")
        self.called = outer

    def _calling(self, token: Calling) -> None:
        """A call, with keywords in the place of their parameters and constant defaults spelled out where possible."""
        function = self.called.get(token.callee)
        filled = None if function is None else _filled(self.graph, function, token)
        if filled is None:
            self.node.strings.update(token.names)
            self.node.write(f"CALL {token.count} {token.names}")
            return
        for text in filled:
            self.node.write(f"LOAD_CONST {text}")
        self.node.write(f"CALL {token.count + len(filled)} ()")

    def _load(self, form: NormalForm, load: Load) -> None:
        name, attributes = load.name, load.attributes
        if name in self.namespace:
            if name in _MODULE_NAMES:
                self.node.write(f"module {name}")
                self._rest(attributes)
                return
            obj = state.held(self.namespace, name, self.namespace[name])
            shown = f"{self.module}.{name}"
        else:
            obj = vars(builtins).get(name, state.ABSENT)
            if obj is not state.ABSENT:
                self._foreign(form, builtins, "builtins", (name, *attributes), load)
                return
            shown = name
        if obj is state.ABSENT:
            self.node.write(f"undefined {name}")
            self._rest(attributes)
            return
        if load.through_getattr and "getattr" in self.namespace:
            attributes = attributes[:-1]
        self._reach(form, obj, shown, attributes, load)

    def _import(self, form: NormalForm, token: Import) -> None:
        package = self.namespace.get("__package__") or self.module
        name = (
            importlib.util.resolve_name("." * token.level + token.module, package)
            if token.level
            else token.module
        )
        attributes = (token.member, *token.attributes) if token.member else token.attributes
        kind = origin_of(name).kind
        if kind == MISSING:
            self.node.write(f"missing {name}")
            self._rest(attributes)
        elif self.graph.is_own(name) and (module := self._own_module(name)) is not None:
            self._reach(form, module, name, attributes, token)
        else:
            self._foreign(form, sys.modules.get(name), name, attributes, token)

    def _own_module(self, name: str) -> ModuleType | None:
        """A module of the project, imported as the function itself would."""
        try:
            return importlib.import_module(name)
        except ImportError:
            # The function may be ready for this (``try: import ... except ImportError``); then it stays "external".
            return None

    def _reach(
        self, form: NormalForm, obj: Any, name: str, attributes: tuple[str, ...], token: Load | Import
    ) -> None:
        """Follow attributes from ``obj`` as far as they are stored values, and write what they lead to."""
        rest = list(attributes)
        while True:
            if isinstance(obj, ModuleType):
                name = obj.__name__
                if not self.graph.is_own(name):
                    self._foreign(form, obj, name, tuple(rest), token)
                    return
            following = self._step(obj, rest[0]) if rest else _MISSING
            if following is _MISSING or following is state.ABSENT:
                break
            obj, name = following, f"{name}.{rest.pop(0)}"
        if not rest and isinstance(obj, FunctionType):
            self.called[token.offset] = obj
        known = external_name(obj)
        if known is None or not self._followed(form, known, token):
            self.graph.value(self.node, obj, name, named=True)
            self._rest(tuple(rest))

    def _foreign(
        self, form: NormalForm, obj: Any, name: str, attributes: tuple[str, ...], token: Load | Import
    ) -> None:
        """Write what lies in a library or the standard library: by name, unless the project put something there.

        The text is the same whether the library, or a part that it loads late, is loaded yet or not.
        """
        dotted = name
        for position, attribute in enumerate(attributes):
            obj = (
                state.held(vars(obj), attribute, vars(obj).get(attribute))
                if isinstance(obj, ModuleType)
                else None
            )
            dotted = f"{dotted}.{attribute}"
            if not isinstance(obj, ModuleType) and self._holds_own_code(obj):
                self._reach(form, obj, dotted, attributes[position + 1 :], token)
                return
            known = dotted if dotted in UNFOLLOWABLE or dotted in NATIVE_READERS else external_name(obj)
            if known is not None and self._followed(form, known, token):
                return
        self.node.write(f"external {dotted}")
        self.graph.library(self.node, name)
        if isinstance(obj, type):
            write_own_members(self.graph, self.node, obj)
        if isinstance(token, Load) and len(attributes) == 1 and type(obj) in SCALARS and obj is not None:
            self.graph.value(self.node, obj, dotted, named=True)

    def _step(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, ModuleType):
            return self._module_attribute(obj, attribute)
        if isinstance(obj, type):
            return static_attribute(obj, attribute) if self.graph.is_own(obj.__module__) else _MISSING
        if (
            type(obj) in SCALARS
            or isinstance(obj, FunctionType)
            or not self.graph.is_own(type(obj).__module__)
        ):
            return _MISSING
        return _instance_attribute(obj, attribute)

    def _module_attribute(self, module: ModuleType, attribute: str) -> Any:
        space = vars(module)
        if attribute in space:
            return (
                _MISSING
                if attribute in _MODULE_NAMES or attribute == "__dict__"
                else state.held(space, attribute, space[attribute])
            )
        submodule = f"{module.__name__}.{attribute}"
        if submodule in sys.modules:
            return sys.modules[submodule]
        if not self.graph.is_own(module.__name__):
            # Libraries load some submodules when they are first named; name it, so that both states read the same.
            return getattr(module, attribute, _MISSING)
        if hasattr(module, "__path__") and importlib.util.find_spec(submodule) is not None:
            return self._own_module(submodule) or _MISSING
        return getattr(module, attribute, _MISSING)

    def _holds_own_code(self, obj: Any) -> bool:
        """True for an object of the project's own that was put into a foreign module.

        A compiled library may give its classes the name of a module that there is not (scipy's ``uarray``): only a
        module that is loaded can hold the project's code.
        """
        if isinstance(obj, FunctionType):
            return _is_own_function(self.graph, obj)
        if type(obj) in SCALARS:
            return False
        home = obj.__module__ if isinstance(obj, type) else type(obj).__module__
        return home in sys.modules and self.graph.is_own(home)

    def _followed(self, form: NormalForm, known: str, token: Load | Import) -> bool:
        """Write what a construct with a constant argument reaches; refuse one that cannot be followed."""
        argument = token.argument
        if known in CONSTANT_DECIDES and argument is not None and argument.known:
            if known != "builtins.getattr":
                self._named_module(form, known, argument, token)
            return known != "builtins.getattr"
        self._refuse(form, known, token)
        return False

    def _named_module(self, form: NormalForm, known: str, argument: Argument, token: Load | Import) -> None:
        name, package = argument.value if isinstance(argument.value, tuple) else (argument.value, None)
        if name.startswith("."):
            name = importlib.util.resolve_name(
                name, package or self.namespace.get("__package__") or self.module
            )
        self.node.write(f"by name {known}")
        self._import(form, Import(name, 0, None, (), token.offset))

    def _refuse(self, form: NormalForm, known: str, token: Load | Import) -> None:
        if known in MAKERS and not any(type(t) is Calling and t.callee == token.offset for t in form.tokens):
            return  # ``isinstance(x, FunctionType)`` makes nothing
        reads = known in NATIVE_READERS and self.module.partition(".")[0] != "earmark"
        if (known in UNFOLLOWABLE or reads) and not self.graph.permissive:
            raise unfollowable(known, form.code, token.offset, self.module)

    def _rest(self, attributes: tuple[str, ...]) -> None:
        for attribute in attributes:
            self.node.write(f"LOAD_ATTR {attribute}")


def _is_own_function(graph: Graph, function: FunctionType) -> bool:
    return graph.is_own(str(function.__globals__.get("__name__", "")))


def write_own_members(graph: Graph, node: Node, cls: type) -> None:
    """Functions of the project's own that were put into a foreign class."""
    for base in cls.__mro__:
        if not base.__flags__ & _HEAP_TYPE or graph.is_own(base.__module__):
            continue
        for name, member in vars(base).items():
            if type(member) is FunctionType and _is_own_function(graph, member):
                node.write(f"patched {name}")
                graph.value(node, member, f"{base.__qualname__}.{name}")


def _filled(graph: Graph, function: FunctionType, call: Calling) -> list[str] | None:
    """The constant defaults that a call leaves out, as text; None if it does not amount to a call by position.

    ``f(x)``, ``f(x, 2)`` and ``f(x, order=2)`` are the same call of ``def f(x, order=2)``.
    """
    code = function.__code__
    if code.co_flags & 0x0C or not _is_own_function(graph, function):
        return None
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    by_position = call.count - len(call.names)
    in_order = parameters[by_position : call.count] == call.names
    if (
        not in_order
        or by_position > code.co_argcount
        or (call.names and by_position < code.co_posonlyargcount)
    ):
        return None
    defaults = dict(
        zip(reversed(parameters[: code.co_argcount]), reversed(function.__defaults__ or ()), strict=False)
    )
    defaults.update(function.__kwdefaults__ or {})
    texts = []
    for name in parameters[call.count :]:
        text = graph.scalar_text(defaults[name]) if name in defaults else None
        if text is None:
            break
        texts.append(text)
    return texts


def code_identity(form: NormalForm) -> str:
    """A code object's name and digest, without its module: it stays the same when the function moves."""
    return f"{form.code.co_qualname}#{form.digest}"


def external_name(obj: Any) -> str | None:
    """The qualified name of something in `UNFOLLOWABLE` or `NATIVE_READERS`, whatever it is called where it is used."""
    if obj is sys.modules:
        return "sys.modules"
    module = getattr(obj, "__module__", None) if callable(obj) else None
    if not isinstance(module, str):
        return None
    known = f"{module}.{getattr(obj, '__qualname__', '')}"
    return known if known in UNFOLLOWABLE or known in NATIVE_READERS else _SPELLED.get(known)


_SPELLED = {
    "builtins.code": "types.CodeType",
    "builtins.function": "types.FunctionType",
    "importlib._bootstrap_external.spec_from_file_location": "importlib.util.spec_from_file_location",
    "importlib._bootstrap.module_from_spec": "importlib.util.module_from_spec",
    "importlib._bootstrap.__import__": "importlib.__import__",
    "pyarrow.lib.memory_map": "pyarrow.memory_map",
    "pyarrow.parquet.core.read_table": "pyarrow.parquet.read_table",
    "h5py._hl.files.File": "h5py.File",
    "av.container.core.open": "av.open",
}


def static_attribute(cls: type, attribute: str) -> Any:
    """A class attribute that is stored as such: plain data, a function or a static method; else `_MISSING`."""
    metaclass = type(cls)
    if f"{metaclass.__module__}.{metaclass.__qualname__}" not in _PLAIN_METACLASSES or attribute.startswith(
        "__"
    ):
        return _MISSING
    for base in cls.__mro__:
        if attribute in vars(base):
            raw = state.held(base, attribute, vars(base)[attribute])
            if isinstance(raw, staticmethod):
                return raw.__func__
            plain = isinstance(raw, FunctionType) or not hasattr(type(raw), "__get__")
            return raw if plain and origin_of(base.__module__).kind == OWN else _MISSING
    return _MISSING


def attributes_of(obj: Any) -> dict[str, Any]:
    """The attributes stored in an instance, whatever its ``__getattribute__`` makes of them."""
    try:
        found: dict[str, Any] = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return found


def _instance_attribute(obj: Any, attribute: str) -> Any:
    """An attribute stored in an instance or, as plain data, in its class; else `_MISSING`."""
    cls = type(obj)
    overridden = any("__getattribute__" in vars(base) for base in cls.__mro__[:-1])
    if overridden or attribute.startswith("__") or isinstance(obj, enum.Enum):
        return _MISSING
    raw = next((vars(base)[attribute] for base in cls.__mro__ if attribute in vars(base)), _MISSING)
    if raw is not _MISSING and hasattr(type(raw), "__set__"):
        is_slot = type(raw).__name__ == "member_descriptor"
        return state.held(obj, attribute, getattr(obj, attribute, _MISSING)) if is_slot else _MISSING
    if isinstance(raw, functools.cached_property):
        return _MISSING
    stored = attributes_of(obj)
    if attribute in stored:
        return state.held(obj, attribute, stored[attribute])
    return raw if raw is not _MISSING and not hasattr(type(raw), "__get__") else _MISSING


def note_mutations(
    form: NormalForm, namespace: dict[str, Any], cells: Mapping[str, CellType], defaults: Mapping[str, Any]
) -> None:
    """Hold the present value of everything that the function writes to outside its own variables."""
    for mutation in form.mutations:
        for owner, name, value in _written(mutation, namespace, cells, defaults):
            state.hold(owner, name, value)


def _written(
    mutation: Mutation, namespace: dict[str, Any], cells: Mapping[str, CellType], defaults: Mapping[str, Any]
) -> Iterator[tuple[Any, str, Any]]:
    base, name, path = mutation.base, mutation.name, mutation.path
    if base == "global":
        if mutation.rebinds and not path:
            yield namespace, name, namespace.get(name, state.ABSENT)
            return
        start = namespace.get(name, _MISSING)
    elif base == "free":
        cell = cells.get(name)
        start = _cell_content(cell)
        if mutation.rebinds and not path and cell is not None:
            yield cell, "", start
            return
    else:
        start = defaults.get(name, _MISSING) if base == "parameter" else _MISSING
    yield from _target(start, path, mutation.rebinds)


def _target(obj: Any, path: tuple[str, ...], rebinds: bool) -> Iterator[tuple[Any, str, Any]]:
    for attribute in path[:-1] if rebinds else path:
        if obj is _MISSING:
            return
        space = vars(obj) if hasattr(obj, "__dict__") else {}
        obj = space.get(attribute, _MISSING)
    if obj is _MISSING or obj is None:
        return
    if not rebinds:
        if isinstance(obj, dict | list | set | bytearray) or type(obj).__name__ in ("ndarray", "deque"):
            yield obj, "", obj
        return
    attribute = path[-1]
    yield obj, attribute, vars(obj).get(attribute, state.ABSENT) if hasattr(obj, "__dict__") else state.ABSENT


def _cell_content(cell: CellType | None) -> Any:
    try:
        return _MISSING if cell is None else cell.cell_contents
    except ValueError:
        return _MISSING


def missing_reference(name: str, needed_by: str) -> FingerprintError:
    """The error for a declared dependency that does not exist."""
    return FingerprintError(
        f"{needed_by} depends on `{name}`, which does not exist; expected an existing file. Correct depends_on=[...]."
    )
