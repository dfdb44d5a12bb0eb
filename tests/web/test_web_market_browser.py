"""The page of market in a real browser: every tab without a fault of access, actions that do what they say."""

import pytest
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations
from web_market import add_run, learnable_project

TABS = ("health", "data", "registry", "retraining", "mlflow", "statistics", "layering", "optimisation")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A store with labels, two runs that passed the gate and one that did not."""
    folder = learnable_project(tmp_path_factory.mktemp("market"), n=700)
    for at in (1, 2, 3):
        add_run(folder, f"20260102-00000{at}-gbm", passed=at != 3)
    return folder


@pytest.fixture(scope="module")
def url(project):
    """Address of a server of the project."""
    require_browser()
    with server_of(project) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    """One browser for all."""
    require_browser()
    with browser_of() as found:
        yield found


@pytest.fixture
def page(browser):
    """A page whose console must stay silent."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found, complaints = context.new_page(), []
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.set_default_timeout(60_000)
    yield found
    context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_is_whole(url, page, scheme):
    """No violation of WCAG rules, no sideways scroll on a phone, one heading, the current tab marked."""
    page.emulate_media(color_scheme=scheme)
    for tab in TABS:
        page.goto(f"{url}/market/{tab}")
        if tab == "mlflow":
            page.wait_for_selector(".empty")
        assert violations(page) == [], tab
        assert page.locator("h1").count() == 1
        assert page.locator(f'nav[aria-label="Market"] a[aria-current][href="/market/{tab}"]').count() == 1
        for width in (390, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert not scrolls_sideways(page), (tab, width)
        page.set_viewport_size({"width": 1280, "height": 900})


def test_a_model_is_staged_and_deleted_after_a_question(url, page, project):
    """What is refused is told and changes nothing; deleting asks first."""
    page.goto(f"{url}/market/registry")
    row = page.locator("tr", has_text="20260102-000002-gbm")
    row.get_by_role("button", name="To staging").click()
    page.wait_for_selector(".toasts .notice--good")
    page.goto(f"{url}/market/registry?stage=staging")
    assert page.locator("tbody tr").count() == 1
    questions = []
    page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Delete").click()
    assert "for good" in questions[0]
    assert (project / "runs" / "market" / "20260102-000002-gbm").is_dir()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.wait_for_selector(".empty")
    assert not (project / "runs" / "market" / "20260102-000002-gbm").exists()
    with page.expect_download() as waiting:
        page.goto(f"{url}/market/registry")
        page.locator("tr", has_text="20260102-000001-gbm").get_by_role("link", name="Download").click()
    assert waiting.value.suggested_filename == "20260102-000001-gbm-model.onnx"


def test_labels_are_computed_from_the_page(url, page):
    """The button starts the command, the page shows it while it runs, and is whole again after it."""
    page.goto(f"{url}/market/data")
    page.get_by_role("button", name="Check every row").click()
    page.wait_for_selector(".toasts .notice--good")
    page.wait_for_selector("#market-live a[href^='/jobs/']")
    page.wait_for_selector("#market-live", state="hidden")
    assert page.locator("table.strip td").count() >= 1


def test_the_collector_is_started_watched_and_stopped(url, page):
    """From an empty state to rows per symbol that renew themselves, and back."""
    page.goto(f"{url}/market")
    page.get_by_label("Symbols").fill("BTCUSDT")
    page.get_by_label("Simulated exchange").check()
    page.get_by_role("button", name="Start collecting").click()
    page.get_by_role("button", name="Stop collecting").wait_for()
    page.wait_for_selector("#market-live tbody tr", timeout=120_000)
    assert violations(page) == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop collecting").click()
    page.get_by_role("button", name="Start collecting").wait_for()
