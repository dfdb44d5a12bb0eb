"""Pages of data: what each task has prepared, its items, how they are divided, and who opened the test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from earmark.data.show import ledger_rows
from earmark.errors import EarmarkError
from earmark.web.api.data import prepared_of
from earmark.web.data_tables import data_folder, fold_rows, is_prepared, items_of, prepared
from earmark.web.documents import TaskName
from earmark.web.forms import commands_of
from earmark.web.page import page
from earmark.web.paging import Wanted
from earmark.web.site import Site, SiteOf
from earmark.web.tasks_here import task_named, tasks_of

__all__ = ["market_record", "router"]

router = APIRouter(prefix="/data", include_in_schema=False)

ACTIONS = {
    "collect": "Collect",
    "migrate legacy": "Take over earlier data",
    "prepare": "Prepare",
    "label": "Label",
    "extract": "Extract",
    "store validate": "Check the store",
}
"""Command -> button: what changes data, each by the form of its command."""

Row = dict[str, Any]


@router.get("")
def show_tasks(request: Request, site: SiteOf) -> Response:
    """Every task with what it has."""
    rows = [_task_row(site, slug, task) for slug, task in tasks_of(site).items()]
    return page(request, "data.html", title="Data", section="data", tasks=rows)


@router.get("/{task}")
def show_task(request: Request, site: SiteOf, task: TaskName) -> Response:
    """How the items of a task are divided, and the ledger of its test set."""
    named = task_named(site, task)
    folder = data_folder(site, named)
    found = prepared(folder) if named != "market" and is_prepared(folder) else None
    counts = [] if found is None else fold_rows(found.counts)
    return page(
        request,
        "data_task.html",
        title=f"Data of {task}",
        section="data",
        task=task,
        spelled=named,
        actions=_actions(named),
        found=found,
        market=market_record(folder) if named == "market" else None,
        folds=counts,
        classes=list(dict.fromkeys(label for row in counts for label in row["classes"])),
        ledger=ledger_rows(folder)[::-1],
    )


@router.get("/{task}/items")
def show_items(request: Request, site: SiteOf, task: TaskName) -> Response:
    """The items, a page at a time."""
    found = prepared_of(site, task)
    wanted = Wanted.of(request.query_params, also=("split", "fold"))
    shown = items_of(found, wanted)
    folds = sorted({count["fold"] for count in found.counts if count["fold"] >= 0})
    return page(
        request,
        "data_items.html",
        title=f"Items of {task}",
        section="data",
        task=task,
        shown=shown,
        columns=found.items.columns,
        choices={"split": sorted({count["split"] for count in found.counts}), "fold": folds},
    )


def _task_row(site: Site, slug: str, task: str) -> Row:
    """One line; what is wrong with a task's files is said in it, and hides no other task."""
    row: Row = {"slug": slug, "task": task, "n_items": None, "n_train": None, "n_test": None, "n_folds": None}
    row |= {"n_openings": 0, "problem": None, "is_prepared": False}
    try:
        folder = data_folder(site, task)
        row["n_openings"] = sum(entry["event"] == "open" for entry in ledger_rows(folder))
        if task == "market":
            market = market_record(folder)
            return row | ({} if market is None else {"is_prepared": True, "n_items": market["n_samples"]})
        if not is_prepared(folder):
            return row
        found = prepared(folder)
    except EarmarkError as error:
        return row | {"problem": str(error)}
    counts = {"n_items": found.items.height, "n_train": found.n_train, "n_test": found.n_test}
    return row | counts | {"n_folds": found.n_folds, "is_prepared": True}


def market_record(folder: Path) -> Row | None:
    """What `prepare market` recorded of its dataset; None where it has not run."""
    from earmark.tasks.market.prepare import DATASET_FILE

    path = folder / DATASET_FILE
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return {
        "source": record["source"],
        "n_columns": len(record["columns"]),
        "symbols": record["symbols"],
        "parts": record["parts"],
        "n_samples": sum(part["windows"] for part in record["parts"]),
        "span_s": (record["start_ms"] / 1000, record["end_ms"] / 1000),
        "sealed_s": (record["seal"]["first_ms"] / 1000, record["seal"]["last_ms"] / 1000),
    }


def _actions(task: str) -> list[tuple[str, str]]:
    offered = commands_of(task)
    return [(command, words) for command, words in ACTIONS.items() if command in offered]
