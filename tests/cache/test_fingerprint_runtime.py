# ruff: noqa: E501  source texts of the edited modules
"""Fingerprints inside one process: what is patched, reloaded, generated or filled while it runs."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from earmark.cache.fingerprint import fingerprint
from earmark.errors import FingerprintError

Make = Callable[..., ModuleType]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Writes modules and imports the first one; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**sources: str) -> ModuleType:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module(next(iter(sources)))

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("fp_"):
            del sys.modules[name]


def digest(*roots: Any, **keywords: Any) -> str:
    return fingerprint(*roots, **keywords).digest.hex()


def test_same_twice_and_short(make: Make) -> None:
    module = make(fp_plain="def f(x):\n    return x + 1\n")
    first, second = fingerprint(module.f), fingerprint(module.f)
    assert first == second
    assert len(first.digest) == 16
    assert first.short == first.digest.hex()[:12]


def test_patched_helper_counts_at_once_and_reverting_restores(make: Make) -> None:
    module = make(fp_patch="def g(x):\n    return x\n\ndef f(x):\n    return g(x)\n")
    before, original = digest(module.f), module.g
    module.g = lambda x: x + 1
    assert digest(module.f) != before
    module.g = original
    assert digest(module.f) == before


def test_patched_method_default_and_closure_count(make: Make) -> None:
    module = make(
        fp_patched="""
        class A:
            def m(self):
                return 1

        def outer(n):
            def inner():
                return n
            return inner

        inner = outer(1)

        def f(x, k=1):
            return A().m() + inner() + k
        """
    )
    seen = {digest(module.f)}
    module.A.m = lambda self: 2
    seen.add(digest(module.f))
    module.f.__defaults__ = (2,)
    seen.add(digest(module.f))
    module.inner.__closure__[0].cell_contents = 5
    seen.add(digest(module.f))
    module.f.__code__ = (lambda x, k: x).__code__
    seen.add(digest(module.f))
    assert len(seen) == 5


def test_own_function_put_into_a_library_counts(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import textwrap as library

    module = make(
        fp_library="import textwrap\n\ndef f(x):\n    return textwrap.indent(x)\n\ndef mine(x):\n    return x\n"
    )
    before = digest(module.f)
    monkeypatch.setattr(library, "indent", module.mine)
    patched = digest(module.f)
    assert patched != before
    module.mine.__code__ = (lambda x: x + x).__code__
    assert digest(module.f) != patched


def test_own_method_put_into_a_class_of_a_library_counts(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import textwrap as library

    module = make(
        fp_method="import textwrap\nfrom textwrap import TextWrapper\n\ndef f(x):\n    return textwrap.TextWrapper(x)\n\n"
        "def g(x):\n    return TextWrapper(x)\n\ndef mine(self, x):\n    return x\n"
    )
    before = digest(module.f), digest(module.g)
    monkeypatch.setattr(library.TextWrapper, "fill", module.mine)
    assert digest(module.f) != before[0]
    assert digest(module.g) != before[1]


def test_configuration_changed_from_outside_counts(make: Make) -> None:
    module = make(
        fp_config="""
        class C:
            def __init__(self):
                self.gain = 1

        CFG = C()
        TABLE = {"a": 1}

        def f(x):
            return x * CFG.gain

        def g(x):
            return TABLE["a"]
        """
    )
    before_f, before_g = digest(module.f), digest(module.g)
    module.CFG.gain = 2
    module.TABLE["a"] = 2
    assert digest(module.f) != before_f
    assert digest(module.g) != before_g


MEMOS = {
    "memo dict": "CACHE = {}\ndef f(x):\n    if x not in CACHE:\n        CACHE[x] = [x]\n    return CACHE[x]\n",
    "setdefault": "CACHE = {}\ndef f(x):\n    return CACHE.setdefault(x, x + 1)\n",
    "list of calls": "SEEN = []\ndef f(x):\n    SEEN.append(x)\n    return x\n",
    "set": "SEEN = set()\ndef f(x):\n    SEEN.add(x)\n    return x\n",
    "counter": "N = 0\ndef f(x):\n    global N\n    N += 1\n    return x\n",
    "counter dict": "from collections import defaultdict\nN = defaultdict(int)\ndef f(x):\n    N[x] += 1\n    return x\n",
    "counting attribute": "class S:\n    n = 0\nSTATE = S()\ndef f(x):\n    STATE.n += 1\n    return x\n",
    "function attribute": "def f(x):\n    f.calls = getattr(f, 'calls', 0) + 1\n    return x\n",
    "loaded on first use": "TABLE = None\ndef f(x):\n    global TABLE\n    if TABLE is None:\n        TABLE = [1, 2]\n    return TABLE\n",
    "default argument": "def f(x, cache={}):\n    cache[x] = x\n    return x\n",
    "closure": (
        "def memo(g):\n    cache = {}\n    def inner(x):\n        if x not in cache:\n            cache[x] = g(x)\n"
        "        return cache[x]\n    return inner\n@memo\ndef f(x):\n    return x\n"
    ),
    "nonlocal": "def make():\n    n = 0\n    def inner(x):\n        nonlocal n\n        n += 1\n        return x\n    return inner\nf = make()\n",
    "lru_cache": "import functools\n@functools.lru_cache\ndef g(x):\n    return x\ndef f(x):\n    return g(x)\n",
    "cached property": (
        "import functools\nclass A:\n    @functools.cached_property\n    def p(self):\n        return 1\n"
        "OBJ = A()\ndef f(x):\n    return OBJ.p\n"
    ),
    "lazy object": (
        "class A:\n    def __init__(self):\n        self.table = None\n    def get(self):\n        if self.table is None:\n"
        "            self.table = [1]\n        return self.table\nOBJ = A()\ndef f(x):\n    return OBJ.get()\n"
    ),
    "object with a dict": (
        "class A:\n    def __init__(self):\n        self.table = {}\n    def get(self, x):\n        self.table[x] = x\n"
        "        return x\nOBJ = A()\ndef f(x):\n    return OBJ.get(x)\n"
    ),
    "random generator": "import random\nRNG = random.Random(3)\ndef f(x):\n    return RNG.random()\n",
    "numpy generator": "import numpy as np\nRNG = np.random.default_rng(3)\ndef f(x):\n    return RNG.random()\n",
    "numpy buffer": "import numpy as np\nBUFFER = np.zeros(3)\ndef f(x):\n    BUFFER[0] = x\n    return BUFFER.sum()\n",
    "singledispatch": "import functools\n@functools.singledispatch\ndef g(x):\n    return x\ndef f(x):\n    return g(x)\n",
}


@pytest.mark.parametrize("kind", MEMOS)
def test_what_the_code_itself_fills_does_not_count(kind: str, make: Make) -> None:
    module = make(fp_memo=MEMOS[kind])
    before = digest(module.f)
    for value in (1, 2, 3):
        module.f(value)
    assert digest(module.f) == before


@pytest.mark.parametrize(
    "edit",
    [
        ("TABLE = None", "TABLE = [5]"),
        ("N = 0", "N = 1"),
        ("BUFFER = np.zeros(3)", "BUFFER = np.ones(3)"),
        ("Random(3)", "Random(4)"),
    ],
)
def test_how_state_starts_counts(edit: tuple[str, str], make: Make) -> None:
    kind = next(kind for kind, source in MEMOS.items() if edit[0] in source)
    before = digest(make(fp_start_a=MEMOS[kind]).f)
    assert digest(make(fp_start_b=MEMOS[kind]).f) == before
    assert digest(make(fp_start_c=MEMOS[kind].replace(*edit)).f) != before


def test_source_edited_under_a_running_process(make: Make, tmp_path: Path) -> None:
    source = "GAIN = 1\ndef helper(x):\n    return x * GAIN\ndef f(x):\n    return helper(x)\n"
    module = make(fp_edited=source)
    before = digest(module.f)
    (tmp_path / "fp_edited.py").write_text(source.replace("x * GAIN", "x + GAIN + 100"))
    importlib.invalidate_caches()
    assert digest(module.f) == before, "what runs is still the old code"
    importlib.reload(module)
    reloaded = digest(module.f)
    assert reloaded != before
    assert fresh(tmp_path, "fp_edited") == reloaded
    (tmp_path / "fp_edited.py").write_text(source)
    assert fresh(tmp_path, "fp_edited") == before


def test_reload_gives_state_a_new_start(make: Make, tmp_path: Path) -> None:
    module = make(fp_restart=MEMOS["counter"])
    before = digest(module.f)
    module.f(1)
    (tmp_path / "fp_restart.py").write_text(MEMOS["counter"].replace("N = 0", "N = 10"))
    importlib.reload(module)
    assert digest(module.f) != before


def fresh(folder: Path, module: str) -> str:
    """The digest that a new process computes."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.dont_write_bytecode = True\n"
        f"from earmark.cache.fingerprint import fingerprint\nimport {module}\n"
        f"print(fingerprint({module}.f).digest.hex())"
    )
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_hash_randomisation_does_not_matter(make: Make, tmp_path: Path) -> None:
    make(
        fp_hash="NAMES = {'a', 'b', 'c'}\nFS = {len, max, min}\ndef f(x):\n    return NAMES, FS, x in {'p', 'q', 'r'}\n"
    )
    assert len({fresh(tmp_path, "fp_hash") for _ in range(3)}) == 1


