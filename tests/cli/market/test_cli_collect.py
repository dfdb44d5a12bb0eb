"""`earmark collect market`: a whole run from the shell, its status, its plan, its refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

pytest.importorskip("aiohttp")

from earmark.cli.main import cli
from earmark.cli.market.collect import _NAMED_OTHERWISE, _NOT_SETTINGS, collect
from earmark.errors import UsageError
from earmark.store.raw import RawStore
from earmark.tasks.market.collect import raw_lob, verb
from earmark.tasks.market.collect.metrics import serve_metrics
from earmark.tasks.market.settings import MarketSettings
from earmark.tasks.settings import load_settings


def invoke(folder, *arguments):
    return CliRunner().invoke(cli, ["-C", str(folder), "collect", "market", *arguments])


def test_a_run_from_the_shell_ends_by_itself_and_says_what_it_did(tmp_path):
    command = [
        "--symbols",
        "BTCUSDT,4USDT",
        "--simulator",
        "--speed",
        "20",
        "--duration",
        "65s",
        "--format",
        "json",
    ]
    run = subprocess.run(
        [sys.executable, "-m", "earmark", "-C", str(tmp_path), "collect", "market", *command],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "Collected" in run.stderr
    found = json.loads(run.stdout)
    assert set(found["symbols"]) == {"BTCUSDT", "4USDT"}
    status = invoke(tmp_path, "--status", "--format", "json")
    assert json.loads(status.stdout)["is_running"] is False
    assert json.loads(status.stdout)["total_samples"] == found["total_samples"]
    assert (tmp_path / "data/raw/4USDT/book_steps").is_dir()


@pytest.mark.slow
def test_a_second_simulated_market_begins_behind_the_first_which_ended_now(tmp_path):
    ends = []
    for _ in range(2):
        run = invoke(
            tmp_path, "--symbols", "BTCUSDT", "--simulator", "--speed", "200", "--duration", "3m", "--quiet"
        )
        assert run.exit_code == 0, run.output
        ends.append(RawStore(tmp_path / "data/raw").newest_ms("book_steps", "BTCUSDT"))
    assert abs(ends[0] / 1000 - time.time()) < 180
    ticks = RawStore(tmp_path / "data/raw").scan("book_steps", "BTCUSDT").collect()["time_ms"].to_list()
    assert ticks == sorted(set(ticks)) and ends[1] - ends[0] > 900_000


def test_the_plan_opens_no_connection(tmp_path):
    (tmp_path / "earmark.toml").write_text('[market]\nsymbols = ["BTCUSDT"]\nprofile = "bot"\n')
    plan = json.loads(invoke(tmp_path, "--dry-run", "--legacy", "--format", "json").stdout)
    assert plan["symbols"] == ["BTCUSDT"]
    assert plan["limits"]["max_samples_per_file"] == 60
    assert plan["legacy"].endswith("data/ml_training")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry-run"], "no symbols are named"),
        (["--dry-run", "--symbols", "btc/usdt"], "is not a symbol"),
        (["--dry-run", "--symbols", "BTCUSDT", "--depth", "500"], "retired"),
        (["--dry-run", "--symbols", "BTCUSDT", "--no-feature-store"], "kept nowhere"),
        (["--symbols", "BTCUSDT", "--speed", "2"], "--simulator"),
        (["--symbols", "BTCUSDT", "--simulator", "--url", "ws://x"], "exchange of its own"),
        (["--symbols", "BTCUSDT", "--duration", "soon"], "is no duration"),
        (["--status"], "no collector has run"),
    ],
)
def test_what_is_refused_and_why(tmp_path, arguments, said):
    result = invoke(tmp_path, *arguments)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("1.5h", 5400)],
)
def test_durations(text, seconds):
    assert verb.parse_duration(text) == seconds


def test_every_setting_is_an_option_and_is_read():
    options = {_NAMED_OTHERWISE.get(p.name, p.name) for p in collect.params} - set(_NOT_SETTINGS)
    assert set(MarketSettings.model_fields) <= options
    text = Path(verb.__file__).read_text() + Path(raw_lob.__file__).read_text()
    read = set(re.findall(r"market\.(\w+)", text))
    assert set(MarketSettings.model_fields) <= read


def test_settings_reach_the_collector(tmp_path):
    settings = load_settings(
        tmp_path,
        {
            "market.symbols": "BTCUSDT, 4usdt",
            "market.track_ms": 250,
            "market.cadence": "adaptive",
            "market.raw_lob": True,
            "market.min_interval_ms": 100,
            "market.book_stale_s": 3,
            "market.storage_path": "elsewhere",
        },
        {},
    )
    options = verb.options_of(settings, duration_s=5)
    assert options.symbols == ("BTCUSDT", "4USDT")
    assert (options.track_ms, options.is_adaptive, options.book_stale_s) == (250, True, 3)
    assert options.raw_lob is not None and options.raw_lob.min_interval_ms == 100
    assert options.places.legacy == tmp_path / "elsewhere"


def test_metrics_are_served_per_symbol():
    row = {
        "state": "live", "mid": 100.5, "spread": 1.0, "age_s": 0.1, "updates_per_s": 10.0, "buffer_size": 3,
        "buffer_memory_mb": 0.1, "counts": {"gaps": 2}, "skipped": {"no_book": 1}, "total_samples": 4, "resyncs": 1,
        "reconnects": 0,
    }  # fmt: skip
    totals = dict.fromkeys(
        (
            "loop_lag_ms",
            "worst_loop_lag_ms",
            "worst_loop_busy_ms",
            "backlog_bytes",
            "rss_mb",
            "clock_offset_ms",
            "files_written",
        ),
        1.0,
    )  # fmt: skip
    model = {"answered": 3, "unanswered": {"late": 1}}
    found = {
        **totals,
        "total_samples": 4,
        "counts": {"applied": 5},
        "model": model,
        "symbols": {"4USDT": row},
    }
    with serve_metrics(0, lambda: found) as port, urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert 'earmark_mid{symbol="4USDT"} 100.5' in text
    assert 'earmark_signals_total{outcome="late"} 1.0' in text
    assert 'earmark_state{state="live",symbol="4USDT"} 1.0' in text
    assert 'earmark_rows_total{kind="gaps",symbol="4USDT"} 2.0' in text
