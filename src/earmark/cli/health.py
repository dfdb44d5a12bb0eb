"""What `earmark doctor` looks at; each check returns what it saw.

A check's status is ``ok``, ``absent`` (optional and not there; the detail says how to get it), ``warning``
(works, but worth a look) or ``broken`` (essential; the detail says what is wrong).
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from earmark.cli.output import format_bytes
from earmark.errors import EarmarkError
from earmark.tasks.settings import EffectiveSettings, unknown_variables, usable_cpus

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Check", "examine"]

# Distribution -> module, where the names differ.
_MODULES = {"scikit-learn": "sklearn", "xgboost-cpu": "xgboost", "pyyaml": "yaml"}
# Format -> how a tone is written in it: libsndfile's format and subtype, or PyAV's container and codec.
_SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", None),
}
_AV_FORMATS = {"m4a": ("ipod", "aac"), "aac": ("adts", "aac"), "mp4": ("mp4", "aac")}
_TONE_HZ = 440.0
_TONE_S = 0.5
_TONE_RATE_HZ = 44_100
_LITTLE_DISK_BYTES = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at, and what was seen."""

    section: str
    name: str
    status: str
    detail: str


def examine(settings: EffectiveSettings) -> list[Check]:
    """Run all checks for the project that ``settings`` describes; none of them changes anything."""
    return [
        *_interpreter(),
        *_dependencies(),
        *_extras(),
        *_codecs(),
        *_storage(settings),
        *_trackers(settings),
        *_machine(),
        *_environment(),
    ]


def _interpreter() -> Iterator[Check]:
    yield Check("version", "earmark", "ok", metadata.version("earmark"))
    yield Check("version", "python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Check("version", "system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")


def _dependencies() -> Iterator[Check]:
    """Core packages are imported, since one that is installed may still lack a shared library."""
    for name in _requirements(None):
        yield _import_check("package", name)


def _import_check(section: str, name: str) -> Check:
    try:
        import_module(_MODULES.get(name, name))
        return Check(section, name, "ok", metadata.version(name))
    except ImportError as error:
        return Check(section, name, "broken", f"{error}. Run: pip install --force-reinstall {name}")


def _extras() -> Iterator[Check]:
    """Packages of the optional extras; they are looked up, not imported, since that may take seconds."""
    for extra in metadata.metadata("earmark").get_all("Provides-Extra") or []:
        names = _requirements(extra)
        absent = [name for name in names if not _is_installed(name)]
        if not names:
            continue
        if absent:
            detail = f'{", ".join(absent)} not installed. To get it: pip install "earmark[{extra}]"'
            yield Check("extra", extra, "absent", detail)
        else:
            yield Check("extra", extra, "ok", ", ".join(f"{name} {metadata.version(name)}" for name in names))


def _requirements(extra: str | None) -> list[str]:
    """Names of the distributions that earmark, or one of its extras, asks for on this platform."""
    names = []
    for requirement in metadata.requires("earmark") or []:
        specifier, _, marker = requirement.partition(";")
        wanted = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        name = re.match(r"[A-Za-z0-9._-]+", specifier.strip())
        if name is None or name.group() == "earmark" or (wanted.group(1) if wanted else None) != extra:
            continue
        if name.group().startswith("xgboost") and not _is_installed(name.group()):
            continue  # the other wheel of the same module serves this platform
        names.append(name.group())
    return names


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _codecs() -> Iterator[Check]:
    """Write a tone and read it back through the same front end that features use."""
    tone = _tone()
    for name, (container, subtype) in _SOUNDFILE_FORMATS.items():
        yield _codec(name, partial(_soundfile_bytes, tone, container, subtype))
    for name, (container, codec) in _AV_FORMATS.items():
        yield _codec(name, partial(_av_bytes, tone, container, codec))


def _codec(name: str, encode: Callable[[], bytes]) -> Check:
    import numpy as np

    from earmark.audio.decode import decode

    try:
        clip = decode(io.BytesIO(encode()), sample_rate=22_050)
    except (EarmarkError, OSError, ValueError, RuntimeError, ImportError) as error:
        return Check("codec", name, "broken", f"{type(error).__name__}: {error}")
    spectrum = np.abs(np.fft.rfft(clip.samples * np.hanning(clip.samples.size)))
    heard_hz = float(np.argmax(spectrum)) * clip.sample_rate / clip.samples.size
    if abs(heard_hz - _TONE_HZ) > 5.0:
        return Check("codec", name, "broken", f"a tone of {_TONE_HZ:.0f} Hz came back as {heard_hz:.0f} Hz")
    return Check("codec", name, "ok", "written and read back")


def _tone() -> np.ndarray:
    import numpy as np

    time_s = np.arange(int(_TONE_S * _TONE_RATE_HZ)) / _TONE_RATE_HZ
    tone: np.ndarray = (0.5 * np.sin(2 * np.pi * _TONE_HZ * time_s)).astype(np.float32)
    return tone


def _soundfile_bytes(tone: np.ndarray, container: str, subtype: str | None) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, tone, _TONE_RATE_HZ, format=container, subtype=subtype)
    return buffer.getvalue()


