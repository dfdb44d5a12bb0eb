"""The normal form on the standard library: reformatting never changes it, changing what the code does always does."""

from __future__ import annotations

import argparse
import ast
import asyncio.base_events
import collections
import dataclasses
import difflib
import inspect
import json.decoder
import statistics
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from earmark.cache import bytecode
from earmark.cache.normal_form import constant_text, normal_form

MODULES = [
    argparse,
    asyncio.base_events,
    collections,
    dataclasses,
    difflib,
    inspect,
    json.decoder,
    statistics,
]
MODULES += [tarfile, textwrap, zipfile]


def codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes(constant)


def compiled(source: str | ast.AST) -> CodeType:
    return compile(source, "compiled.py", "exec", dont_inherit=True)


def form_of(source: str) -> str:
    """Digest of a module of one function: its code with its defaults."""
    return normal_form(compiled(textwrap.dedent(source))).digest


def read(module: ModuleType) -> str:
    assert module.__file__
    return Path(module.__file__).read_text()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_reformatting_changes_nothing(module: ModuleType) -> None:
    source = read(module)
    rewritten = ast.unparse(ast.parse(source))
    assert rewritten != source
    different = [
        before.co_qualname
        for before, after in zip(codes(compiled(source)), codes(compiled(rewritten)), strict=True)
        if normal_form(before).digest != normal_form(after).digest
    ]
    assert different == []


class Bare(ast.NodeTransformer):
    """Takes docstrings and annotations out of functions."""

    def visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_function  # noqa: N815


