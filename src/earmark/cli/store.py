"""`earmark store`: tables of features by date."""

from __future__ import annotations

import click

from earmark.cli.options import EarmarkGroup

__all__ = ["store"]


@click.group(cls=EarmarkGroup)
def store() -> None:
    """Look into the tables of features by date: list, show, validate, compact.

    \b
    Examples:
      earmark store list market
    """
