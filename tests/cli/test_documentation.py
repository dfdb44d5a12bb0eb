"""The documentation is true: generated pages are current, examples run, every command and column is described."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
import soundfile

from earmark.cli.main import cli
from earmark.cli.task_commands import forms_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PROSE = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "_build" not in path.parts
)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["cli.md", "settings.md", "errors.md", "features.md", "api.md", "earmark.schema.json"]
)
def test_generated_pages_are_current(generate, name):
    written = (ROOT / "docs" / "reference" / name).read_text("utf-8")
    assert written == generate.pages()[name], "the code has changed; run: make reference"


def test_every_feature_column_has_a_row(generate):
    from earmark.tasks.registry import BUILT_IN, load_task

    meanings = generate.column_meanings()
    page = generate.features_page()
    for name in BUILT_IN:
        for group in load_task(name).all_groups:
            assert f"### {group.name}\n" in page
            runs = generate.column_runs(group, meanings)
            assert [column for columns, _ in runs for column in columns] == list(group.columns)
            for columns, meaning in runs:
                assert meaning
                assert f"`{columns[0]}`" in page and f"`{columns[-1]}`" in page


def test_a_column_without_a_description_is_an_error(generate):
    with pytest.raises(KeyError, match=r"docs/columns\.toml"):
        generate.meaning_of("zones.rhythm", "surprise", generate.column_meanings())


def test_no_description_of_a_column_is_left_over(generate):
    from earmark.tasks.registry import BUILT_IN, load_task

    names = [f"{g.name}.{c}" for task in BUILT_IN for g in load_task(task).all_groups for c in g.columns]
    unused = [p for p, _ in generate.column_meanings() if not any(re.fullmatch(p, name) for name in names)]
    assert unused == []


def command_paths(group: click.Command = cli, path: tuple[str, ...] = ("earmark",)) -> list[str]:
    """Every command as a user types it, those included that a task has in its own form."""
    found = [" ".join(path)]
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found += command_paths(command, (*path, name))
            for task, own in forms_of(" ".join((*path[1:], name))).items():
                found += command_paths(own, (*path, name, task))
    return found


def test_every_command_is_documented():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    for path in command_paths():
        assert re.search(rf"^#+ {path}$", page, re.MULTILINE), path


@pytest.mark.parametrize("page", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_prose_exist_with_their_options(page):
    """Each line of a shell block that starts with `earmark` names a real command and real options."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("earmark ")]
    for line in lines:
        for part in line.split("&&")[0].split("#")[0].split(" > ")[0:1]:
            _check_line(part.split()[1:], line)


def _check_line(words: list[str], line: str) -> None:
    command: click.Command = cli
    spelled: list[str] = []
    options: set[str] = {"-h", "--help"}
    skip = False
    for word in words:
        options |= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            assert word in options, f"{word} in: {line}"
            named = [p for p in command.params if word in (*p.opts, *p.secondary_opts)]
            skip = not any(getattr(p, "is_flag", False) for p in named)
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"{word} in: {line}"
            spelled, command = [*spelled, word], found
        elif word in (own := forms_of(" ".join(spelled))):
            command = own[word]


def readme_python() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return block


def test_the_python_example_of_the_readme_runs(tmp_path, earmark):
    """As it stands, twice: the second time nothing is computed. The same file is a task."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(44_100), 44_100)
    soundfile.write(tmp_path / "b.mp3", 0.2 * rng.standard_normal(32_000), 32_000)
    script = tmp_path / "mine.py"
    script.write_text(readme_python() + "\nprint(dict(table.computed), table.values.shape, table.failures)\n")
    outputs = [
        subprocess.run(
            [sys.executable, script.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert outputs[0] == "{'mine.loudness': 2} (2, 2) ()"
    assert outputs[1] in ("{'mine.loudness': 0} (2, 2) ()", "{} (2, 2) ()")


def test_the_readme_names_files_that_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    tree = re.search(r"```text\n(src/earmark/.*?)```", README, re.DOTALL)
    assert tree is not None
    for line in tree.group(1).splitlines()[1:]:
        name = line.split()[0]
        folder = ROOT / "src" / "earmark" if line.startswith("  ") else ROOT
        assert (folder / name).exists(), name


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_ci_finds_the_commands_of_the_readme(name):
    """The pipeline runs these blocks as they stand, so they must be there, and begin with a fresh environment."""
    found = re.search(rf"<!-- ci: {name} -->\n```bash\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert found.group(1).startswith("python3 -m venv .venv")


def test_the_pipeline_is_valid_bash():
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_the_licence_is_the_plain_text():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.lstrip().startswith("Apache License")
    assert "Copyright [yyyy] [name of copyright owner]" in text


def test_the_constraints_name_no_registry_and_pin_everything():
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)


def test_public_names_are_loaded_lazily_and_all_exist():
    code = (
        "import sys, earmark\n"
        "assert not {'numpy', 'pydantic', 'polars'} & set(sys.modules)\n"
        "for name in earmark.__all__: getattr(earmark, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_public_name_is_an_attribute_error():
    import earmark

    with pytest.raises(AttributeError, match="Extractor"):
        earmark.Extracter  # noqa: B018


def test_lazy_names_and_their_static_imports_agree():
    text = (ROOT / "src" / "earmark" / "__init__.py").read_text("utf-8")
    static = dict(re.findall(r"from (\S+) import (\w+) as \2", text))
    listed = {name: module for module, name in re.findall(r"from (\S+) import (\w+) as \2", text)}
    import earmark

    assert static
    assert listed == earmark._EXPORTS
