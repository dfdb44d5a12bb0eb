"""The page of a room in a real browser, and a service that goes on while servers come and go."""

import http.client
import json
import os
import signal
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from web_appliance_room import make_room
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations
from web_jobs_project import ended, wait_until

from earmark.web.appliance.listening import CLIPS
from earmark.web.jobs.store import JobStore

WIDTHS = (1280, 390, 360)


@pytest.fixture(scope="module")
def browser():
    require_browser()
    with browser_of("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return make_room(tmp_path_factory.mktemp("room"), 240.0)


def opened(browser, address, **options):
    """A page; what its scripts complain of is a failure."""
    page = browser.new_context(**options).new_page()
    page.on("pageerror", lambda error: pytest.fail(f"{error}"))
    page.goto(address)
    return page


def require_fits(page):
    assert violations(page) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert not scrolls_sideways(page), width


def line_of(address, event):
    """The first event of a type in the stream."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", "/api/appliance/stream")
    with connection.getresponse() as answer:
        assert answer.status == 200
        while (line := answer.readline()) != f"event: {event}\n".encode():
            assert line, "the stream ended"
        while not (line := answer.readline()).startswith(b"data:"):
            assert line
    connection.close()
    return json.loads(line[5:])


def switches_of(address):
    with urlopen(f"{address}/api/appliance/events", timeout=60) as answer:
        return json.load(answer)["events"]


@pytest.mark.slow
def test_without_a_model_the_commands_stand_in_order(browser, tmp_path):
    with server_of(tmp_path) as (address, _):
        page = opened(browser, f"{address}/appliance")
        commands = page.locator(".steps code").all_inner_texts()
        assert commands == [f"earmark {verb} appliance" for verb in ("prepare", "train", "thresholds")]
        page.get_by_role("link", name="Prepare the recordings").wait_for()
        require_fits(page)


@pytest.mark.slow
def test_a_dropped_recording_is_answered_drawn_and_played(browser, room):
    with server_of(room) as (address, _):
        page = opened(browser, f"{address}/appliance", color_scheme="dark")
        page.locator("#recording").set_input_files(room / "evening.flac")
        page.locator("#answer").wait_for(timeout=60_000)
        assert page.locator("#answer-state").inner_text() == "ac-on"
        assert page.locator("#timeline svg[role=img] path").count() == 2
        rows = page.locator("#answer-events tr")
        assert [row.split("\t")[1:3] for row in rows.all_inner_texts()] == [["ac", "On"], ["ac", "Off"]]
        wait_until(lambda: page.evaluate("document.getElementById('player').readyState >= 2"))
        cursor = page.locator("#timeline svg[role=img] line.series-4")
        before = float(cursor.get_attribute("x1"))
        rows.nth(1).get_by_role("button").click()
        wait_until(lambda: page.evaluate("document.getElementById('player').currentTime > 50"))
        assert float(cursor.get_attribute("x1")) > before
        require_fits(page)
        page.locator("#recording").set_input_files(
            files=[{"name": "no.wav", "mimeType": "a/b", "buffer": b"no"}]
        )
        assert "no.wav" in page.locator("#file-error .notice").inner_text(timeout=30_000)


@pytest.mark.slow
def test_a_service_is_started_on_the_page_and_goes_on_without_the_server(browser, room):
    store = JobStore.of(room)
    with server_of(room) as (address, server):
        page = opened(browser, f"{address}/appliance")
        page.get_by_label("File or stream").check()
        page.get_by_label("Path in the project").fill("../elsewhere.flac")
        page.get_by_role("button", name="Start listening").click()
        assert "outside" in page.locator("#start-error .notice").inner_text(timeout=20_000)
        page.get_by_label("Path in the project").fill("evening.flac")
        page.get_by_role("button", name="Start listening").click()
        page.get_by_role("button", name="Stop listening").wait_for(timeout=30_000)
        [job] = store.list(kind="service")
        assert f"--clips={room / CLIPS}" in job.argv
        first = line_of(address, "line")
        wait_until(lambda: page.evaluate("document.getElementById('live-badge').textContent === 'live'"))
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    with server_of(room) as (address, _):
        page = opened(browser, f"{address}/appliance")
        later = line_of(address, "line")
        assert later["window_index"] > first["window_index"] and store.get(job.id).status == "running"
        wait_until(lambda: page.evaluate("document.getElementById('state').textContent === 'ac-on'"))
        wait_until(lambda: page.locator("#chart svg[role=img] path").count() == 2)
        [switch] = wait_until(lambda: [one for one in switches_of(address) if one["clip"] is not None])
        assert (switch["device"], switch["kind"]) == ("ac", "on")
        player = page.locator("#switches audio").first
        player.wait_for(state="attached", timeout=30_000)
        player.evaluate("async (one) => { one.load(); await one.play(); }")
        assert player.evaluate("(one) => one.duration") == pytest.approx(12, abs=0.1)
        require_fits(page)
        page.get_by_role("button", name="Stop listening").click()
        assert ended(store, job.id).status == "cancelled"
        page.get_by_role("button", name="Start listening").wait_for(timeout=30_000)