def test_a_class_variable_of_a_dataclass_has_no_address(make: Make, tmp_path: Path) -> None:
    text = (
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass(frozen=True)\nclass Rule:\n    name: ClassVar[str] = '{name}'\n    limit: float = 1.0\n"
        "def f(x):\n    return Rule(x)\n"
    )
    make(fp_class_variable=text.format(name="fixed"), fp_other_variable=text.format(name="free"))
    digests = {fresh(tmp_path, "fp_class_variable") for _ in range(3)}
    assert len(digests) == 1
    assert fresh(tmp_path, "fp_other_variable") not in digests


def test_library_loaded_or_not_reads_the_same(make: Make, tmp_path: Path) -> None:
    make(
        fp_late="import xml\ndef f(x):\n    import wave\n    import email.message as m\n    return wave.open(x), xml.dom.Node, m.Message\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom earmark.cache.fingerprint import fingerprint\nimport fp_late\n"
        "one = fingerprint(fp_late.f)\nimport wave, xml.dom, email.message\nassert fingerprint(fp_late.f) == one"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name, body",
    [
        ("eval", "eval('x')"),
        ("exec", "exec('x = 1')"),
        ("compile", "compile('x', '', 'eval')"),
        ("getattr", "getattr(x, x)"),
        ("getattr", "getattr(x, 'a' if x else 'b')"),
        ("getattr", "list(map(getattr, x))"),
        ("globals", "globals()['f']"),
        ("__import__", "__import__(x)"),
        ("import_module", "importlib.import_module(x)"),
        ("sys.modules", "sys.modules[x]"),
        ("run_path", "runpy.run_path(x)"),
        ("__subclasses__", "type(x).__subclasses__()"),
        ("spec_from_file_location", "importlib.util.spec_from_file_location(x)"),
        ("FunctionType", "types.FunctionType(x, {})"),
    ],
)
def test_what_cannot_be_followed_is_refused_unless_declared(name: str, body: str, make: Make) -> None:
    module = make(
        fp_refused=f"import importlib, importlib.util, runpy, sys, types\n\ndef f(x):\n    return {body}\n"
    )
    with pytest.raises(FingerprintError) as refusal:
        fingerprint(module.f)
    message = str(refusal.value)
    assert name in message and "fp_refused.f" in message and "line 4" in message and "depends_on=[" in message
    assert fingerprint(module.f, depends_on=[None])


