# ruff: noqa: E501  source texts of the edited modules
"""The table of edits: what each must recompute. The peers' answers to the same edits are in ``docs/design/cache.md``."""

from __future__ import annotations

from textwrap import dedent, indent

from edit_project import FILES, Edit, project_files

F, NEAR, FAR, CFG, CLASSES = (
    "proj/features.py",
    "proj/near.py",
    "proj/far.py",
    "proj/cfg.py",
    "proj/classes.py",
)
TABLES, REGISTRY, KERNELS, DECORATORS = (
    "proj/tables.py",
    "proj/registry.py",
    "proj/kernels.py",
    "proj/decorators.py",
)

USES_MODEL = {"method", "called", "made_here"}


def edit(
    name: str,
    *replacements: tuple[str, str, str],
    to: set[str] | None = None,
    refused: set[str] | None = None,
) -> Edit:
    return Edit(name, replacements, frozenset(to or ()), frozenset(refused or ()))


CODE = [
    edit("body of the feature function", (F, "return clip + 1\n", "return clip + 9\n"), to={"body"}),
    edit("helper in its module", (F, "return y * 2", "return y * 3"), to={"same_module"}),
    edit("helper one module away", (NEAR, "far_helper(x) + 1", "far_helper(x) + 2"), to={"two_away"}),
    edit("helper two modules away", (FAR, "x * 2", "x * 3"), to={"two_away"}),
    edit("helper imported inside the body", ("proj/lazy.py", "min(x", "min(-x"), to={"lazily"}),
    edit(
        "helper of a module imported inside the body",
        ("proj/lazy.py", "max(x", "max(-x"),
        to={"lazily_by_module"},
    ),
    edit(
        "behind a functools.wraps decorator", (F, "return clip + 2\n", "return clip + 9\n"), to={"decorated"}
    ),
    edit("the decorator itself", (DECORATORS, "* FACTOR", "/ FACTOR"), to={"decorated"}),
    edit("the decorator's constant", (DECORATORS, "FACTOR = 5", "FACTOR = 6"), to={"decorated"}),
    edit("an argument of a decorator", (F, "times=2", "times=3"), to={"decorated_with_arguments"}),
    edit(
        "behind a decorator with arguments",
        (F, "return clip + 3\n", "return clip + 9\n"),
        to={"decorated_with_arguments"},
    ),
    edit("through a dict registry", (REGISTRY, "return x + 2\n", "return x + 9\n"), to={"by_registry"}),
    edit(
        "an entry added to a registry",
        (REGISTRY, '"second": second}', '"second": second, "third": second}'),
        to={"by_registry"},
    ),
    edit("a partial's target", (REGISTRY, "x ** exponent", "x * exponent"), to={"by_partial"}),
    edit("a partial's argument", (REGISTRY, "exponent=2", "exponent=3"), to={"by_partial"}),
    edit("a module-level lambda", (REGISTRY, "x / 2", "x / 3"), to={"by_lambda"}),
    edit("the second of two lambdas on one line", (REGISTRY, "x + 20", "x + 21"), to={"by_second_lambda"}),
    edit("the first of two lambdas on one line", (REGISTRY, "x + 10)", "x + 11)"), to={"by_second_lambda"}),
    edit(
        "a value captured by a closure", (REGISTRY, "make_closure(7)", "make_closure(8)"), to={"by_closure"}
    ),
    edit("a closure's code", (REGISTRY, "x + amount", "x - amount"), to={"by_closure", "by_loop_closure"}),
    edit("a closure made in a loop", (REGISTRY, "range(3)", "range(1, 4)"), to={"by_loop_closure"}),
    edit("a nested function", (F, "return x + 41", "return x + 49"), to={"nested"}),
    edit("a comprehension", (F, "x * 42", "x * 49"), to={"comprehension"}),
    edit("a comprehension's condition", (F, "if x > 0]", "if x >= 0]"), to={"comprehension"}),
    edit("a star-imported helper", ("proj/stars.py", "+ 21", "+ 29"), to={"starred"}),
    edit("the fall-back of a try import", ("proj/conditional.py", "x + 31", "x + 39"), to={"tried"}),
    edit(
        "the module of a try import appears",
        ("proj/absent_module.py", "", "def chosen(x):\n    return x\n"),
        to={"tried"},
    ),
    edit("the branch that was taken", ("proj/conditional.py", "x + 32", "x + 39"), to={"branched"}),
    edit("the branch that was not taken", ("proj/conditional.py", "x + 33", "x + 39")),
    edit(
        "an operator handed to reduce",
        (REGISTRY, "reduce(operator.mul, xs)", "reduce(operator.add, xs)"),
        to={"reduced"},
    ),
    edit("an implementation of singledispatch", (REGISTRY, "x + 100", "x + 109"), to={"dispatched"}),
    edit("the default of singledispatch", (REGISTRY, "return 0\n", "return 1\n"), to={"dispatched"}),
    edit("a function behind lru_cache", (F, "list(range(n))", "list(range(n + 1))"), to={"cached"}),
    edit("a function with a memo dict", ("proj/state.py", "x * STEP", "x - STEP"), to={"memoised"}),
    edit("the start of a counter", ("proj/state.py", "_COUNT = 0", "_COUNT = 1"), to={"counting"}),
    edit("a constant beside state", ("proj/state.py", "STEP = 1", "STEP = 2"), to={"memoised", "counting"}),
    edit("a case of a match", (F, 'case {"kind": "a"', 'case {"kind": "b"'), to={"matching"}),
    edit("the order of cases", (F, "case [1, *tail]:", "case [*tail, 1]:"), to={"matching"}),
    edit("a walrus", (F, "(n := len(clip)) > 3", "(n := len(clip)) > 4"), to={"modern"}),
    edit("a format in an f-string", (F, "{n:>4}", "{n:>5}"), to={"modern"}),
    edit("a conversion in an f-string", (F, "{clip!r}", "{clip!s}"), to={"modern"}),
    edit("what a nonlocal does", (F, "total += x", "total -= x"), to={"modern"}),
    edit("an except clause", (F, "(OSError, ValueError)", "(OSError, KeyError)"), to={"generating"}),
    edit(
        "a raise without its cause",
        (F, 'RuntimeError("no") from error', 'RuntimeError("no")'),
        to={"generating"},
    ),
    edit("yield instead of yield from", (F, "yield from stream", "yield stream"), to={"generating"}),
    edit(
        "an async comprehension",
        (F, "[part async for part in stream]", "[part async for part in stream if part]"),
        to={"awaiting"},
    ),
    edit("a numba function", (KERNELS, "+ 1.0", "+ 1.5"), to={"compiled"}),
    edit("a numba helper of a numba function", (KERNELS, "x * SCALE", "x / SCALE"), to={"compiled"}),
    edit("a constant of a numba helper", (KERNELS, "SCALE = 3.0", "SCALE = 4.0"), to={"compiled"}),
    edit(
        "an option of a numba function", (KERNELS, "fastmath=False", "fastmath=True"), to={"compiled_strict"}
    ),
    edit("recursion", ("proj/recursive.py", "n * factorial", "n + factorial"), to={"recursive"}),
    edit(
        "mutual recursion",
        ("proj/recursive.py", "return False if", "return None if"),
        to={"mutually_recursive"},
    ),
    edit(
        "mutual recursion, the other one",
        ("proj/recursive.py", "return True if", "return 1 if"),
        to={"mutually_recursive"},
    ),
    edit("the metaclass", (CLASSES, "return n + 1", "return n + 9"), to={"with_metaclass"}),
    edit("generated code", ("proj/generated.py", "x + 11", "x + 19"), to={"generated"}),
    edit("a named tuple's default", ("proj/generated.py", "defaults=[0]", "defaults=[1]"), to={"tuples"}),
    edit(
        "a NamedTuple class's default", ("proj/generated.py", "stop: int = 5", "stop: int = 6"), to={"tuples"}
    ),
    edit("a method added by a class decorator", ("proj/generated.py", "x + 12", "x + 19"), to={"extended"}),
    edit(
        "two functions exchange their names",
        (
            REGISTRY,
            "def first(x):\n    return x + 1\n\ndef second(x):\n    return x + 2",
            "def second(x):\n    return x + 1\n\ndef first(x):\n    return x + 2",
        ),
        to={"by_registry"},
    ),
]

