"""Zones by HTTP: the command line's own answers, tags and lists, and what is refused."""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from web_client import client_of
from zone_tracks import pulse

from earmark.cli.main import cli
from earmark.web.paths import AllowList
from earmark.web.zones.sources import Source, sources_of

SONGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "zones" / "audio"
RULES = {"method": "rules"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A project with three tracks, and a client of it."""
    folder = tmp_path_factory.mktemp("project")
    for name, bpm in (("calm.wav", 90), ('it\'s <b>Ü &amp; "q".wav', 120), ("loud.wav", 140)):
        path = folder / "music" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pulse(bpm))
    with client_of(folder) as client:
        yield folder, client


def command(folder, *arguments):
    """What the command line prints in the project folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        options = ["--workers", "0", "--format", "json", "--quiet"]
        return CliRunner().invoke(cli, ["predict", "zones", *arguments, *options]).stdout_bytes
    finally:
        os.chdir(here)


def ask(client, route, **body):
    return client.post(f"/api/zones/{route}", json=body)


def send(client, data, name="track.wav", route="uploads", **fields):
    return client.post(f"/api/zones/{route}", files={"file": (name, data)}, data=fields)


def test_answers_are_the_command_lines_own_bytes(served):
    folder, client = served
    paths = ["music", "nowhere.wav", "earmark.toml"]
    (folder / "earmark.toml").write_text("")
    printed = command(folder, *paths, "--method", "rules", "--with-features")
    answer = ask(client, "predict-paths", paths=paths, with_features=True, **RULES)
    assert answer.content == printed
    assert [("error" in one) for one in answer.json()] == [False, False, False, True, True]


def test_an_upload_is_answered_like_the_file(served):
    folder, client = served
    (folder / "loud.wav").write_bytes((folder / "music" / "loud.wav").read_bytes())
    answer = send(client, (folder / "loud.wav").read_bytes(), "loud.wav", route="predict", **RULES)
    assert answer.content == command(folder, "loud.wav", "--method", "rules")
    assert not list((folder / ".earmark" / "web" / "uploads").glob("*"))


def test_a_real_song_is_answered_as_on_the_command_line(served):
    folder, client = served
    song = SONGS / "classical_1.ogg"
    if not song.is_file():
        pytest.skip("the songs are not here")
    (folder / song.name).write_bytes(song.read_bytes())
    answer = send(client, song.read_bytes(), song.name, route="predict", **RULES)
    assert answer.content == command(folder, song.name, "--method", "rules")
    (folder / song.name).unlink()


def test_rows_show_measures_and_the_name_that_an_upload_had(served):
    folder, client = served
    sent = send(client, pulse(100), "../../up <i>.wav").json()
    assert sent["path"].startswith(".earmark/web/uploads/")
    assert (folder / sent["path"]).is_file()
    rows = ask(
        client, "rows", paths=[sent["path"], "music/calm.wav"], names={sent["path"]: "set/<i>?.wav"}, **RULES
    ).json()
    assert [row["document"]["path"] for row in rows] == ["set/<i>?.wav", "music/calm.wav"]
    assert [row["is_upload"] for row in rows] == [True, False]
    assert all(row["energy_variance"] > 0 and 0 <= row["drop_intensity"] <= 1 for row in rows)


def test_a_bad_file_has_its_sentence_and_the_others_go_on(served):
    _, client = served
    paths = [
        send(client, data, name).json()["path"]
        for data, name in ((b"text", "a.wav"), (b"", "b.mp3"), (pulse(100), "c.wav"))
    ]
    rows = ask(client, "rows", paths=paths, **RULES).json()
    documents = [row["document"] for row in rows]
    assert "not audio" in documents[0]["error"]
    assert "uploads" not in documents[0]["error"]
    assert documents[1]["path"] == "b.mp3" and documents[1]["error"]
    assert documents[2]["zone"]
    assert rows[0]["energy_variance"] is None


def test_uploads_that_are_no_audio_or_too_large_are_refused(tmp_path):
    with client_of(tmp_path, max_upload_bytes=1 << 20) as client:
        assert send(client, b"MZ", "a.exe").status_code == 415
        assert send(client, bytes(2 << 20)).status_code == 413
        assert client.post("/api/zones/uploads", json={}).status_code == 400
        assert not list((tmp_path / ".earmark" / "web" / "uploads").glob("*"))


def test_without_a_run_the_model_is_not_asked_and_the_page_says_so(served):
    _, client = served
    answer = ask(client, "rows", paths=["music/calm.wav"])
    assert answer.status_code == 404
    assert "earmark train zones" in answer.json()["detail"]
    page = client.get("/zones").text
    assert "No run is trained" in page and "<option>rules</option>" in page
    assert "rules-first</option>" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../other.wav",
        ".earmark/web/secret",
        "https://a.b/c.wav",
        ".earmark/web/uploads",
        "a\0b",
    ],
)
def test_paths_outside_are_refused(served, path):
    _, client = served
    for route in ("rows", "inputs", "predict-paths", "csv", "playlists", "tagged"):
        body = {"paths": [path]} | ({} if route == "inputs" else RULES)
        assert client.post(f"/api/zones/{route}", json=body).status_code == 403, route
    assert ask(client, "tags", paths=[path], mode="write", **RULES).status_code == 403


