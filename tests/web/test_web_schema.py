"""Every operation of the JSON API, asked for by what its schema allows and by what it forbids.

The server is a process of its own on a small project. Nothing may end in a 5xx, and every answer must have a status,
a content type and a body that the schema tells. Jobs that are started are the real commands; they are cancelled at
the end.
"""

import pytest
from web_browser import server_of
from web_project import make_items, make_run, report_on

schemathesis = pytest.importorskip("schemathesis", reason='pip install "earmark[test]"')
pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from hypothesis import HealthCheck, settings  # noqa: E402
from schemathesis.checks import CHECKS, load_all_checks  # noqa: E402

from earmark.web.app import openapi  # noqa: E402

load_all_checks()
CHECKED = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
LEFT_OUT = {
    "/api/jobs/events": "a stream without end; its own tests listen to it",
    "/api/jobs/{job_id}/events": "a stream of a job that may wait for ever",
    "/api/analyze/progress/{job}": "a stream that waits ten minutes for a recording of that name",
    "/api/ml-management/collector/start": "would open a socket to an exchange",
    "/api/ml-management/retraining/start": "would watch a table for ever",
}
UNREAD = {"/api/appliance/history": "schemathesis 4.32 does not read `prefixItems` of OpenAPI 3.1"}
SCHEMA = schemathesis.openapi.from_dict(openapi())
for path in LEFT_OUT:
    SCHEMA = SCHEMA.exclude(path=path)
QUICK = settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
DEEP = settings(QUICK, max_examples=150, derandomize=False)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_items(folder)
    report_on(make_run(folder, slug="good"))
    with server_of(folder) as (url, server):
        yield url
        assert server.poll() is None, "the server died"


def answered(case, url):
    """Ask, and judge the answer."""
    checked = [one for one in CHECKED if case.path not in UNREAD or "schema" not in one.__name__]
    case.call_and_validate(base_url=url, checks=checked, timeout=60)


@pytest.mark.slow
@SCHEMA.include(method="GET").parametrize()
@QUICK
def test_a_question_is_answered_as_its_schema_says(case, url):
    answered(case, url)


@pytest.mark.slow
@SCHEMA.parametrize()
@DEEP
def test_an_operation_answers_as_its_schema_says(case, url):
    answered(case, url)
