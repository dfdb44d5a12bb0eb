"""The shipped exchange in a process of its own, for `earmark collect market --simulator`."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

from earmark.errors import UsageError
from earmark.tasks.market.collect.clock import StreamClock

__all__ = ["SimulatedExchange", "clock_of", "simulated_exchange"]

_STOP_S = 10.0
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


@dataclass(frozen=True)
class SimulatedExchange:
    """Where it is, and its clock."""

    websocket_url: str
    rest_url: str
    clock: StreamClock

    def ledger(self) -> dict[str, Any]:
        """Exactly what it has sent until now; see `earmark.tasks.market.simulator.ledger`."""
        return _asked(f"{self.rest_url}/simulator/ledger")


@contextmanager
def simulated_exchange(
    symbols: Sequence[str],
    *,
    venue: str,
    speed: float = 1.0,
    faults: str = "",
    seed: int = 0,
    start_ms: int | None = None,
) -> Iterator[SimulatedExchange]:
    """Run it while the context lasts; its time begins at `start_ms`, by default that of the wall.

    Raises
    ------
    UsageError
        It did not start; the message repeats its own.
    """
    command = [sys.executable, "-m", "earmark.tasks.market.simulator", "--symbols", ",".join(symbols)]
    command += ["--venue", venue, "--speed", str(speed), "--faults", faults, "--seed", str(seed)]
    command += ["--follow-readers", *([] if start_ms is None else ["--start-ms", str(start_ms)])]
    # A session of its own: Ctrl-C is for the collector, which ends the exchange when it has flushed.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            line = child.stdout.readline()
            if not line:
                said = child.stderr.read().strip().splitlines()
                reason = said[-1].removeprefix("error: ") if said else "no reason was given"
                raise UsageError(f"the simulated exchange did not start: {reason}")
            urls = json.loads(line)
            yield SimulatedExchange(urls["websocket_url"], urls["rest_url"], clock_of(urls["rest_url"]))
        finally:
            child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the collector is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def clock_of(rest_url: str) -> StreamClock:
    """A clock that goes by what comes from a simulated exchange, and begins at the time it serves."""
    read = _asked(f"{rest_url}/simulator/clock")
    return StreamClock(int(read["now_ns"]), read["speed"])


def _asked(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=_STOP_S) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
