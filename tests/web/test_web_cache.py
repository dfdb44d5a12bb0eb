"""Pages and API of the cache: the documents of the command line; nothing is made where there is no cache."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from web_client import client_of
from web_jobs_project import ended
from web_project import printed

from earmark.cache.entries import FeatureCache
from earmark.cache.fingerprint import fingerprint
from earmark.features.group import fingerprints
from earmark.tasks.project import Project

GROUP = "zones.balance"


def earlier_code(clip):
    """What a group was once computed by."""
    return [clip.duration_s, 0.0]


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A cache with entries of the code as it is, and of one group only of earlier code."""
    folder = tmp_path_factory.mktemp("project")
    project = Project.open("zones", folder)
    groups = {group.name: group for group in project.task.all_groups}
    current = fingerprints([groups[GROUP]], {})[GROUP]
    with FeatureCache(folder / ".earmark" / "cache") as cache:
        cache.put_many([(current.digest, bytes([number] * 16), np.arange(4.0)) for number in range(3)])
        cache.record(GROUP, current, columns=groups[GROUP].columns, seconds=1.5, bytes=96, computed=3)
        other = fingerprint(earlier_code)
        cache.put_many([(other.digest, bytes(16), np.arange(2.0))])
        cache.record("zones.dynamics", other, columns=("a", "b"), seconds=0.5, bytes=16, computed=1)
    with client_of(folder) as client:
        yield client, folder


def test_the_api_answers_what_the_command_line_prints(looked):
    client, folder = looked
    assert client.get("/api/cache/stats").json() == printed(folder, "cache", "stats")
    versions = client.get("/api/cache/stats?task=zones&versions=true").json()
    assert versions == printed(folder, "cache", "stats", "zones", "--versions")
    assert client.get("/api/cache/why", params={"group": GROUP}).json() == printed(
        folder, "cache", "why", GROUP
    )


def test_groups_of_earlier_code_are_named(looked):
    client, _ = looked
    stale = client.get("/cache/stale?task=zones").text
    assert "zones.dynamics" in stale and GROUP not in stale
    why = client.get("/cache/why?group=zones.dynamics").text
    assert "Since version" in why and 'class="log"' in why
    assert GROUP in client.get("/cache/stats").text


def test_a_check_of_what_is_not_prepared_says_what_to_do(looked):
    client, _ = looked
    refused = client.get("/api/cache/check?task=zones")
    assert refused.status_code == 400 and "earmark prepare zones" in refused.json()["detail"]
    assert client.get("/api/cache/why?group=zones.nothing").status_code == 400
    assert client.get("/api/cache/check?task=..%2F").status_code == 422


def test_upkeep_is_a_job_whose_page_shows_what_it_found(looked):
    client, _ = looked
    form = {"command": "cache gc", "task": "zones", "stale": "true", "dry_run": "true"}
    started = client.post("/jobs/start", data=form)
    address = started.headers["HX-Redirect"]
    job = ended(client.app.state.site.jobs.store, address.rpartition("/")[2])
    assert (job.status, job.exit_code) == ("completed", 0)
    page = client.get(address).text
    assert "zones.dynamics" in page and "earmark cache gc zones --stale --dry-run" in page
    assert client.get("/jobs?status=completed").text.count(address) == 1
    assert address not in client.get("/jobs?status=failed").text
    assert "Nothing runs" in client.get("/jobs/running").text


def test_looking_makes_no_cache(tmp_path):
    with client_of(tmp_path) as client:
        assert "The cache is empty" in client.get("/cache").text
        assert client.get("/api/cache/stats").status_code == 404
        assert client.get("/").status_code == 200
    assert not (tmp_path / ".earmark" / "cache").exists()
