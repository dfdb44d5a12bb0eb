"""The training page: forms, mistakes beside their fields, what is missing, and a training from its form to its run."""

import html
import json
import re
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from starlette.testclient import TestClient
from web_client import LOCAL
from web_jobs_project import ended, wait_until

from earmark.training.runs import list_runs
from earmark.web.app import ROUTERS, create_app
from earmark.web.forms import arguments, commands_of, form_of
from earmark.web.forms.market_training import presets
from earmark.web.paths import AllowList
from earmark.web.settings import WebSettings

PART = {"HX-Request": "true"}

TASK = """
from earmark import Task, feature_group
from earmark.data.policy import SplitPolicy
from earmark.training.recipe import Recipe


@feature_group("pitch.mean", columns=("mean", "crossings"), sample_rate=8_000)
def mean(clip):
    samples = clip.samples
    return [abs(samples).mean(), (samples[1:] * samples[:-1] < 0).mean()]


task = Task(
    name="pitch",
    groups=[mean],
    classes=("low", "high"),
    split=SplitPolicy(n_folds=2, stratify_on="label"),
    recipes=(Recipe("logistic"),),
)
"""


@contextmanager
def served(folder):
    app = create_app(WebSettings(folder))
    wanted = ("earmark.web.pages.training", "earmark.web.api.jobs")
    for module in (one for one in wanted if one not in ROUTERS):
        app.include_router(__import__(module, fromlist=["router"]).router)
    with TestClient(app, base_url=LOCAL) as client:
        yield client, app.state.site.jobs.store