def test_what_leads_out_by_a_link_or_a_list_is_refused_in_its_place(tmp_path):
    outside = tmp_path / "outside"
    inside = tmp_path / "project"
    for folder in (outside, inside):
        folder.mkdir()
        (folder / "song.wav").write_bytes(b"")
    (inside / "link.wav").symlink_to(outside / "song.wav")
    (inside / "set.m3u8").write_text(f"song.wav\n{outside / 'song.wav'}\n../outside/song.wav\n")
    allowed = AllowList((inside,))
    from_list = sources_of(allowed, ["set.m3u8"], limit=9)
    assert [isinstance(one, Source) for one in from_list] == [True, False]
    assert all("outside" in one.error for one in from_list[1:])
    by_name = {one.path: one for one in sources_of(allowed, ["."], limit=9)}
    assert isinstance(by_name["song.wav"], Source)
    assert "outside" in by_name["link.wav"].error
    with pytest.raises(Exception, match="outside"):
        sources_of(allowed, ["link.wav#t=1,2"], limit=9)


@pytest.mark.parametrize("run", ["../x", "/etc", "a/b", ""])
def test_a_run_is_a_name(served, run):
    _, client = served
    assert ask(client, "rows", paths=["music"], run=run).status_code == 422


def test_options_of_a_form_are_judged(served):
    _, client = served
    assert send(client, pulse(100), route="predict", method="magic").status_code == 422
    assert send(client, pulse(100), route="predict", colour="red").status_code == 422


def test_csv_is_the_file_that_the_command_writes(served, tmp_path):
    folder, client = served
    answer = ask(client, "csv", paths=["music", "nowhere.wav"], **RULES)
    command(folder, "music", "nowhere.wav", "--method", "rules", "--export-csv", str(tmp_path / "a.csv"))
    assert answer.content == (tmp_path / "a.csv").read_bytes()
    assert 'filename="zones.csv"' in answer.headers["content-disposition"]


