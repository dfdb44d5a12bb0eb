"""Pages of runs: the list, one run, two or more beside each other, and what is done with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from earmark.data.show import ledger_rows
from earmark.errors import EarmarkError, GateError, UsageError
from earmark.training.production import history, rollback, stages
from earmark.training.runs import Run, compare, show
from earmark.web import run_facts
from earmark.web.api.jobs import submitted
from earmark.web.data_tables import data_folder
from earmark.web.documents import TASK, RunName
from earmark.web.forms import form_of
from earmark.web.page import fragment, page
from earmark.web.paging import Page, Wanted, page_of
from earmark.web.run_changes import promoted, run_named, runs_of, spelled
from earmark.web.site import Site, SiteOf

__all__ = ["router"]

router = APIRouter(prefix="/runs", include_in_schema=False)

FILTERS = ("task", "stage", "algorithm")
SEARCHED = ("name", "task", "algorithm", "strategy", "stage")
N_METRICS = 4
"""Columns of metrics in the list of one task."""

MOST_COMPARED = 8
PROBE = "settings.probe."
"""Features of a signal that is made for it, by which code is recognised: no setting of a user's."""

NO_STAGE = "none"

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data:; font-src data:"
)
"""Reports hold scripts of their own: they run in a document that has no part in this site."""

Key = Annotated[str, Query(max_length=200)]
Text = Annotated[str, Form(max_length=2000)]


@router.get("")
def show_list(request: Request, site: SiteOf) -> Response:
    """All runs, the newest first unless another order is asked for."""
    wanted = Wanted.of(request.query_params, also=FILTERS)
    listing = runs_of(site).look()
    shown, metrics = _shown(listing.rows, wanted)
    if runs_of(site).refresh(shown.rows):
        listing = runs_of(site).look()
        shown, metrics = _shown(listing.rows, wanted)
    choices = {
        name: sorted({row[name] for row in listing.rows if row[name]}) for name in ("task", "algorithm")
    }
    return page(
        request,
        "runs.html",
        title="Runs",
        section="runs",
        shown=shown,
        metrics=metrics,
        choices=choices | {"stage": ["production", "staging", "archived", NO_STAGE]},
        n_all=len(listing.rows),
        n_unread=listing.n_unread,
    )


