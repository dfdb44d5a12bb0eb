"""Files that come: limits, kinds, names, and that what is refused leaves nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_client import client_of

from earmark.web.uploads import Upload, discard, discard_old, safe_name, take

LIMIT = 300_000


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path, max_upload_bytes=LIMIT) as client:

        @client.app.post("/echo")
        async def echo(request_: __import__("starlette.requests").requests.Request):
            found = await take(request_, suffixes={".wav", ".flac"}, n_files=2)
            return [[one.name, one.n_bytes, one.path.read_bytes()[:4].decode("latin-1")] for one in found]

        yield client


def sent(client, *files, field="file"):
    return client.post("/echo", files=[(field, (name, data)) for name, data in files])


def uploads(client):
    root = client.app.state.site.settings.state_folder / "uploads"
    return [path for path in root.rglob("*") if path.is_file()]


def test_files_are_kept_under_their_own_names(client):
    answer = sent(client, ("a b.wav", b"RIFFxx"), ("../../etc/ü.FLAC", b"fLaC"))
    assert answer.json() == [["a b.wav", 6, "RIFF"], ["ü.FLAC", 4, "fLaC"]]
    root = client.app.state.site.settings.state_folder / "uploads"
    assert len(uploads(client)) == 2 and all(path.parent.parent == root for path in uploads(client))


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ([("a.txt", b"x")], 415, ".flac, .wav"),
        ([("a.wav.exe", b"x")], 415, "a.wav.exe"),
        ([(".wav", b"x")], 415, "wav"),
        ([("a.wav", b"x")] * 3, 400, "files"),
        ([("a.wav", b"x" * (2 * LIMIT))], 413, "--max-upload-mb"),
    ],
)
def test_what_is_refused_leaves_nothing(client, files, status, words):
    answer = sent(client, *files)
    assert answer.status_code == status and words in answer.text
    assert not uploads(client)


def test_a_form_that_is_none_is_refused(client):
    multipart = {"content-type": "multipart/form-data"}
    assert client.post("/echo", json={}).status_code == 400
    assert client.post("/echo", content=b"x", headers=multipart).status_code == 400
    bounded = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/echo", content=b"no form", headers=bounded).status_code == 400
    assert sent(client, ("a.wav", b"x"), field="other").status_code == 400
    assert not uploads(client)


def test_an_upload_that_does_not_say_how_long_it_is_is_measured(client):
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(20):
            yield b"0" * 50_000
        yield b"\r\n--x--\r\n"

    answer = client.post("/echo", content=body(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413 and not uploads(client)


@given(st.text())
def test_a_safe_name_is_one_part_of_a_path(name):
    safe = safe_name(name)
    assert safe and "/" not in safe and "\\" not in safe and safe not in (".", "..")
    assert safe.isprintable() and len(safe) <= 120 and safe_name(safe) == safe


def test_old_uploads_are_forgotten(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(b"x")
    now = (tmp_path / "old").stat().st_mtime
    assert discard_old(tmp_path, now + 3600) == 0
    assert discard_old(tmp_path, now + 25 * 3600) == 2
    (tmp_path / "one").mkdir()
    file = tmp_path / "one" / "a.wav"
    file.write_bytes(b"x")
    discard(Upload(file, "a.wav", 1, {}))
    assert not list(tmp_path.iterdir())
