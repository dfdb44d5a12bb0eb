"""A small project with one feature function per way of depending on something, and the means to edit it.

`write_project` lays it down, `Edit` is a list of textual replacements with the features it must touch: exactly those,
so every other feature is a control. The table of edits is in `test_edit_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

FILES: dict[str, str] = {
    "proj/__init__.py": "",
    "proj/cfg.py": """
        GAIN = 2.0
        UNUSED = 1.0
        ONLY_HELPER = 4
        OFFSET = 1.5
    """,
    "proj/near.py": """
        from . import cfg
        from .far import far_helper

        SHIFT = 3

        def near_helper(x):
            return far_helper(x) + 1

        def reads_far_constant(x):
            return x * cfg.ONLY_HELPER

        def shifted(x):
            return x + SHIFT

        def with_default(x, scale=2):
            return x * scale

        def movable(x):
            # moved to another module by one of the edits
            return (x, SHIFT)

        def unrelated(x):
            return x
    """,
    "proj/far.py": """
        def far_helper(x):
            return x * 2
    """,
    "proj/home.py": """
        from .near import movable
    """,
    "proj/lazy.py": """
        LIMIT = 10

        def lazy_helper(x):
            return min(x, LIMIT)

        def other_lazy(x):
            return max(x, LIMIT)
    """,
    "proj/decorators.py": """
        import functools

        FACTOR = 5

        def scaled(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(x) * FACTOR
            return wrapper

        def repeated(times):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(x):
                    return [function(x) for _ in range(times)]
                return wrapper
            return decorate
    """,
    "proj/classes.py": """
        from dataclasses import dataclass, field
        from enum import Enum

        class Base:
            ORDER = 2

            def inherited(self, x):
                return x ** self.ORDER

            def overridden(self, x):
                return x

        class Model(Base):
            RATE = 8000

            def __init__(self, level=1):
                self.level = level

            def method(self, x):
                return x + self.level

            def overridden(self, x):
                return super().overridden(x) + 1

            @property
            def double(self):
                return self.level * 2

            @staticmethod
            def static(x):
                return x - 1

            @classmethod
            def made(cls):
                return cls(3)

            def __call__(self, x):
                return x * self.level

        class Holder:
            LEFT = 1
            RIGHT = 2

        def default_taps():
            return [1, 2, 3]

        @dataclass
        class Settings:
            width: int = 5
            height: int = 7
            taps: list = field(default_factory=default_taps)

        SETTINGS = Settings(width=6)

        class Plain:
            def __init__(self):
                self.alpha = 1
                self.beta = 2

        PLAIN = Plain()

        class Slotted:
            __slots__ = ("gamma",)

            def __init__(self):
                self.gamma = 9

        SLOTTED = Slotted()

        class Kind(Enum):
            LOW = 1
            HIGH = 2

        class Meta(type):
            def __call__(cls, *args):
                made = super().__call__(*args)
                made.tag = cls.tag_of(3)
                return made

            def tag_of(cls, n):
                return n + 1

        class Tagged(metaclass=Meta):
            pass

        MODEL = Model(4)
    """,
    "proj/tables.py": """
        import re
        from pathlib import Path

        import numpy as np

        WEIGHTS = {"a": 1.0, "b": 2.0}
        EDGES = (0, 10, 20)
        NESTED = [{"k": (1, [2, 3])}]
        WINDOW = np.array([0.0, 0.5, 1.0])
        NAMES = {"x", "y", "z"}
        PATTERN = re.compile("a+b")
        ZERO = 0.0
        HERE = Path(__file__).parent / "data" / "table.txt"
        TEXT = "one\\n"
    """,
    "proj/registry.py": """
        from functools import partial, reduce, singledispatch
        import operator

        def first(x):
            return x + 1

        def second(x):
            return x + 2

        REGISTRY = {"first": first, "second": second}

        def powered(x, exponent):
            return x ** exponent

        squared = partial(powered, exponent=2)
        halve = lambda x: x / 2
        pair = (lambda x: x + 10), (lambda x: x + 20)

        def make_closure(amount):
            def inner(x):
                return x + amount
            return inner

        captured = make_closure(7)
        loops = [make_closure(i) for i in range(3)]

        @singledispatch
        def handled(x):
            return 0

        @handled.register
        def _(x: int):
            return x + 100

        def product(xs):
            return reduce(operator.mul, xs)

        def total(xs):
            return reduce(operator.add, xs)
    """,
    "proj/kernels.py": """
        from numba import njit

        SCALE = 3.0

        @njit
        def inner_kernel(x):
            return x * SCALE

        @njit
        def kernel(x):
            return inner_kernel(x) + 1.0

        @njit(fastmath=False)
        def strict_kernel(x):
            return x + 0.5
    """,
    "proj/recursive.py": """
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        def is_even(n):
            return True if n == 0 else is_odd(n - 1)

        def is_odd(n):
            return False if n == 0 else is_even(n - 1)
    """,
    "proj/generated.py": """
        from collections import namedtuple
        from typing import NamedTuple

        BODY = "def made(x):\\n    return x + 11\\n"
        space = {}
        exec(BODY, space)
        made = space["made"]

        Point = namedtuple("Point", "x y", defaults=[0])

        class Span(NamedTuple):
            start: int
            stop: int = 5

        def add_method(cls):
            cls.extra = lambda self, x: x + 12
            return cls

        @add_method
        class Extended:
            pass
    """,
    "proj/starred.py": """
        from .stars import *
    """,
    "proj/stars.py": """
        def star_helper(x):
            return x + 21
    """,
    "proj/conditional.py": """
        import sys

        try:
            from .absent_module import chosen
        except ImportError:
            def chosen(x):
                return x + 31

        if sys.version_info > (3,):
            def branch(x):
                return x + 32
        else:
            def branch(x):
                return x + 33
    """,
    "proj/state.py": """
        _MEMO = {}
        _COUNT = 0
        STEP = 1

        def remembered(x):
            if x not in _MEMO:
                _MEMO[x] = x * STEP
            return _MEMO[x]

        def counted(x):
            global _COUNT
            _COUNT += 1
            return x + STEP
    """,
    "proj/data/table.txt": "1 2 3\n",
    "proj/features.py": """
        import functools

        import fakelib
        import numpy as np
        from fakelib import tool

        from . import cfg, near, tables
        from .classes import KIND_ALIAS, MODEL, PLAIN, SETTINGS, SLOTTED, Holder, Kind, Model, Settings, Tagged
        from .conditional import branch, chosen
        from .decorators import repeated, scaled
        from .generated import Extended, Point, Span, made
        from .home import movable
        from .kernels import kernel, strict_kernel
        from .near import near_helper, reads_far_constant, shifted, with_default
        from .recursive import factorial, is_even
        from .registry import REGISTRY, captured, halve, handled, loops, pair, product, squared
        from .starred import star_helper
        from .state import counted, remembered
        from .tables import NAMES, PATTERN

        LOCAL = 1

        def helper_here(x):
            y = x + 1
            return y * 2

        def body(clip):
            return clip + 1

        def same_module(clip):
            return helper_here(clip)

        def two_away(clip):
            return near_helper(clip)

        def lazily(clip):
            from .lazy import lazy_helper
            return lazy_helper(clip)

        def lazily_by_module(clip):
            import proj.lazy
            return proj.lazy.other_lazy(clip)

        @scaled
        def decorated(clip):
            return clip + 2

        @repeated(times=2)
        def decorated_with_arguments(clip):
            return clip + 3

        def by_registry(clip, which="first"):
            return REGISTRY[which](clip)

        def by_partial(clip):
            return squared(clip)

        def by_lambda(clip):
            return halve(clip)

        def by_second_lambda(clip):
            return pair[1](clip)

        def by_closure(clip):
            return captured(clip)

        def by_loop_closure(clip):
            return loops[2](clip)

        def nested(clip):
            def inside(x):
                return x + 41
            return inside(clip)

        def comprehension(clip):
            return [x * 42 for x in clip if x > 0]

        def method(clip):
            return MODEL.method(clip)

        def made_here(clip):
            return Model().inherited(clip)

        def class_attribute(clip):
            return Holder.LEFT

        def dataclass_default(clip):
            return Settings().height

        def configuration(clip):
            return SETTINGS.width

        def plain_field(clip):
            return PLAIN.alpha

        def slot(clip):
            return SLOTTED.gamma

        def called(clip):
            return MODEL(clip)

        def enumerated(clip):
            return Kind.HIGH

        def with_metaclass(clip):
            return Tagged().tag

        def constant(clip):
            return clip * LOCAL

        def constant_elsewhere(clip):
            return clip * cfg.GAIN

        def constant_by_helper(clip):
            return reads_far_constant(clip)

        def constant_by_getattr(clip):
            return clip + getattr(cfg, "OFFSET")

        def own_default(clip, order=3):
            return clip ** order

        def keyword_default(clip, *, order=4):
            return clip ** order

        def helper_default(clip):
            return with_default(clip)

        def from_dict(clip):
            return tables.WEIGHTS["a"]

        def from_tuple(clip):
            return tables.EDGES

        def from_nested(clip):
            return tables.NESTED

        def from_array(clip):
            return tables.WINDOW * clip

        def from_set(clip):
            return sorted(NAMES)

        def from_pattern(clip):
            return PATTERN.match("aab")

        def from_zero(clip):
            return clip / tables.ZERO

        def from_path(clip):
            return tables.HERE.name

        def reads_declared(clip):
            return tables.HERE.read_text()

        def library(clip):
            return fakelib.tool(clip)

        def library_by_name(clip):
            return tool(clip)

        def numpy_only(clip):
            return np.abs(clip).mean()

        def compiled(clip):
            return kernel(1.0)

        def compiled_strict(clip):
            return strict_kernel(1.0)

        def recursive(clip):
            return factorial(5)

        def mutually_recursive(clip):
            return is_even(5)

        def generated(clip):
            return made(clip)

        def tuples(clip):
            return Point(1).y + Span(2).stop

        def extended(clip):
            return Extended().extra(clip)

        def starred(clip):
            return star_helper(clip)

        def tried(clip):
            return chosen(clip)

        def branched(clip):
            return branch(clip)

        def reduced(clip):
            return product([1, 2, 3])

        def dispatched(clip):
            return handled(clip)

        def moved(clip):
            return movable(clip)

        def memoised(clip):
            return remembered(clip)

        def counting(clip):
            return counted(clip)

        @functools.lru_cache(maxsize=None)
        def cached_table(n):
            return list(range(n))

        def cached(clip):
            return cached_table(5)

        def matching(clip):
            match clip:
                case {"kind": "a", **rest}:
                    return rest
                case [1, *tail]:
                    return tail
                case str() as text:
                    return text
            return None

        def modern(clip):
            if (n := len(clip)) > 3:
                return f"{n:>4} of {clip!r}"
            total = 0

            def add(x):
                nonlocal total
                total += x
                return total

            return [add(x) for x in clip]

        def generating(clip):
            try:
                with open("x") as stream:
                    yield from stream
            except (OSError, ValueError) as error:
                raise RuntimeError("no") from error
            finally:
                del clip

        async def awaiting(clip):
            async with clip as stream:
                return [part async for part in stream]
    """,
    "proj/groups.py": """
        import inspect

        from . import features, tables

        DEPENDS_ON = {"reads_declared": [tables.HERE]}
        NOT_FEATURES = {"helper_here", "cached_table"}

        def groups():
            found = {}
            for name, function in vars(features).items():
                own = inspect.isfunction(function) and function.__module__ == features.__name__
                if own and name not in NOT_FEATURES:
                    found[name] = (function, DEPENDS_ON.get(name, []))
            return found
    """,
    "libs/fakelib/__init__.py": """
        def tool(x):
            return x
    """,
    "libs/fakelib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fakelib\nVersion: 1.0\n",
    "libs/fakelib-1.0.dist-info/RECORD": "fakelib/__init__.py,,\nfakelib-1.0.dist-info/METADATA,,\n",
}
FILES["proj/classes.py"] += "\n        KIND_ALIAS = Kind\n"


@dataclass(frozen=True)
class Edit:
    """Replacements ``(file, old, new)`` and the names of the features that must be recomputed; or an expected error.

    ``old`` must occur in the file; an empty ``old`` puts ``new`` in front; ``file`` may be new.
    """

    name: str
    replacements: tuple[tuple[str, str, str], ...]
    recomputed: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


def project_files(edit: Edit | None = None) -> dict[str, str]:
    """The text of every file, after an edit."""
    files = {
        name: dedent(text).lstrip("\n") if name.endswith(".py") else text for name, text in FILES.items()
    }
    for file, old, new in edit.replacements if edit else ():
        text = files.get(file, "")
        if old not in text:
            raise ValueError(f"edit {edit.name!r}: {old!r} is not in {file}")
        files[file] = new + text if not old else text.replace(old, new)
    return files


def write_project(folder: Path, edit: Edit | None = None) -> Path:
    """Lay the project down; returns ``folder``, to be put on the path together with its ``libs``."""
    return write_files(folder, project_files(edit))


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
