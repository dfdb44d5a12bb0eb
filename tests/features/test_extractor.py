from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import engine_groups
import numpy as np
import pytest

from earmark.cache.entries import FeatureCache
from earmark.errors import DecodeError, SchemaError, UsageError, WorkerError
from earmark.features import Extractor, Item

HERE = Path(__file__).parent


def test_rows_come_in_manifest_order_with_full_column_names(tones, cache):
    table = Extractor([engine_groups.level, engine_groups.length], cache, workers=0).run(tones)
    assert table.ids == ("tone3.wav", "tone1.wav", "tone5.wav", "tone2.wav", "tone4.wav")
    assert table.columns == ("engine.level.mean", "engine.level.peak", "engine.length.seconds")
    assert table.values.dtype == np.float32
    assert table.values.shape == (5, 3)
    np.testing.assert_allclose(table.column("engine.level.peak"), [0.3, 0.1, 0.5, 0.2, 0.4], atol=1e-5)
    assert table.computed == {"engine.level": 5, "engine.length": 5}
    assert not table.failures


def test_a_warm_run_computes_nothing_and_opens_no_audio(tones, cache):
    # A file written within the clock's granularity of its hashing is hashed again, so let it grow older first.
    time.sleep(2.2)
    cold = Extractor([engine_groups.level], cache, workers=0).run(tones)
    opened = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    warm = Extractor([engine_groups.level], cache, workers=0).run(tones)
    assert warm.computed == {"engine.level": 0}
    np.testing.assert_array_equal(warm.values, cold.values)
    assert not [name for name in opened if name.endswith(".wav")]


def test_only_missing_groups_and_items_are_computed(tones, cache):
    Extractor([engine_groups.level], cache, workers=0).run(tones, limit=2)
    table = Extractor([engine_groups.level, engine_groups.length], cache, workers=0).run(tones)
    assert table.computed == {"engine.level": 3, "engine.length": 5}


