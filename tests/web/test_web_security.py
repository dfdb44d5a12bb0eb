"""Who may ask: other sites, other names, other machines, bodies without end; and what each is told."""

import pytest
from web_client import LOCAL, client_of

from earmark.web.page import NAVIGATION

TOKEN = "a-token-that-is-long-enough"
HEALTH = "/api/health"
JOB = {"command": "doctor", "task": None, "values": {}}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with client_of(tmp_path_factory.mktemp("project")) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with client_of(tmp_path_factory.mktemp("guarded"), host="0.0.0.0", token=TOKEN) as client:
        yield client


def page_token(client):
    text = client.get("/").text
    return text.split('name="csrf-token" content="')[1].split('"')[0]


def test_every_answer_has_the_headers_of_a_careful_server(client):
    for path in ("/", "/nowhere", HEALTH, "/static/earmark.css", "/api/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_pages_hold_no_inline_script_or_style(client):
    for _, address, _ in NAVIGATION:
        text = client.get(address).text
        assert "<script>" not in text and " style=" not in text and " onclick=" not in text, address
        assert "http://" not in text.replace("http://www.w3.org", "").replace(LOCAL, ""), address
        assert "https://" not in text, address


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_another_name_for_this_address_is_refused(client, host):
    answer = client.get(HEALTH, headers={"host": host})
    assert answer.status_code == 421 and "--allow-host" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "127.0.0.1:1"])
def test_names_of_this_machine_are_known(client, host):
    assert client.get(HEALTH, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": LOCAL},
        {"origin": LOCAL, "x-csrf-token": "0" * 64},
    ],
)
def test_a_post_of_another_site_does_nothing(client, headers):
    page_token(client)
    before = client.get("/api/jobs").json()
    answer = client.post("/api/jobs", json=JOB, headers=headers)
    assert answer.status_code == 403 and "Nothing was done" in answer.json()["detail"]
    assert client.get("/api/jobs").json() == before


def test_a_page_of_this_site_may_change_things(client):
    token = page_token(client)
    own = {"origin": LOCAL, "sec-fetch-site": "same-origin", "x-csrf-token": token}
    assert client.post("/api/jobs", json=JOB, headers=own).status_code != 403


def test_the_token_of_one_session_is_of_no_use_in_another(client, tmp_path):
    with client_of(tmp_path) as other:
        foreign = page_token(other)
    page_token(client)
    assert (
        client.post("/api/jobs", json=JOB, headers={"origin": LOCAL, "x-csrf-token": foreign}).status_code
        == 403
    )


def test_a_body_that_is_too_large_is_not_read(client):
    client.cookies.clear()
    big = b'{"command": "' + b"x" * (1 << 20) + b'"}'
    json = {"content-type": "application/json"}
    assert client.post("/api/jobs", content=big, headers=json).status_code == 413

    def unannounced():
        for _ in range(20):
            yield b" " * 100_000

    assert client.post("/api/jobs", content=unannounced(), headers=json).status_code == 413


def test_another_address_asks_for_the_token(guarded):
    answer = guarded.get("/api/jobs")
    assert answer.status_code == 401 and "token" in answer.json()["detail"]
    assert guarded.get("/").status_code == 401
    assert guarded.get(HEALTH).status_code == 200 and guarded.get("/login").status_code == 200
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "ä"):
        headers = {"authorization": f"Bearer {wrong}".encode()}
        assert guarded.get("/api/jobs", headers=headers).status_code == 401
    assert guarded.get("/api/jobs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_browser_shows_the_token_once(guarded):
    assert guarded.get("/login", params={"token": "wrong" * 5}).status_code == 401
    answer = guarded.get("/login", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and TOKEN not in answer.headers["set-cookie"]
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=strict" in answer.headers["set-cookie"]
    page = guarded.get("/")
    assert page.status_code == 200 and TOKEN not in page.text
    guarded.cookies.clear()


def test_a_program_with_the_token_needs_no_page(guarded):
    headers = {"authorization": f"Bearer {TOKEN}", "origin": "http://elsewhere.example"}
    assert guarded.post("/api/jobs", json=JOB, headers=headers).status_code not in (401, 403)


def test_sockets_are_guarded_as_requests_are(client):
    from starlette.websockets import WebSocketDisconnect

    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/api/ws/live", headers={"origin": "http://evil.example"}),
    ):
        pass
    assert refused.value.code == 1008


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fsecret.py",
        "/static//etc/passwd",
        "/static/%00",
    ],
)
def test_no_path_leaves_the_static_files(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404) and "import" not in answer.text


def test_what_is_not_there_is_said_in_the_form_that_was_asked_for(client):
    page = client.get("/nowhere")
    assert page.status_code == 404 and "<h1>Not found</h1>" in page.text and "/nowhere" in page.text
    part = client.get("/nowhere", headers={"hx-request": "true"})
    assert part.text.startswith('<div class="notice notice--bad"')
    assert client.get("/api/nowhere").json() == {"detail": "There is nothing at `/api/nowhere`."}


def test_a_name_in_an_address_is_text_and_not_markup(client):
    assert "<script" not in client.get("/%3Cscript%3Ealert(1)%3C/script%3E").text.split("<main")[1]