def _av_bytes(tone: np.ndarray, container: str, codec: str) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = cast("av.AudioStream", file.add_stream(codec, rate=_TONE_RATE_HZ, layout="mono"))
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
        frame.sample_rate = _TONE_RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return buffer.getvalue()


def _storage(settings: EffectiveSettings) -> Iterator[Check]:
    yield _cache(settings.path("cache"))
    folder = _existing(settings.root.absolute())
    free = shutil.disk_usage(folder).free
    status = "warning" if free < _LITTLE_DISK_BYTES else "ok"
    yield Check("storage", "free disk", status, f"{format_bytes(free)} at {folder}")
    yield _writable("project folder", folder, "broken")


def _cache(path: Path) -> Check:
    if not path.exists():
        return _writable("cache", _existing(path), "broken", note=f"{path}: empty, made by the first extract")
    size = sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())
    from earmark.cache.entries import FeatureCache

    try:
        FeatureCache(path, read_only=True)
    except EarmarkError as error:
        return Check("storage", "cache", "broken", str(error))
    return _writable("cache", path, "warning", note=f"{path}: {format_bytes(size)}")


def _writable(name: str, folder: Path, otherwise: str, note: str | None = None) -> Check:
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("storage", name, "ok", note or f"{folder} is writable")
    return Check("storage", name, otherwise, f"{folder} is not writable for this user")


def _existing(path: Path) -> Path:
    """The nearest folder of ``path`` that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _trackers(settings: EffectiveSettings) -> Iterator[Check]:
    """Trackers of beats in the slots of the task `meter`; their networks need weights that the user fetched."""
    from earmark.tasks.meter.configured import project_slots

    try:
        found = project_slots(settings)
    except EarmarkError as error:
        yield Check("tracker", "slots", "broken", str(error))
        return
    for number, slot in enumerate(found, 1):
        yield Check("tracker", f"slot {number}", slot.status, slot.reason or slot.name)


def _machine() -> Iterator[Check]:
    yield Check("machine", "processors", "ok", f"{usable_cpus()} usable of {os.cpu_count()}")
    memory = _memory_bytes()
    if memory:
        yield Check("machine", "memory", "ok", format_bytes(memory))
    yield _compiled_code()


def _memory_bytes() -> int | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _compiled_code() -> Check:
    """Where compiled kernels are kept: beside the source, or in the user's cache where that is read-only."""
    import earmark.audio

    chosen = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(earmark.audio.__file__).parent
    folder = Path(chosen) if chosen else beside
    if os.access(_existing(folder), os.W_OK):
        kept = sum(1 for _ in folder.rglob("*.nbc")) if folder.exists() else 0
        return Check("machine", "compiled code", "ok", f"{kept} kernels kept under {folder}")
    home = _existing(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")))
    if not chosen and os.access(home, os.W_OK):
        return Check("machine", "compiled code", "ok", f"kept in {home}, since {beside} is read-only")
    detail = (
        f"{folder} is not writable: every process compiles again. Set NUMBA_CACHE_DIR to a writable folder."
    )
    return Check("machine", "compiled code", "warning", detail)


def _environment() -> Iterator[Check]:
    for name in unknown_variables():
        yield Check("settings", name, "warning", "names no setting: see `earmark schema --format csv`")
