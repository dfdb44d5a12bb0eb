"""Forms against the commands that they are of: every offered command, every field."""

import json
import re
from pathlib import Path

import click
import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.cli.market.train import assigned
from earmark.cli.options import Invocation
from earmark.errors import UsageError
from earmark.tasks.market.training.config import describe_fields, train_config
from earmark.tasks.market.training.presets import PRESETS
from earmark.web.errors import RefusedPathError
from earmark.web.forms import (
    OFFERED,
    FormError,
    arguments,
    command_line,
    commands_of,
    form_of,
    installed_tasks,
    kind_of,
)
from earmark.web.forms.market_training import FLAGS, presets
from earmark.web.forms.offered import MAIN, is_hidden, name_of, target_of
from earmark.web.paths import AllowList


def _offered():
    pairs = [(command, task) for task in installed_tasks() for command in commands_of(task)]
    return pairs + [(command, None) for command in OFFERED if not any(command == one for one, _ in pairs)]


PAIRS = _offered()
FORMS = pytest.mark.parametrize(
    "form", [form_of(*pair) for pair in PAIRS], ids=[f"{c} {t}" for c, t in PAIRS]
)


@pytest.fixture
def allowed(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "a.csv").write_text("file,label\n", encoding="utf-8")
    return AllowList((tmp_path,))


def _parsed(form, words):
    """What click makes of a command line, through the program's own group: as the job's process reads it."""
    from earmark.cli.main import cli

    context = cli.make_context("earmark", command_line(form, words), obj=Invocation())
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    return context


def _parameter(form, name):
    return next(one for one in target_of(form.name, form.task).click.params if name_of(one) == name)


def _own(form):
    """Fields that stand for a parameter of the click command itself."""
    is_market = (form.name, form.task) == ("train", "market")
    return [field for field in form.all_fields if not is_market or field.name in FLAGS]


# -- Every command ---------------------------------------------------------------------------------------------


def test_every_command_is_offered_to_somebody():
    assert {command for command, _ in PAIRS} == set(OFFERED)


@FORMS
def test_a_form_has_all_of_its_commands_parameters_but_the_hidden_ones(form):
    names = [field.name for field in form.all_fields]
    assert len(names) == len(set(names))
    assert not {"C", "verbose", "quiet", "help"} & set(names)
    assert "format" not in names or form.name == "runs export"  # which has one of its own
    assert all(
        field.label and (field.option.startswith("-") or field in form.argument_fields)
        for field in form.all_fields
    )
    shown = {
        name_of(one)
        for one in target_of(form.name, form.task).click.params
        if not is_hidden(form.name, form.task, one)
    }
    if (form.name, form.task) != ("train", "market"):
        assert set(names) == shown
    assert form.title.endswith(".")
    assert len(form.main_fields) <= 10


@pytest.mark.parametrize("pair", sorted(MAIN, key=str))
def test_main_fields_exist(pair):
    assert set(MAIN[pair]) <= {field.name for field in form_of(*pair).all_fields}


MENTIONS = re.compile(r"\b(files?|folders?|paths?|recording|checkpoint)\b", re.IGNORECASE)
ONLY_MENTIONS = {"base_url", "cost", "from", "relocate"}
"""Help that speaks of files, and values that are none (or may be one: those are looked at by their text)."""


@FORMS
def test_what_names_a_file_is_a_path(form):
    for field in form.all_fields:
        is_text = field.kind in ("text", "many") and not field.choices
        names_one = field.placeholder in ("FILE", "DIR", "PATH") or MENTIONS.search(field.help)
        assert not (is_text and names_one and field.name not in ONLY_MENTIONS), (field.name, field.help)


