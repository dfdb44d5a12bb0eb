"""Options that change what a command does, and what may not stand beside them."""

from __future__ import annotations

from collections.abc import Iterable

import click

__all__ = ["refuse_beside"]


def refuse_beside(flag: str, allowed: Iterable[str]) -> None:
    """Refuse options of the running command, given on its command line, that have no meaning beside `flag`.

    Parameters
    ----------
    flag : str
        As the user spells it.
    allowed : iterable of str
        Names of the parameters that may be given, `flag`'s own among them.

    Raises
    ------
    UsageError
        Naming all that were given and have no effect.
    """
    from earmark.errors import UsageError

    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.expose_value
        and parameter.name not in set(allowed)
        and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)} has no effect with {flag}; leave it out, or leave out {flag}.")
