"""A real server in a process of its own, and a real Chromium that looks at it."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_S = 60


def require_browser():
    """Skip where there is no Chromium, or nothing that drives it."""
    pytest.importorskip("fastapi", reason='pip install "earmark[web]"')
    pytest.importorskip("playwright", reason='pip install "earmark[test]"')
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")


@contextmanager
def server_of(folder, *options):
    """The address and the process of `earmark web` on a free port; ended as by Ctrl-C."""
    command = [sys.executable, "-m", "earmark", "-C", str(folder), "web", "--port", "0", *options]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield address_of(server), server
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        server.stderr.close()


def address_of(server):
    """Read the line that names the address, which is without a slash at its end."""
    line = server.stderr.readline()
    assert line.startswith("earmark is at http"), line + server.stderr.read()
    return line.split()[3].rstrip("/")


@contextmanager
def browser_of(*flags):
    """A Chromium; `browser.new_context(...)` per test keeps them apart."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        try:
            yield browser
        finally:
            browser.close()


def violations(page):
    """What axe-core finds wrong with a page: rule and places."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]


def scrolls_sideways(page):
    """Whether a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