def _sample(form, field, folder):
    """A value that the command takes, and what click is to make of it."""
    if field.kind in ("flag", "switch"):
        return "true", True
    if field.choices:
        return field.choices[-1], field.choices[-1]
    if field.kind in ("integer", "number"):
        low, high = field.minimum, field.maximum
        middle = (low + high) / 2 if low is not None and high is not None else (high or (low or 0) + 3)
        number = int(middle) if field.kind == "integer" else float(middle)
        return str(number), number
    if field.kind == "path":
        kind = _parameter(form, field.name).type
        is_file = isinstance(kind, click.Path) and not kind.dir_okay
        found = (
            folder / "library" / "a.csv"
            if is_file or not isinstance(kind, click.Path)
            else folder / "library"
        )
        return str(found.relative_to(folder)), str(found)
    return "a=b" if "=" in field.placeholder else "word", None


@FORMS
def test_each_field_reaches_its_parameter(form, allowed):
    folder = allowed.folders[0]
    needed = {one.name: _sample(form, one, folder)[0] for one in form.all_fields if one.required}
    for field in _own(form):
        text, expected = _sample(form, field, folder)
        context = _parsed(form, arguments(form, {**needed, field.name: text}, allowed))
        parameter = _parameter(form, field.name)
        value = context.params[parameter.name]
        value = value[-1] if isinstance(value, tuple) and value else value
        if parameter.is_flag if isinstance(parameter, click.Option) else False:
            assert value in (True, parameter.flag_value), field.name
        elif expected is not None and field.kind != "flag":
            assert value == expected or str(value) == str(expected), field.name


@FORMS
def test_a_value_never_becomes_an_option(form, allowed):
    for field in _own(form):
        if field.kind not in ("text", "many") or field.choices:
            continue
        needed = {
            one.name: _sample(form, one, allowed.folders[0])[0] for one in form.all_fields if one.required
        }
        try:
            words = arguments(form, {**needed, field.name: "--quiet"}, allowed)
        except FormError:
            continue  # a callback of the command refuses the text
        context = _parsed(form, words)
        assert not context.find_object(Invocation).quiet
        assert "--quiet" in str(context.params[_parameter(form, field.name).name])


