"""Tables in an object store, against a real S3 server of moto."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from feature_rows import feature_rows
from polars.testing import assert_frame_equal

from earmark.store.keyed import KeyedTable
from earmark.store.offline import FeatureStore
from earmark.store.part_files import is_intact

if importlib.util.find_spec("moto") is None:
    pytest.skip("moto is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    """A server in a process of its own: one in this process would wait for the interpreter that uploads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _make_bucket(f"{url}/store")
        yield {
            "aws_endpoint_url": url,
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    finally:
        server.kill()
        server.wait()


def _make_bucket(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the S3 server did not start")


def test_rows_go_to_s3_and_come_back(options: dict[str, str]) -> None:
    table = KeyedTable("s3://store/plain", storage_options=options)
    table.append(feature_rows("BTCUSDT", 30))
    table.append(feature_rows("BTCUSDT", 50))
    table.append(feature_rows("ETHUSDT", 20))
    assert_frame_equal(table.scan(symbols="BTCUSDT").collect(), feature_rows("BTCUSDT", 50))
    assert table.compact() == 2
    assert KeyedTable("s3://store/plain", storage_options=options).scan().collect().height == 70
    assert all(is_intact(path.rpartition("/")[2], table.storage.read(path)) for path in table.files()["path"])


def test_writers_to_s3_do_not_overwrite_each_other(options: dict[str, str]) -> None:
    def write(number: int) -> None:
        table = KeyedTable("s3://store/contended", storage_options=options)
        for part in range(3):
            table.append(feature_rows("BTCUSDT", 10 * (part + 1)))
            table.append(feature_rows(f"S{number}", 10 * (part + 1)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = KeyedTable("s3://store/contended", storage_options=options).scan().collect()
    assert rows.height == rows.n_unique(["symbol", "timestamp"]) == 4 * 30


def test_a_feature_store_may_be_a_uri(options: dict[str, str]) -> None:
    store = FeatureStore("s3://store/features", storage_options=options)
    store.write_offline_features("training_features", feature_rows("BTCUSDT", 10))
    assert store.read_offline_features("training_features").columns[-1] == "future_movement_60s"
