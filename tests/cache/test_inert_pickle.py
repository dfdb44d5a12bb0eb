"""The inert reader gives back plain data, runs nothing, and names what it refuses."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import os
import pathlib
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.cache.inert_objects import Record, finished_array
from earmark.cache.inert_pickle import read_inert
from earmark.errors import CacheError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


class ZoneFeatures:
    """Stands for the class of the program that wrote the file."""

    def __init__(self) -> None:
        self.energy, self.tempo = 0.5, np.float32(128)


@dataclasses.dataclass(slots=True)
class SlottedFeatures:
    energy: float
    tempo: float


@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=300, deadline=None)
def test_plain_data_comes_back(value: object, protocol: int) -> None:
    assert read_inert(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1, 2], ">i4"),
        np.array([True, False]),
        np.array(["yellow", "green"]),
        np.array([], np.float64),
        np.array(3.5),
    ],
    ids=str,
)
def test_arrays_come_back(array: np.ndarray, protocol: int) -> None:
    back = read_inert(pickle.dumps(array, protocol))
    np.testing.assert_array_equal(back, array)
    assert back.shape == array.shape


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_become_records_of_their_attributes(protocol: int) -> None:
    record = read_inert(pickle.dumps(ZoneFeatures(), protocol))
    assert isinstance(record, Record)
    assert record.name == "ZoneFeatures"
    assert record.state == {"energy": 0.5, "tempo": 128.0}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_slotted_data_classes_become_records(protocol: int) -> None:
    record = read_inert(pickle.dumps(SlottedFeatures(0.5, 128.0), protocol))
    assert record.state == {"energy": 0.5, "tempo": 128.0} or record.values == (0.5, 128.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_standard_containers_and_paths(protocol: int) -> None:
    value = [
        {1, 2},
        frozenset("a"),
        collections.OrderedDict(b=1, a=2),
        bytearray(b"x"),
        pathlib.PurePosixPath("/a/b"),
    ]
    assert read_inert(pickle.dumps(value, protocol)) == [{1, 2}, {"a"}, {"b": 1, "a": 2}, b"x", "/a/b"]


def test_shared_and_cyclic_objects() -> None:
    shared = [1]
    cyclic: list[object] = [shared, shared]
    cyclic.append(cyclic)
    back = read_inert(pickle.dumps(cyclic))
    assert back[0] is back[1]
    assert back[2] is back


class Hostile:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def by_name(module: str, name: str, *, protocol: int = 0) -> bytes:
    """A pickle that calls ``module.name("touch marker")``, written by hand."""
    if protocol == 0:
        return f"c{module}\n{name}\n(S'touch marker'\ntR.".encode()
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + texts + b"\x93\x8c\x0ctouch marker\x85R."


HOSTILE_NAMES = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("__builtin__", "eval"),
    ("builtins", "__import__"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("webbrowser", "open"),
    ("pickle", "loads"),
    ("shutil", "rmtree"),
    ("numpy", "load"),
    ("numpy.testing._private.utils", "runstring"),
    ("pandas", "read_pickle"),
    ("pandas.io.pickle", "read_pickle"),
    ("torch", "load"),
    ("joblib", "load"),
    ("mymodule", "run"),
    ("mymodule.ZoneFeatures", "__reduce__"),
    ("mymodule", "os.system"),
    ("", "eval"),
]


@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize(("module", "name"), HOSTILE_NAMES)
def test_calls_are_refused_by_name(
    module: str, name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CacheError) as caught:
        read_inert(by_name(module, name, protocol=protocol))
    assert f"{module}.{name}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("depth", [0, 3])
def test_calls_are_refused_however_deep_and_in_every_protocol(
    protocol: int, depth: int, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    value: object = Hostile(os.system, f"touch {marker}")
    for _ in range(depth):
        value = {"features": [(1.0, value)]}
    data = pickle.dumps(value, protocol)
    with pytest.raises(CacheError, match=r"(posix|nt)\.system"):
        read_inert(data)
    assert not marker.exists()


OPCODES = {
    "INST": b"(S'touch marker'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch marker'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n\x8c\x01x\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n)}\x92.",
    "BUILD on a global": b"\x80\x02cos\nsystem\n}b.",
    "a bare global": b"cos\nsystem\n.",
    "OBJ of an unknown class with arguments": b"(cmine\nZoneFeatures\nS'x'\no.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "PERSID": b"Pfile:///etc/passwd\n.",
    "BINPERSID": b"\x8c\x01x\x51.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "an array of a class of its own": b"cnumpy.core.multiarray\n_reconstruct\n(cmine\nEvil\n(I0\ntS'b'\ntR.",
    "copyreg with a state": b"ccopyreg\n_reconstructor\n(cmine\nEvil\nc__builtin__\nobject\nS'x'\ntR.",
    "a call of a record": b"ccopyreg\n_reconstructor\n(cmine\nEvil\nc__builtin__\nobject\nNtR)R.",
    "a structured array": b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",
    "protocol 9": b"\x80\x09N.",
}


@pytest.mark.parametrize("data", OPCODES.values(), ids=OPCODES.keys())
def test_other_ways_in_are_refused(data: bytes) -> None:
    with pytest.raises(CacheError):
        found = finished_array(read_inert(data))
        np.array(found.real() if hasattr(found, "real") else found)


def test_truncated_and_foreign_bytes_are_errors() -> None:
    data = pickle.dumps({"a": [1, 2.0, "three", np.arange(3)]})
    for end in range(len(data)):
        with pytest.raises(CacheError):
            read_inert(data[:end])
    for foreign in (b"", b"\x00" * 100, b"RIFF....WAVE", b"{}", b"PK\x03\x04"):
        with pytest.raises(CacheError):
            read_inert(foreign)


@given(data=st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_data_or_an_error(data: bytes) -> None:
    with contextlib.suppress(CacheError):
        read_inert(b"\x80\x04" + data)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_pickle_is_data_or_an_error(data: st.DataObject) -> None:
    stored = bytearray(pickle.dumps([{"audio_path": "x", "features": np.arange(4.0)}, ZoneFeatures()]))
    for _ in range(data.draw(st.integers(1, 5))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CacheError):
        read_inert(bytes(stored))


def test_a_file_over_the_bound_is_refused() -> None:
    with pytest.raises(CacheError, match="at most 1000"):
        read_inert(pickle.dumps(bytes(2000)), max_bytes=1000)


def bombs() -> dict[str, bytes]:
    """Small files that would take gigabytes, or for ever, in a naive reader."""
    text = b"\x8d" + struct.pack("<Q", 1 << 20) + b"a" * (1 << 20) + b"\x94"
    encode = b"c_codecs\nencode\n\x94"
    laughs = (
        b"]" + b"\x94" + b"".join(b"]\x94(" + b"h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(40))
    )
    tuples = b")\x94" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(60))
    return {
        "a length beyond the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
        "a memo index of 4 billion": b"\x80\x04Nr\xff\xff\xff\xff.",
        "an array of a shape without bytes": b"\x80\x04" + pickle_of_shape((1 << 40,)),
        "one text encoded again and again": b"\x80\x04"
        + text
        + encode
        + b"("
        + b"h\x01h\x00\x85R" * 50_000
        + b"l.",
        "one set copied again and again": b"\x80\x04("
        + b"K\x01" * 100
        + b"l\x94c__builtin__\nset\n\x94("
        + b"h\x01h\x00\x85R" * 200_000
        + b"l.",
        "a dictionary keyed by shared tuples": b"\x80\x04" + tuples + b"}h<Ns.",
        "a set of shared tuples": b"\x80\x04" + tuples + b"\x8f(h<\x90.",
        "a global named by shared lists": b"\x80\x04" + laughs + b"h(\x8c\x01x\x93.",
        "a call of shared lists": b"\x80\x04" + laughs + b"h()R.",
        "a deep nest": b"(" * 300_000 + b"l" * 300_000 + b".",
        "nothing but marks": b"(" * 300_000 + b".",
    }


def pickle_of_shape(shape: tuple[int, ...]) -> bytes:
    data = pickle.dumps(np.zeros(1, np.uint8), protocol=2)
    stream = io.BytesIO()
    pickle.dump(shape, stream, protocol=2)
    body = stream.getvalue()[2:-1]
    assert b"K\x01\x85" in data
    return data[2:].replace(b"K\x01\x85", body.split(b"q")[0], 1)


HARMLESS = {"a memo index of 4 billion", "a deep nest"}
"""Read as the little they are, without the memory they seem to ask for."""


@pytest.mark.parametrize("name", list(bombs()))
def test_bombs_are_refused_in_little_memory(name: str) -> None:
    data = bombs()[name]
    tracemalloc.start()
    try:
        with contextlib.nullcontext() if name in HARMLESS else pytest.raises(CacheError):
            read_inert(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data) + (8 << 20)


def test_every_opcode_is_decided() -> None:
    """A new opcode of a later Python must be looked at before it is read."""
    from earmark.cache.inert_pickle import _CONSTANTS, _HANDLERS, _PUSHES

    refused = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}
    known = set(_CONSTANTS) | set(_HANDLERS) | set(_PUSHES) | refused | {"STOP"}
    assert {opcode.name for opcode in pickletools.opcodes} == known
