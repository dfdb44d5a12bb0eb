"""Pages and API of data: the rows of the command line, a page at a time, with sealed labels sealed."""

import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from web_client import client_of
from web_project import make_items, printed

from earmark.data.show import SEALED


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_items(folder)
    with client_of(folder) as client:
        yield client, folder


def test_the_api_answers_what_the_command_line_prints(looked):
    client, folder = looked
    rows = printed(folder, "data", "show", "zones")
    assert client.get("/api/data/zones/items?limit=500").json()["items"] == rows
    assert client.get("/api/data/zones/items?limit=7&offset=14").json() == {
        "items": rows[14:21],
        "total": 90,
        "offset": 14,
    }
    assert client.get("/api/data/zones/splits").json() == printed(
        folder, "data", "show", "zones", "--summary"
    )
    assert client.get("/api/data/zones/ledger").json() == printed(folder, "data", "ledger", "zones")
    fold = client.get("/api/data/zones/items?fold=1&split=train&limit=500").json()["items"]
    assert fold == printed(folder, "data", "show", "zones", "--fold", "1", "--split", "train")


def test_no_label_of_the_test_set_leaves_the_seal(looked):
    client, _ = looked
    rows = client.get("/api/data/zones/items?split=test&limit=500").json()["items"]
    assert rows and {row["label"] for row in rows} == {SEALED}
    page = client.get("/data/zones/items?split=test").text
    assert page.count(SEALED) >= len(rows)


def test_items_are_searched_and_sorted(looked):
    client, _ = looked
    one = client.get("/api/data/zones/items?q=TRACK+01").json()
    assert {row["id"] for row in one["items"]} == {f"track 01{digit}.flac" for digit in range(10)} | {
        "track 001.flac"
    }
    assert client.get("/api/data/zones/items?q=[a-z]").json()["total"] == 0  # words, no expressions
    page = client.get("/data/zones/items?sort=-duration_s&limit=1").text
    assert "track 089.flac" in page and "track 088.flac" not in page


def test_the_page_counts_splits_and_shows_the_ledger(looked):
    client, _ = looked
    page = client.get("/data/zones").text
    assert "first look" in page and "an-earlier-run" in page and "Sealed for the test" in page
    assert "Nothing is prepared for meter" in client.get("/data/meter").text
    assert client.get("/data").status_code == 200


def test_what_is_not_there_is_said(looked):
    client, _ = looked
    assert client.get("/api/data/zonse/items").status_code == 404
    assert "did you mean `zones`" in client.get("/api/data/zonse/items").json()["detail"]
    assert "earmark prepare meter" in client.get("/api/data/meter/items").json()["detail"]
    assert client.get("/api/data/market/items").status_code == 404
    assert client.get("/api/data/zones/items?limit=0").status_code == 422


def test_a_new_preparation_is_seen_and_a_broken_file_hides_no_other_task(tmp_path):
    make_items(tmp_path, 90)
    with client_of(tmp_path) as client:
        assert client.get("/api/data/zones/items").json()["total"] == 90
        make_items(tmp_path, 120)
        assert client.get("/api/data/zones/items").json()["total"] == 120
        (tmp_path / "data" / "zones" / "manifest.parquet").write_bytes(b"torn")
        assert "cannot be read" in client.get("/data").text
        assert client.get("/").status_code == 200
