"""The feature engine: declare groups of columns, compute each once, get ordered rows back."""

from earmark.features.extractor import Extractor
from earmark.features.group import FeatureGroup, feature_group
from earmark.features.item import Item
from earmark.features.plan import Plan
from earmark.features.progress import Progress, ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable, ItemFailure

__all__ = [
    "Extractor",
    "FeatureGroup",
    "FeatureSet",
    "FeatureTable",
    "Item",
    "ItemFailure",
    "Plan",
    "Progress",
    "ProgressCallback",
    "feature_group",
]