@FORMS
def test_no_field_leads_out_of_the_project(form, allowed, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text("file,label\n", encoding="utf-8")
    link = allowed.folders[0] / "link.csv"
    link.symlink_to(outside / "secret.csv")
    fields = [
        field
        for field in form.all_fields
        if field.kind in ("path", "text", "many")
        and not field.choices
        and field.name not in ("reason", "reseal")
    ]
    for text in (
        f"{outside}/secret.csv",
        "../outside/secret.csv",
        "~root/x",
        "https://h/x",
        "s3://b/x",
        "link.csv",
    ):
        values = {field.name: f"a={text}" if "=" in field.placeholder else text for field in fields}
        if values:
            with pytest.raises(FormError) as caught:
                arguments(form, values, allowed)
            assert set(values) <= set(caught.value.errors), text


# -- Values ----------------------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_each_beside_its_field(allowed):
    form = form_of("prepare", "zones")
    values = {
        "sources": "missing.csv",
        "folds": "3.5",
        "test_fraction": "q",
        "mapping_strategy": "x",
        "deam": "/etc",
    }
    with pytest.raises(FormError) as caught:
        arguments(form, values, allowed)
    assert set(caught.value.errors) == set(values) - {
        "sources"
    }  # the whole is looked at once the parts are right
    del values["folds"], values["test_fraction"], values["mapping_strategy"], values["deam"]
    with pytest.raises(FormError, match="does not exist"):
        arguments(form, values, allowed)


def test_what_is_empty_or_the_default_is_left_to_the_command(allowed):
    form = form_of("grid", "zones")
    defaults = {field.name: "" if field.default is None else field.default for field in form.all_fields}
    assert arguments(form, defaults, allowed) == []
    assert arguments(form, {"folds": "4", "yes": ["false", "true"]}, allowed) == ["--folds=4", "--yes"]


def test_lines_and_lists_are_several_values_and_arguments_stand_behind_dashes(allowed):
    form = form_of("predict", "zones")
    (allowed.folders[0] / "-v").write_bytes(b"")
    words = arguments(form, {"sources": "library\n\n -v \n", "file": ["library/a.csv"]}, allowed)
    folder = allowed.folders[0]
    assert words == [f"--file={folder}/library/a.csv", "--", f"{folder}/library", f"{folder}/-v"]
    assert arguments(form_of("runs promote", None), {"run": "--force"}, allowed) == ["--", "--force"]


def test_unknown_fields_nul_and_truth_values_that_are_none(allowed):
    form = form_of("train", "zones")
    with pytest.raises(FormError) as caught:
        arguments(form, {"fold": 3, "metric": "a\0b", "force": "perhaps", "features": "\ud800"}, allowed)
    assert set(caught.value.errors) == {"", "metric", "force", "features"}
    assert "did you mean `folds`" in caught.value.errors[""]


def test_commands_that_are_not_offered():
    for command, task in (
        ("init", "zones"),
        ("rm -rf", None),
        ("collect", "zones"),
        ("train", "nope"),
        ("train", None),
    ):
        with pytest.raises(UsageError):
            form_of(command, task)
    assert "collect" not in commands_of("meter")


def test_words_in_the_order_of_the_command_line(allowed):
    form = form_of("migrate legacy", "market")
    words = arguments(form, {"source": "library"}, allowed)
    assert command_line(form, words) == [
        "migrate",
        "market",
        "legacy",
        f"--source={allowed.folders[0]}/library",
    ]
    assert kind_of(form_of("live", "meter"), []) == "service"
    market = form_of("train", "market")
    assert kind_of(market, arguments(market, {"watch": True}, allowed)) == "service"
    assert kind_of(market, arguments(market, {}, allowed)) == "job"


def test_a_task_is_code_so_an_upload_is_none(allowed):
    folder = allowed.folders[0]
    upload = folder / ".earmark" / "web" / "uploads" / "x" / "mine.py"
    for task in (str(upload), "/tmp/../etc/mine.py", ".earmark/web/uploads/x/mine.py"):
        with pytest.raises(RefusedPathError):
            arguments(form_of("train", task), {}, allowed)
    assert arguments(form_of("train", "mine.py"), {"seed": 3}, allowed) == ["--seed=3"]


# -- Training of market ----------------------------------------------------------------------------------------


def _config(words):
    """The configuration that the command makes of the words."""
    preset = next(word.removeprefix("--preset=") for word in words if word.startswith("--preset="))
    given = tuple(word.removeprefix("--set=") for word in words if word.startswith("--set="))
    return train_config({"preset": "cli"}, assigned(given), {"preset": preset})


def test_the_form_of_market_has_every_declared_setting_with_the_pages_default():
    form = form_of("train", "market")
    fields = {field.name: field for field in form.fields}
    for row in describe_fields():
        field = fields[row["name"]]
        assert field.help == row["help"]
        if row["page"] not in (None, {}, ()):
            assert field.default == row["page"]
        assert (field.minimum, field.maximum) == (
            row["limits"].get("ge", row["limits"].get("gt")),
            row["limits"].get("le", row["limits"].get("lt")),
        )
    assert set(fields) == {row["name"] for row in describe_fields()} | set(FLAGS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_form_that_sends_all_its_defaults_asks_for_its_preset_alone(preset, allowed):
    shown = {name: "" if value is None else value for name, value in presets()[preset].items()}
    words = arguments(form_of("train", "market"), shown, allowed)
    assert words == [f"--preset={preset}"]
    assert _config(words) == train_config({"preset": preset})


def test_only_what_differs_from_the_preset_is_set(allowed):
    values = {
        "preset": "page",
        "epochs": "5",
        "batch_size": "128",
        "symbols": "btcusdt, ethusdt",
        "start_date": "2024",
        "focal_gamma": "2.50",
        "auto_promote": ["false"],
        "use_class_weights": ["false", "true"],
        "trainer_config": '{"clip_norm": 2}',
        "data_source": "legacy",
        "data_path": "library",
        "resume": "false",
    }
    words = arguments(form_of("train", "market"), values, allowed)
    assert words == [
        "--preset=page",
        "--set=epochs=5",
        "--set=symbols=BTCUSDT,ETHUSDT",
        '--set=start_date="2024"',
        "--set=auto_promote=false",
        "--set=use_class_weights=true",
        '--set=trainer_config={"clip_norm": 2}',
        "--set=data_source=legacy",
        f"--set=data_path={allowed.folders[0]}/library",
        "--no-resume",
    ]
    config = _config(words)
    assert (config.preset, config.epochs, config.focal_gamma, config.start_date) == ("page", 5, 2.5, "2024")
    assert config.use_class_weights and not config.use_oversampling


def test_a_setting_equal_to_the_pages_default_counts_under_another_preset(allowed):
    words = arguments(form_of("train", "market"), {"preset": "cli", "epochs": 150}, allowed)
    assert words == ["--preset=cli", "--set=epochs=150"]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"epochs": "501", "batch_size": "7", "dropout": "high"}, {"epochs", "batch_size", "dropout"}),
        ({"data_path": "/etc", "focal_gamma": "-1"}, {"data_path", "focal_gamma"}),
        ({"trainer_config": "clip_norm=2"}, {"trainer_config"}),
        ({"model_name": "resnet"}, {"model_name"}),
        ({"preset": "huge"}, {"preset"}),
        ({"mlflow_uri": "http://elsewhere"}, {"mlflow_uri"}),
        ({"days": 3, "start_date": "2024-01-01"}, {""}),
        ({"use_class_weights": True, "use_undersampling": True}, {""}),
        ({"trainer_config": '{"clip": 1}'}, {""}),
        ({"mlflow": "sqlite:////etc/x.db"}, {"mlflow"}),
    ],
)  # fmt: skip
def test_settings_that_the_command_would_refuse(values, wrong, allowed):
    with pytest.raises(FormError) as caught:
        arguments(form_of("train", "market"), values, allowed)
    assert set(caught.value.errors) == wrong


