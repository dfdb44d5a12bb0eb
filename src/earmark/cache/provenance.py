"""Whose code a module is: the project's own, a third-party distribution's, or the standard library's.

Own is what may change without a version number: earmark itself, scripts and notebooks, editable installs, every module
that no installed distribution claims. Third-party code counts by distribution and version, the standard library by
the minor version of Python.

Answers are kept per process: a library that is imported does not change under a running process. `importlib.metadata`
is not used because mapping every module to its distribution costs 100 ms and more; one distribution's own folder is
found by name in microseconds (format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
"""

from __future__ import annotations

import importlib.util
import os
import re
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

__all__ = ["FOREIGN", "MISSING", "OWN", "STANDARD", "Origin", "origin_of", "project_root", "top_level_own"]

OWN, FOREIGN, STANDARD, MISSING = "own", "third-party", "standard library", "missing"

_ALWAYS_OWN = {"earmark", "__main__", "__mp_main__"}
_METADATA_SUFFIXES = (".dist-info", ".egg-info")


class Origin(NamedTuple):
    """Kind of a module, and for third-party ones its distribution and version."""

    kind: str
    distribution: str = ""
    version: str = ""


def origin_of(module: str) -> Origin:
    """Whose code the module of this dotted name is."""
    return _origin_of_top(module.partition(".")[0])


def top_level_own(module: str) -> str | None:
    """The top-level name that a root function's module makes own, also where it is installed as a distribution."""
    top = module.partition(".")[0]
    return top if _origin_of_top(top).kind == FOREIGN else None


def project_root(module: str) -> Path | None:
    """The folder that holds a module's top-level package, i.e. what moves when the project is moved."""
    location = _location(module.partition(".")[0])
    return location.parent if location else None


@cache
def _origin_of_top(top: str) -> Origin:
    if top in _ALWAYS_OWN or not top:
        return Origin(OWN)
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return Origin(STANDARD)
    location = _location(top)
    if location is None:
        # Generated code names modules that never existed; an import of such a name fails.
        return Origin(OWN if top in sys.modules else MISSING)
    metadata = _metadata_folder(location.parent, top)
    if metadata is not None:
        return Origin(FOREIGN, *_name_and_version(metadata))
    if _is_site_folder(location.parent):
        return Origin(FOREIGN, top, _version_without_metadata(top, location))
    return Origin(OWN)


def _location(top: str) -> Path | None:
    """The package folder or module file of a top-level name, without importing it."""
    module = sys.modules.get(top)
    if isinstance(module, ModuleType):
        found = _location_of_module(module)
        if found is not None or top in _ALWAYS_OWN:
            return found
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).absolute()
    return Path(spec.origin).absolute() if spec.has_location and spec.origin else None


def _location_of_module(module: ModuleType) -> Path | None:
    folders = list(getattr(module, "__path__", ()))
    if folders:
        return Path(folders[0]).absolute()
    file = getattr(module, "__file__", None)
    return Path(file).absolute() if file else None


def _metadata_folder(folder: Path, top: str) -> Path | None:
    """The metadata of the distribution that installed ``top`` into ``folder``."""
    candidates = _metadata_in(folder)
    if not _is_site_folder(folder):
        # A source tree often has an egg-info of its own beside the package: that one is not installed there.
        candidates = tuple(path for path in candidates if path.suffix == ".dist-info")
    wanted = _normalised(top)
    for path in candidates:
        if _normalised(path.stem.partition("-")[0]) == wanted:
            return path
    for path in candidates:
        if top in _listed_names(path):
            return path
    return None


@cache
def _metadata_in(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(path for path in folder.iterdir() if path.suffix in _METADATA_SUFFIXES))
    except OSError:
        return ()


@cache
def _listed_names(metadata: Path) -> frozenset[str]:
    """Top-level names a distribution says it installs."""
    names = {name.strip() for name in _lines(metadata / "top_level.txt")}
    for line in () if names else _lines(metadata / "RECORD"):
        first = line.partition(",")[0].partition("/")[0]
        names.add(first.partition(".")[0])
    return frozenset(names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _name_and_version(metadata: Path) -> tuple[str, str]:
    name, _, version = metadata.stem.partition("-")
    file = "METADATA" if metadata.suffix == ".dist-info" else "PKG-INFO"
    for line in _lines(metadata if metadata.is_file() else metadata / file):
        field, _, value = line.partition(":")
        if field == "Name":
            name = value.strip()
        elif field == "Version":
            version = value.strip()
        if not line.strip():
            break
    return name, version


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@cache
def _site_folders() -> frozenset[str]:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    return frozenset(os.path.realpath(folder) for folder in (*folders, *site.getsitepackages()) if folder)


def _is_site_folder(folder: Path) -> bool:
    return folder.name in ("site-packages", "dist-packages") or os.path.realpath(folder) in _site_folders()


def _version_without_metadata(top: str, location: Path) -> str:
    """What stands for the version of a module that was copied into site-packages by hand."""
    module = sys.modules.get(top)
    version = getattr(module, "__version__", None)
    if isinstance(version, str):
        return version
    from earmark.cache.file_content import file_digest

    file = location / "__init__.py" if location.is_dir() else location
    return file_digest(file)
