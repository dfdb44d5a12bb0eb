"""Find a task: built in, installed by another package, or a file of the user's.

Installed packages offer tasks through the entry point group ``earmark.tasks``; a file is any Python file that
defines ``task``. The file's folder joins the import path, so that it can import its neighbours, in workers too.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.task import Task

__all__ = ["BUILT_IN", "load_task", "task_names"]

BUILT_IN = {
    "appliance": "earmark.tasks.appliance.task:task",
    "market": "earmark.tasks.market.task:task",
    "meter": "earmark.tasks.meter.task:task",
    "zones": "earmark.tasks.zones.task:task",
}
GROUP = "earmark.tasks"


def load_task(name: str) -> Task:
    """The task called `name`, or defined in the file `name`.

    Raises
    ------
    UsageError
        No such task or file, or what is there is no `Task`.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name in BUILT_IN:
        return _checked(_resolve(BUILT_IN[name]), name)
    for entry in entry_points(group=GROUP, name=name):
        return _checked(entry.load(), name)
    near = difflib.get_close_matches(name, task_names(), n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise UsageError(
        f"there is no task {name!r}.{hint} Known: {', '.join(task_names())}; or give a file, mine.py."
    )


def task_names() -> list[str]:
    """Names of all tasks that are built in or installed."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def _from_file(path: Path) -> Task:
    path = path.absolute()
    if not path.is_file():
        raise UsageError(
            f"there is no file `{path}`; expected a Python file that defines `task = Task(...)`."
        )
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "") != path:
        raise UsageError(f"`{path.name}` has the name of a module that is already imported; rename the file.")
    # Python takes a bytecode file as fresh when the source has the same length and second of change. Code that is being
    # edited would run as it was before a quick edit; so none is written for it.
    sys.dont_write_bytecode = True
    module = importlib.import_module(path.stem)
    if not hasattr(module, "task"):
        raise UsageError(f"`{path}` defines no `task`; add `task = Task(name=..., groups=[...])` to it.")
    return _checked(module.task, str(path))


def _resolve(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _checked(found: object, name: str) -> Task:
    if not isinstance(found, Task):
        raise UsageError(f"`{name}` gives a {type(found).__name__}, expected an earmark Task.")
    return found