class Renamed(ast.NodeTransformer):
    """Renames the local variables of functions that hold no other function, class or comprehension."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        inner = [child for child in ast.walk(node) if child is not node]
        scopes = (
            ast.FunctionDef,
            ast.AsyncFunctionDef,
            ast.Lambda,
            ast.ClassDef,
            ast.ListComp,
            ast.GeneratorExp,
        )
        scopes += (ast.SetComp, ast.DictComp, ast.Global, ast.Nonlocal)
        if any(isinstance(child, scopes) for child in inner):
            return self.generic_visit(node)
        kept = {child.arg for child in inner if isinstance(child, ast.arg)}
        stored = {c.id for c in inner if isinstance(c, ast.Name) and isinstance(c.ctx, ast.Store)} - kept
        for child in inner:
            if isinstance(child, ast.Name) and child.id in stored:
                child.id = f"zz_{child.id}_renamed"
        return node


@pytest.mark.parametrize("transform", [Bare, Renamed])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_docstrings_annotations_and_local_names_do_not_count(module: ModuleType, transform: type) -> None:
    tree = ast.parse(read(module))
    changed = ast.fix_missing_locations(transform().visit(ast.parse(read(module))))
    assert ast.dump(tree) != ast.dump(changed)
    pairs = list(zip(codes(compiled(tree)), codes(compiled(changed)), strict=True))
    different = [
        a.co_qualname
        for a, b in pairs
        if is_function(a) and digest_without_names(a) != digest_without_names(b)
    ]
    assert different == []


def is_function(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def digest_without_names(code: CodeType) -> str:
    # Class bodies inside functions keep their annotations (a dataclass reads them), so leave their owners out.
    has_class = any(not is_function(inner) for inner in codes(code))
    return "" if has_class else normal_form(code).digest


class Mutant(ast.NodeTransformer):
    """Changes what one node does: the ``target``-th that it knows how to change."""

    SWAPS = (
        (ast.Add, ast.Sub), (ast.Sub, ast.Add), (ast.Mult, ast.Add), (ast.Lt, ast.LtE), (ast.LtE, ast.Lt),
        (ast.Gt, ast.GtE), (ast.GtE, ast.Gt), (ast.Eq, ast.NotEq), (ast.NotEq, ast.Eq), (ast.Is, ast.IsNot),
        (ast.IsNot, ast.Is), (ast.In, ast.NotIn), (ast.NotIn, ast.In), (ast.And, ast.Or), (ast.Or, ast.And),
    )  # fmt: skip

    def __init__(self, target: int) -> None:
        self.target = target
        self.seen = -1
        self.what = ""

    def hit(self, what: str) -> bool:
        self.seen += 1
        if self.seen == self.target:
            self.what = what
        return self.seen == self.target

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for old, new in self.SWAPS:
            if isinstance(node, old) and self.hit(f"{old.__name__} to {new.__name__}"):
                return new()
        if isinstance(node, ast.Constant) and type(node.value) is int and self.hit("number"):
            node.value += 1
        elif isinstance(node, ast.Attribute) and self.hit(f"attribute {node.attr}"):
            node.attr += "_other"
        elif isinstance(node, ast.Call) and len(node.args) > 1 and self.hit("arguments"):
            if ast.dump(node.args[0]) != ast.dump(node.args[1]):
                node.args[:2] = node.args[1::-1]
            else:
                node.args.pop()
        elif isinstance(node, ast.If) and self.hit("condition"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.Return) and self.hit("return"):
            node.value = ast.Constant("something else")
        return node


def stands_alone(function: ast.FunctionDef) -> bool:
    """False for a function that needs an enclosing one, or holds code that never runs: editing that is no change."""
    return not any(
        isinstance(node, ast.Nonlocal)
        or (isinstance(node, ast.Constant) and node.value == 0 and type(node.value) is int)
        for node in ast.walk(function)
    )


@pytest.mark.parametrize(
    "module", [textwrap, statistics, collections, difflib], ids=lambda module: module.__name__
)
def test_every_mutation_is_seen(module: ModuleType) -> None:
    tree = ast.parse(read(module))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and stands_alone(node)]
    tried = 0
    for function in functions:
        body = ast.Module([Bare().visit(function)], [])
        plain = ast.unparse(body)
        before = form_of(plain)
        for target in range(0, 400, 5):
            mutant = Mutant(target)
            mutated = ast.unparse(ast.fix_missing_locations(mutant.visit(ast.parse(plain))))
            if not mutant.what:
                break
            tried += 1
            assert form_of(mutated) != before, f"{function.name}: {mutant.what}\n{mutated}"
    assert tried > 15


def test_fast_decoder_agrees_with_dis() -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the fast decoder is for Python 3.11")
    for module in MODULES:
        for code in codes(compiled(read(module))):
            fast = bytecode._link(bytecode._decode_311(code))
            slow = bytecode._link(bytecode.decode_by_dis(code))
            assert [(a.op, a.kind, a.value, a.offset) for a in fast] == [
                (b.op, b.kind, b.value, b.offset) for b in slow
            ]


@pytest.mark.parametrize(
    "one, other",
    [
        ("def f(x):\n return x and 1 or 2", "def f(x):\n return (x and\n 1\n or\n 2)"),
        ("def f(x):\n if not x: return 1\n return 2", "def f(x):\n if x:\n  return 2\n return 1"),
        ("def f(a):\n import os\n return os.sep", "def f(a):\n import os as system\n return system.sep"),
        ("def f(x):\n y: int = x\n return y", "def f(x):\n y = x\n return y"),
        ("def f(x):\n pass\n return x", "def f(x):\n return x"),
        (
            "def f(x):\n def g(b): return b + x\n return g",
            "def f(q):\n def h(c) -> int: return c + q\n return h",
        ),
    ],
)
def test_same(one: str, other: str) -> None:
    assert form_of(one) == form_of(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("def f(x): return 1", "def f(x): return 1.0"),
        ("def f(x): return 1", "def f(x): return True"),
        ("def f(x): return 0.0", "def f(x): return -0.0"),
        ("def f(x): return (1, 2)", "def f(x): return (1, 2.0)"),
        ("def f(x): return 'a'", "def f(x): return b'a'"),
        ("def f(x): return None", "def f(x): return ..."),
        ("def f(a, b): return a - b", "def f(a, b): return b - a"),
        ("def f(a, b): return a", "def f(a, *b): return a"),
        ("def f(a, b): return a", "def f(a, *, b): return a"),
        ("def f(a, b): return a", "def f(a, b, /): return a"),
        ("def f(x): return x", "def f(x): yield x"),
        ("def f(x): return x", "async def f(x): return x"),
        (
            "def f(x):\n try: g()\n except A: return 1\n return 2",
            "def f(x):\n g()\n try: pass\n except A: return 1\n return 2",
        ),
        ("def f(x):\n try:\n  g()\n  h()\n finally: k()", "def f(x):\n g()\n try:\n  h()\n finally: k()"),
        ("def f(x):\n for i in x: g(i)\n else: h()", "def f(x):\n for i in x: g(i)\n h(1)"),
        ("def f(x):\n while x: break\n g()", "def f(x):\n while x: continue\n g()"),
        (
            "def f(x):\n try:\n  import os\n except ImportError:\n  return 1\n return os.a",
            "def f(x):\n try:\n  import os\n except ImportError:\n  return 2\n return os.a",
        ),
        (
            "def f(x):\n x = 1\n def g(): return x\n y = 2\n return g",
            "def f(x):\n x = 1\n y = 2\n def g(): return y\n return g",
        ),
        ("def f(x, y):\n def g(): return x, y\n return g", "def f(x, y):\n def g(): return y, x\n return g"),
        (
            "def f():\n @dataclass\n class A:\n  x: int\n return A",
            "def f():\n @dataclass\n class A:\n  y: int\n return A",
        ),
        ("def f(x): return f'{x}'", "def f(x): return f'{x!r}'"),
        ("def f(x): return [i for i in x]", "def f(x): return {i for i in x}"),
        ("def f(x): return g(a=x)", "def f(x): return g(b=x)"),
        ("def f(x): assert x", "def f(x): assert not x"),
        ("def f(x): del x.a", "def f(x): del x.b"),
    ],
)
def test_different(one: str, other: str) -> None:
    assert form_of(one) != form_of(other)


def test_constants_are_told_apart() -> None:
    nan = float("nan")
    values = [
        1,
        1.0,
        True,
        0.0,
        -0.0,
        nan,
        float("inf"),
        1j,
        -0.0j,
        "1",
        b"1",
        None,
        ...,
        (1,),
        (1.0,),
        frozenset({1}),
        (),
    ]
    texts = [constant_text(value) for value in values]
    assert len(set(texts)) == len(texts)
    assert constant_text(nan) == constant_text(float("nan"))
    assert constant_text(frozenset({"a", "b", "c"})) == constant_text(frozenset({"c", "b", "a"}))
