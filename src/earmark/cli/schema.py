"""`earmark schema`: the JSON schema of earmark.toml."""

from __future__ import annotations

import click

from earmark.cli.options import Invocation, command

__all__ = ["schema"]


@command()
@click.pass_obj
def schema(invocation: Invocation) -> None:
    """Print the JSON schema of earmark.toml, for editors that check and complete it.

    \b
    Examples:
      earmark schema > earmark.schema.json
      earmark schema --format csv    # the settings, one line each
    """
    from earmark.cli.output import emit
    from earmark.tasks.settings import environment_name, json_schema, setting_fields

    rows = [
        {"setting": name, "environment": environment_name(name), "meaning": meaning}
        for name, meaning in setting_fields().items()
    ]
    form = "json" if invocation.format == "table" else invocation.format
    emit(Invocation(format=form), rows, document=json_schema())
