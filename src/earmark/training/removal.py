"""Removing a run: for good, and never the one that predicts."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from earmark.errors import GateError
from earmark.training.production import PRODUCTION, stages
from earmark.training.runs import PARTIAL_PREFIX, Run

__all__ = ["remove_run"]


def remove_run(root: str | Path, run: Run) -> None:
    """Remove the folder of a run; it is no run any more from the first step on, whatever becomes of the rest.

    Raises
    ------
    GateError
        It is in production.
    """
    if stages(root, run.task).get(run.name) == PRODUCTION:
        raise GateError(
            f"`{run.name}` is in production and cannot be deleted: nothing would predict. Promote another run first, "
            f"or go back: earmark runs rollback {run.task}"
        )
    # A folder of this name is cleaned up by the next training, should this process die now.
    doomed = run.path.with_name(f"{PARTIAL_PREFIX}{run.name}-{uuid.uuid4().hex[:8]}")
    run.path.rename(doomed)
    shutil.rmtree(doomed)
