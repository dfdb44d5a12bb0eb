# ruff: noqa: E501  source texts of small modules
"""Pairs of small modules whose function computes different things: their fingerprints must differ, and be stable."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earmark.cache.fingerprint import fingerprint

PAIRS: dict[str, tuple[str, object, object]] = {
    "descriptor": (
        "class D:\n def __get__(self,o,t): return {0}\nclass A: x=D()\ndef f(c): return A().x",
        1,
        2,
    ),
    "descriptor on class": (
        "class D:\n def __get__(self,o,t): return {0}\nclass A: x=D()\ndef f(c): return A.x",
        1,
        2,
    ),
    "getattr hook": (
        "class A:\n def __getattr__(self,n): return {0}\nO=A()\ndef f(c): return O.anything",
        1,
        2,
    ),
    "getattribute hook": (
        "class A:\n x=1\n def __getattribute__(self,n): return {0}\nO=A()\ndef f(c): return O.x",
        1,
        2,
    ),
    "metaclass attr": (
        "class M(type):\n @property\n def x(cls): return {0}\nclass A(metaclass=M): pass\ndef f(c): return A.x",
        1,
        2,
    ),
    "module getattr": (
        "import types,sys\nmod=types.ModuleType('zz_mod')\nmod.x={0}\ndef f(c): return mod.x",
        1,
        2,
    ),
    "class var via instance": ("class A:\n x={0}\nO=A()\ndef f(c): return O.x", 1, 2),
    "init_subclass": (
        "class B:\n def __init_subclass__(cls): cls.x={0}\nclass A(B): pass\ndef f(c): return A.x",
        1,
        2,
    ),
    "set_name": (
        "class D:\n def __set_name__(self,o,n): o.y={0}\nclass A: x=D()\ndef f(c): return A.y",
        1,
        2,
    ),
    "nested default": ("def f(c):\n def g(a={0}): return a\n return g()", 1, 2),
    "lambda default": ("f=lambda c,a={0}: a", 1, 2),
    "kw default helper": ("def g(*,a={0}): return a\ndef f(c): return g()", 1, 2),
    "default filled": ("def g(a,b={0}): return a+b\ndef f(c): return g(c)", 1, 2),
    "filled vs given": ("def g(a,b=1): return a+b\ndef f(c): return g(c{0})", "", ",2"),
    "kw swapped": ("def g(a=1,b=2): return a-b\ndef f(c): return g({0})", "a=3,b=4", "b=3,a=4"),
    "kwonly swapped": ("def g(*,a=1,b=2): return a-b\ndef f(c): return g({0})", "a=3,b=4", "b=3,a=4"),
    "class body attr": ("def f(c):\n class A:\n  x={0}\n return A.x", 1, 2),
    "try import": (
        "def f(c):\n try:\n  import zz_not_there\n  return 1\n except ImportError:\n  return {0}",
        1,
        2,
    ),
    "with suppress": (
        "import contextlib\ndef f(c):\n with contextlib.suppress(ImportError):\n  import zz_not_there\n  return 5\n return {0}",
        1,
        2,
    ),
    "finally": ("def f(c):\n try: return 1\n finally: print({0})", 1, 2),
    "star args": ("def g(*a): return a\ndef f(c): return g(*[{0}])", 1, 2),
    "star kwargs": ("def g(**a): return a\ndef f(c): return g(**{{'{0}': 1}})", "x", "y"),
    "global stmt": ("X=1\ndef g():\n global X\n X={0}\ndef f(c):\n g()\n return X", 1, 2),
    "chained compare": ("def f(c): return 1 < c {0} 5", "<", "<="),
    "slice": ("def f(c): return c[1:{0}]", 3, 4),
    "unpack": ("def f(c):\n a,b=c\n return {0}", "a", "b"),
    "unpack star": ("def f(c):\n a,*b=c\n return {0}", "a", "b"),
    "swap": ("def f(c):\n a,b=c\n {0}\n return a", "a,b=b,a", "pass"),
    "del": ("def f(c):\n d={{'a':1,'b':2}}\n del d['{0}']\n return d", "a", "b"),
    "augassign": ("def f(c):\n x=c\n x {0}= 2\n return x", "+", "-"),
    "ternary": ("def f(c): return {0}", "1 if c else 2", "2 if c else 1"),
    "comprehension order": ("def f(c): return [(a,b) for {0}]", "a in c for b in c", "b in c for a in c"),
    "dict order": ("def f(c): return {0}", "{'a':1,'b':2}", "{'b':2,'a':1}"),
    "global dict order": ("D={0}\ndef f(c): return list(D)", "{'a':1,'b':2}", "{'b':2,'a':1}"),
    "set of functions": (
        "def g(x): return {0}\ndef h(x): return 5\nS={{g,h}}\ndef f(c): return [s(c) for s in S]",
        1,
        2,
    ),
    "frozenset const": ("def f(c): return c in {0}", "{1,2}", "{1,3}"),
    "mapping proxy": ("import types\nD=types.MappingProxyType({{'a':{0}}})\ndef f(c): return D['a']", 1, 2),
    "bytes const": ("def f(c): return {0}", "b'a'", "'a'"),
    "big int": ("def f(c): return {0}", 1000000000000000000000000000000, 1000000000000000000000000000001),
    "partialmethod": (
        "import functools\nclass A:\n def m(self,x): return x\n n=functools.partialmethod(m,{0})\ndef f(c): return A().n()",
        1,
        2,
    ),
    "cached_property": (
        "import functools\nclass A:\n @functools.cached_property\n def p(self): return {0}\nO=A()\ndef f(c): return O.p",
        1,
        2,
    ),
    "contextmanager": (
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield {0}\ndef f(c):\n with g() as x: return x",
        1,
        2,
    ),
    "bound method global": (
        "class A:\n def __init__(s): s.v={0}\n def m(self): return self.v\nM=A().m\ndef f(c): return M()",
        1,
        2,
    ),
    "classmethod alias": (
        "class A:\n V={0}\n @classmethod\n def m(cls): return cls.V\nM=A.m\ndef f(c): return M()",
        1,
        2,
    ),
    "dict subclass": ("class D(dict): pass\nX=D(a={0})\ndef f(c): return X['a']", 1, 2),
    "list subclass": ("class D(list): pass\nX=D([{0}])\ndef f(c): return X[0]", 1, 2),
    "float subclass": ("class D(float): pass\nX=D({0})\ndef f(c): return X+1", 1, 2),
    "str subclass": ("class D(str): pass\nX=D('{0}')\ndef f(c): return X+'1'", 1, 2),
    "intenum": ("import enum\nclass E(enum.IntEnum):\n A={0}\ndef f(c): return E.A+1", 1, 2),
    "flag": ("import enum\nclass E(enum.Flag):\n A={0}\n B=8\nX=E.A|E.B\ndef f(c): return X", 1, 2),
    "operator attrgetter": (
        "import operator\nclass A: pass\nO=A()\nO.x={0}\nG=operator.attrgetter('x')\ndef f(c): return G(O)",
        1,
        2,
    ),
    "exec'd": ("ns={{}}\nexec('def g(x): return {0}',ns)\ng=ns['g']\ndef f(c): return g(c)", 1, 2),
    "types.FunctionType global": (
        "import types\ndef g(x): return {0}\nh=types.FunctionType(g.__code__,{{}})\ndef f(c): return h(c)",
        1,
        2,
    ),
    "wrapped by lib": (
        "import functools\n@functools.singledispatch\ndef g(x): return {0}\ndef f(c): return g(c)",
        1,
        2,
    ),
    "np.vectorize": ("import numpy as np\n@np.vectorize\ndef g(x): return {0}\ndef f(c): return g(c)", 1, 2),
    "numba vectorize": (
        "import numba\n@numba.vectorize\ndef g(x): return x+{0}\ndef f(c): return g(c)",
        1,
        2,
    ),
    "numba guvectorize": (
        "import numba\n@numba.guvectorize(['(f8[:],f8[:])'],'(n)->(n)')\ndef g(x,y):\n y[0]=x[0]+{0}\ndef f(c): return g(c)",
        1,
        2,
    ),
    "numba cfunc": (
        "import numba\n@numba.cfunc('f8(f8)')\ndef g(x): return x+{0}\ndef f(c): return g.ctypes(c)",
        1,
        2,
    ),
    "numba intrinsic": (
        "from numba.extending import intrinsic\n@intrinsic\ndef g(t,x):\n def codegen(a,b,c,d): return {0}\n return x(x),codegen\ndef f(c): return g",
        1,
        2,
    ),
    "threading local": (
        "import threading\nclass L(threading.local):\n x={0}\nT=L()\ndef f(c): return T.x",
        1,
        2,
    ),
    "slots dataclass": (
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass A:\n x:int={0}\nO=A()\ndef f(c): return O.x",
        1,
        2,
    ),
    "dataclass kw": (
        "import dataclasses\n@dataclasses.dataclass(order={0})\nclass A:\n x:int=1\ndef f(c): return A()<A()",
        True,
        False,
    ),
    "dataclass field order": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n {0}\ndef f(c): return A(1,2).x",
        "x:int\n y:int",
        "y:int\n x:int",
    ),
    "namedtuple order": (
        "from collections import namedtuple\nA=namedtuple('A','{0}')\ndef f(c): return A(1,2).x",
        "x y",
        "y x",
    ),
    "inherit order": (
        "class A:\n def m(s): return 1\nclass B:\n def m(s): return 2\nclass C({0}): pass\ndef f(c): return C().m()",
        "A,B",
        "B,A",
    ),
    "property setter": (
        "class A:\n @property\n def x(s): return s._x\n @x.setter\n def x(s,v): s._x=v+{0}\ndef f(c):\n a=A()\n a.x=1\n return a.x",
        1,
        2,
    ),
    "annotations used": ("def g(x: {0}): return x\ndef f(c): return g.__annotations__", "int", "float"),
    "name used": ("def {0}(x): return x\nG={0}\ndef f(c): return G.__name__", "g1", "g2"),
    "pow mod": ("def f(c): return c {0} 2", "//", "/"),
    "walrus scope": ("def f(c):\n [y:=x for x in c]\n return {0}", "y", "c"),
    "nonlocal": ("def f(c):\n n={0}\n def g():\n  nonlocal n\n  n+=1\n return n", 1, 2),
    "async for": ("async def f(c):\n async for x in c: return {0}", 1, 2),
    "except star": ("def f(c):\n try: print(c)\n except* {0}: print(1)", "ValueError", "KeyError"),
    "assert msg": ("def f(c):\n assert c, '{0}'", "a", "b"),
    "match guard": ("def f(c):\n match c:\n  case int(x) if x>{0}: return 1", 1, 2),
    "import alias": ("def f(c):\n from os.path import {0} as p\n return p(c)", "dirname", "basename"),
    "import alias2": ("def f(c):\n import os.path as p, posixpath as q\n return {0}.join(c)", "p", "q"),
    "stdlib attr": ("import math\ndef f(c): return math.{0}(c)", "sin", "cos"),
    "closure cell order": ("def o(a,b):\n def g(): return a-b\n return g\nf=o({0})", "1,2", "2,1"),
    "generator global": ("X=[i for i in range({0})]\ndef f(c): return X", 2, 3),
    "functools.reduce lambda": (
        "import functools\ndef f(c): return functools.reduce(lambda a,b: {0}, c)",
        "a-b",
        "b-a",
    ),
    "sorted key": ("def k(x): return {0}\ndef f(c): return sorted(c,key=k)", "x", "-x"),
    "fn attr": ("def g(x): return g.k\ng.k={0}\ndef f(c): return g(c)", 1, 2),
    "class call through dict": (
        "class A:\n def __init__(s): s.x={0}\nR={{'a':A}}\ndef f(c): return R['a']().x",
        1,
        2,
    ),
    "super": (
        "class B:\n def m(s): return {0}\nclass A(B):\n def m(s): return super().m()\ndef f(c): return A().m()",
        1,
        2,
    ),
    "operator overload": ("class A:\n def __add__(s,o): return {0}\nO=A()\ndef f(c): return O+1", 1, 2),
    "re.sub callable": ("import re\ndef r(m): return '{0}'\ndef f(c): return re.sub('a',r,c)", 1, 2),
    "type()": ("def m(s): return {0}\nA=type('A',(),{{'m':m}})\ndef f(c): return A().m()", 1, 2),
    "itertools chain": ("import itertools\nX=itertools.chain([{0}])\ndef f(c): return list(X)", 1, 2),
    "deque": ("from collections import deque\nX=deque([{0}])\ndef f(c): return X[0]", 1, 2),
    "memoryview": ("X=memoryview(b'{0}')\ndef f(c): return X[0]", 1, 2),
    "generator fn": ("def g():\n yield {0}\ndef f(c): return list(g())", 1, 2),
    "nested class inherits": ("def f(c):\n class B:\n  x={0}\n class A(B): pass\n return A().x", 1, 2),
    "attr aug": ("class A:\n n=0\nO=A()\ndef f(c):\n O.n+={0}\n return O.n", 1, 2),
    "print sep": ("def f(c): print(c, sep='{0}')", "a", "b"),
    "pos only": ("def g(a,/,b=1): return a-b\ndef f(c): return g({0})", "1,b=2", "2,b=1"),
}
"""What differs -> a module in which ``{0}`` stands for the difference, and two values of it."""


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Digest of ``f`` in a new module of the given source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: list[str] = []

    def make(source: str) -> str:
        names.append(f"fp_pair{len(names)}")
        (tmp_path / f"{names[-1]}.py").write_text(source)
        importlib.invalidate_caches()
        return fingerprint(importlib.import_module(names[-1]).f).digest.hex()

    yield make
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("what", PAIRS)
def test_difference_is_seen(what: str, digest: Callable[[str], str]) -> None:
    source, one, other = PAIRS[what]
    first = digest(source.format(one))
    assert digest(source.format(one)) == first
    assert digest(source.format(other)) != first
