"""Every edit recomputes what depends on what was edited, and nothing else.

All groups of the project that an edit does not name are controls: their fingerprints must stay. Each version of the
project is fingerprinted in a process that never saw another version.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from edit_project import Edit, write_project
from edit_table import TABLE

CASES = [edit for edits in TABLE.values() for edit in edits]
BASE = Edit("the project as it is", ())


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Digests of every group for every edit."""
    folders = {
        edit.name: str(write_project(tmp_path_factory.mktemp("version") / f"at{index}", edit))
        for index, edit in enumerate([BASE, *CASES])
    }
    script = Path(__file__).with_name("fingerprint_states.py")
    run = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(list(folders.values())),
        text=True,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(zip(folders, json.loads(run.stdout), strict=True))


def test_names_of_edits_are_unique() -> None:
    names = [edit.name for edit in CASES]
    assert len(names) == len(set(names))


def test_project_has_no_refused_group(states: dict[str, dict[str, str]]) -> None:
    assert not [name for name, digest in states[BASE.name].items() if digest.startswith("error")]


@pytest.mark.parametrize("edit", CASES, ids=lambda edit: edit.name)
def test_edit(edit: Edit, states: dict[str, dict[str, str]]) -> None:
    before, after = states[BASE.name], states[edit.name]
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == set(edit.recomputed)
    assert {name for name, digest in after.items() if digest.startswith("error")} == set(edit.refused)


@pytest.mark.parametrize("edit", TABLE["refused"], ids=lambda edit: edit.name)
def test_refusal_says_where_and_what_to_write(edit: Edit, states: dict[str, dict[str, str]]) -> None:
    for name in edit.refused:
        message = states[edit.name][name]
        assert "depends_on=[" in message
        if "does not exist" not in message:
            assert "proj." in message and ".py, line " in message
