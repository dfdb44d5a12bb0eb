"""Write the reference pages from the code: commands, settings, errors, feature columns, the JSON schema; and from
``earlier_commands.toml`` the page on earlier commands.

Run it with ``make reference``. Tests compare what stands in ``docs/reference`` with what these functions return, so
that the pages cannot fall behind the code.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
WIDE = 40  # columns of a group from which neighbours with one meaning share a row
NOTICE = "<!-- Written by docs/generate.py from the code; do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    from earmark.cli.output import to_json
    from earmark.tasks.settings import json_schema

    return {
        "cli.md": NOTICE + commands_page(),
        "settings.md": NOTICE + settings_page(),
        "errors.md": NOTICE + errors_page(),
        "features.md": NOTICE + features_page(),
        "api.md": NOTICE + api_page(),
        "earmark.schema.json": to_json(json_schema()),
    }


def api_page() -> str:
    """Every route of the JSON API: method, address, what it is for, what it may answer."""
    from earmark.web.app import openapi

    head = (
        "# JSON API\n\nOf `earmark web`. `/api/openapi.json` of a server has parameters and schemas; "
        "[this page](../howto/browser.md) has examples. Any route answers 401 where a token is needed and 421 under an "
        "unknown name. WebSockets: `/api/ws/live` (meter), `/api/ml-management/ws` and `/api/ensemble/ws` (trainings "
        "of market).\n"
    )
    found: dict[str, list[str]] = {}
    for address, methods in openapi()["paths"].items():
        for method, route in methods.items():
            codes = ", ".join(sorted(route["responses"].keys() - {"401", "421"}))
            what = re.split(r"[.;:](?:\s|$)", route.get("description") or route["summary"])[0]
            row = f"| {method.upper()} | `{address}` | {' '.join(what.split())} | {codes} |"
            found.setdefault(route.get("tags", ["other"])[0], []).append(row)
    table = "| method | address | what for | answers |\n|---|---|---|---|\n"
    parts = (f"\n## {tag}\n\n{table}" + "\n".join(rows) + "\n" for tag, rows in sorted(found.items()))
    return head + "".join(parts)


def commands_page() -> str:
    """Every command: usage, help, options."""
    from earmark.cli.main import cli

    head = (
        "# Commands\n\nThe options under `earmark` may stand before or after a command's name. "
        "Exit codes: 0 done; 1 some inputs failed, they are listed; 2 usage; 3 a gate failed; 130 interrupted.\n"
    )
    return head + "".join(_command(cli, ("earmark",)))


def _command(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    from earmark.cli.options import common_options
    from earmark.cli.task_commands import forms_of

    context = click.Context(command, info_name=" ".join(path))
    common = {name for option in common_options() for name in option.opts}
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    yield f"\n{'#' * min(len(path) + 1, 4)} {' '.join(path)}\n\n```text\n{usage}\n```\n\n{_help(command)}\n"
    rows = [
        _option(option)
        for option in command.params
        if isinstance(option, click.Option) and (len(path) == 1 or not common & set(option.opts))
    ]
    if rows:
        yield "\n| option | meaning |\n|---|---|\n" + "".join(rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, (*path, name))
            for task, own in forms_of(" ".join([*path[1:], name])).items():
                yield from _command(own, (*path, name, task))


def _help(command: click.Command) -> str:
    """The help text with its examples as a code block."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    block = "\n".join(line.removeprefix("  ") for line in examples.rstrip().splitlines())
    return f"{text.strip()}\n\n```bash\n{inspect.cleandoc(block)}\n```"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if isinstance(option.type, click.Choice):
        names += " " + " \\| ".join(f"`{choice}`" for choice in option.type.choices)
    elif not option.is_flag and not option.count:
        names += f" `{(option.metavar or option.type.name).upper()}`"
    return f"| {names} | {(option.help or '').replace('|', chr(92) + '|')} |\n"


