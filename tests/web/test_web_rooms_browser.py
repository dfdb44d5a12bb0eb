"""Overview, runs, data, cache and jobs in a real browser: nothing wrong for axe, no sideways scroll, and what is done
with buttons.
"""

import re

import pytest
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations
from web_project import project_of

require_browser()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address, browser, and the names of the runs."""
    folder = tmp_path_factory.mktemp("project")
    names = project_of(folder)
    with server_of(folder) as (address, _), browser_of() as browser:
        yield address, browser, names


def pages_of(names):
    good, bad, _ = names
    compared = f"/runs/compare?run={good}&run={bad}"
    own = (f"/runs/{good}", f"/runs/{good}/errors", compared)
    return (
        "/",
        "/runs",
        "/runs?task=zones",
        *own,
        "/data",
        "/data/zones",
        "/data/zones/items",
        "/cache",
        "/jobs",
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_pages_are_accessible_and_fit_the_window(served, width, scheme):
    address, browser, names = served
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    told = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    for path in pages_of(names):
        page.goto(address + path)
        assert violations(page) == [], path
        assert not scrolls_sideways(page), path
    assert told == []
    context.close()


def test_a_run_is_promoted_and_a_worse_one_only_after_two_answers(served):
    address, browser, (good, bad, _) = served
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}/runs/{good}")
    page.get_by_role("button", name="Promote", exact=True).click()
    page.get_by_text(f"{good} is in production").wait_for()
    page.goto(f"{address}/runs/{bad}")
    page.get_by_role("button", name="Promote", exact=True).click()
    page.get_by_text("clearly worse").wait_for()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Promote it all the same").click()
    page.get_by_text(f"before it was {good}").wait_for()


def test_a_job_is_started_watched_to_its_end_and_run_again(served):
    address, browser, _ = served
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}/")
    page.get_by_role("button", name="Try the demo of appliance").wait_for()
    page.goto(f"{address}/jobs")
    body = "{method: 'POST', body: {command: 'cache verify'}}"
    page.evaluate(f"earmark.fetchJson('/api/jobs', {body})")
    page.locator("table a").first.click()
    page.wait_for_url(re.compile(r"/jobs/\d{8}_\d{6}"))
    first = page.url
    page.locator("[data-resume]").click()
    page.wait_for_url(lambda url: re.search(r"/jobs/\d", url) and url != first)