def _tones(folder):
    import soundfile

    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        label, pitch_hz = ("low", 200) if number % 2 else ("high", 2_000)
        tone = np.sin(2 * np.pi * pitch_hz * np.arange(4_000) / 8_000) + 0.1 * rng.standard_normal(4_000)
        soundfile.write(folder / "audio" / f"{number:02}.wav", 0.3 * tone, 8_000)
        rows.append({"file": f"audio/{number:02}.wav", "label": label})
    pl.DataFrame(rows).write_csv(folder / "labels.csv")
    (folder / "pitch.py").write_text(TASK, encoding="utf-8")
    (folder / "earmark.toml").write_text('task = "pitch.py"\n', encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(_tones(tmp_path_factory.mktemp("training") / "project")) as (client, store):
        yield client, store


def test_every_task_has_its_pages(server):
    client, _ = server
    assert client.get("/training").url.path == "/training/pitch"
    for task in ("pitch", "zones", "meter", "appliance", "market"):
        page = client.get(f"/training/{task}")
        assert page.status_code == 200, page.text
        assert page.text.count("<h1>") == 1
        for address in sorted(set(re.findall(rf'href="(/training/{task}/[a-z]+)"', page.text))):
            assert client.get(address).status_code == 200, address
    assert client.get("/training/market/thresholds").status_code == 404
    assert client.get("/training/tempo").status_code == 404


def test_nothing_inline_and_a_label_for_each_input(server):
    client, _ = server
    for address in ("/training/market", "/training/appliance/grid", "/training/zones/prepare"):
        text = client.get(address).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", text)
        inputs = re.findall(r'<(?:input|select|textarea)(?![^>]*type="hidden")[^>]*\bid="([^"]+)"', text)
        assert len(inputs) == len(set(inputs)) > 5
        assert set(inputs) <= set(re.findall(r'for="([^"]+)"', text))


def test_tabs_of_models_and_presets_fill_the_form_in(server):
    client, _ = server
    text = client.get("/training/market?model_name=mpd").text
    assert re.search(r'<option value="mpd" selected>', text)
    assert re.search(r'model_name=mpd" aria-current="true">MPD', text)
    for preset, epochs in (("page", 150), ("cli", 50), ("quick_experiment", 5)):
        form = client.get(f"/training/market/train/form?preset={preset}", headers=PART).text
        assert re.search(rf'<option value="{preset}" selected>', form)
        assert re.search(rf'name="epochs"[^>]*value="{epochs}"', form)
    assert json.dumps({"preset": "tiny"}) in html.unescape(form)


class Untouched(HTMLParser):
    """What a browser sends of a form that nobody has touched."""

    def __init__(self, text):
        super().__init__()
        self.sent, self._select, self._options, self._area = {}, None, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "input" and (found.get("type") != "checkbox" or "checked" in found):
            self.sent.setdefault(found["name"], []).append(found.get("value", "on"))
        elif tag == "select":
            self._select, self._options = found["name"], []
        elif tag == "option":
            self._options.append((found["value"], "selected" in found))
        elif tag == "textarea":
            self._area = found["name"]
            self.sent[self._area] = [""]

    def handle_data(self, data):
        if self._area is not None:
            self.sent[self._area][0] += data

    def handle_endtag(self, tag):
        if tag == "select":
            chosen = [value for value, is_selected in self._options if is_selected]
            self.sent[self._select] = (chosen or [self._options[0][0]])[-1:]
        elif tag == "textarea":
            self._area = None


@pytest.mark.parametrize("task", ["zones", "meter", "appliance", "market"])
def test_an_untouched_form_asks_for_nothing_but_the_defaults(server, task):
    client, _ = server
    allowed = AllowList((client.app.state.site.folder,))
    for command in commands_of(task):
        form = form_of(command, task)
        page = client.get(f"/training/{task}/{command}")
        sent = Untouched(re.search("<form id=.*?</form>", page.text, re.DOTALL).group()).sent
        assert set(sent) <= {field.name for field in form.all_fields}
        if any(field.required for field in form.all_fields):
            continue
        expected = ["--preset=page"] if (command, task) == ("train", "market") else []
        assert arguments(form, sent, allowed) == [*form.words, *expected], command
    if task == "market":
        for preset in presets():
            text = client.get(f"/training/market/train/form?preset={preset}").text
            assert arguments(form_of("train", "market"), Untouched(text).sent, allowed) == [
                f"--preset={preset}"
            ]


def test_mistakes_stand_beside_their_fields_with_what_was_sent(server):
    client, store = server
    values = {"preset": "page", "epochs": "501", "data_path": "/etc", "symbols": "BTCUSDT"}
    answer = client.post("/training/market", data=values, headers=PART)
    assert answer.status_code == 422
    assert answer.text.lstrip().startswith("<form")
    assert len(re.findall('aria-invalid="true"', answer.text)) == 2
    for name, told in (("epochs", "less than or equal to 500"), ("data_path", "outside the project folder")):
        error = re.search(rf'id="field-{name}-error">([^<]*)<', answer.text).group(1)
        assert told in error
    assert 'value="501"' in answer.text and 'value="BTCUSDT"' in answer.text
    whole = client.post("/training/market", data={"days": "2", "start_date": "2024-01-01"})
    assert whole.status_code == 422
    assert "<h1>" in whole.text and "both say where rows begin" in whole.text
    assert store.count() == 0


def test_what_is_missing_is_said_with_the_command_that_helps(server):
    client, _ = server
    market = client.get("/training/market/readiness").text
    assert "not ready" in market and "No training data available" in market
    assert 'href="/training/market/collect"' in market
    zones = client.get("/training/zones/readiness").text
    assert "holds no manifest" in zones
    assert 'href="/training/zones/prepare"' in zones


@pytest.mark.slow
def test_from_the_form_to_the_run(server):
    client, store = server
    failed = client.post("/training/pitch", data={"no_report": "true"}, headers=PART)
    assert failed.status_code == 200, failed.text
    ended(store, re.search(r'data-job="([^"]+)"', failed.text).group(1))
    card = client.get("/training/pitch/train/card").text
    assert "holds no manifest" in card and 'href="/training/pitch/prepare"' in card

    prepared = client.post("/training/pitch/prepare", data={"sources": "labels.csv"}, headers=PART)
    job = ended(store, re.search(r'data-job="([^"]+)"', prepared.text).group(1))
    assert job.status == "completed", job.log_path.read_text()
    assert job.argv == ("prepare", "pitch.py", "--", f"{job.project}/labels.csv")
    ready = client.get("/training/pitch/readiness").text
    assert ">ready<" in ready and "Labelled high" in ready

    started = client.post(
        "/training/pitch", data={"no_report": "true", "seed": "3", "resume": ["false", "true"]}, headers=PART
    )
    assert re.search(r"data-start disabled", started.text) and 'hx-swap-oob="true"' in started.text
    again = client.post("/training/pitch", data={"seed": "4"}, headers=PART)
    assert again.status_code == 409 and "Add this one to the queue" in html.unescape(again.text)
    first = store.get(re.search(r'data-job="([^"]+)"', started.text).group(1))
    queued = client.post(
        "/training/pitch", data={"seed": "4", "no_report": "true", "queue": "true"}, headers=PART
    )
    assert queued.status_code == 200
    second = wait_until(lambda: [job for job in store.list(command="train") if "--seed=4" in job.argv])[0]

    assert ended(store, first.id).status == ended(store, second.id).status == "completed"
    assert first.argv == ("train", "pitch.py", "--seed=3", "--no-report")
    run = list_runs(first.project / "runs", "pitch")[-1]
    card = client.get("/training/pitch/train/card").text
    assert run.name in card and "not promoted" in card
    for label in ("Accuracy", "Precision", "Recall", "F1"):
        assert f'<div class="tile-label">{label}</div>' in card
    assert "data-start disabled" not in client.get("/training/pitch").text
