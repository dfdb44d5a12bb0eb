"""What an attacker sends to a real server: paths that lead out, bodies without end, slow senders, other sites.

What must hold each time: it is refused in a sentence with a 4xx, nothing outside the project is told, nothing is
started, and others are answered meanwhile.
"""

import asyncio
import http.server
import json
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest
from web_browser import browser_of, require_browser, server_of
from web_project import make_items, make_run

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

SECRET = "what nobody outside may read"
REFUSED = range(400, 500)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project with a run and a file beside it that no page may show, with links to it from inside."""
    root = tmp_path_factory.mktemp("attacked")
    (root / "outside").mkdir()
    (root / "outside" / "secret.wav").write_text(SECRET)
    project = root / "project"
    project.mkdir()
    make_items(project)
    run = make_run(project, slug="good")
    (project / "leak.wav").symlink_to(root / "outside" / "secret.wav")
    (project / "leak").symlink_to(root / "outside")
    (run.path / "leak.txt").symlink_to(root / "outside" / "secret.wav")
    return project, run.name


@pytest.fixture(scope="module")
def server(place):
    with server_of(place[0], "--max-upload-mb", "2") as (url, process):
        yield url
        assert process.poll() is None, "the server died"


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client
        assert client.get("/api/health").status_code == 200


NAMES = (
    "../outside/secret.wav",
    "..%2foutside%2fsecret.wav",
    "..%252foutside%252fsecret.wav",
    "....//outside/secret.wav",
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "~nobody/x",
    "leak.wav",
    "leak/secret.wav",
    "leak.txt",
    "file:///etc/passwd",
    "https://127.0.0.1:1/x.wav",
    ".earmark/web/secret",
    ".earmark/web/jobs.sqlite",
    "a\0b.wav",
    "\ud800.wav",
    "x" * 300,
    "x/" * 1900,
)
ADDRESSES = (
    "/runs/{run}/files/{name}",
    "/runs/{name}",
    "/runs/{name}/report",
    "/runs/{run}?of={name}",
    "/runs/{run}/errors?of={name}",
    "/runs/compare?run={run}&run={name}",
    "/data/{name}",
    "/data/zones/items?split={name}",
    "/cache/why?group={name}",
    "/cache/check?task={name}",
    "/training/{name}",
    "/training/zones/{name}",
    "/jobs/{name}",
    "/static/{name}",
    "/api/runs/{name}",
    "/api/runs/compare?first={name}&second={run}",
    "/api/data/{name}/items",
    "/api/jobs/{name}/log",
    "/api/forms/{name}",
    "/api/forms?task={name}",
    "/api/appliance/clips/{name}",
    "/api/ml-management/models/{name}/{name}/download",
    "/api/ml-management/models/{name}/1/download?file={name}",
)


def shown(text):
    """What an answer gives away of a file that it must not show."""
    return [words for words in (SECRET, "root:x:", "OPENSSH", "SQLite format") if words in text]


@pytest.mark.parametrize(
    "address",
    [pytest.param(one, marks=[pytest.mark.slow] * bool(number % 3)) for number, one in enumerate(ADDRESSES)],
)
def test_no_address_leads_out_of_the_project(address, client, place):
    run = place[1]
    for name in NAMES:
        for encoded in {quote(name, safe="", errors="surrogatepass"), quote(name, errors="surrogatepass")}:
            answer = client.get(address.format(run=run, name=encoded))
            assert answer.status_code < 500, (name, answer.text)
            assert shown(answer.text) == [], name


BODIES = (
    ("/api/zones/rows", lambda name: {"paths": [name], "method": "rules"}),
    ("/api/zones/inputs", lambda name: {"paths": [name]}),
    ("/api/zones/tagged", lambda name: {"paths": [name], "method": "rules"}),
    ("/api/zones/tags", lambda name: {"paths": [name], "mode": "write", "method": "rules"}),
    ("/api/zones/rows", lambda name: {"paths": ["a.wav"], "run": name}),
    ("/api/jobs", lambda name: {"command": "train", "task": "zones", "values": {"data": name}}),
    ("/api/jobs", lambda name: {"command": "train", "task": name, "values": {}}),
    ("/api/jobs", lambda name: {"command": name, "task": "zones", "values": {}}),
    ("/api/jobs", lambda name: {"command": "predict", "task": "zones", "values": {"inputs": name}}),
    ("/api/jobs", lambda name: {"command": "evaluate", "task": "zones", "values": {"run": name}}),
    ("/api/runs/{run}/promote", lambda name: {"stage": name}),
    ("/api/runs/rollback", lambda name: {"task": name}),
    ("/api/ml-management/train", lambda name: {"config": name}),
    ("/api/ml-management/migrate", lambda name: {"source": name}),
)


@pytest.mark.parametrize(
    "number", [pytest.param(one, marks=[pytest.mark.slow] * bool(one % 3)) for one in range(len(BODIES))]
)
def test_no_body_leads_out_of_the_project(number, client, place):
    address, body = BODIES[number]
    for name in NAMES:
        text = json.dumps(body(name))
        answer = client.post(
            address.format(run=place[1]), content=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code < 500, (name, answer.text)
        assert shown(answer.text) == [], name
    cancelled(client, place[0])


def cancelled(client, project):
    """Cancel what was started: commands refuse for themselves what a form cannot know. Paths are of the project."""
    for job in client.get("/api/jobs?limit=200").json()["jobs"]:
        client.post(f"/api/jobs/{job['id']}/cancel")
        named = [word.rpartition("=")[2] for word in job["argv"]]
        assert all(word.startswith(str(project)) for word in named if word.startswith(("/", "~"))), named
        assert not any("://" in word for word in named), named


def test_a_form_of_another_kind_is_refused(client):
    for content, kind in (
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"command": ' + b'"a"' * 1000, "application/json"),
        (b'{"command": 1e999}', "application/json"),
        (b"<a/>", "text/xml"),
        (b"command=train", "application/x-www-form-urlencoded"),
        (b"", "application/json"),
    ):
        answer = client.post("/api/jobs", content=content, headers={"content-type": kind})
        assert answer.status_code in REFUSED, (content[:20], answer.text)


def test_bodies_that_are_too_large_are_refused(client):
    large = b'{"command": "' + b"x" * (2 << 20) + b'"}'
    assert client.post("/api/jobs", content=large).status_code == 413
    for address in ("/api/zones/predict", "/api/zones/uploads", "/api/analyze", "/api/appliance/predict"):
        assert client.post(address, files={"file": ("a.wav", bytes(3 << 20))}).status_code == 413
    fields = {f"field{number}": "x" for number in range(100)}
    assert client.post("/api/zones/predict", data=fields, files={"file": ("a.wav", b"x")}).status_code == 400


def test_senders_without_haste_hold_nobody_up(client, server):
    """Two hundred that send a byte now and then; another is answered at once."""
    place = (urlsplit(server).hostname, urlsplit(server).port)
    head = (
        "POST /api/zones/uploads HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 100000\r\n\r\n--x\r\n"
    ).format(*place)
    slow = [socket.create_connection(place) for _ in range(200)]
    try:
        for one in slow:
            one.send(head.encode())
        for _ in range(3):
            for one in slow:
                one.send(b"C")
            begun = time.monotonic()
            assert client.get("/runs").status_code == 200
            assert time.monotonic() - begun < 5
    finally:
        for one in slow:
            one.close()


def test_fifty_uploads_at_once_are_all_answered(server, place):
    async def all_of_them():
        async with httpx.AsyncClient(base_url=server, timeout=120) as client:
            files = [{"file": (f"{number}.wav", bytes([number]) * 100_000)} for number in range(50)]
            sent = [client.post("/api/zones/uploads", files=one) for one in files]
            *answers, page = await asyncio.gather(*sent, client.get("/api/health"))
            return answers, page

    answers, page = asyncio.run(all_of_them())
    assert page.status_code == 200 and {one.status_code for one in answers} == {201}
    for number, answer in enumerate(answers):
        kept = place[0] / answer.json()["path"]
        assert kept.read_bytes() == bytes([number]) * 100_000
    assert len({answer.json()["path"] for answer in answers}) == 50


def test_a_server_for_others_asks_for_its_token(tmp_path):
    with server_of(tmp_path, "--host", "0.0.0.0") as (address, _):
        parts = urlsplit(address)
        with httpx.Client(base_url=f"http://127.0.0.1:{parts.port}") as client:
            for path in (
                "/",
                "/runs",
                "/api/jobs",
                "/api/openapi.json",
                "/static/../jobs",
                "//jobs",
                "/login/../jobs",
            ):
                assert client.get(path).status_code in (401, 404), path
            assert client.post("/api/jobs", json={"command": "doctor"}).status_code == 401
            assert client.get(f"/login?{parts.query}").status_code == 303
            assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", "a" * 5000]
)
def test_another_name_is_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code in (400, 421)


ATTACK = """<!doctype html><title>evil</title>
<form method="post" action="{url}/runs/rollback" enctype="application/x-www-form-urlencoded" target="frame">
<input name="task" value="zones"></form><iframe name="frame"></iframe><script>
window.found = [];
const body = JSON.stringify({{command: "doctor", values: {{}}}});
const tries = [
  () => fetch("{url}/api/jobs", {{method: "POST", body, credentials: "include", mode: "no-cors"}}),
  () => fetch("{url}/api/jobs", {{method: "POST", body, credentials: "include",
    headers: {{"Content-Type": "application/json", "X-CSRF-Token": "0"}}}}),
  () => fetch("{url}/api/jobs", {{credentials: "include"}}),
  () => fetch("{url}/api/jobs/x", {{method: "DELETE", credentials: "include"}}),
];
const socket = () => new Promise((done) => {{
  const one = new WebSocket("{socket}/api/ws/live");
  one.onopen = () => done("open");
  one.onerror = () => done("refused");
}});
(async () => {{
  document.forms[0].submit();
  for (const one of tries) {{
    try {{ const answer = await one(); window.found.push(answer.type + " " + answer.status); }}
    catch (error) {{ window.found.push("refused"); }}
  }}
  window.found.push(await socket());
  const image = new Image();
  image.onerror = () => {{ window.found.push("refused"); window.isDone = true; }};
  image.onload = () => {{ window.found.push("image"); window.isDone = true; }};
  image.src = "{url}/static/icon.svg";
}})();
</script>"""


@contextmanager
def evil(url):
    """A site on another port, with a page that tries everything."""
    page = ATTACK.format(url=url, socket=url.replace("http", "ws")).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


def test_a_page_of_another_site_gets_nothing_done(client, server, place):
    require_browser()
    before = client.get("/api/jobs").json()["total"]
    with evil(server) as elsewhere, browser_of() as browser:
        page = browser.new_context().new_page()
        page.goto(f"{server}/jobs")  # the user has a session there
        answered = []
        page.on(
            "response", lambda answer: answered.append((answer.request.method, answer.url, answer.status))
        )
        page.goto(elsewhere)
        page.wait_for_function("window.isDone", timeout=30_000)
        page.wait_for_timeout(300)
        found = page.evaluate("window.found")
    assert found == ["opaque 0"] + ["refused"] * 5 or found == ["refused"] * 6, found
    posts = [(address, status) for method, address, status in answered if method == "POST"]
    assert all(status == 403 for _, status in posts), posts
    assert client.get("/api/jobs").json()["total"] == before