def settings_page() -> str:
    """Every setting: name, variable, default, meaning."""
    from earmark.tasks.settings import Settings, environment_name, setting_fields

    lines = [
        "# Settings\n",
        "`earmark.toml` in the project folder; a dot is a table (`split.folds` is `folds` under `[split]`). The",
        "command line wins over the environment, the environment over the file. Editors can check the file with",
        "the [JSON schema](earmark.schema.json), which `earmark schema` prints as well.\n",
        "| setting | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    defaults = Settings()
    for name, meaning in setting_fields().items():
        value: object = defaults
        for part in name.split("."):
            value = getattr(value, part)
        shown = "as the task declares" if value is None else f"`{value}`"
        lines.append(f"| `{name}` | `{environment_name(name)}` | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every error class, in the order of the tree."""
    from earmark.errors import EarmarkError

    lines = [
        "# Errors\n",
        "All errors that earmark raises on purpose descend from `earmark.errors.EarmarkError`. A message says what",
        "happened with the value, what was expected, and what to do; several problems are reported together.\n",
        "| class | is a | exit code | meaning |",
        "|---|---|---|---|",
    ]

    def walk(error: type[EarmarkError]) -> None:
        summary = (error.__doc__ or "").strip().splitlines()[0].replace("``", "`")
        parent = error.__bases__[0].__name__
        lines.append(f"| `{error.__name__}` | `{parent}` | {error.exit_code} | {summary} |")
        for child in error.__subclasses__():
            if child.__module__ == "earmark.errors":
                walk(child)

    walk(EarmarkError)
    return "\n".join(lines) + "\n"


def features_page() -> str:
    """Every feature set, group and column of the built-in tasks."""
    from earmark.tasks.registry import BUILT_IN, load_task

    meanings = column_meanings()
    lines = [
        "# Feature columns\n",
        "A column's full name is `group.column`; equal bare names in two groups are different columns. r is the level",
        "(RMS) of a frame of 2048 samples every 512 at 22 050 Hz.\n",
    ]
    for name in BUILT_IN:
        task = load_task(name)
        if task.is_series:
            lines += _series_features(name)
            continue
        lines += [
            f"## {name}: feature sets\n",
            "| set | columns | groups | description |",
            "|---|---|---|---|",
        ]
        for feature_set in task.feature_sets.values():
            groups = ", ".join(f"`{group.name}`" for group in feature_set.groups)
            count = len(feature_set.columns) or "frames"
            lines.append(f"| `{feature_set.name}` | {count} | {groups} | {feature_set.description} |")
        lines.append("")
        for group in task.all_groups:
            lines += _group(group, meanings)
    return "\n".join(lines).rstrip() + "\n"


def _series_features(name: str) -> list[str]:
    """Views and columns of a task whose rows are a series; `market` is the one so far."""
    from earmark.orderbook.catalog import FEATURES
    from earmark.orderbook.views import DEFAULT_VIEW, VIEWS

    lines = [
        f"## {name}: views\n",
        "A view is the list of columns that a model is given. b1 and a1 are the best bid and ask price, B5 and A5 the",
        "quantity of the best 5 levels, m the mid, s the spread, H the last 20 book states, L the",
        "last 20 closed candles, W the last 200; o h l c v of the last closed candle, index 1 the one before.\n",
        "| view | columns |",
        "|---|---|",
    ]
    for view, columns in VIEWS.items():
        lines.append(f"| `{view}`{' (default)' if view == DEFAULT_VIEW else ''} | {len(columns)} |")
    for group in dict.fromkeys(feature.group for feature in FEATURES):
        lines += [f"\n### {name}.{group}\n", "| number | column | unit | formula |", "|---|---|---|---|"]
        lines += [
            f"| {f.number} | `{f.name}` | {f.unit} | {f.formula.replace('|', chr(92) + '|')} |"
            for f in FEATURES
            if f.group == group
        ]
    for view in ("v1_187", "v2"):
        own = [column for column in VIEWS[view] if column not in {feature.name for feature in FEATURES}]
        lines += [f"\n### {name}: columns of `{view}` alone\n", ", ".join(f"`{column}`" for column in own)]
    return [*lines, ""]


def _group(group: object, meanings: list[tuple[str, str]]) -> list[str]:
    from earmark.features.group import FeatureGroup

    assert isinstance(group, FeatureGroup)
    summary = " ".join((group.function.__doc__ or "").strip().partition("\n\n")[0].split())
    kind = f"a row every {group.frame_s:g} s" if group.kind == "frames" else "one row per item"
    lines = [
        f"### {group.name}\n",
        f"{summary} {kind.capitalize()}, decoded at {group.sample_rate} Hz, at least {group.min_duration_s:g} s.\n",
    ]
    is_frames = group.kind == "frames"
    lines += (
        ["| column | meaning | look-ahead |", "|---|---|---|"]
        if is_frames
        else ["| column | meaning |", "|---|---|"]
    )
    for columns, meaning in column_runs(group, meanings):
        row = f"| {_named(columns)} | {meaning} |"
        lines.append(f"{row} {_lookahead(group.lookahead_s, columns[0])} |" if is_frames else row)
    return [*lines, ""]


def column_runs(group: object, meanings: list[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """The columns with their meaning; of a wide group, neighbours with the same meaning together."""
    from earmark.features.group import FeatureGroup

    assert isinstance(group, FeatureGroup)
    told = [(column, meaning_of(group.name, column, meanings)) for column in group.columns]
    if len(told) <= WIDE:
        return [([column], meaning) for column, meaning in told]
    return [
        ([column for column, _ in run], meaning)
        for meaning, run in itertools.groupby(told, lambda row: row[1])
    ]


def _named(columns: list[str]) -> str:
    if len(columns) <= 3:
        return ", ".join(f"`{column}`" for column in columns)
    return f"`{columns[0]}` to `{columns[-1]}` ({len(columns)})"


def _lookahead(declared: object, column: str) -> str:
    seconds = declared[column] if isinstance(declared, dict) else declared
    assert isinstance(seconds, int | float)
    return "whole item" if math.isinf(seconds) else f"{seconds:.3g} s"


def earlier_page() -> str:
    """The commands of the earlier program and what replaces them, from ``docs/earlier_commands.toml``."""
    rows = tomllib.loads((DOCS / "earlier_commands.toml").read_text("utf-8"))["row"]
    lines = [
        "# From the earlier commands\n",
        "Each script of the earlier program, and what does its work now. The commands run in a project folder with",
        "tracks, labels and DEAM beside each other; a test runs every one of them. Long flags keep their spelling",
        "where nothing else is said. Everywhere: `--verbose`, `-v`, `--quiet`. The suffix of `--output` sets the form",
        "of a table, a folder gets a copy of each run, and a `.png` gets the figure.\n",
        "| earlier | now |",
        "|---|---|",
    ]
    for row in rows:
        names = ", ".join(f"`{name.strip()}`" for name in row["earlier"].split(","))
        now = "<br>".join(f"`earmark {command['run']}`" for command in row["command"]) or "see below"
        lines.append(f"| {names} | {now} |")
    for title, key in (("Spelt differently", "renamed"), ("Left out", "left_out")):
        lines += [
            f"\n## {title}\n",
            f"| earlier | flag | {'now' if key == 'renamed' else 'why, and the nearest way'} |",
        ]
        lines.append("|---|---|---|")
        for row in rows:
            for flag, meaning in row.get(key, {}).items():
                spelt = f"`{meaning}`" if meaning.startswith("--") and " " not in meaning else meaning
                lines.append(f"| {row['earlier']} | `{flag}` | {spelt} |")
    return "\n".join(lines) + "\n"


def column_meanings() -> list[tuple[str, str]]:
    """Pattern of full names -> meaning, from ``docs/columns.toml``; the first that fits counts."""
    table = tomllib.loads((DOCS / "columns.toml").read_text("utf-8"))
    return [(pattern, meaning) for pattern, meaning in table["meaning"].items()]


def meaning_of(group: str, column: str, meanings: list[tuple[str, str]]) -> str:
    """The meaning of a column; a `KeyError` names one that is not described yet."""
    for pattern, meaning in meanings:
        found = re.fullmatch(pattern, f"{group}.{column}")
        if found:
            return found.expand(meaning)
    raise KeyError(f"`{group}.{column}` has no line in docs/columns.toml; describe it there")


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, "utf-8")
    (DOCS / "howto" / "earlier-commands.md").write_text(NOTICE + earlier_page(), "utf-8")
    json.loads((REFERENCE / "earmark.schema.json").read_text("utf-8"))


if __name__ == "__main__":
    main()
