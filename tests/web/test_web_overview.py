"""The first page: a new project is led, and each task's next command is named."""

import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from web_client import client_of
from web_project import make_items, make_run

from earmark.training.production import promote
from earmark.web.app import ROUTERS


def test_a_new_project_is_led(tmp_path):
    with client_of(tmp_path) as client:
        page = client.get("/").text
    assert "A new project" in page and page.count("Try the demo") == 4
    for words in ("earmark prepare zones", "earmark prepare meter", "earmark collect market"):
        assert words in page


def test_each_step_of_a_task_names_the_next(tmp_path):
    with client_of(tmp_path) as client:
        make_items(tmp_path)
        assert "earmark train zones" in client.get("/").text
        run = make_run(tmp_path, slug="first")
        after = client.get("/").text
        assert "No run is in production" in after and run.name in after
        promote(tmp_path / "runs", run)
        assert "earmark predict zones" in client.get("/").text


def test_every_page_of_the_overview_leads_somewhere(tmp_path):
    """Links of this part go to pages that this server has."""
    make_items(tmp_path)
    parts = [module.rpartition(".")[2] for module in ROUTERS if ".pages." in module]
    assert {"overview", "runs", "data", "cache", "jobs"} <= set(parts)
    with client_of(tmp_path) as client:
        for address in ("/runs", "/data", "/data/zones", "/data/zones/items", "/cache", "/jobs"):
            assert client.get(address).status_code == 200, address