# -- Paths -----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(text=st.text(max_size=30) | st.from_regex(r"(\.\./|/|~|[a-z.]{1,4}|:)*", fullmatch=True))
def test_whatever_a_page_names_lies_inside_or_is_refused(text):
    folder = Path("/srv/project")
    try:
        found = AllowList((folder,)).require(text)
    except RefusedPathError:
        return
    assert found.is_absolute()
    assert found.is_relative_to(folder)


def test_links_loops_and_what_the_server_keeps(tmp_path):
    project, other = tmp_path / "project", tmp_path / "other"
    (project / ".earmark" / "web" / "uploads" / "x").mkdir(parents=True)
    other.mkdir()
    (project / "out").symlink_to(other)
    (project / "loop").symlink_to(project / "loop")
    inside = AllowList((project,))
    for refused in (
        "out",
        "out/x.csv",
        ".earmark/web/secret",
        ".earmark/web",
        "a\0b",
        "x/../../other",
        "file:/etc/passwd",
    ):
        with pytest.raises(RefusedPathError):
            inside.require(refused)
    assert inside.require(".earmark/web/uploads/x/a.wav").parent.name == "x"
    assert inside.require("song.mp3#t=15,45").name == "song.mp3#t=15,45"
    assert AllowList((project, other)).require("out/x.csv") == other / "x.csv"
    assert AllowList((project,), allows_uris=True).require_source("https://h/a.wav") == "https://h/a.wav"
    with pytest.raises(RefusedPathError, match="--allow-uris"):
        inside.require_source("https://h/a.wav")


def test_forms_as_json():
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from earmark.web.api.forms import router
    from earmark.web.errors import add_handlers

    app = FastAPI()
    add_handlers(app)
    app.include_router(router)
    with TestClient(app) as client:
        listed = client.get("/api/forms").json()
        assert [(one["command"], one["task"]) for one in listed] == PAIRS
        fields = client.get("/api/forms/train", params={"task": "market"}).json()["fields"]
        assert json.dumps(fields).count('"epochs"') == 1
        assert client.get("/api/forms/cache gc").json()["kind"] == "job"
        assert client.get("/api/forms/rm").status_code == 404
