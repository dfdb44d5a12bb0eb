"""The page of meter in a real Chromium: its rules as functions, its metronome, and whole ways through its tabs.

The worker that answers takes seconds to start, so ways that need it are slow; what the page does with the messages of
a listening server is tried on messages of the documented form.
"""

import json
import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from web_browser import browser_of, require_browser, scrolls_sideways, server_of, violations

from earmark.web.page import HERE

require_browser()

STATIC = HERE / "static"
PURE = ("meter-words.js", "meter-bars.js", "meter-metronome.js", "meter-live.js", "meter-worklet.js")
PLAYS = "--autoplay-policy=no-user-gesture-required"
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
RATE = 48_000
ANSWER_MS = 180_000
"""Until an answer of a worker that starts on a busy machine."""


@pytest.fixture(scope="module")
def microphone(tmp_path_factory):
    """A wav of a bar of seven eighths, 2+2+3 at 240 a minute, over and over."""
    path = tmp_path_factory.mktemp("audio") / "seven.wav"
    write_wav(path, clicks((2, 2, 3), bpm=240, n_bars=16))
    return path


@pytest.fixture(scope="module")
def browser(microphone):
    with browser_of(PLAYS, *FAKE, f"--use-file-for-fake-audio-capture={microphone}") as chromium:
        yield chromium


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with server_of(tmp_path_factory.mktemp("project")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def functions(browser):
    """A blank page with the files that need no document."""
    page = browser.new_page()
    for name in PURE:
        page.add_script_tag(content=(STATIC / name).read_text("utf-8"))
    yield page
    page.close()


@pytest.fixture
def page(browser, url):
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    mistakes = []
    opened.on("pageerror", lambda error: mistakes.append(str(error)))
    opened.on("console", lambda line: mistakes.append(line.text) if "Content Security" in line.text else None)
    opened.goto(f"{url}/meter")
    opened.wait_for_selector("#tab-upload:not(:empty)")
    yield opened
    context.close()
    assert not mistakes


def clicks(grouping, *, bpm, n_bars):
    """Accented clicks, shape (n_samples,)."""
    tick = round(RATE * 60 / bpm)
    starts = {sum(grouping[:at]) for at in range(len(grouping))}
    seconds = np.arange(tick) / RATE
    bar = []
    for position in range(sum(grouping)):
        loud, hz = (1.0, 880) if position == 0 else (0.5, 660) if position in starts else (0.25, 440)
        sound = loud * np.exp(-seconds / 0.02) * np.sin(2 * np.pi * hz * seconds)
        if position == 0:
            sound += 0.9 * np.exp(-seconds / 0.03) * np.sin(2 * np.pi * 80 * seconds)
        bar.append(sound)
    signal = np.tile(np.concatenate(bar), n_bars)
    return 0.7 * signal / np.abs(signal).max()


def write_wav(path, signal):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((signal * 32_767).astype("<i2").tobytes())


def until(page, expression, *, timeout_s=20):
    """Wait for an expression to be true; the page's own policy forbids Playwright's `wait_for_function`."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def hypothesis(name, confidence, grouping=None):
    numerator, denominator = map(int, name.split("/"))
    grouping = grouping or [numerator]
    known = {"grouping": grouping, "grouping_measured": False, "division": "simple"}
    return {"numerator": numerator, "denominator": denominator, "confidence": confidence, **known}


# What the page says


def test_both_languages_have_the_same_texts_with_the_same_values(functions):
    words = functions.evaluate("meter.words.WORDS")
    assert set(words) == {"en", "pl"}
    assert list(words["en"]) == list(words["pl"])
    for key, text in words["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", words["pl"][key])), key
        assert text.strip() and words["pl"][key].strip()


def test_every_text_that_is_named_exists_and_every_text_is_named(functions):
    known = set(functions.evaluate("Object.keys(meter.words.WORDS.en)"))
    sources = [*STATIC.glob("meter*.js"), HERE / "templates" / "meter.html"]
    code = "\n".join(
        re.sub(r"const WORDS = \{.*?\n  \};", "", one.read_text("utf-8"), flags=re.S) for one in sources
    )
    literal = set(re.findall(r'"([a-z]+(?:\.[a-z0-9/ ]+)+)"', code))
    families = (*(f"{one}." for one in re.findall(r"`([a-z.]+)\.\$\{", code)), "tab.", "step.")
    named = {one for one in literal if one.split(".")[0] in {key.split(".")[0] for key in known}}
    assert named <= known
    unnamed = {key for key in known if key not in literal and not key.startswith(families)}
    assert unnamed <= {"title", "language", "download"}


@pytest.mark.parametrize(
    ("best", "second", "level", "also", "both"),
    [
        (0.81, 0.10, "confident", False, False),
        (0.80, 0.10, "likely", False, False),
        (0.80, 0.20, "likely", False, False),
        (0.61, 0.39, "likely", False, False),
        (0.61, 0.46, "likely", True, False),
        (0.75, 0.60, "likely", True, False),
        (0.61, 0.4599, "likely", False, False),
        (0.60, 0.40, "uncertain", False, True),
        (0.41, 0.40, "uncertain", False, True),
        (0.41, None, "uncertain", False, False),
        (0.40, 0.30, "unsure", False, False),
        (0.10, None, "unsure", False, False),
    ],
)
def test_how_sure_it_sounds_at_each_boundary(functions, best, second, level, also, both):
    ranked = [hypothesis("3/4", best)] + ([hypothesis("4/4", second)] if second else [])
    found = functions.evaluate("([ranked]) => meter.words.verdict(ranked)", [ranked])
    assert (found["level"], found["also"] is not None, found["both"] is not None) == (level, also, both)


def test_what_abstained_or_is_empty_is_not_sure(functions):
    found = functions.evaluate("([ranked]) => meter.words.verdict(ranked, true)", [[hypothesis("3/4", 0.95)]])
    assert found["level"] == "unsure" and found["best"]["numerator"] == 3
    assert functions.evaluate("meter.words.verdict([])") == {
        "level": "unsure",
        "best": None,
        "also": None,
        "both": None,
    }


@pytest.mark.parametrize(("two", "four", "first"), [(0.5, 0.3, 4), (0.51, 0.3, 2), (0.3, 0.29, 4)])
def test_live_shows_four_before_two_within_twenty_points(functions, two, four, first):
    ranked = [hypothesis("2/4", two), hypothesis("3/4", 0.1), hypothesis("4/4", four)]
    found = functions.evaluate("([ranked]) => meter.words.rankedLive(ranked)", [ranked])
    assert found[0]["numerator"] == first
    assert sorted(one["confidence"] for one in found) == sorted([two, 0.1, four])


def test_tempo_words_at_their_boundaries(functions):
    tempos = [40, 59.9, 60, 66, 76, 107.9, 108, 120, 168, 199.9, 200, 300]
    words = (
        "Largo Largo Larghetto Adagio Andante Andante Moderato Allegro Presto Presto Prestissimo Prestissimo"
    )
    assert functions.evaluate("(all) => all.map(meter.words.tempoWord)", tempos) == words.split()


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ({"seconds": 5.9, "onsets": 0}, "warm"),
        ({"seconds": 6.0, "onsets": 0}, "quiet"),
        ({"seconds": 8.0, "onsets": 7, "data": {}}, "more"),
        ({"seconds": 8.0, "onsets": 8, "data": {}}, "answer"),
        ({"seconds": 5.9, "onsets": 9, "data": {}}, "warm"),
        ({"seconds": 6.0, "onsets": 8, "data": {}}, "answer"),
        ({"seconds": 9.0, "onsets": 9, "data": None, "code": "silent"}, "quiet"),
        ({"seconds": 9.0, "onsets": 9, "data": None, "code": "undecodable"}, "failed"),
    ],
)
def test_live_answers_from_eight_onsets_and_six_seconds_on(functions, heard, expected):
    assert functions.evaluate("(heard) => meter.live.phase(heard)", heard) == expected


# Arithmetic of beats


def test_bars_are_laid_anew_from_the_first_downbeat(functions):
    beats = [{"time": 0.5 * at, "is_downbeat": at in (2, 6)} for at in range(10)]
    asked = [beats, {"name": "3/4", "grouping": [3]}, 120]
    found = functions.evaluate("(asked) => meter.bars.rebarred(...asked)", asked)
    assert [at for at, one in enumerate(found) if one["is_downbeat"]] == [2, 5, 8]
    asked[1] = {"name": "6/8", "grouping": [3, 3]}
    found = functions.evaluate("(asked) => meter.bars.rebarred(...asked)", asked)
    assert [at for at, one in enumerate(found) if one["is_downbeat"]] == [0, 2, 4, 6, 8]


def test_position_in_the_bar_runs_evenly_and_starts_at_downbeats(functions):
    beats = [{"time": 1 + 0.5 * at, "is_downbeat": at % 4 == 1} for at in range(9)]
    times = [0.9, 1.0, 1.5, 1.75, 3.25, 3.5, 5.0, 9.0]
    found = functions.evaluate(
        "([beats, times]) => times.map((one) => meter.bars.positionAt(beats, one, {name: '4/4', grouping: [4]}, 120))",
        [beats, times],
    )
    assert found[0] is None and found[-1] is None
    assert found[1:-1] == pytest.approx([3.0, 0.0, 0.5, 3.5, 0.0, 3.0])


@pytest.mark.parametrize(
    ("name", "grouping", "bpm", "tempo"),
    [
        ("4/4", [4], 96, 96),
        ("7/8", [2, 2, 3], 240, 120),
        ("7/8", [2, 2, 3], 118, 118),
        ("6/8", [3, 3], 60, 90),
        ("9/8", [2, 2, 2, 3], 280, 140),
        ("12/8", [3, 3, 3, 3], 220, 110),
        ("4/4", [4], 30, 40),
    ],
)
def test_the_metronome_clicks_along_with_what_was_heard(functions, name, grouping, bpm, tempo):
    found = functions.evaluate(
        "(asked) => meter.bars.metronomeTempo(...asked)", [{"name": name, "grouping": grouping}, bpm]
    )
    assert found == pytest.approx(tempo)


def test_taps_make_a_tempo_and_a_gap_starts_anew(functions):
    tap = """(times) => {
      const taps = times.reduce(meter.metronome.withTap, []);
      return [taps.length, meter.metronome.tappedBpm(taps)];
    }"""
    steady = [0.5 * at for at in range(20)]
    assert functions.evaluate(tap, steady) == [8, pytest.approx(120)]
    assert functions.evaluate(tap, [0.0]) == [1, None]
    assert functions.evaluate(tap, [0.0, 3.0]) == [2, pytest.approx(20)]
    assert functions.evaluate(tap, [0.0, 3.1]) == [1, None]
    assert functions.evaluate(tap, [0, 0.5, 1.0, 2.0]) == [4, pytest.approx(60 * 5 / 3.25)]
    assert functions.evaluate(tap, [0, 0.5, 1.0, 2.1]) == [1, None]
    late = [*steady[:7], 3.6, 4.0]
    assert functions.evaluate(tap, late)[1] == pytest.approx(120, rel=0.02)


def test_clicks_that_were_slept_through_are_not_made_up_for(functions):
    planned = "(asked) => meter.metronome.planned(...asked)"
    found = functions.evaluate(planned, [{"time": 1.0, "position": 2}, 0.95, 1.6, 0.25, 3])
    assert [one["position"] for one in found["clicks"]] == [2, 0, 1]
    assert found["next"] == {"time": 1.75, "position": 2}
    found = functions.evaluate(planned, [{"time": 1.0, "position": 2}, 60.0, 60.1, 0.25, 3])
    assert found["clicks"] == [{"time": 60.0, "position": 0}]


# Resampling


def resampled(functions, signal, rate, size):
    code = """([signal, rate, size]) => {
      const one = new EarmarkResampler(rate, 22050);
      const found = [];
      for (let at = 0; at < signal.length; at += size) {
        found.push(...one.process(Float32Array.from(signal.slice(at, at + size))));
      }
      return found;
    }"""
    return np.array(functions.evaluate(code, [signal.tolist(), rate, size]))


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000, 96_000])
def test_tones_keep_their_height_loudness_and_time(functions, rate):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 4) / rate)
    found = resampled(functions, tone, rate, 128)
    exact = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / 22_050)
    assert 0.2 < len(found) / 22_050 <= 0.25
    assert np.abs(found - exact)[200:].max() < 1e-3


@pytest.mark.parametrize(
    ("rate", "hz"), [(44_100, 11_100), (44_100, 21_000), (48_000, 12_000), (48_000, 22_050), (96_000, 40_000)]
)
def test_nothing_above_half_of_the_rate_folds_back(functions, rate, hz):
    found = resampled(functions, np.sin(2 * np.pi * hz * np.arange(rate // 4) / rate), rate, 128)
    assert 20 * np.log10(np.abs(found[300:]).max()) < -70


def test_resampling_does_not_depend_on_the_pieces(functions):
    noise = np.random.default_rng(0).standard_normal(6000).astype(np.float32)
    whole = resampled(functions, noise, 48_000, len(noise))
    for size in (1, 7, 128):
        np.testing.assert_array_equal(resampled(functions, noise, 48_000, size), whole)


# The page


def test_the_language_is_remembered_and_said_to_the_browser(page):
    assert page.get_attribute("html", "lang") == "en"
    page.check("input[value=pl]")
    assert page.get_attribute("html", "lang") == "pl"
    assert page.inner_text("h1") == "Metrum"
    assert page.get_attribute("body > header", "lang") == "en"
    page.reload()
    page.wait_for_selector("#tab-upload:not(:empty)")
    assert page.inner_text("#tab-live") == "Na żywo"


def test_three_tabs_pass_axe_and_fit_a_phone(page):
    for width, scheme in ((1280, "light"), (390, "dark"), (360, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        for name in ("upload", "live", "metronome"):
            page.click(f"#tab-{name}")
            assert page.is_visible(f"#panel-{name}")
            assert not scrolls_sideways(page), (width, name)
            if width != 360:
                assert violations(page) == []


def test_a_file_of_another_kind_is_refused_before_it_is_sent(page):
    page.set_input_files(
        "[data-upload=input]", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"do re mi"}
    )
    assert "notes.txt is not a kind of audio file" in page.inner_text("[data-upload=failure]")
    assert page.is_hidden("[data-upload=progress]")


SPY = """() => {
  window.sounded = [];
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (when) {
    window.sounded.push([when, this.frequency.value]);
    return start.call(this, when);
  };
}"""


def test_the_metronome_accents_groups_and_keeps_time(page):
    page.evaluate(SPY)
    page.click("#tab-metronome")
    page.select_option("[data-metronome=meter]", "7/8")
    assert page.input_value("[data-metronome=grouping]") == "2+2+3"
    page.select_option("[data-metronome=grouping]", "3+2+2")
    page.fill("[data-metronome=bpm]", "300")
    page.press("[data-metronome=bpm]", "Tab")
    page.click("[data-metronome=toggle]")
    until(page, "window.sounded.length >= 15")
    page.click("[data-metronome=toggle]")
    times, tones = zip(*page.evaluate("window.sounded"), strict=True)
    assert list(tones[:14]) == [880, 440, 440, 880, 440, 880, 440] * 2
    np.testing.assert_allclose(np.diff(times[:15]), 0.1, atol=2e-3)
    assert "grouped 3+2+2, with accents on 1, 4, 6" in page.get_attribute(
        "[data-metronome=circle] svg", "aria-label"
    )


def test_keys_start_and_tap_but_are_not_taken_from_inputs(page):
    page.click("#tab-metronome")
    toggle, tapped = page.locator("[data-metronome=toggle]"), page.locator("[data-metronome=tapped]")
    page.locator("h1").click()
    page.keyboard.press("Space")
    assert toggle.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    assert toggle.get_attribute("aria-pressed") == "false"
    toggle.focus()
    page.keyboard.press("Space")
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    page.focus("[data-metronome=meter]")
    page.keyboard.press("t")
    page.focus("[data-metronome=bpm]")
    page.keyboard.press("Space")
    assert (tapped.inner_text(), toggle.get_attribute("aria-pressed")) == ("", "false")
    page.focus("[data-metronome=slider]")
    page.keyboard.press("t")
    page.keyboard.press("T")
    assert "2 taps" in tapped.inner_text()
    page.click("#tab-live")
    page.keyboard.press("t")
    page.click("#tab-metronome")
    assert "2 taps" in tapped.inner_text()


def test_out_of_range_tempos_are_kept_in_range(page):
    page.click("#tab-metronome")
    for typed, kept in (("12", "40"), ("999", "300"), ("", "300"), ("72.5", "72.5")):
        page.fill("[data-metronome=bpm]", typed)
        page.press("[data-metronome=bpm]", "Tab")
        assert page.input_value("[data-metronome=bpm]") == kept


# Live, with the messages of the socket


def live_answer(converged):
    ranked = [hypothesis("2/4", 0.45), hypothesis("4/4", 0.35), hypothesis("3/4", 0.2)]
    tempo = {
        "bpm": 118.4,
        "confidence": 0.9,
        "is_variable": False,
        "bpm_range": [117.0, 119.0],
        "tempo_category": "steady",
    }
    head = {"source": "model", "source_type": "live", "converged": converged, "abstained": False}
    return {**head, "tempo": tempo, "meter_hypotheses": ranked, "meter_stability": 1.0, "meter_map": []}


def test_live_waits_for_enough_then_answers_and_hands_over(page):
    sockets = []
    page.route_web_socket(re.compile("/api/ws/live$"), lambda one: sockets.append(one))
    page.click("#tab-live")
    page.click("[data-live=toggle]")
    until(page, "document.querySelector('[data-live=status]').textContent.includes('opening its model')")
    [socket] = sockets
    sizes = []
    socket.on_message(lambda message: sizes.append(len(message)))

    def told(**message):
        socket.send(json.dumps(message))

    told(type="warmup_progress", seconds=6.5, total=8, onset_count=0)
    page.wait_for_selector("text=No taps heard")
    told(type="warmup_progress", seconds=8, total=8, onset_count=7)
    told(type="analysis", t=8.0, window=[2, 8], data=live_answer(False))
    page.wait_for_selector("text=7 onsets heard; 8 or more are needed")
    assert page.is_hidden("[data-live=result]")
    told(type="onset", time=8.2, strength=0.5)
    told(type="analysis", t=8.5, window=[2, 8.5], data=live_answer(False))
    page.wait_for_selector("[data-live=badge]:text('analysing')")
    assert page.inner_text("[data-live=meter] .answer >> nth=0") == "4/4" or "perhaps" in page.inner_text(
        "[data-live=meter]"
    )
    told(type="analysis", t=9.0, window=[2, 9], data=live_answer(True))
    page.wait_for_selector("[data-live=badge]:text('stable')")
    assert violations(page) == []
    page.wait_for_timeout(300)
    assert sizes and set(sizes) == {4 * 2205}
    page.click("[data-live=hear]")
    assert page.is_visible("#panel-metronome")
    assert page.get_attribute("[data-metronome=toggle]", "aria-pressed") == "true"
    assert (page.input_value("[data-metronome=bpm]"), page.input_value("[data-metronome=meter]")) == (
        "118.4",
        "4/4",
    )
    assert page.get_attribute("[data-live=toggle]", "aria-pressed") == "false"


def test_a_socket_that_closes_is_told_in_a_sentence(page):
    page.route_web_socket(re.compile("/api/ws/live$"), lambda socket: socket.close(code=1011))
    page.click("#tab-live")
    page.click("[data-live=toggle]")
    page.wait_for_selector("[data-live=notice] >> text=listen again")
    assert "The connection was closed" in page.inner_text("[data-live=notice]")
    assert page.inner_text("[data-live=toggle]") == "Listen to the microphone"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "was not allowed"),
        ("NotFoundError", "No microphone was found"),
        ("NotReadableError", "another program"),
    ],
)
def test_a_microphone_that_does_not_open_is_told_in_a_sentence(page, name, sentence):
    page.evaluate(
        "(name) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }",
        name,
    )
    page.click("#tab-live")
    page.click("[data-live=toggle]")
    page.wait_for_selector("[data-live=notice]:not([hidden])")
    assert sentence in page.inner_text("[data-live=notice]")


# Whole ways, with the server's own answers


WATCH_STEPS = """() => {
  window.steps = [];
  new MutationObserver((all) => all.forEach(({target}) => steps.push([target.dataset.step, target.dataset.state])))
    .observe(document.querySelector('.steps'), {subtree: true, attributes: true, attributeFilter: ['data-state']});
}"""


@pytest.mark.slow
def test_a_recording_is_analysed_shown_overridden_played_and_downloaded(page, microphone):
    page.evaluate(SPY)
    page.evaluate(WATCH_STEPS)
    page.set_input_files("[data-upload=input]", str(microphone))
    page.wait_for_selector("[data-upload=result]:not([hidden])", timeout=ANSWER_MS)
    done = [step for step, state in page.evaluate("window.steps") if state == "done"]
    assert list(dict.fromkeys(done)) == ["received", "decoded", "tracked", "answered"]

    assert page.inner_text("[data-upload=meter] .answer").startswith("7/")
    assert re.search(r"\d BPM", page.inner_text("[data-upload=tempo]"))
    assert page.locator("[data-upload=circle] .circle-dot").count() == 7
    assert page.locator("[data-upload=wave] .wave-flag").get_attribute("d")
    assert "7/" in page.inner_text("[data-upload=hypotheses]")
    assert page.locator("[data-upload=sections] button").count() >= 1
    assert violations(page) == []

    page.select_option("[data-upload=override]", "9/8")
    assert page.inner_text("[data-upload=meter] .answer") == "9/8"
    assert "You set this meter. The analysis heard 7/" in page.inner_text("[data-upload=meter]")
    assert page.locator("[data-upload=circle] .circle-dot").count() == 9
    assert page.locator("[data-upload=hypotheses] tr.is-chosen").inner_text().startswith("9/8")
    assert page.input_value("[data-metronome=meter]") == "9/8"
    page.select_option("[data-upload=override]", "")
    assert page.input_value("[data-metronome=meter]").startswith("7/")

    box = page.locator("[data-upload=wave]").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    until(page, "!document.querySelector('audio').paused && document.querySelector('audio').currentTime > 12")
    page.click("[data-upload=hear]")
    until(page, "window.sounded.length > 4")
    assert {tone for _, tone in page.evaluate("window.sounded")} <= {880, 440}
    assert page.locator("[data-upload=circle] .is-now").count() == 1
    page.evaluate("document.querySelector('audio').pause()")
    page.focus("[data-upload=wave]")
    before = page.evaluate("document.querySelector('audio').currentTime")
    page.keyboard.press("ArrowLeft")
    until(page, f"document.querySelector('audio').currentTime < {before}")

    page.check("input[value=pl]")
    assert "Podział" in page.inner_text("[data-upload=hypotheses]")
    page.click("[data-upload=table] summary")
    assert page.locator("[data-upload=table-body] tbody tr").count() > 20
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_timeout(200)
    assert not scrolls_sideways(page)
    with page.expect_download() as download:
        page.click("[data-upload=download]")
    document = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert download.value.suggested_filename == "seven.json"
    assert document["meter_hypotheses"][0]["numerator"] == 7
    assert "peaks" not in document


@pytest.mark.slow
def test_a_recording_that_cannot_be_decoded_is_told(page):
    page.set_input_files(
        "[data-upload=input]", {"name": "noise.wav", "mimeType": "audio/wav", "buffer": b"RIFFnothing" * 9}
    )
    page.wait_for_selector("[data-upload=failure]:not([hidden])", timeout=ANSWER_MS)
    assert "This file could not be analysed." in page.inner_text("[data-upload=failure]")
    assert "noise.wav" in page.inner_text("[data-upload=failure]")
    assert page.is_hidden("[data-upload=progress]")


@pytest.mark.slow
def test_a_microphone_is_heard_by_the_server(page):
    page.click("#tab-live")
    page.click("[data-live=toggle]")
    page.wait_for_selector("[data-live=result]:not([hidden])", timeout=ANSWER_MS)
    page.wait_for_selector("[data-live=badge]:text('stable')", timeout=ANSWER_MS)
    assert page.inner_text("[data-live=meter] .answer") == "7/8"
    page.click("[data-live=toggle]")
    assert page.inner_text("[data-live=status]") == "Not listening"
