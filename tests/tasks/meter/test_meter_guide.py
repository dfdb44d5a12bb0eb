"""The guide, followed literally: every command of docs/tutorial/meter.md runs in one project, in its order.

The commands of docs/howto/meter-datasets.md run on miniature data sets in the formats of the real ones.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from meter_sets import meter2800, wikimeter_catalogue, write_clip

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "tutorial" / "meter.md"
DATA_SETS = ROOT / "docs" / "howto" / "meter-datasets.md"
EARMARK = f'earmark() {{ {shlex.quote(sys.executable)} -m earmark "$@"; }}; '

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Said:
    out: str
    err: str


def lines_of(page: Path) -> Iterator[str]:
    """The commands of a page that can run here."""
    blocks = re.findall(r"```bash\n(.*?)```\n(?:<!-- (.*?) -->)?", page.read_text("utf-8"), re.DOTALL)
    for block, remark in blocks:
        needs_torch = remark == "needs torch" and importlib.util.find_spec("torch") is None
        if not remark.startswith("not run") and not needs_torch:
            yield from block.splitlines()


def follow(page: Path, folder: Path) -> dict[str, Said]:
    """Run a page's commands in a folder; what each said."""
    said = {}
    for line in lines_of(page):
        done = subprocess.run(
            ["bash", "-c", EARMARK + line],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said[line] = Said(done.stdout, done.stderr)
    return said


def of(said: dict[str, Said], start: str) -> Said:
    return next(one for line, one in said.items() if line.startswith(start))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def guide(folder) -> dict[str, Said]:
    return follow(TUTORIAL, folder)


def test_the_demo_ends_with_its_report_and_finds_its_work_again(guide, folder):
    report = of(guide, "earmark demo").out.rsplit("Report: ", 1)[1].strip()
    assert Path(report).is_file()
    again = subprocess.run(
        [sys.executable, "-m", "earmark", "demo", "meter", "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not any(json.loads(again.stdout)["extract"]["computed"].values())


def test_answers_are_written_in_every_form(guide, folder):
    rows = list(csv.DictReader((folder / "meters.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 61 and not any(row["error"] for row in rows)
    for name, suffix, count in (("beats", ".tsv", 61), ("jams", ".jams", 61), ("clicks", ".wav", 13)):
        files = list((folder / name).iterdir())
        assert {path.suffix for path in files} == {suffix} and len(files) == count
    (waltz,) = json.loads(of(guide, "earmark predict meter demo/meter/audio/click-waltz").out)
    assert waltz["tempo"]["bpm"] == pytest.approx(150, rel=0.02)
    assert waltz["source"] == "model" and waltz["beats"]


def test_a_stream_ends_with_the_answer_of_predict(guide):
    messages = [json.loads(line) for line in of(guide, "earmark stream").out.splitlines()]
    predicted = json.loads(of(guide, "earmark predict meter demo/meter/audio/click-waltz").out)[0]
    assert messages[-1] == predicted
    assert {"warmup_progress", "onset", "analysis"} <= {one.get("type") for one in messages}
    live = [json.loads(line) for line in of(guide, "earmark live").out.splitlines()]
    assert live[-1]["t"] <= 10 and live[-1]["data"]["source_type"] == "live"


def test_what_is_cached_is_not_computed_again(guide):
    header, *rows = of(guide, "earmark extract meter --split tuning --limit 8").out.splitlines()
    assert header.split()[:5] == ["phase", "cached", "percent", "was_cached", "computed"]
    assert [row.split()[1:5] for row in rows] == [["8/8", "100", "8", "0"]] * 5


def test_scores_stand_beside_controls_and_the_seal_is_opened_on_the_record(guide):
    for words in ("majority", "rule", "svm_mfcc", "By class", "True class by answer"):
        assert words in of(guide, "earmark evaluate meter --ci").out
    tested = of(guide, "earmark evaluate meter --split test").err
    assert "Accepted." in tested and "This test set: opened once by 1 run." in tested
    assert "final score" in of(guide, "earmark data ledger").out
    search = next(one for line, one in guide.items() if "--final-top" in line)
    assert "[2/2] DONE" in search.err


def test_the_published_data_sets_go_the_same_way(tmp_path):
    meter2800(tmp_path / "data" / "meter2800")
    songs = [
        {"artist": f"artist {n}", "title": "song", "meters": {("9", "11")[n % 2]: 1.0}} for n in range(24)
    ]
    wikimeter = wikimeter_catalogue(tmp_path / "data" / "wikimeter", songs)
    for n in range(len(songs)):
        write_clip(wikimeter / "audio" / f"artist_{n}_song.wav", 800 + n, seconds=15.5)
    said = follow(DATA_SETS, tmp_path)
    assert re.search(r"rows kept +56", of(said, "earmark prepare meter --data-dir").out)
    assert re.search(
        r"^original labels .* 6 ", of(said, "earmark evaluate meter --split test --limit 0").out, re.M
    )
    saved = next(one for line, one in said.items() if line.endswith("--limit 0 --save"))
    assert "Accepted." in saved.err
    assert "Forgotten: 12 points" in of(said, "earmark grid meter --reset").err
