"""An exchange on this machine, to test and to show the collector without the network.

`ExchangeSimulator` serves a venue's protocol from synthetic markets or a recording; ``python -m
earmark.tasks.market.simulator`` runs it as a process.
"""

from __future__ import annotations

from earmark.tasks.market.simulator.server import ExchangeSimulator

__all__ = ["ExchangeSimulator"]
