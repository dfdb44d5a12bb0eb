"""The JSON API of jobs, by HTTP."""

import json
from contextlib import contextmanager

import pytest
from web_jobs_project import ended, make_project

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from starlette.testclient import TestClient
from web_client import LOCAL

from earmark.web.api.jobs import router
from earmark.web.app import ROUTERS, create_app
from earmark.web.settings import WebSettings

START = {"command": "extract", "task": "slow.py", "values": {"sources": ["audio"], "workers": 0}}


@contextmanager
def served(folder):
    app = create_app(WebSettings(folder))
    if router.__module__ not in ROUTERS and "earmark.web.api.jobs" not in ROUTERS:
        app.include_router(router)
    with TestClient(app, base_url=LOCAL) as client:
        yield client, app.state.site.jobs.store


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("api") / "project")


@pytest.fixture(scope="module")
def server(project):
    with served(project) as (client, store):
        yield client, store


@pytest.fixture(scope="module")
def done(server):
    """The id of a job that is over."""
    client, store = server
    answer = client.post("/api/jobs", json=START)
    assert answer.status_code == 201, answer.text
    return ended(store, answer.json()["id"]).id


def frames(text):
    """Events of a stream: type and object."""
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "event" in lines:
            yield lines["event"], json.loads(lines["data"])


def test_a_job_by_its_form_to_its_output(server, done, project):
    client, _ = server
    job = client.get(f"/api/jobs/{done}").json()
    assert (job["status"], job["exit_code"], job["kind"]) == ("completed", 0, "job")
    assert job["argv"] == ["extract", "slow.py", "--workers=0", "--", str(project / "audio")]
    assert (job["latest"]["done"], job["latest"]["total"]) == (4, 4)
    output = client.get(f"/api/jobs/{done}/output").json()
    assert json.loads(output["text"])["items"] == 4
    assert (output["next_offset"], output["is_over"]) == (output["size"], True)
    piece = client.get(f"/api/jobs/{done}/output", params={"offset": 2, "limit": 5}).json()
    assert (piece["text"], piece["next_offset"]) == (output["text"][2:7], 7)
    listed = client.get("/api/jobs", params={"status": "completed", "command": "extract", "limit": 1}).json()
    assert (listed["jobs"][0]["id"], listed["total"]) == (done, 1)
    assert client.get("/api/jobs", params={"task": "zones"}).json() == {"jobs": [], "total": 0}


def test_events_of_a_job_end_with_it(server, done):
    client, _ = server
    answer = client.get(f"/api/jobs/{done}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = list(frames(answer.text))
    assert [kind for kind, _ in told][:1] == ["status"]
    assert [kind for kind, _ in told][-1] == "end"
    assert [event["done"] for kind, event in told if kind == "progress"] == [4]
    last = told[-2][1]["id"]
    again = list(frames(client.get(f"/api/jobs/{done}/events", headers={"Last-Event-ID": last}).text))
    assert [kind for kind, _ in again] == ["status", "end"]


def test_what_a_job_is_not_in_the_state_for_is_a_conflict(server, done):
    client, store = server
    for verb, path in (("post", f"/api/jobs/{done}/cancel"),):
        answer = client.request(verb, path)
        assert answer.status_code == 409
        assert "completed already" in answer.json()["detail"]
    again = client.post(f"/api/jobs/{done}/resume")
    assert again.status_code == 201
    assert client.delete(f"/api/jobs/{again.json()['id']}").status_code == 409
    ended(store, again.json()["id"])
    assert client.delete(f"/api/jobs/{again.json()['id']}").status_code == 204
    assert client.get(f"/api/jobs/{again.json()['id']}").status_code == 404


@pytest.mark.parametrize("end", ["", "/log", "/output", "/events"])
@pytest.mark.parametrize("name", ["20000101_000000", "..%2f..", "' OR 1=1 --", "%00"])
def test_unknown_jobs_are_told_as_such(server, name, end):
    client, _ = server
    answer = client.get(f"/api/jobs/{name}{end}")
    assert answer.status_code == 404
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"values": {"sources": ["audio"], "workers": "many"}}, 422, "workers"),
        ({"values": {"sources": ["/etc/passwd"]}}, 422, "sources"),
        ({"command": "rm"}, 400, "rm"),
        ({"command": 3}, 422, None),
    ],
)
def test_a_command_that_is_refused_starts_nothing(server, done, changed, status, said):
    client, store = server
    before = store.count()
    answer = client.post("/api/jobs", json={**START, **changed})
    assert answer.status_code == status, answer.text
    if said is not None:
        assert said in answer.json()["detail"]
    assert store.count() == before


def test_another_site_starts_nothing(server):
    client, store = server
    before = store.count()
    answer = client.post("/api/jobs", json=START, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403
    assert store.count() == before
