"""Arousal and valence of a DJ's tracks, and the five-way zones that they make of the three.

The zone is the classifier's; an estimated valence only splits YELLOW into chill and dark and PURPLE into euphoric and
aggressive. Beside it stands the zone that the mapping of arousal and valence would have given by itself.

The estimates are those of the newest model of ``train --target av``, on features that come through the project's
cache. They are rounded to three decimals before anything is decided on them, so that what is shown and what was
decided agree. A model of openSMILE tables is refused: its columns have other units than those made from audio.

===============  ============================================================================================
`arousal`        estimate, on the scale of the annotations (1 to 9); None where there are no features
`valence`        the same
`mapped_zone`    zone of the two by the mapping alone
`sub_zone`       one of `FIVE_WAY_ZONES`; None where the classifier did not decide
===============  ============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earmark.errors import RunError, UsageError
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.project import Project
from earmark.tasks.task import Refined
from earmark.tasks.verbs.targets import newest_target
from earmark.tasks.zones.deam.annotated import AV_FEATURES, load_av_for_audio
from earmark.tasks.zones.deam.arousal_valence import TARGETS, AVModel
from earmark.tasks.zones.deam.mapping import ZoneMapping
from earmark.tasks.zones.labels import CLASSES

__all__ = ["AV_TARGET", "MISSING", "Positions", "five_way", "training_positions"]

AV_TARGET = "av"
"""Name of the target whose models are asked."""
MISSING = "sub_zone_missing"
"""Field of a prediction that says why there is no estimate; a warning in its document."""
_DECIMALS = 3

Pair = tuple[float, float]


@dataclass(frozen=True)
class Positions:
    """Estimated (arousal, valence) by id, and why others have none."""

    of: Mapping[str, Pair]
    failed: Mapping[str, str]


def five_way(project: Project, options: Mapping[str, Any]) -> Refined:
    """What adds arousal, valence and five-way zones to predictions.

    Parameters
    ----------
    project : Project
    options : mapping
        ``mapping`` (file), ``valence_threshold`` (border of the split), ``yellow_arousal`` and ``purple_arousal``
        (thresholds of the mapping), ``model_dir`` (a model instead of the newest), ``workers``, ``use_cache``,
        ``progress``; None and what is absent keep their defaults.

    Returns
    -------
    callable
        ``refined(outcomes) -> list``; inputs that failed stay as they are.

    Raises
    ------
    RunError
        There is no model, or it cannot be asked about features made from audio.
    UsageError
        The mapping cannot be used, or its scales do not hold the model's answers.
    """
    mapping = _mapping(options)
    model = load_av_for_audio(project, options.get("model_dir") or _newest(project))
    _require_scales(model, mapping)

    def refined(outcomes: Sequence[Prediction | Failed]) -> list[Prediction | Failed]:
        paths = dict.fromkeys(one.path for one in outcomes if isinstance(one, Prediction))
        found = _positions(project, model, [Item(path, path) for path in paths], options)
        return [
            replace(one, extras={**one.extras, **_fields(one, found, mapping)})
            if isinstance(one, Prediction)
            else one
            for one in outcomes
        ]

    return refined


def training_positions(
    project: Project, ids: Iterable[str], *, progress: ProgressCallback | None = None
) -> tuple[dict[str, Pair], str | None]:
    """Estimates for training items by the newest model, and a sentence where that model cannot be asked.

    Test items are left out. Without a model, or without such items, there are no estimates and no sentence.
    """
    wanted = set(ids) & set(project.splits.train_ids)
    newest = newest_target(project, AV_TARGET)
    if newest is None or not wanted:
        return {}, None
    try:
        model = load_av_for_audio(project, newest)
    except RunError as error:
        return {}, f"Arousal and valence of your tracks were not estimated: {error}"
    items = list(project.manifest.subset(sorted(wanted)))
    found = _positions(project, model, items, {"progress": progress})
    failed = f"{len(found.failed)} tracks have no estimate, their features failed." if found.failed else None
    return dict(found.of), failed


def _newest(project: Project) -> Path:
    newest = newest_target(project, AV_TARGET)
    if newest is None:
        raise RunError(
            "there is no model of arousal and valence, which the five-way zones need. Prepare DEAM beside your labels "
            f"(earmark prepare {project.spelled} LABELS --deam DIR), and run: earmark train {project.spelled} "
            f"--target {AV_TARGET}"
        )
    return newest


def _mapping(options: Mapping[str, Any]) -> ZoneMapping:
    file = options.get("mapping")
    mapping = ZoneMapping.read(file) if file else ZoneMapping.default()
    mapping = mapping.with_thresholds(
        yellow_max=options.get("yellow_arousal"), purple_min=options.get("purple_arousal")
    )
    border = options.get("valence_threshold")
    if border is None:
        return mapping
    return replace(mapping, thresholds={**mapping.thresholds, "five_way": {"valence_min": float(border)}})


def _require_scales(model: AVModel, mapping: ZoneMapping) -> None:
    for target in TARGETS:
        (low, high), (first, last) = mapping.scales[target], model.ranges[target]
        if not low <= first <= last <= high:
            raise UsageError(
                f"the model answers {target} from {first:g} to {last:g}, the mapping's scale is {low:g} to {high:g}; "
                "expected a scale that holds the answers. Give the mapping that DEAM was prepared with: --mapping FILE"
            )


def _positions(
    project: Project, model: AVModel, items: Sequence[Item], options: Mapping[str, Any]
) -> Positions:
    """Features through the project's cache, and what the model says of them."""
    table = project.extract(
        AV_FEATURES.groups,
        items,
        workers=options.get("workers"),
        use_cache=options.get("use_cache", True),
        progress=options.get("progress"),
    )
    failed = {failure.id: failure.error for failure in table.failures}
    if not table.ids:
        return Positions({}, failed)
    pairs = model.predict(table.select(AV_FEATURES.columns).values, AV_FEATURES.columns).tolist()
    rounded = [(round(arousal, _DECIMALS), round(valence, _DECIMALS)) for arousal, valence in pairs]
    return Positions(dict(zip(table.ids, rounded, strict=True)), failed)


def _fields(one: Prediction, found: Positions, mapping: ZoneMapping) -> dict[str, Any]:
    if one.path not in found.of:
        reason = f"no arousal and valence: {found.failed.get(one.path, 'the input has no features')}"
        return {**dict.fromkeys((*TARGETS, "mapped_zone", "sub_zone")), MISSING: reason}
    arousal, valence = found.of[one.path]
    return {
        "arousal": arousal,
        "valence": valence,
        "mapped_zone": mapping.zone(arousal, valence),
        "sub_zone": mapping.five_way(arousal, valence, one.label) if one.label in CLASSES else None,
    }
