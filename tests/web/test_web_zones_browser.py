"""The page of zones in a real Chromium: files in, rows, details, lists, tags, and what goes wrong."""

import json
import urllib.request

import pytest
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations
from zone_tracks import pulse

require_browser()

from playwright.sync_api import expect  # noqa: E402

ANSWERED_MS = 90_000
ODD = 'it\'s "<img src=x onerror=alert(1)>" Ü 🟨.wav'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of a server, its folder, and a browser."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "music").mkdir()
    for name, bpm in (("calm.wav", 90), ("loud.wav", 140)):
        (folder / "music" / name).write_bytes(pulse(bpm))
    with server_of(folder, "--max-upload-mb", "1") as (url, _), browser_of() as browser:
        yield url, folder, browser


@pytest.fixture
def shown(site):
    """The page, and what it complained of."""
    url, _, browser = site
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Policy" in line.text else None)
    page.goto(f"{url}/zones")
    yield page
    context.close()
    assert complaints == []


def send(page, *files):
    """Choose files: pairs of name and bytes."""
    page.set_input_files(
        "#files", [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files]
    )


def add(page, path, n_rows):
    page.fill("#path", path)
    page.click("#by-path button")
    expect(page.locator("#rows > tr")).to_have_count(n_rows)
    expect(page.locator("#all-progress")).to_be_hidden(timeout=ANSWERED_MS)


def row(page, name):
    return page.locator("#rows > tr").filter(has=page.locator("th").get_by_text(name, exact=True))


def test_files_become_rows_and_a_bad_one_stops_no_other(shown):
    expect(shown.get_by_text("No run is trained")).to_be_visible()
    expect(shown.locator("#none")).to_be_visible()
    send(shown, (ODD, pulse(100)), ("text.wav", b"text"), ("a.txt", b"text"), ("big.wav", bytes(2 << 20)))
    expect(shown.locator("#state")).to_have_text("1 of 4 answered, 3 failed", timeout=ANSWERED_MS)
    assert row(shown, ODD).locator("td").nth(5).inner_text() == "rules"
    assert shown.locator("#rows img").count() == 0
    expect(row(shown, "text.wav")).to_contain_text("not audio")
    expect(row(shown, "a.txt")).to_contain_text("not read")
    expect(row(shown, "big.wav")).to_contain_text("--max-upload-mb")
    expect(shown.locator("#preview")).to_be_disabled()
    with shown.expect_download() as taken:
        shown.click("#copies")
    assert b"ENERGYZONE" in taken.value.path().read_bytes()
    shown.reload()
    expect(shown.locator("#state")).to_have_text("1 of 2 answered, 1 failed", timeout=ANSWERED_MS)
    shown.click("#clear")
    expect(shown.locator("#none")).to_be_visible()


def test_rows_are_sorted_searched_and_opened(shown):
    add(shown, "music", 2)
    names = shown.locator("#rows > tr > th")
    tempo = shown.locator('th[data-key="tempo"]')
    tempo.locator("button").click()
    expect(tempo).to_have_attribute("aria-sort", "ascending")
    upward = names.all_inner_texts()
    tempo.locator("button").click()
    expect(tempo).to_have_attribute("aria-sort", "descending")
    expect(names.first).to_have_text(upward[-1])
    shown.fill("#search", "loud")
    expect(names).to_have_text(["music/loud.wav"])
    details = shown.get_by_role("button", name="Details of music/loud.wav")
    details.click()
    expect(details).to_have_attribute("aria-expanded", "true")
    expect(shown.locator(".zones-bar")).to_have_count(3)
    expect(shown.locator(".zones-details")).to_contain_text("zones.basic.tempo")
    details.click()
    expect(shown.locator(".zones-details")).to_have_count(0)


def test_lists_are_those_of_the_api(shown, site):
    add(shown, "music", 2)
    with shown.expect_download() as taken:
        shown.click("[data-takes=json]")
    body = json.dumps({"paths": ["music"], "method": "rules"}).encode()
    request = urllib.request.Request(
        f"{site[0]}/api/zones/predict-paths", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert taken.value.path().read_bytes() == answer.read()
    with shown.expect_download() as taken:
        shown.click("[data-takes=csv]")
    assert taken.value.suggested_filename == "zones.csv"
    assert taken.value.path().read_text().startswith("File,Path,Zone,Confidence,Tempo (BPM)\n")
    with shown.expect_download() as taken:
        shown.get_by_role("button", name="Download playlists").click()
    assert taken.value.suggested_filename.endswith((".zip", ".m3u8"))


def test_tags_are_shown_before_they_are_written_and_taken_back(shown, site):
    music = site[1] / "music"
    before = {path.name: path.read_bytes() for path in music.iterdir()}
    add(shown, "music", 2)
    expect(shown.locator("#write")).to_be_disabled()
    shown.click("#preview")
    expect(shown.locator("#tag-report")).to_contain_text("Nothing is written yet.")
    assert {path.name: path.read_bytes() for path in music.iterdir()} == before
    assert violations(shown) == []
    shown.click("#write")
    expect(shown.locator("#tag-report .badge", has_text="written").first).to_be_visible()
    assert any(b"ENERGYZONE" in path.read_bytes() for path in music.iterdir())
    shown.click("[data-undo=last]")
    expect(shown.locator("#tag-report .badge", has_text="restored").first).to_be_visible()
    assert not any(b"ENERGYZONE" in path.read_bytes() for path in music.iterdir())


def test_a_path_outside_is_refused_beside_its_field(shown):
    shown.fill("#path", "/etc")
    shown.click("#by-path button")
    expect(shown.locator("#path-error")).to_contain_text("outside the project folder")
    expect(shown.locator("#path")).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.slow
def test_it_is_accessible_and_fits_a_phone(site, theme):
    url, _, browser = site
    context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{url}/zones")
    assert violations(page) == []
    add(page, "music", 2)
    page.get_by_role("button", name="Details of music/loud.wav").click()
    expect(page.locator(".zones-bar").first).to_be_visible()
    assert violations(page) == []
    assert not scrolls_sideways(page)
    context.close()


@pytest.mark.slow
def test_two_hundred_files_in_two_tabs(site):
    url, _, browser = site
    data = pulse(100)
    contexts = [browser.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(f"{url}/zones")
        send(page, *((f"{number:03d}.wav", data) for number in range(100)))
    for page in pages:
        expect(page.locator("#state")).to_have_text("100 of 100 answered", timeout=6 * ANSWERED_MS)
    for context in contexts:
        context.close()