def test_what_is_declared_counts(make: Make) -> None:
    module = make(fp_declared="def g(x):\n    return x\ndef f(x):\n    return eval('g(x)')\n")
    before = digest(module.f, depends_on=[module.g])
    module.g.__code__ = (lambda x: x + 1).__code__
    assert digest(module.f, depends_on=[module.g]) != before


@pytest.mark.parametrize(
    "body",
    [
        "getattr(fp_known_cfg, 'A')",
        "importlib.import_module('fp_known_cfg').A",
        "sys.modules['fp_known_cfg'].A",
        "__import__('fp_known_cfg').A",
    ],
)
def test_a_constant_name_is_followed(body: str, make: Make) -> None:
    make(fp_known_cfg="A = 1\n")
    module = make(fp_known=f"import importlib, sys, fp_known_cfg\n\ndef f(x):\n    return {body}\n")
    before = digest(module.f)
    sys.modules["fp_known_cfg"].A = 2
    assert digest(module.f) != before


def test_value_without_content_is_refused(make: Make) -> None:
    module = make(fp_opaque="STREAM = (i for i in range(3))\ndef f(x):\n    return next(STREAM)\n")
    with pytest.raises(FingerprintError, match=r"STREAM.*generator.*depends_on="):
        fingerprint(module.f)


def test_locks_and_loggers_are_no_obstacle(make: Make) -> None:
    module = make(
        fp_locks="""
        import logging, threading
        LOCK = threading.Lock()
        LOG = logging.getLogger(__name__)
        LOCAL = threading.local()
        def f(x):
            with LOCK:
                LOG.info("%s", LOCAL)
                return x
        """
    )
    assert fingerprint(module.f)


def test_default_spelled_out_as_parameter_is_the_same_call(make: Make) -> None:
    module = make(fp_parameters="def f(x, order=2, *, table=(1, 2)):\n    return x ** order\n")
    plain = digest(module.f)
    assert digest(module.f, parameters={"parameter order": 2}) == plain
    assert digest(module.f, parameters={"parameter table": (1, 2), "parameter order": 2}) == plain
    assert digest(module.f, parameters={"parameter order": 3}) != plain
    assert digest(module.f, parameters={"parameter order": 2.0}) != plain
    assert digest(module.f, parameters={"order": 2}) != plain, (
        "without the prefix it is a setting of the engine"
    )


