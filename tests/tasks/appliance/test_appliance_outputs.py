"""Options that send lines elsewhere, as a command takes them."""

from __future__ import annotations

import urllib.request

import click
import pytest
from click.testing import CliRunner

from earmark.cli.appliance.outputs import opened_outputs, output_options
from earmark.cli.options import Invocation, command
from earmark.errors import UsageError
from earmark.tasks.appliance.schema import DEFAULT_DEVICES

pytest.importorskip("prometheus_client")
pytest.importorskip("paho.mqtt.client")


@command("listen")
@output_options
@click.pass_obj
def listen(invocation: Invocation, /, **asked):
    """Opens the outputs and says their kinds."""
    sinks = opened_outputs(invocation, DEFAULT_DEVICES, **asked)
    for sink in sinks:
        sink.line({"stable_status": "ac-on", "health": "ok", "window_index": 0})
        if hasattr(sink, "port"):
            text = urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=10).read()
            assert b'earmark_appliance_state{state="ac-on"} 1.0' in text
        sink.close()
    click.echo(" ".join(type(sink).__name__ for sink in sinks))
    return 0


def run(*args: str):
    return CliRunner().invoke(listen, args, obj=Invocation(), catch_exceptions=True)


def test_nothing_is_opened_that_was_not_asked_for():
    assert run().output.strip() == ""


def test_both_outputs_work_side_by_side():
    done = run("--mqtt", "mqtt://127.0.0.1:9", "--prometheus", "0")
    assert done.output.splitlines()[-1] == "MqttSink PrometheusSink"


@pytest.mark.parametrize(
    "args",
    [("--mqtt", "tcp://x"), ("--mqtt", "mqtt://h", "--mqtt-room", "a/b"), ("--prometheus", "here")],
)
def test_what_cannot_be_meant_is_refused(args):
    assert isinstance(run(*args).exception, UsageError)
