"""`earmark doctor`: whether this machine and this project folder are fit for work."""

from __future__ import annotations

import click

from earmark.cli.options import Invocation, command

__all__ = ["doctor"]


@command()
@click.pass_obj
def doctor(invocation: Invocation) -> int:
    """Check versions, codecs, trackers, cache, disk and processors, and show the settings and where each comes from.

    Codecs are tried: a short tone is written and read back in each format. Exit code 1 if something essential
    is broken; an optional package that is absent is not.

    \b
    Examples:
      earmark doctor
      earmark -C library doctor --format json
    """
    from earmark.cli.health import examine
    from earmark.cli.output import complain, emit

    settings = invocation.settings()
    checks = examine(settings)
    broken = [check for check in checks if check.status == "broken"]
    rows: list[dict[str, object]] = [
        {"section": check.section, "name": check.name, "status": check.status, "detail": check.detail}
        for check in checks
    ]
    effective = [{"name": name, "value": value, "source": source} for name, value, source in settings.rows()]
    document = {"ok": not broken, "checks": rows, "settings": effective}
    shown = [
        {
            "section": "settings",
            "name": item["name"],
            "status": item["source"],
            "detail": "not set" if item["value"] is None else item["value"],
        }
        for item in effective
    ]
    emit(invocation, [*rows, *shown], document=document)
    for check in broken:
        complain(f"{check.section} {check.name} is broken: {check.detail}")
    return 1 if broken else 0