def test_swapping_parameter_names_counts_where_keywords_spell_them(make: Make) -> None:
    caller = "from {0} import g\ndef f(x):\n    return g({1})\n"
    results = {}
    for index, (names, call) in enumerate(
        [("a, b", "1, 2"), ("b, a", "1, 2"), ("a, b", "b=1, a=2"), ("b, a", "b=1, a=2")]
    ):
        first = names.split(", ")[0]
        second = names.split(", ")[1]
        make(**{f"fp_callee{index}": f"def g({names}):\n    return {first} - {second}\n"})
        results[names, call] = digest(
            make(**{f"fp_caller{index}": caller.format(f"fp_callee{index}", call)}).f
        )
    assert results["a, b", "1, 2"] == results["b, a", "1, 2"]
    assert results["a, b", "b=1, a=2"] != results["b, a", "b=1, a=2"]


def test_docstring_counts_where_code_reads_it(make: Make) -> None:
    source = "def g(x):\n    '''{0}'''\n    return x\ndef f(x):\n    return g.__doc__\n"
    assert digest(make(fp_doc_a=source.format("one")).f) != digest(make(fp_doc_b=source.format("two")).f)


def test_object_that_says_what_it_stands_for(make: Make) -> None:
    module = make(
        fp_account="""
        class Group:
            def __init__(self, function, label):
                self.function, self.label = function, label
            def __fingerprint__(self):
                return self.function
        def g(x):
            return x
        GROUP = Group(g, "name")
        def f(x):
            return GROUP
        """
    )
    before = digest(module.f)
    module.GROUP.label = "another"
    assert digest(module.f) == before
    module.g.__code__ = (lambda x: x + 1).__code__
    assert digest(module.f) != before


def test_pydantic_model(make: Make) -> None:
    source = """
        from pydantic import BaseModel, field_validator

        class Settings(BaseModel):
            gain: {kind} = {default}
            taps: list[int] = [1, 2]

            @field_validator("gain")
            @classmethod
            def positive(cls, value):
                return value + {add}

        SETTINGS = Settings(gain={given})

        def f(x):
            return SETTINGS.model_dump()

        def g(x):
            return x * SETTINGS.gain
        """
    base = {"kind": "int", "default": 1, "add": 0, "given": 3}
    modules = [make(**{f"fp_model{i}": source.format(**base | change)}) for i, change in enumerate(
        [{}, {}, {"default": 2}, {"add": 1}, {"given": 4}, {"kind": "float"}])]  # fmt: skip
    whole = [digest(module.f) for module in modules]
    assert whole[0] == whole[1]
    assert len(set(whole)) == 5
    one_field = [digest(module.g) for module in modules]
    assert one_field[0] == one_field[2], "a field read directly depends on its value alone"
    assert one_field[0] != one_field[4]


def test_compiled_function_follows_a_patched_constant(make: Make) -> None:
    module = make(
        fp_numba="""
        from numba import njit
        SCALE = 2.0
        @njit
        def inner(x):
            return x * SCALE
        @njit
        def kernel(x):
            return inner(x) + 1.0
        def f(x):
            return kernel(x)
        """
    )
    before = digest(module.f)
    assert module.f(3.0) == 7.0
    module.SCALE = 10.0
    assert module.f(3.0) == 7.0, "numba froze the constant"
    assert digest(module.f) != before
    assert module.f(3.0) == 31.0, "compiled anew for the new fingerprint"


def test_numba_disk_cache_follows_helpers_in_other_modules(tmp_path: Path) -> None:
    (tmp_path / "fp_const.py").write_text("SCALE = 2.0\n")
    (tmp_path / "fp_kernel.py").write_text(
        "from numba import njit\nimport fp_const\n@njit(cache=True)\ndef kernel(x):\n    return x * fp_const.SCALE\n"
        "def f(x):\n    return kernel(x)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.dont_write_bytecode = True\n"
        "from earmark.cache.fingerprint import fingerprint\nimport fp_kernel\nfingerprint(fp_kernel.f)\n"
        "print(fp_kernel.f(3.0), sum(fp_kernel.kernel.stats.cache_hits.values()))"
    )

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert run() == "6.0 0"
    assert run() == "6.0 1", "an unchanged closure uses the compilation on disk"
    (tmp_path / "fp_const.py").write_text("SCALE = 5.0\n")
    assert run() == "15.0 0"
    assert run() == "15.0 1"


def test_what_else_is_loaded_does_not_matter(tmp_path: Path) -> None:
    """scipy.fft makes its functions of a compiled class whose module does not exist; it is nobody's own code."""
    source = "def spectrum(x):\n    from scipy.fft import rfft\n    return rfft(x)\n"
    (tmp_path / "spectra.py").write_text(source)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n{}\n"
        "from earmark.cache.fingerprint import fingerprint\nimport spectra\nprint(fingerprint(spectra.spectrum).digest.hex())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script.format(first), str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for first in ("", "import scipy.fft", "import sklearn.linear_model")
    }
    assert len(digests) == 1 and digests != {""}
