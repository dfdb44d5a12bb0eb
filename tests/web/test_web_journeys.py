"""What people do with the pages, from the first look to a model in production, in a real Chromium.

Quick: every page is whole (axe-core in light and dark, wide and narrow; the keyboard reaches everything; nothing is
asked of another server), and files that are wrong are told in sentences. Slow: a demo to a promoted run, a training
that is cancelled and resumed, a server that is killed under an open page, two tabs.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations
from zone_tracks import pulse

require_browser()

from playwright.sync_api import expect  # noqa: E402
from web_project import project_of  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
ANSWERED_MS = 120_000
TRAINED_MS = 240_000
WIDE, NARROW, NARROWEST = (1280, 390, 360)

PAGES = {
    "overview": "/",
    "zones": "/zones",
    "meter": "/meter",
    "appliance": "/appliance",
    "market": "/market",
    "market data": "/market/data",
    "training": "/training/zones",
    "search": "/training/zones/grid",
    "training market": "/training/market",
    "jobs": "/jobs",
    "job": "/jobs/{job}",
    "runs": "/runs",
    "run": "/runs/{good}",
    "mistakes": "/runs/{good}/errors",
    "compare": "/runs/compare?run={good}&run={bad}",
    "data": "/data",
    "data of a task": "/data/zones",
    "items": "/data/zones/items",
    "cache": "/cache",
    "nothing": "/nowhere",
}

FOCUSED = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
  return {
    at: all.indexOf(at),
    name: at.outerHTML.slice(0, 120),
    isSeen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isSkip: at.classList.contains("skip"),
  };
}"""