@router.get("/compare")
def show_comparison(request: Request, site: SiteOf, run: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Two or more runs of one task: scores, and the settings in which any of them differs."""
    names = list(dict.fromkeys(run))
    if not 2 <= len(names) <= MOST_COMPARED:
        raise UsageError(
            f"{len(names)} runs were chosen; expected 2 to {MOST_COMPARED}. Choose them in the list."
        )
    runs = [run_named(site, name) for name in names]
    comparisons = [compare(runs[0], other) for other in runs[1:]]
    return page(
        request,
        "runs_compare.html",
        title="Compare runs",
        section="runs",
        runs=runs,
        is_comparable=all(one.comparable for one in comparisons),
        metrics=_beside(runs),
        settings=_differing(runs),
    )


@router.post("/rollback")
def roll_back(request: Request, site: SiteOf, task: Annotated[str, Form(pattern=TASK)]) -> Response:
    """Undo the last promotion of a task."""
    run = rollback(runs_of(site).root, task)
    return _said(request, f"{run.name} is in production again.", "good")


@router.get("/{name}")
def show_run(request: Request, site: SiteOf, name: RunName, of: Key = "") -> Response:
    """One run; ``of`` chooses among its evaluations."""
    run = run_named(site, name)
    reports = run_facts.reports_of(run)
    report = next((one for one in reports if one.key == of), reports[0] if reports else None)
    root = runs_of(site).root
    return page(
        request,
        "run.html",
        title=run.name,
        section="runs",
        run=run,
        stage=stages(root, run.task).get(run.name),
        promotions=[entry for entry in history(root, run.task) if entry["run"] == run.name],
        reports=reports,
        report=report,
        metrics=run_facts.metric_rows(run, report),
        baselines=run_facts.baseline_names(report),
        per_class=run_facts.class_rows(report),
        confusion=run_facts.confusion_of(run),
        has_errors=report is not None and (report.path / "errors.csv").is_file(),
        settings=[row for row in run_facts.flat(run.config) if not row[0].startswith(PROBE)],
        decision=_decision(run),
        files=run_facts.files_of(run),
        card=_card(run, report),
        ledger=[entry for entry in _ledger(site, run.task) if entry["run"] == run.name],
        can_roll_back=len(history(root, run.task)) > 1,
    )


@router.get("/{name}/errors")
def show_errors(request: Request, site: SiteOf, name: RunName, of: Key = "") -> Response:
    """The mistakes of an evaluation, a page at a time."""
    run = run_named(site, name)
    wanted = Wanted.of(request.query_params, also=("of",))
    shown = page_of(run_facts.error_rows(run_facts.report_of(run, of)), wanted)
    return page(
        request, "run_errors.html", title=f"Mistakes of {run.name}", section="runs", run=run, shown=shown
    )


@router.get("/{name}/report")
def show_report(site: SiteOf, name: RunName, of: Key = "") -> Response:
    """The report, at an address from which its links lead to the files beside it."""
    run = run_named(site, name)
    report = run_facts.report_of(run, of).path / run_facts.REPORT
    return RedirectResponse(f"/runs/{quote(run.name)}/files/{quote(str(report.relative_to(run.path)))}", 303)


@router.get("/{name}/files/{file:path}")
def send_file(site: SiteOf, name: RunName, file: str) -> Response:
    """A file of the run; pages and pictures are shown, all else is saved."""
    path = run_facts.file_of(run_named(site, name), file)
    is_shown = path.suffix in (".html", ".png")
    response = FileResponse(
        path, filename=path.name, content_disposition_type="inline" if is_shown else "attachment"
    )
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


@router.post("/{name}/promote")
async def promote(
    request: Request,
    site: SiteOf,
    name: RunName,
    reason: Text = "",
    stage: Literal["production", "staging", "archived"] = Form("production"),
    force: bool = Form(False),
) -> Response:
    """Give it a stage; a refusal is told with the button that does it all the same."""
    run = await run_in_threadpool(run_named, site, name)
    root = runs_of(site).root
    try:
        document = await site.answers.ask(promoted, root, run.path, reason, force, stage)
    except GateError as error:
        return fragment(
            request,
            "parts/run_refused.html",
            status=409,
            run=run,
            sentence=str(error),
            reason=reason,
            stage=stage,
        )
    return fragment(request, "parts/run_promoted.html", document=document)


@router.post("/{name}/export")
def export(request: Request, site: SiteOf, name: RunName) -> Response:
    """Write its model for other programs, as a job."""
    job = submitted(site, "runs export", None, {"run": run_named(site, name).name})
    return fragment(request, "parts/job_started.html", job=job)


@router.post("/{name}/evaluate")
def evaluate(
    request: Request,
    site: SiteOf,
    name: RunName,
    is_sealed: bool = Form(False),
    reason: Text = "",
) -> Response:
    """Score it, as a job; opening the seal asks for a reason, which the ledger keeps."""
    run = run_named(site, name)
    task = spelled(site, run.task)
    values: dict[str, Any] = {"run": run.name}
    if is_sealed:
        if not reason.strip():
            raise UsageError(
                "The seal was not opened: no reason was given. Say in a few words why; the ledger keeps it."
            )
        fields = {field.name for field in form_of("evaluate", task).all_fields}
        values |= {"sealed": "true"} if "sealed" in fields else {"split": "test"}
        values["reason"] = reason.strip()
    return fragment(request, "parts/job_started.html", job=submitted(site, "evaluate", task, values))


def _fits(row: dict[str, Any], wanted: Wanted) -> bool:
    return all((row[name] or NO_STAGE) == value for name, value in wanted.also.items())


def _shown(rows: list[dict[str, Any]], wanted: Wanted) -> tuple[Page, list[str]]:
    """The page of the rows that fit, the newest first; those of one task with its metrics, to sort by."""
    chosen = [row for row in reversed(rows) if _fits(row, wanted)]
    metrics = _metric_columns(chosen) if wanted.also.get("task") else []
    column = wanted.column
    if column in metrics:
        chosen = [row | {column: row["metrics"].get(column)} for row in chosen]
    found = page_of(chosen, wanted, text_of=lambda row: " ".join([row[name] or "" for name in SEARCHED]))
    shown = [{**row, **{name: row["metrics"].get(name) for name in metrics}} for row in found.rows]
    return replace(found, rows=shown), metrics


def _metric_columns(rows: list[dict[str, Any]]) -> list[str]:
    """The metric that ranks first, then those that most of the newest runs have."""
    newest = rows[:50]
    counts: dict[str, int] = {}
    for row in newest:
        for name in row["metrics"]:
            counts[name] = counts.get(name, 0) + 1
    ranking = [row["rank_by"] for row in newest[:1] if row["rank_by"]]
    usual = sorted(counts, key=lambda name: -counts[name])
    return list(dict.fromkeys([*ranking, *usual]))[:N_METRICS]


def _beside(runs: list[Run]) -> list[dict[str, Any]]:
    """Metrics that all runs have, their values, and which of them is best."""
    names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    return [_compared(name, [run.metrics[name] for run in runs]) for name in names]


def _compared(name: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    values = [score["value"] for score in scores]
    direction = scores[0]["direction"]
    known = [value for value in values if value is not None]
    best = (max if direction == "higher" else min)(known, default=None)
    return {"metric": name, "direction": direction, "values": values, "best": best}


def _differing(runs: list[Run]) -> list[dict[str, Any]]:
    """Settings in which any run differs from the first, in the order of `earmark runs compare`."""
    names = dict.fromkeys(name for other in runs[1:] for name in compare(runs[0], other).config)
    flat = [dict(run_facts.flat(run.config)) for run in runs]
    return [{"setting": name, "values": [one.get(name) for one in flat]} for name in names]


def _decision(run: Run) -> list[tuple[str, Any]]:
    decision = show(run)["decision"]
    return [] if decision is None else list(run_facts.flat(decision))


def _card(run: Run, report: run_facts.Report | None) -> str | None:
    """The model card: of the evaluation that is shown, else the run's own."""
    for folder in [*([report.path] if report else []), run.path]:
        path = folder / "MODEL_CARD.md"
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return None


def _ledger(site: Site, task: str) -> list[dict[str, Any]]:
    """Openings of the task's test set; a ledger that cannot be read is told on the page of the data."""
    try:
        return ledger_rows(data_folder(site, task))
    except EarmarkError:
        return []


def _said(request: Request, text: str, kind: str) -> Response:
    return fragment(request, "parts/notice.html", kind=kind, text=text)