def test_processes_give_the_same_bits_as_this_process(tones, cache, tmp_path):
    groups = [engine_groups.level, engine_groups.blocks, engine_groups.scaled(2.0)]
    here = Extractor(groups, cache, workers=0).run(tones)
    there = Extractor(groups, FeatureCache(tmp_path / "other"), workers=2).run(tones)
    assert there.ids == here.ids
    assert there.computed == dict.fromkeys(("engine.level", "engine.blocks", "engine.scaled"), 5)
    np.testing.assert_array_equal(there.values, here.values)
    for one, other in zip(here.frames("engine.blocks"), there.frames("engine.blocks"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_cache_everything_is_computed_every_time(tones):
    for _ in range(2):
        assert Extractor([engine_groups.level], workers=0).run(tones).computed == {"engine.level": 5}


def test_broken_inputs_are_set_aside_and_shift_no_row(tones, cache, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("this is not audio")
    items = [tones[0], Item("text", str(text)), tones[1], Item("gone", str(tmp_path / "gone.wav")), tones[2]]
    table = Extractor([engine_groups.level], cache, workers=0).run(items)
    assert table.ids == (tones[0].id, tones[1].id, tones[2].id)
    np.testing.assert_allclose(table.column("engine.level.peak"), [0.3, 0.1, 0.5], atol=1e-5)
    assert [failure.id for failure in table.failures] == ["text", "gone"]
    assert all(failure.error for failure in table.failures)


def test_a_failing_group_keeps_the_results_of_the_others(tones, cache, tmp_path):
    quiet = tmp_path / "quiet.wav"
    import soundfile

    soundfile.write(quiet, np.full(16_000, 0.01), 16_000, subtype="FLOAT")
    items = [*tones, Item("quiet", str(quiet))]
    table = Extractor([engine_groups.level, engine_groups.loud_only], cache, workers=0).run(items)
    (failure,) = table.failures
    assert (failure.id, failure.group) == ("quiet", "engine.loud_only")
    assert failure.error == "ValueError: peak 0.010 is below 0.05"
    again = Extractor([engine_groups.level], cache, workers=0).run(items)
    assert again.computed == {"engine.level": 0}


def test_a_broken_file_is_remembered_until_it_changes_or_is_retried(tones, cache, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("this is not audio")
    items = [Item("text", str(text)), tones[0]]
    extractor = Extractor([engine_groups.level], cache, workers=0)
    first, second = extractor.run(items), extractor.run(items)
    assert not first.failures[0].remembered
    assert second.failures[0].remembered
    assert second.failures[0].error == first.failures[0].error
    assert second.failures[0].kind == first.failures[0].kind == "DecodeError"
    assert not extractor.run(items, retry_failed=True).failures[0].remembered
    shutil.copy(tones[1].uri, text)
    repaired = extractor.run(items)
    assert repaired.ids == ("text", tones[0].id)
    assert repaired.computed == {"engine.level": 1}


def test_copies_are_computed_once(tones, cache, tmp_path):
    copy = tmp_path / "copy.wav"
    shutil.copy(tones[0].uri, copy)
    table = Extractor([engine_groups.level], cache, workers=0).run([*tones, Item("copy", str(copy))])
    assert table.computed == {"engine.level": 5}
    np.testing.assert_array_equal(table.values[0], table.values[5])


def test_a_worker_that_segfaults_costs_only_its_item(tones, cache, tmp_path):
    import soundfile

    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.full(16_000, 0.01), 16_000, subtype="FLOAT")
    items = [tones[0], Item("quiet", str(quiet)), *tones[1:]]
    table = Extractor([engine_groups.deadly], cache, workers=2).run(items)
    assert table.ids == tuple(item.id for item in tones)
    (failure,) = table.failures
    assert failure.id == "quiet"
    assert "died twice" in failure.error
    assert "SIGSEGV" in failure.error


def test_progress_counts_up_to_the_total(tones, cache):
    seen = []
    Extractor([engine_groups.level], cache, workers=0).run(tones, progress=seen.append)
    assert [event.done for event in seen] == [0, 1, 2, 3, 4, 5]
    assert {event.total for event in seen} == {5}


def test_usage_errors(tones, cache):
    with pytest.raises(UsageError, match="not a feature group"):
        Extractor([lambda clip: [1.0]], cache)
    with pytest.raises(UsageError, match="workers=-1"):
        Extractor([engine_groups.level], cache, workers=-1)
    with pytest.raises(UsageError, match="item id 'tone3.wav' occurs twice"):
        Extractor([engine_groups.level], cache).run([tones[0], tones[0]])
    with pytest.raises(UsageError, match="feature group 'engine.level' occurs twice"):
        Extractor([engine_groups.level, engine_groups.level], cache).run(tones)
    with pytest.raises(UsageError, match="not an address"):
        Extractor([engine_groups.level], cache, cluster="spark:1").run(tones)


def test_select_names_the_missing_columns(tones, cache):
    table = Extractor([engine_groups.level], cache, workers=0).run(tones)
    with pytest.raises(SchemaError, match=r"engine\.level\.zz"):
        table.select(["engine.level.zz"])
    with pytest.raises(SchemaError, match="no frames"):
        table.frames("engine.level")


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import engine_groups
from earmark.cache.entries import FeatureCache
from earmark.features import Extractor, Item

items = [Item(path, path) for path in sys.argv[2:]]
if __name__ == "__main__":
    def tell(event):
        print(event.done, flush=True)
    Extractor([engine_groups.slow], FeatureCache(sys.argv[1]), workers={workers}).run(items, progress=tell)
"""


@pytest.mark.parametrize(
    ("sent", "workers"), [(signal.SIGKILL, 0), (signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGKILL, 2)]
)
def test_what_was_finished_before_a_signal_is_kept(tones, tmp_path, sent, workers):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(here=str(HERE), workers=workers))
    command = [sys.executable, str(script), str(tmp_path / "cache"), *(item.uri for item in tones)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 2:
                break
        time.sleep(0.12)
        os.kill(process.pid, sent)
        process.communicate(timeout=30)
        assert process.returncode != 0
    table = Extractor([engine_groups.slow], FeatureCache(tmp_path / "cache"), workers=0).run(tones)
    assert 1 <= table.computed["engine.slow"] <= 3
    assert len(table) == 5


NOTEBOOK = """
import functools, sys
from earmark import Extractor, FeatureCache, Manifest, feature_group

TABLE = {"gain": 2.0}

@functools.lru_cache(maxsize=8)
def gain():
    return TABLE["gain"]

def scaled(samples):
    return samples * gain()

@feature_group("script.peak", columns=("peak",), sample_rate=16_000)
def peak(clip):
    return [abs(scaled(clip.samples)).max()]

table = Extractor([peak], cache=FeatureCache(sys.argv[1]), workers=2).run(Manifest.from_paths(sys.argv[2:]))
print(table.computed["script.peak"], round(float(table.values.max()), 3), len(table.failures))
"""


def test_a_script_without_a_main_guard_keeps_its_promises(tones, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(NOTEBOOK)

    def run():
        command = [sys.executable, str(script), str(tmp_path / "cache"), *(item.uri for item in tones)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    assert run() == "5 1.0 0"
    assert run() == "0 1.0 0"
    script.write_text(NOTEBOOK.replace("2.0", "4.0"))
    assert run() == "5 2.0 0"
    assert run() == "0 2.0 0"


@pytest.fixture
def offset_file(tmp_path, monkeypatch):
    path = tmp_path / "offset.txt"
    path.write_text("1.0")
    monkeypatch.setenv("ENGINE_OFFSET", str(path))
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_file_that_changes_between_runs_changes_the_key(tones, cache, offset_file, workers):
    script = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import engine_groups\nfrom earmark.cache.entries import FeatureCache\n"
        "from earmark.features import Extractor, Item\n"
        "if __name__ == '__main__':\n"
        f"    table = Extractor([engine_groups.with_offset], FeatureCache({str(cache.path)!r}), workers={workers})"
        ".run([Item(path, path) for path in sys.argv[1:]])\n"
        "    print(table.computed['engine.offset'], table.values[:, 0].tolist())\n"
    )

    def run():
        command = [sys.executable, "-c", script, *(item.uri for item in tones)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    assert run() == f"5 {[1.0] * 5}"
    assert run() == f"0 {[1.0] * 5}"
    offset_file.write_text("2.0")
    assert run() == f"5 {[2.0] * 5}"
    offset_file.write_text("1.0")
    assert run() == f"0 {[1.0] * 5}"


def test_a_data_file_that_changes_during_a_run_stores_no_mixture(tones, cache, offset_file):
    def change(event):
        if event.done == 2:
            offset_file.write_text("2.0")

    extractor = Extractor([engine_groups.with_offset], cache, workers=1)
    with pytest.raises(WorkerError, match=r"data file that engine\.offset read has changed while the run"):
        extractor.run(tones, progress=change)
    again = extractor.run(tones)
    assert set(again.values[:, 0]) == {2.0}


def test_a_file_that_could_not_be_read_just_now_is_tried_again(tones, cache, monkeypatch):
    from earmark.features import compute

    real = compute.decode

    def interrupted(uri, *, sample_rate):
        try:
            raise ConnectionResetError("the server went away")
        except OSError as problem:
            raise DecodeError(f"`{uri}` cannot be read ({problem})") from problem

    extractor = Extractor([engine_groups.level], cache, workers=0)
    monkeypatch.setattr(compute, "decode", interrupted)
    assert len(extractor.run(tones[:1]).failures) == 1
    monkeypatch.setattr(compute, "decode", real)
    assert extractor.run(tones[:1]).computed == {"engine.level": 1}
