"""earmark: train, test and run classifiers of signals.

The names below are loaded on first use, so that ``import earmark`` costs nothing.

>>> from earmark import Clip, Extractor, FeatureCache, Manifest, feature_group
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.audio.clip import Clip as Clip
    from earmark.audio.decode import decode as decode
    from earmark.cache.entries import FeatureCache as FeatureCache
    from earmark.cache.fingerprint import fingerprint as fingerprint
    from earmark.data.dataset import Dataset as Dataset
    from earmark.data.manifest import Manifest as Manifest
    from earmark.features.extractor import Extractor as Extractor
    from earmark.features.group import FeatureGroup as FeatureGroup
    from earmark.features.group import feature_group as feature_group
    from earmark.features.table import FeatureTable as FeatureTable
    from earmark.inference.ladder import Predictor as Predictor
    from earmark.tasks.project import Project as Project
    from earmark.tasks.settings import Settings as Settings
    from earmark.tasks.settings import load_settings as load_settings
    from earmark.tasks.task import Task as Task

_EXPORTS = {
    "Clip": "earmark.audio.clip",
    "Dataset": "earmark.data.dataset",
    "Extractor": "earmark.features.extractor",
    "FeatureCache": "earmark.cache.entries",
    "FeatureGroup": "earmark.features.group",
    "FeatureTable": "earmark.features.table",
    "Manifest": "earmark.data.manifest",
    "Predictor": "earmark.inference.ladder",
    "Project": "earmark.tasks.project",
    "Settings": "earmark.tasks.settings",
    "Task": "earmark.tasks.task",
    "decode": "earmark.audio.decode",
    "feature_group": "earmark.features.group",
    "fingerprint": "earmark.cache.fingerprint",
    "load_settings": "earmark.tasks.settings",
}

__all__ = sorted([*_EXPORTS, "__version__"])


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("earmark")
    if name not in _EXPORTS:
        raise AttributeError(
            f"module `earmark` has no attribute `{name}`. Public names: {', '.join(__all__)}."
        )
    from importlib import import_module

    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, for completion."""
    return list(__all__)
