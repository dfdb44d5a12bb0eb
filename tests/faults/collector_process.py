"""A collector as a process that can be killed: arguments are a folder and JSON with what it shall do."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError
from earmark.tasks.market.collect.buffers import PROFILES
from earmark.tasks.market.collect.collector import Collector
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.options import CollectOptions
from earmark.tasks.market.collect.simulated import clock_of
from earmark.tasks.market.collect.stores import Places
from earmark.tasks.market.venues import venue


async def run(folder: Path, wanted: dict[str, Any]) -> None:
    options = CollectOptions(
        tuple(wanted["symbols"]),
        Places(folder / "data", folder / "data" / "ml_training"),
        limits=replace(PROFILES["guide"], max_samples_per_file=wanted["max_samples_per_file"]),
        collection_interval=wanted["collection_interval"],
        flush_raw_s=wanted["flush_raw_s"],
        timing=Timing(backoff_s=0.1, backoff_max_s=0.5, resync_s=0.5),
    )
    collector = Collector(
        venue("bybit", websocket_url=wanted["websocket_url"], rest_url=wanted["rest_url"]),
        options,
        clock=clock_of(wanted["rest_url"]),
        on_status=lambda found: print(found["total_samples"], flush=True),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, collector.stop)
    finished = await collector.run()
    print(json.dumps({"samples": finished.n_samples, "recovered": finished.recovered_samples}), flush=True)


def main() -> int:
    folder, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
    if "largest_file" in wanted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["largest_file"], resource.RLIM_INFINITY))
    try:
        asyncio.run(run(folder, wanted))
    except EarmarkError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
