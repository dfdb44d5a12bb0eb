"""The how-tos of listening, thresholds and BEATs: what they show exists, and what can run here runs as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

HOWTO = Path(__file__).parents[3] / "docs" / "howto"
PAGES = ("appliance-live", "appliance-thresholds", "appliance-beats")
EARMARK = f'earmark() {{ {shlex.quote(sys.executable)} -m earmark "$@"; }}; '


def commands(page: str, *, runnable: bool) -> list[str]:
    """Lines of the page's shell blocks that call the program."""
    text = (HOWTO / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"```bash\n(.*?)```\n(?:<!-- (.*?) -->)?", text, re.DOTALL)
    chosen = [code for code, remark in blocks if not (runnable and remark.startswith("not run"))]
    return [
        line for code in chosen for line in code.splitlines() if "earmark " in line and "pip " not in line
    ]


def known_options(line: str) -> set[str]:
    """Options of the command that `line` names."""
    from earmark.cli.main import cli
    from earmark.cli.task_commands import forms_of

    words = shlex.split(line[line.index("earmark ") :])[1:]
    command = forms_of(words[0]).get("appliance") or cli.get_command(click.Context(cli), words[0])
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words[1])
    assert command is not None, line
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_shown_exist(page):
    lines = commands(page, runnable=False)
    assert len(lines) >= 5
    for line in lines:
        shown = {word for word in shlex.split(line[line.index("earmark ") :]) if word.startswith("--")}
        assert shown <= known_options(line), line


def test_the_states_of_health_are_listed():
    from earmark.tasks.appliance.serving.health import HEALTH_STATES

    page = (HOWTO / "appliance-live.md").read_text("utf-8")
    assert [state for state in HEALTH_STATES if f"| `{state}` |" not in page] == ["ok"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_can_run_here_runs(tmp_path):
    for line in (
        "earmark demo appliance",
        "earmark train appliance",
        "earmark thresholds appliance",
        *_runnable(),
    ):
        done = subprocess.run(
            ["bash", "-c", EARMARK + line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def _runnable() -> list[str]:
    return [
        line for page in ("appliance-thresholds", "appliance-live") for line in commands(page, runnable=True)
    ]