CLASS = [
    edit(
        "a method of a class it uses",
        (CLASSES, "return x + self.level", "return x - self.level"),
        to=USES_MODEL,
    ),
    edit("an inherited method", (CLASSES, "x ** self.ORDER", "x * self.ORDER"), to=USES_MODEL),
    edit(
        "an overridden method reached by super",
        (
            CLASSES,
            "def overridden(self, x):\n        return x\n",
            "def overridden(self, x):\n        return -x\n",
        ),
        to=USES_MODEL,
    ),
    edit("a class attribute", (CLASSES, "LEFT = 1", "LEFT = 9"), to={"class_attribute"}),
    edit("another attribute of that class", (CLASSES, "RIGHT = 2", "RIGHT = 9")),
    edit("an inherited class attribute", (CLASSES, "ORDER = 2", "ORDER = 3"), to=USES_MODEL),
    edit("a property", (CLASSES, "return self.level * 2", "return self.level * 3"), to=USES_MODEL),
    edit("a static method", (CLASSES, "return x - 1", "return x - 2"), to=USES_MODEL),
    edit("a class method", (CLASSES, "return cls(3)", "return cls(4)"), to=USES_MODEL),
    edit("__call__", (CLASSES, "x * self.level", "x / self.level"), to=USES_MODEL),
    edit("a default of __init__", (CLASSES, "level=1", "level=2"), to=USES_MODEL),
    edit(
        "a field of an instance", (CLASSES, "MODEL = Model(4)", "MODEL = Model(5)"), to={"method", "called"}
    ),
    edit("a dataclass default", (CLASSES, "height: int = 7", "height: int = 8"), to={"dataclass_default"}),
    edit(
        "a dataclass default_factory",
        (CLASSES, "return [1, 2, 3]", "return [1, 2, 4]"),
        to={"dataclass_default"},
    ),
    edit("a field of a configuration object", (CLASSES, "width=6", "width=9"), to={"configuration"}),
    edit("a field of a plain object", (CLASSES, "self.alpha = 1", "self.alpha = 9"), to={"plain_field"}),
    edit("another field of that object", (CLASSES, "self.beta = 2", "self.beta = 9")),
    edit("a slot", (CLASSES, "self.gamma = 9", "self.gamma = 8"), to={"slot"}),
    edit("an enumeration's value", (CLASSES, "HIGH = 2", "HIGH = 3"), to={"enumerated"}),
]

