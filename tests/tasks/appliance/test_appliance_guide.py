"""The guide, followed literally: every command of docs/tutorial/appliance.md runs in one project, in its order.

What docs/howto/appliance-home-assistant.md shows and cannot run here is held against the program instead.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "tutorial" / "appliance.md"
HOME_ASSISTANT = ROOT / "docs" / "howto" / "appliance-home-assistant.md"
EARMARK = f'earmark() {{ {shlex.quote(sys.executable)} -m earmark "$@"; }}; '


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Code and the remark after it."""
    return re.findall(rf"```{language}\n(.*?)```\n(?:<!-- (.*?) -->)?", page.read_text("utf-8"), re.DOTALL)


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", EARMARK + line],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module")
def said(folder) -> dict[str, subprocess.CompletedProcess[str]]:
    found = {}
    for block, remark in blocks(TUTORIAL, "bash"):
        for line in [] if remark.startswith("not run") else block.splitlines():
            found[line] = run(line, folder)
            assert found[line].returncode == 0, f"{line}\n{found[line].stdout}\n{found[line].stderr}"
    return found


def of(said: dict[str, subprocess.CompletedProcess[str]], start: str) -> subprocess.CompletedProcess[str]:
    return next(one for line, one in said.items() if line.startswith(start))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_tells_its_changes_and_invents_none(said, folder):
    demo = of(said, "earmark demo")
    report = Path(demo.stdout.split("Report: ")[1].strip())
    assert report.name == "report.html" and report.is_file()
    again = run("earmark demo appliance --format json", folder)
    document = json.loads(again.stdout)
    assert document["changes"]["false_events"] == 0
    assert sum(row["changes"] for row in document["changes"]["changes"]) >= 6
    assert document["changes"]["missed"] <= 1
    assert min(document["metrics"]["state_acc"]["folds"]) == 1.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_files_streams_and_the_program_that_listens_agree(said, folder):
    one = json.loads(of(said, "earmark predict appliance demo/appliance/samples/ac-off").stdout)
    assert one["status"] == "fridge-on" and set(one) == {"status", "p_ac", "p_fridge"}
    rows = [
        json.loads(row)
        for row in of(said, "earmark predict appliance demo/appliance/samples --d").stdout.splitlines()
    ]
    assert len(rows) == 8
    for row in rows:
        on = dict(re.findall(r"(ac|fridge)-(on|off)", Path(row["path"]).stem))
        wanted = "ac-on" if on["ac"] == "on" else "fridge-on" if on["fridge"] == "on" else "both-off"
        assert row["status"] == wanted, row
    events = json.loads(of(said, "earmark stream").stdout)["events"]
    lines = [json.loads(line) for line in (folder / "states.jsonl").read_text("utf-8").splitlines()]
    changes = [line for line in lines if "debounced_status" in line]
    assert {line["window_index"] for line in changes} <= {event["window_index"] for event in events}
    assert "leak" in of(said, "earmark train appliance --split windows").stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_broker_hears_the_state_with_which_a_recording_ends(said, folder, tmp_path):
    pytest.importorskip("paho.mqtt.client")
    from appliance_broker import MOSQUITTO, Listener, Mosquitto, until

    if MOSQUITTO is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    broker = Mosquitto(tmp_path)
    broker.start()
    listener = Listener(broker.port)
    try:
        recording = "demo/appliance/long/evening-1.flac"
        answering = next(folder.glob("runs/appliance/*/thresholds.yaml")).parent.name
        done = run(
            f"earmark live appliance --run {answering} --dry-run {recording} --mqtt-room kitchen "
            f"--mqtt mqtt://127.0.0.1:{broker.port}",
            folder,
        )
        assert done.returncode == 0, done.stderr
        until(lambda: listener.last("earmark/kitchen/availability") == "offline", "the farewell")
    finally:
        listener.close()
        broker.stop()
    last = json.loads(done.stdout.splitlines()[-1])
    told = json.loads(listener.last("earmark/kitchen/state") or "")
    assert told["state"] == last["stable_status"]
    states = [
        json.loads(text)["state"] for topic, text, _ in listener.heard if topic == "earmark/kitchen/state"
    ]
    assert len(dict.fromkeys(states)) >= 3


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def test_options_that_are_shown_exist():
    from earmark.cli.appliance.live import live

    known = {name for option in live.params for name in option.opts}
    commands = [
        line
        for code, _ in blocks(HOME_ASSISTANT, "bash")
        for line in code.splitlines()
        if "live appliance" in line
    ]
    (unit,) = blocks(HOME_ASSISTANT, "ini")
    shown = options_of("\n".join(commands) + unit[0])
    assert shown >= {"--mqtt", "--mqtt-room", "--mqtt-password-file", "--prometheus", "--only-changes"}
    assert shown <= known
    prose = re.sub(r"```.*?```", "", HOME_ASSISTANT.read_text("utf-8"), flags=re.DOTALL)
    assert options_of(prose) <= known


def test_the_unit_and_the_container_start_the_same_program():
    (unit,) = blocks(HOME_ASSISTANT, "ini")
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string(unit[0])
    assert set(parsed) == {"DEFAULT", "Unit", "Service", "Install"}
    words = shlex.split(parsed["Service"]["ExecStart"])
    assert words[1:5] == ["-C", "/var/lib/earmark/kitchen", "live", "appliance"]
    (container,) = blocks(HOME_ASSISTANT, "dockerfile")
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", container[0], re.MULTILINE)[1])
    assert entry == ["earmark", "-C", "/room", "live", "appliance"]
    for text in (words[-4:], json.loads(re.search(r"^CMD (\[\"--.*)$", container[0], re.MULTILINE)[1])):
        assert "--prometheus" in text


def test_metrics_that_are_served_are_listed():
    from earmark.tasks.appliance.serving import prometheus

    served = re.findall(r"^``(\w+)", prometheus.__doc__ or "", re.MULTILINE)
    page = HOME_ASSISTANT.read_text("utf-8")
    assert len(served) > 10
    assert [name for name in served if f"{prometheus.PREFIX}{name}" not in page] == []
