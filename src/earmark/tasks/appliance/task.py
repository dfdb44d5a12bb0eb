"""The task `appliance`: which machines run in one room, by sound."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from earmark.data.policy import SplitPolicy
from earmark.errors import UsageError
from earmark.tasks.appliance.configured import BEATS_ABSENT, with_beats
from earmark.tasks.appliance.room import ROOM_FILE, Room
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, states
from earmark.tasks.appliance.views import DEFAULT_VIEW, VIEWS
from earmark.tasks.task import Imported, ImportRequest, Task
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["configured", "import_appliance", "sealed_columns", "task"]


def sealed_columns(devices: Devices) -> tuple[str, ...]:
    """Columns of the manifest that tell what was on; behind the seal for test rows."""
    return (*devices.names, "part_on", "on_spans")


def import_appliance(_request: ImportRequest) -> Imported:
    """Refused: a room is prepared by `earmark.tasks.appliance.prepare`, which also fixes its sealed part.

    Raises
    ------
    UsageError
        Always.
    """
    raise UsageError(
        "recordings of a room are not read as a list of labelled files. Run: earmark prepare appliance SAMPLES"
    )


def live_toml() -> str:
    """How `live` hears, to begin with."""
    from earmark.tasks.appliance.serving.settings import template

    return template()


def configured(task: Task, settings: EffectiveSettings) -> Task:
    """The task with BEATs where there is a checkpoint, and the states of the devices that were prepared."""
    task = with_beats(task, settings)
    path = settings.path("data") / task.name / ROOM_FILE
    if not path.is_file():
        return task
    devices = Room.from_file(path).devices
    split = replace(task.split, sealed_columns=sealed_columns(devices))
    return replace(task, classes=states(devices), split=split)


task = Task(
    name="appliance",
    feature_sets=VIEWS,
    default_features=DEFAULT_VIEW,
    classes=states(DEFAULT_DEVICES),
    split=SplitPolicy(
        test_fraction=0.2,
        n_folds=2,
        group_on="seal_group",
        given_on="part",
        sealed_columns=sealed_columns(DEFAULT_DEVICES),
    ),
    recipes=(Recipe("logistic", class_weight="balanced"),),
    metric="balanced_accuracy",
    importer=import_appliance,
    sources_noun="SAMPLES",
    init_files={"live.toml": live_toml},
    item_noun="windows",
    label_noun="state",
    configure=configured,
    absent_features=BEATS_ABSENT,
)