VALUES = [
    edit("a constant in its module", (F, "LOCAL = 1", "LOCAL = 2"), to={"constant"}),
    edit("a constant's type", (F, "LOCAL = 1", "LOCAL = 1.0"), to={"constant"}),
    edit("a constant that becomes True", (F, "LOCAL = 1", "LOCAL = True"), to={"constant"}),
    edit("a constant in another module", (CFG, "GAIN = 2.0", "GAIN = 3.0"), to={"constant_elsewhere"}),
    edit("a constant that nothing reads", (CFG, "UNUSED = 1.0", "UNUSED = 3.0")),
    edit(
        "a constant that only a helper reads",
        (CFG, "ONLY_HELPER = 4", "ONLY_HELPER = 5"),
        to={"constant_by_helper"},
    ),
    edit("a constant read by getattr", (CFG, "OFFSET = 1.5", "OFFSET = 2.5"), to={"constant_by_getattr"}),
    edit("its own default parameter", (F, "order=3", "order=5"), to={"own_default"}),
    edit("its own keyword-only default", (F, "order=4", "order=5"), to={"keyword_default"}),
    edit("a helper's default parameter", (NEAR, "scale=2", "scale=3"), to={"helper_default"}),
    edit("a table in a dict", (TABLES, '"b": 2.0', '"b": 2.5'), to={"from_dict"}),
    edit("a table in a tuple", (TABLES, "(0, 10, 20)", "(0, 10, 21)"), to={"from_tuple"}),
    edit("a table nested in containers", (TABLES, "[2, 3]", "[2, 4]"), to={"from_nested"}),
    edit("a table in a numpy array", (TABLES, "0.5, 1.0]", "0.5, 1.5]"), to={"from_array"}),
    edit("the type of a numpy array", (TABLES, "1.0])", "1.0], dtype='f4')"), to={"from_array"}),
    edit("a set", (TABLES, '"z"}', '"w"}'), to={"from_set"}),
    edit("a regular expression", (TABLES, '"a+b"', '"a*b"'), to={"from_pattern"}),
    edit("a regular expression's flags", (TABLES, '"a+b")', '"a+b", re.I)'), to={"from_pattern"}),
    edit("the sign of zero", (TABLES, "ZERO = 0.0", "ZERO = -0.0"), to={"from_zero"}),
    edit(
        "a path",
        (TABLES, '"table.txt"', '"other.txt"'),
        ("proj/data/other.txt", "", "1 2 3\n"),
        to={"from_path", "reads_declared"},
    ),
    edit("a declared data file", ("proj/data/table.txt", "1 2 3", "1 2 4"), to={"reads_declared"}),
    edit(
        "a library upgraded",
        ("libs/fakelib-1.0.dist-info/METADATA", "Version: 1.0", "Version: 1.1"),
        to={"library", "library_by_name"},
    ),
]