REACHABLE = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
  const is = (node) => node.tabIndex >= 0 && !node.disabled && node.type !== "hidden" && node.checkVisibility();
  const isOneOfMany = (node) => node.type === "radio" && !node.checked;
  return all.map((node, at) => [at, node]).filter(([, node]) => is(node) && !isOneOfMany(node)).map(([at]) => at);
}"""


class Complaints(list):
    """What a page complains of, and what it asks of other servers."""

    def __init__(self, page, url):
        super().__init__()
        self.expected = ()
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("console", self.said)
        page.on("request", lambda request: self.asked(request.url, url))

    def said(self, line):
        if line.type == "error" and not any(words in line.text for words in self.expected):
            self.append(line.text)

    def asked(self, address, url):
        if urlsplit(address).scheme in ("http", "https", "ws", "wss") and not address.startswith(f"{url}/"):
            self.append(f"asked {address}")


@pytest.fixture(scope="module")
def browser():
    with browser_of() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address of a server of a project with runs and a job, and what stands for `{names}` in addresses."""
    folder = tmp_path_factory.mktemp("project")
    good, bad, _ = project_of(folder)
    with server_of(folder) as (url, _):
        yield url, {"good": good, "bad": bad, "job": started(url, "cache verify")}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Address of a server of an empty folder, where rules answer."""
    with server_of(tmp_path_factory.mktemp("fresh")) as (url, _):
        yield url


@pytest.fixture
def page(browser, served):
    with opened(browser, served[0]) as page:
        yield page


@contextmanager
def opened(browser, url, *, expected=(), **options):
    """A page in a browser of its own, which must not complain but of what is expected."""
    still = {"reduced_motion": "reduce"}  # colours that are on their way fail any contrast
    context = browser.new_context(viewport={"width": WIDE, "height": 900}, **still, **options)
    page = context.new_page()
    complaints = Complaints(page, url)
    complaints.expected = expected
    try:
        yield page
        assert complaints == []
    finally:
        context.close()


def started(url, command, task=None, **values):
    """Id of a job that a program started."""
    import httpx

    answer = httpx.post(
        f"{url}/api/jobs", json={"command": command, "task": task, "values": values}, timeout=60
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def picture(page, tmp_path, name):
    """Keep what it looks like, beside what the test leaves."""
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)


# Every page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(name, browser, served, tmp_path):
    url, names = served
    expected = ("404",) if name == "nothing" else ()
    with opened(browser, url, expected=expected) as page:
        page.goto(url + PAGES[name].format(**names))
        page.wait_for_load_state("load")
        page.wait_for_timeout(300)  # parts that come after the page
        wrong = {}
        for width, scheme in ((WIDE, "light"), (NARROW, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            wrong[width, scheme] = violations(page)
            picture(page, tmp_path, f"{name}-{width}-{scheme}")
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        assert not scrolls_sideways(page)
        assert {place: found for place, found in wrong.items() if found} == {}
        assert page.locator("h1").count() == 1


@pytest.mark.parametrize("name", ["overview", "training", "run", "market", "jobs", "zones", "meter", "cache"])
def test_the_keyboard_reaches_everything_in_order(name, page, served):
    url, names = served
    page.goto(url + PAGES[name].format(**names))
    page.wait_for_timeout(400)
    page.keyboard.press("Tab")
    first = page.evaluate(FOCUSED)
    assert first["isSkip"] and first["isSeen"]
    reached = [first["at"]]
    for _ in range(300):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUSED)
        if focus is None or focus["at"] in reached:
            break
        assert focus["isSeen"], f"the focus is not seen: {focus['name']}"
        reached.append(focus["at"])
    assert reached == sorted(reached), "the order of the keyboard is not that of the page"
    missing = sorted(set(page.evaluate(REACHABLE)) - set(reached))
    assert missing == [], "not reached: " + "; ".join(outer(page, at) for at in missing)


def outer(page, at):
    """The beginning of an element, by its number among those that could have the focus."""
    return page.evaluate(
        """at => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")][at]
        .outerHTML.slice(0, 120)""",
        at,
    )


def test_the_link_past_the_navigation_works(page, served):
    page.goto(f"{served[0]}/runs")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_the_theme_is_kept(page, served):
    page.goto(served[0])
    was = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-theme-toggle]")
    now = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert now != was
    page.goto(f"{served[0]}/jobs")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == now


def test_the_menu_of_a_phone_opens_by_keyboard(page, served):
    page.set_viewport_size({"width": NARROW, "height": 800})
    page.goto(served[0])
    menu = page.locator("[data-menu]")
    expect(page.get_by_role("link", name="Runs", exact=True)).to_be_hidden()
    menu.focus()
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.get_by_role("link", name="Runs", exact=True).click()
    assert page.url.endswith("/runs")


# Files that are wrong, and one that is right


def song(task):
    """A real recording, else one that is made."""
    found = sorted((DATA / task / "audio").glob("*.*"))
    return (found[0].name, found[0].read_bytes()) if found else ("song.wav", pulse(120, seconds=30.0))


WRONG = {
    "text.wav": b"this is no sound at all",
    "empty.wav": b"",
    "large.wav": bytes(60 << 20),
}


def files(*pairs):
    return [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in pairs]


@pytest.mark.slow
def test_wrong_songs_are_told_and_a_right_one_is_answered_in_zones(browser, fresh, tmp_path):
    expected = ("413", "422", "415", "400")
    with opened(browser, fresh, expected=expected) as page:
        page.goto(f"{fresh}/zones")
        wrong = paths(tmp_path)
        page.set_input_files("#files", wrong)
        expect(page.locator("#state")).to_contain_text("3 failed", timeout=ANSWERED_MS)
        for name in WRONG:
            row = page.locator("#rows > tr").filter(has_text=name)
            assert re.search(r"Failed .{20,}\.", row.inner_text()), row.inner_text()
            assert "Error" not in row.inner_text() and "Traceback" not in row.inner_text()
        name, data = song("zones")
        page.set_input_files("#files", files((name, data)))
        expect(page.locator("#state")).to_contain_text("1 of 4 answered", timeout=ANSWERED_MS)
        picture(page, tmp_path, "zones")
        assert violations(page) == []


def test_wrong_songs_are_told_and_a_right_one_is_answered_in_meter(browser, fresh, tmp_path):
    with opened(browser, fresh, expected=("413", "422", "415", "400"), locale="en-GB") as page:
        page.goto(f"{fresh}/meter")
        page.wait_for_selector("#tab-upload:not(:empty)")
        failure = page.locator("[data-upload=failure]")
        for path in paths(tmp_path):
            page.set_input_files("[data-upload=input]", path)
            expect(failure).to_contain_text(Path(path).name, timeout=ANSWERED_MS)
            picture(page, tmp_path, f"meter-{Path(path).stem}")
            assert violations(page) == []
        page.set_input_files("[data-upload=input]", files(song("meter")))
        expect(page.locator("[data-upload=result]")).to_be_visible(timeout=ANSWERED_MS)
        expect(failure).to_be_hidden()
        picture(page, tmp_path, "meter")


def paths(tmp_path):
    """The wrong files, on disk: 60 MB are too much for the wire of the driver."""
    for name, data in WRONG.items():
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in WRONG]


# From nothing to production


@pytest.fixture
def small(tmp_path):
    """A project with a small task of its own, prepared and trained by its demo."""
    shutil.copy(EXAMPLES / "loudness.py", tmp_path / "loudness.py")
    (tmp_path / "earmark.toml").write_text('task = "loudness.py"\nworkers = 1\n')
    line = [sys.executable, "-m", "earmark", "demo", "loudness.py", "--workers=0"]
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def start_training(page, url, *, epochs, algorithm="neural"):
    """Fill the form in, and send it; the id of the job."""
    page.goto(f"{url}/training/loudness")
    page.fill("#field-algorithms", algorithm)
    page.fill("#field-epochs", str(epochs))
    page.locator("summary", has_text="more settings").click()
    page.check("#field-force")
    page.check("#field-no_report")
    page.click("[data-start]")
    card = page.locator("#training-card[data-job]")
    expect(card).to_be_visible(timeout=ANSWERED_MS)
    return card.get_attribute("data-job")


@pytest.mark.slow
def test_from_a_fresh_folder_to_production(browser, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    with server_of(folder) as (url, _), opened(browser, url) as page:
        page.goto(url)
        expect(page.get_by_text("A new project.")).to_be_visible()
        page.get_by_role("button", name="Try the demo of zones").click()
        page.wait_for_url("**/jobs/*")
        expect(page.locator("[data-stage]")).to_be_visible()
        picture(page, tmp_path, "demo-runs")
        expect(page.locator("#job .badge", has_text="completed")).to_be_visible(timeout=TRAINED_MS)
        picture(page, tmp_path, "demo-done")
        assert violations(page) == []
        page.goto(f"{url}/training/zones")
        page.fill("#field-algorithms", "neural")
        page.fill("#field-epochs", "40")
        page.click("[data-start]")
        expect(page.locator("[data-tiles] .tile").first).to_be_visible(timeout=TRAINED_MS)
        expect(page.locator('[data-chart="loss"] svg path').first).to_be_attached(timeout=ANSWERED_MS)
        picture(page, tmp_path, "training-live")
        assert violations(page) == []
        expect(page.locator("#training-card-title")).to_have_text("Last result", timeout=TRAINED_MS)
        picture(page, tmp_path, "training-done")
        page.locator("#training-card a[href^='/runs/']").click()
        page.wait_for_url("**/runs/*")
        picture(page, tmp_path, "run")
        with page.context.expect_page() as opening:
            page.get_by_role("link", name="Open the report").click()
        report = opening.value
        report.wait_for_load_state()
        assert "/files/" in report.url and report.evaluate("window.origin") == "null"
        report.close()
        page.fill("#promote-reason", "the first")
        page.get_by_role("button", name="Promote", exact=True).click()
        expect(page.locator("#promotion")).not_to_be_empty(timeout=ANSWERED_MS)
        picture(page, tmp_path, "promoted")
        if page.get_by_role("button", name="Promote all the same").count():
            page.get_by_role("button", name="Promote all the same").click()
        page.goto(url)
        expect(page.locator("section", has_text="Energy zones of tracks")).to_contain_text("A model answers.")
        picture(page, tmp_path, "overview")


@pytest.mark.slow
def test_a_training_is_cancelled_and_resumed(browser, small, tmp_path):
    with server_of(small) as (url, _), opened(browser, url) as page:
        first = start_training(page, url, epochs=400)
        expect(page.locator("[data-epoch]")).to_contain_text("Epoch", timeout=ANSWERED_MS)
        page.click("[data-cancel]")
        expect(page.locator("#training-card [data-status]")).to_contain_text("cancelled", timeout=ANSWERED_MS)
        expect(page.locator("[data-start]")).to_be_enabled()
        picture(page, tmp_path, "cancelled")
        page.goto(f"{url}/jobs/{first}")
        page.get_by_role("button", name="Resume").click()
        page.wait_for_url(lambda address: not address.endswith(first))
        expect(page.locator("#job .badge", has_text="completed")).to_be_visible(timeout=TRAINED_MS)
        expect(page.locator("#job a[href^='/runs/']").first).to_be_visible()
        picture(page, tmp_path, "resumed")


@pytest.mark.slow
def test_a_page_outlives_its_server(browser, small, tmp_path):
    lost = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY")
    with server_of(small) as (url, server), opened(browser, url, expected=lost) as page:
        start_training(page, url, epochs=1500)
        expect(page.locator("[data-epoch]")).to_contain_text("Epoch", timeout=ANSWERED_MS)
        workers = children_of(server.pid)
        server.send_signal(signal.SIGKILL)
        server.wait()
        expect(page.locator("[data-live]")).to_have_text("reconnecting", timeout=20_000)
        picture(page, tmp_path, "reconnecting")
        gone_within(workers, 20)
        before = page.locator("[data-epoch]").inner_text()
        with server_of(small, "--port", str(urlsplit(url).port)) as (again, _):
            assert again == url
            expect(page.locator("[data-live]")).to_have_text("live", timeout=30_000)
            expect(page.locator("[data-epoch]")).not_to_have_text(before, timeout=ANSWERED_MS)
            page.click("[data-cancel]")  # the token of the page is still good
            expect(page.locator("#training-card [data-status]")).to_contain_text(
                "cancelled", timeout=ANSWERED_MS
            )


def children_of(pid):
    """Processes of a server that compute answers."""
    text = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True
    ).stdout
    return [int(line.split()[0]) for line in text.splitlines() if "spawn_main" in line]


def gone_within(pids, seconds):
    """Wait until none of the processes is there."""
    end = time.monotonic() + seconds
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"left behind: {alive}"
        time.sleep(0.1)


@pytest.mark.slow
def test_two_tabs_see_the_same(browser, small, tmp_path):
    with server_of(small) as (url, _), opened(browser, url) as page:
        other = page.context.new_page()
        other.goto(f"{url}/jobs")
        job = start_training(page, url, epochs=300)
        row = other.locator("tr", has_text="train loudness").first
        expect(row).to_contain_text("running", timeout=ANSWERED_MS)
        other.goto(f"{url}/jobs/{job}")
        expect(other.locator("[data-epoch]")).to_contain_text("Epoch", timeout=ANSWERED_MS)
        other.click("[data-cancel]")
        for tab in (page, other):
            expect(tab.locator(".badge", has_text="cancelled").first).to_be_visible(timeout=ANSWERED_MS)
        for tab in (page, other):
            tab.goto(f"{url}/zones")
        for tab, name in ((page, "one.wav"), (other, "two.wav")):
            tab.set_input_files("#files", files((name, pulse(120))))
        for tab in (page, other):
            expect(tab.locator("#state")).to_contain_text("answered", timeout=ANSWERED_MS)
        picture(other, tmp_path, "two")


@pytest.mark.slow
def test_more_tabs_than_a_browser_has_connections(browser, small):
    """Six connections are all that a browser holds to one server: tabs that nobody sees must not keep them."""
    hide = """Object.defineProperty(document, 'hidden', {value: %s});
        document.dispatchEvent(new Event('visibilitychange'))"""
    with server_of(small) as (url, _), opened(browser, url) as page:
        job = start_training(page, url, epochs=3000)
        expect(page.locator("[data-epoch]")).to_contain_text("Epoch", timeout=ANSWERED_MS)
        page.evaluate(hide % "true, configurable: true")
        for _ in range(5):
            tab = page.context.new_page()
            tab.goto(f"{url}/jobs/{job}", timeout=20_000)
            expect(tab.locator("[data-epoch]")).to_contain_text("Epoch", timeout=20_000)
            tab.evaluate(hide % "true")
        before = page.locator("[data-epoch]").inner_text()
        page.wait_for_timeout(1_500)
        assert page.locator("[data-epoch]").inner_text() == before
        page.evaluate(hide % "false")
        expect(page.locator("[data-epoch]")).not_to_have_text(before, timeout=20_000)
        page.click("[data-cancel]")
        over = re.compile("cancelled|completed")  # it may have stopped early in the meantime
        expect(page.locator("#training-card [data-status]")).to_contain_text(over, timeout=ANSWERED_MS)
