"""Pages and API of runs: the documents of the command line, promotions, reports that cannot reach the site."""

import json
import shutil
import time

import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from web_client import client_of
from web_project import printed, project_of

from earmark.training.production import production_run
from earmark.web.run_index import RunIndex


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project that is copied, never changed."""
    folder = tmp_path_factory.mktemp("project")
    return folder, project_of(folder)


@pytest.fixture
def project(template, tmp_path):
    shutil.copytree(template[0], tmp_path / "project")
    return tmp_path / "project", template[1]


@pytest.fixture(scope="module")
def looked(template):
    """A client that only looks."""
    with client_of(template[0]) as client:
        yield client, *template


def test_the_api_answers_what_the_command_line_prints(looked):
    client, folder, (good, bad, other) = looked
    assert client.get("/api/runs").json() == printed(folder, "runs", "list")
    assert client.get("/api/runs?task=zones&limit=2").json() == printed(
        folder, "runs", "list", "zones", "--limit", "2"
    )
    assert client.get(f"/api/runs/{good}").json() == printed(folder, "runs", "show", good)
    assert client.get("/api/runs/latest").json() == printed(folder, "runs", "show", other)
    beside = client.get("/api/runs/compare", params={"first": good, "second": bad}).json()
    assert beside == printed(folder, "runs", "compare", good, bad)
    assert beside["comparable"] and beside["metrics"]["accuracy"]["better"] == "first"


def test_a_worse_run_is_refused_told_why_and_promoted_only_by_force(project):
    folder, (good, bad, _) = project
    with client_of(folder) as client:
        promoted = client.post(f"/api/runs/{good}/promote", json={"reason": "listened"})
        assert promoted.json() | {"stage": "production", "before": None} == promoted.json()
        refused = client.post(f"/api/runs/{bad}/promote", json={})
        assert refused.status_code == 409 and "clearly worse" in refused.json()["detail"]
        page = client.post(
            f"/runs/{bad}/promote", data={"reason": "<b>why</b>"}, headers={"HX-Request": "true"}
        )
        assert page.status_code == 409 and "all the same" in page.text and "<b>" not in page.text
        assert production_run(folder / "runs", "zones").name == good
        forced = client.post(f"/runs/{bad}/promote", data={"force": "true"}, headers={"HX-Request": "true"})
        assert forced.status_code == 200 and production_run(folder / "runs", "zones").name == bad
        stages = {row["name"]: row["stage"] for row in client.get("/api/runs").json()}
        assert (stages[good], stages[bad]) == ("staging", "production")
        assert client.post("/api/runs/rollback", json={"task": "zones"}).json() == {
            "task": "zones",
            "run": good,
        }
        assert client.post("/api/runs/rollback", json={"task": "zones"}).status_code == 404


def test_opening_the_seal_asks_for_a_reason_and_becomes_a_job(project):
    folder, (good, *_) = project
    with client_of(folder) as client:
        without = client.post(f"/runs/{good}/evaluate", data={"is_sealed": "true", "reason": "  "})
        assert without.status_code == 400 and "no reason" in without.text
        assert client.get("/api/data/zones/ledger").json()[0]["reason"] == "first look"
        store = client.app.state.site.jobs.store
        assert store.count() == 0
        given = client.post(
            f"/runs/{good}/evaluate", data={"is_sealed": "true", "reason": "--force is no option"}
        )
        assert given.status_code == 200
        (job,) = store.list()
        assert job.argv[:2] == ("evaluate", "zones")
        assert {f"--run={good}", "--reason=--force is no option"} <= set(job.argv)
        assert "--sealed" in job.argv or "--split=test" in job.argv


def test_the_page_of_a_run_shows_intervals_mistakes_and_files(looked):
    client, _, (good, bad, other) = looked
    page = client.get(f"/runs/{good}").text
    assert "95 % intervals" in page and "Confusion" in page and "shade-8" in page
    assert client.get(f"/runs/{bad}").text.count("These are the scores of the training") == 1
    mistakes = client.get(f"/runs/{good}/errors?sort=-confidence&limit=1")
    assert mistakes.status_code == 200
    assert "are not comparable" in client.get("/runs/compare", params={"run": [good, other]}).text
    three = client.get("/runs/compare", params={"run": [good, bad, other]}).text
    assert all(name in three for name in (good, bad, other))


def test_a_report_runs_in_a_document_that_has_no_part_in_the_site(looked):
    client, _, (good, *_) = looked
    response = client.get(f"/runs/{good}/report")
    policy = response.headers["content-security-policy"]
    assert response.status_code == 200 and "<html" in response.text
    assert (
        policy.startswith("sandbox ") and "allow-same-origin" not in policy and "default-src 'none'" in policy
    )


@pytest.mark.parametrize(
    "name",
    ["../bad/run.toml", "..%2f..%2fproduction.json", "/etc/passwd", ".hidden.toml", "estimator.py", ""],
)
def test_only_files_of_the_run_are_handed_out(looked, name):
    client, folder, (good, *_) = looked
    (folder / "runs" / "zones" / good / ".hidden.toml").write_text("secret = 1")
    response = client.get(f"/runs/{good}/files/{name}")
    assert response.status_code == 404 and "secret" not in response.text
    assert client.get(f"/runs/{good}/files/run.toml").headers["content-disposition"].startswith("attachment")


def test_a_link_out_of_the_run_is_not_followed(project):
    folder, (good, *_) = project
    (folder / "secret.json").write_text('{"secret": 1}')
    (folder / "runs" / "zones" / good / "link.json").symlink_to(folder / "secret.json")
    with client_of(folder) as client:
        assert client.get(f"/runs/{good}/files/link.json").status_code == 404
        assert "link.json" not in client.get(f"/runs/{good}").text


def test_the_list_sorts_searches_and_filters(looked):
    client, _, (good, bad, _) = looked
    by_score = client.get("/runs?task=zones&sort=-balanced_accuracy").text
    assert by_score.index(good) < by_score.index(bad)
    found = client.get("/runs?q=BAD").text
    assert bad in found and good not in found
    assert "No run fits" in client.get("/runs?stage=production&q=x").text
    assert good in client.get("/runs?stage=none").text
    assert client.get("/runs?limit=-5&offset=abc&sort=;drop").status_code == 200


def test_the_index_sees_what_comes_goes_and_changes(project, tmp_path):
    folder, (good, bad, other) = project
    root = folder / "runs"
    index = RunIndex(root, tmp_path / "runs.json")
    assert sorted(row["name"] for row in index.look(None).rows) == sorted((good, bad, other))
    shutil.copytree(root / "zones" / good, root / "zones" / "20990101-000000-late")
    shutil.rmtree(root / "zones" / bad)
    rows = index.look(None).rows
    assert {row["name"] for row in rows} == {good, other, "20990101-000000-late"}
    metrics = root / "zones" / good / "best_metrics.json"
    told = json.loads(metrics.read_text())
    told["metrics"]["accuracy"]["value"] = 0.125
    metrics.write_text(json.dumps(told))
    assert index.refresh(rows) and not index.refresh(rows)
    assert {row["name"]: row["metrics"]["accuracy"] for row in index.look(None).rows}[good] == 0.125


def test_what_cannot_be_read_hides_nothing_else(project, tmp_path):
    folder, (good, bad, _) = project
    (folder / "runs" / "zones" / bad / "run.toml").write_text("task = [")
    (folder / "runs" / "zones" / "notes").mkdir()
    names = [row["name"] for row in RunIndex(folder / "runs", tmp_path / "runs.json").look(None).rows]
    assert good in names and bad not in names and "notes" not in names
    with client_of(folder) as client:
        assert client.get("/").status_code == 200
        broken = client.get(f"/runs/{bad}")
        assert broken.status_code == 404 and "not a finished run" in broken.text


def test_a_first_look_is_bounded_and_the_next_server_finds_what_was_read(project, tmp_path):
    folder, (good, *_) = project
    root, kept = folder / "runs", tmp_path / "runs.json"
    for number in range(120):
        shutil.copytree(root / "zones" / good, root / "zones" / f"20200101-{number:06d}-copy")
    index = RunIndex(root, kept)
    first = index.look(0.0)
    assert first.n_unread > 0
    deadline = time.monotonic() + 30
    while index.look(0.0).n_unread and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(index.look(0.0).rows) == 123
    again = RunIndex(root, kept).look(0.0)
    assert again.n_unread == 0 and again.rows == index.look().rows
    kept.write_text("{")  # a file that is torn is read from the runs again
    assert len(RunIndex(root, kept).look(None).rows) == 123