NOTHING = [
    edit("no edit at all"),
    edit(
        "a comment",
        (F, "return clip + 1\n", "return clip + 1  # one more\n"),
        (F, "def body", "# a feature\ndef body"),
    ),
    edit("a comment in a helper", (FAR, "return x * 2", "# doubles\n    return x * 2  # twice")),
    edit("a docstring", (F, "return clip + 1\n", '"""Adds one."""\n    return clip + 1\n')),
    edit(
        "a docstring in a helper, a class, a module",
        (FAR, "return x * 2", '"""Doubles."""\n    return x * 2'),
        (FAR, "", '"""Far away."""\n'),
        (CLASSES, "class Model(Base):", 'class Model(Base):\n    """A model."""\n'),
        (CLASSES, "class Settings:", 'class Settings:\n    """Settings."""\n'),
    ),
    edit(
        "a type annotation",
        (F, "def body(clip):", "def body(clip: 'np.ndarray') -> list[float]:"),
        (F, "    y = x + 1", "    y: int = x + 1"),
    ),
    edit(
        "a type annotation in a helper, a nested function, a class",
        (FAR, "def far_helper(x):", "def far_helper(x: int | None) -> float:"),
        (F, "def inside(x):", "def inside(x: list[int] | None) -> dict[str, int]:"),
        (CLASSES, "def method(self, x):", "def method(self, x: float) -> float:"),
        (CLASSES, "width: int = 5", "width: float = 5"),
        (KERNELS, "def inner_kernel(x):", "def inner_kernel(x: float) -> float:"),
    ),
    edit("postponed annotations", (F, "", "from __future__ import annotations\n")),
    edit(
        "formatting",
        (F, "return clip + 1\n", "return (\n        clip\n        +\n        1\n    )\n"),
        (F, "if (n := len(clip)) > 3:", "if (\n        (n := len(clip))\n        > 3\n    ):"),
        (
            REGISTRY,
            'REGISTRY = {"first": first, "second": second}',
            "REGISTRY = {\n    'first': first,\n    'second': second,\n}",
        ),
        (FAR, "    return x * 2", "\n\n        \n    return (x * 2)\n"),
    ),
    edit(
        "a local variable renamed",
        (F, "total = 0", "subtotal = 0"),
        (F, "nonlocal total", "nonlocal subtotal"),
        (F, "total += x", "subtotal += x"),
        (F, "return total\n", "return subtotal\n"),
    ),
    edit(
        "a local variable renamed in a helper",
        (F, "    y = x + 1\n    return y * 2", "    z = x + 1\n    return z * 2"),
    ),
    edit(
        "a parameter renamed, which no keyword spells",
        (F, "def body(clip):\n    return clip + 1", "def body(signal):\n    return signal + 1"),
        (FAR, "def far_helper(x):\n    return x * 2", "def far_helper(value):\n    return value * 2"),
    ),
    edit(
        "a variable of a comprehension renamed",
        (F, "[x * 42 for x in clip if x > 0]", "[v * 42 for v in clip if v > 0]"),
    ),
    edit(
        "a captured variable renamed",
        (REGISTRY, "make_closure(amount)", "make_closure(a)"),
        (REGISTRY, "x + amount", "x + a"),
    ),
    edit(
        "a variable imported inside the body renamed",
        (
            F,
            "from .lazy import lazy_helper\n    return lazy_helper(clip)",
            "from .lazy import lazy_helper as lh\n    return lh(clip)",
        ),
    ),
    edit(
        "an unrelated function edited",
        (NEAR, "def unrelated(x):\n    return x", "def unrelated(x):\n    return eval('x')"),
    ),
    edit("a function added", (NEAR, "def unrelated", "def another(x):\n    return 1\n\ndef unrelated")),
    edit(
        "lines added above",
        (F, "LOCAL = 1", "\n\n\n# more\nONE_MORE = 5\nLOCAL = 1"),
        (FAR, "", "\n\n\n"),
        (KERNELS, "", "\n\n\n"),
    ),
    edit(
        "a helper moved unchanged to another module",
        (
            NEAR,
            "def movable(x):\n    # moved to another module by one of the edits\n    return (x, SHIFT)\n",
            "",
        ),
        (
            "proj/home.py",
            "from .near import movable\n",
            "from .near import SHIFT\n\ndef movable(x):\n    return (x, SHIFT)\n",
        ),
    ),
    edit(
        "a helper moved unchanged together with its constants",
        (FAR, "def far_helper(x):\n    return x * 2\n", ""),
        ("proj/new_home.py", "", "def far_helper(x):\n    return x * 2\n"),
        (NEAR, "from .far import far_helper", "from .new_home import far_helper"),
    ),
    edit(
        "a class moved unchanged to another module",
        (
            CLASSES,
            "class Plain:\n    def __init__(self):\n        self.alpha = 1\n        self.beta = 2\n",
            "from .plain import Plain\n",
        ),
        (
            "proj/plain.py",
            "",
            "class Plain:\n    def __init__(self):\n        self.alpha = 1\n        self.beta = 2\n",
        ),
    ),
    edit(
        "import order",
        (
            F,
            "from .recursive import factorial, is_even\nfrom .registry import REGISTRY, captured, halve, handled, loops, pair, product, squared\n",
            "from .registry import squared, product, pair, loops, handled, halve, captured, REGISTRY\nfrom .recursive import is_even, factorial\n",
        ),
        (F, "from . import cfg, near, tables\n", "from . import tables\nfrom . import near, cfg\n"),
    ),
    edit(
        "the order of definitions",
        (
            "proj/recursive.py",
            project_files()["proj/recursive.py"],
            "\n\n".join(reversed(project_files()["proj/recursive.py"].strip().split("\n\n"))) + "\n",
        ),
    ),
    edit("a helper called by keyword", (F, "return near_helper(clip)", "return near_helper(x=clip)")),
    edit("a default spelled out", (F, "return with_default(clip)", "return with_default(clip, 2)")),
    edit(
        "a default spelled out by keyword",
        (F, "return with_default(clip)", "return with_default(x=clip, scale=2)"),
    ),
    edit(
        "how a constant is imported",
        (
            F,
            "from . import cfg, near, tables",
            "from . import cfg as config, near, tables\nfrom .cfg import GAIN, OFFSET",
        ),
        (F, "clip * cfg.GAIN", "clip * GAIN"),
        (F, "getattr(cfg,", "getattr(config,"),
    ),
    edit(
        "the import moved into the body",
        (F, "return near_helper(clip)", "from .near import near_helper\n    return near_helper(clip)"),
    ),
]