def test_playlists_name_files_of_the_project_in_full_and_uploads_as_they_were_called(served):
    folder, client = served
    sent = send(client, pulse(140), "up.wav").json()["path"]
    both = ask(client, "playlists", paths=["music/loud.wav", sent], names={sent: "set/up.wav"}, **RULES)
    with zipfile.ZipFile(io.BytesIO(both.content)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {Path(name).parent.name for name in texts} == {"project", "uploads"}
    joined = "".join(texts.values())
    assert f"\n{folder / 'music' / 'loud.wav'}\n" in joined and "\nset/up.wav\n" in joined
    zone = ask(client, "rows", paths=[sent], **RULES).json()[0]["document"]["zone"]
    one = ask(client, "playlists", paths=[sent], form="xspf", zone=zone, **RULES)
    assert f'filename="{zone}.xspf"' in one.headers["content-disposition"]
    assert b"<location>up.wav</location>" in one.content
    other = next(name for name in ("YELLOW", "PURPLE") if name != zone)
    assert ask(client, "playlists", paths=[sent], zone=other, **RULES).status_code == 400


def decided(client, folder):
    """A track with a zone, copied under a name of its own."""
    rows = ask(client, "rows", paths=["music"], **RULES).json()
    found = next(row["path"] for row in rows if row["document"]["zone"] != "UNCERTAIN")
    path = folder / "tagged" / "a.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / found).read_bytes())
    return path


def test_tags_are_previewed_written_and_taken_back(served):
    folder, client = served
    path = decided(client, folder)
    before = path.read_bytes()
    preview = ask(client, "tags", paths=["tagged"], mode="preview", **RULES)
    assert json.dumps(preview.json()["documents"]) == json.dumps(
        json.loads(command(folder, "tagged", "--method", "rules", "--write-tags", "--dry-run"))
    ).replace(f"{folder}/", "")
    assert preview.json()["counts"] == {"to write": 1} and path.read_bytes() == before
    written = ask(client, "tags", paths=["tagged"], mode="write", backup_copy=True, **RULES).json()
    assert written["counts"] == {"written": 1}
    assert b"ENERGYZONE" in path.read_bytes()
    assert path.with_name("a.wav.backup").read_bytes() == before
    again = ask(client, "tags", paths=["tagged"], mode="write", **RULES).json()
    assert (again["documents"], again["carrying"]) == ([], 1)
    assert ask(client, "tags", paths=["tagged"], mode="undo").status_code == 400
    undone = ask(client, "tags", mode="undo").json()
    assert undone["documents"][0]["path"] == "tagged/a.wav" and undone["counts"] == {"restored": 1}
    assert b"ENERGYZONE" not in path.read_bytes()


def test_an_upload_is_not_tagged_in_its_place_but_as_a_copy(served):
    folder, client = served
    data = decided(client, folder).read_bytes()
    paths = [send(client, data, "up.wav").json()["path"] for _ in range(2)]
    assert ask(client, "tags", paths=paths[:1], mode="write", **RULES).status_code == 400
    one = ask(client, "tagged", paths=paths[:1], **RULES)
    assert b"ENERGYZONE" in one.content and 'filename="up.wav"' in one.headers["content-disposition"]
    both = ask(client, "tagged", paths=paths, **RULES)
    with zipfile.ZipFile(io.BytesIO(both.content)) as archive:
        assert archive.namelist() == ["up.wav", "up (2).wav"]
    assert (folder / paths[0]).read_bytes() == data
    assert ask(client, "tagged", paths=["music/calm.wav"], **RULES).status_code == 400
    bad = send(client, b"text", "bad.wav").json()["path"]
    assert ask(client, "tagged", paths=[bad], **RULES).status_code == 422
    kept = {path.parent.name for path in map(Path, [*paths, bad])}
    assert not {folder.name for folder in (folder / ".earmark/web/uploads").glob("tmp*")} - kept


def test_an_upload_that_is_gone_says_so(served):
    folder, client = served
    sent = send(client, pulse(100), "gone.wav").json()["path"]
    (folder / sent).unlink()
    row = ask(client, "rows", paths=[sent], names={sent: "gone.wav"}, **RULES).json()[0]
    assert row["document"] == {
        "path": "gone.wav",
        "error": "The upload is no longer here. Add the file again.",
    }


def test_a_name_that_is_no_utf8_is_told_with_its_bytes(served):
    folder, client = served
    odd = folder / "odd"
    odd.mkdir()
    (odd / os.fsdecode(b"\xe9.wav")).write_bytes(pulse(100))
    answer = ask(client, "rows", paths=["odd"], **RULES)
    assert answer.status_code == 200
    assert b"\\udce9.wav" in answer.content
    assert "UTF-8" in ask(client, "inputs", paths=["odd"]).json()[0]["error"]
    asked = {
        "content": rb'{"paths": ["odd/\udce9.wav"], "threshold": NaN}',
        "headers": {"content-type": "application/json"},
    }
    assert client.post("/api/zones/rows", **asked).status_code == 422


@pytest.mark.slow
def test_many_at_once_are_answered_in_portions(served):
    folder, client = served
    many = folder / "many"
    many.mkdir()
    data = pulse(100)
    for number in range(200):
        (many / f"{number:03d}.wav").write_bytes(data)
    rows = ask(client, "rows", paths=["many"], **RULES).json()
    assert len({row["document"]["path"] for row in rows}) == 200
    listed = ask(client, "inputs", paths=["many"]).json()
    assert [one["path"] for one in listed] == [row["path"] for row in rows]