REFUSED = [
    edit("eval", (F, "return clip + 1\n", "return eval('clip + 1')\n"), to={"body"}, refused={"body"}),
    edit(
        "exec in a helper",
        (FAR, "return x * 2", "exec('pass')\n    return x * 2"),
        to={"two_away"},
        refused={"two_away"},
    ),
    edit(
        "getattr by a variable",
        (F, "return clip + 1\n", "return getattr(cfg, clip)\n"),
        to={"body"},
        refused={"body"},
    ),
    edit(
        "getattr handed on",
        (F, "return clip + 1\n", "return functools.reduce(getattr, clip)\n"),
        to={"body"},
        refused={"body"},
    ),
    edit("globals()", (F, "return clip + 1\n", "return globals()[clip]\n"), to={"body"}, refused={"body"}),
    edit(
        "import_module by a variable",
        (F, "return clip + 1\n", "import importlib\n    return importlib.import_module(clip)\n"),
        to={"body"},
        refused={"body"},
    ),
    edit(
        "import_module under another name",
        (F, "return clip + 1\n", "from importlib import import_module as load\n    return load(clip)\n"),
        to={"body"},
        refused={"body"},
    ),
    edit("__import__", (F, "return clip + 1\n", "return __import__(clip)\n"), to={"body"}, refused={"body"}),
    edit(
        "sys.modules",
        (F, "return clip + 1\n", "import sys\n    return sys.modules[clip]\n"),
        to={"body"},
        refused={"body"},
    ),
    edit(
        "a data file read by native code",
        (F, "return clip + 1\n", "import soundfile\n    return soundfile.read('x.wav')\n"),
        to={"body"},
        refused={"body"},
    ),
    edit(
        "a declared data file that does not exist",
        (TABLES, '"table.txt"', '"none.txt"'),
        to={"from_path", "reads_declared"},
        refused={"reads_declared"},
    ),
]

TABLE = {"code": CODE, "class": CLASS, "values": VALUES, "nothing": NOTHING, "refused": REFUSED}

__all__ = ["FILES", "TABLE", "dedent", "indent"]
