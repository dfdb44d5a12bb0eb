"""The seal: labels of test items in one file, each opening written down before anything is returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from earmark.data import seal as seal_module
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import Opening, Openings, SealedLabels, read_ledger, seal
from earmark.data.splits import Splits
from earmark.errors import SealError, UsageError


@pytest.fixture
def sealed(make_manifest: Callable[..., Manifest], tmp_path: Path) -> Path:
    manifest = make_manifest(100, n_groups=60)
    seal(tmp_path / "data", manifest, Splits.make(manifest))
    return tmp_path / "data"


def open_once(folder: Path, run: str = "run-1", reason: str = "final score") -> Opening:
    return SealedLabels(folder).open(run=run, reason=reason, commit="abc123")


def test_test_labels_leave_the_manifest_and_nothing_else_does(
    make_manifest: Callable[..., Manifest], sealed: Path
) -> None:
    before, after = make_manifest(100, n_groups=60).table, Manifest.read(sealed / "manifest.parquet").table
    test_ids = set(Splits.read(sealed / "splits.parquet").test_ids)
    for old, new in zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True):
        tested = old["id"] in test_ids
        assert new["split"] == ("test" if tested else "train")
        assert new["label"] == (None if tested else old["label"])
        assert (new["group"], new["content_hash"]) == (old["group"], old["content_hash"])


def test_no_test_label_is_in_any_file_but_the_sealed_one(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"id": [f"t{i}" for i in range(40)], "uri": ["u"] * 40, "label": [f"secret-{i}" for i in range(40)]}
    )
    manifest = Manifest(table, root=tmp_path)
    _, splits = seal(tmp_path, manifest, Splits.make(manifest, SplitPolicy(stratify_on=None)))
    secrets = {f"secret-{id[1:]}" for id in splits.test_ids}
    for name in ("manifest.parquet", "splits.parquet"):
        columns = pl.read_parquet(tmp_path / name)
        assert not secrets & {value for row in columns.iter_rows() for value in row if isinstance(value, str)}
        assert not any(secret in str(pl.read_parquet_metadata(tmp_path / name)) for secret in secrets)
    assert set(pl.read_parquet(tmp_path / "sealed.parquet")["label"]) == secrets


def test_opening_returns_the_labels_and_is_written_down(
    make_manifest: Callable[..., Manifest], sealed: Path
) -> None:
    started = datetime.now(UTC)
    opening = open_once(sealed)
    labels = dict(make_manifest(100, n_groups=60).table.select("id", "label").iter_rows())
    splits = Splits.read(sealed / "splits.parquet")
    assert opening.labels == {id: labels[id] for id in splits.test_ids}
    (event,) = read_ledger(sealed / "ledger.jsonl")
    assert event == opening.record
    assert (event["event"], event["run"], event["commit"]) == ("open", "run-1", "abc123")
    assert (event["reason"], event["n"]) == ("final score", len(splits.test_ids))
    assert event["data"] == f"{splits.items_hash}:{splits.sealed_hash}"
    assert event["version"]
    when = datetime.fromisoformat(event["when"])
    assert when.tzinfo == UTC
    assert abs((when - started).total_seconds()) < 60


def test_openings_are_counted_by_run(sealed: Path) -> None:
    assert SealedLabels(sealed).openings().count == 0
    for run in ("a", "b", "a"):
        open_once(sealed, run)
    openings = SealedLabels(sealed).openings()
    assert (openings.count, openings.n_runs) == (3, 2)
    assert str(openings) == "opened 3 times by 2 runs"
    assert str(Openings(0, 0)) == "never opened"
    assert str(Openings(1, 1, 1)) == "opened once by 1 run, drawn anew once"


@pytest.mark.parametrize(("run", "reason"), [("", "why"), ("run", "  ")])
def test_an_opening_must_say_who_and_why(sealed: Path, run: str, reason: str) -> None:
    with pytest.raises(SealError, match="both must be named"):
        open_once(sealed, run, reason)
    assert not (sealed / "ledger.jsonl").exists()


def test_changed_sealed_labels_are_refused_and_not_counted(sealed: Path) -> None:
    path = sealed / "sealed.parquet"
    table = pl.read_parquet(path)
    table.with_columns(label=pl.lit("PURPLE")).write_parquet(path)
    with pytest.raises(SealError, match="was changed or is missing"):
        open_once(sealed)
    path.unlink()
    with pytest.raises(SealError, match="no file"):
        open_once(sealed)
    assert SealedLabels(sealed).openings().count == 0


def test_no_label_without_a_ledger(sealed: Path) -> None:
    (sealed / "ledger.jsonl").mkdir()
    with pytest.raises(SealError, match=r"ledger .* cannot be written .* stays sealed"):
        open_once(sealed)


def test_the_ledger_is_on_disk_before_labels_are_returned(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that stops in fsync has returned nothing."""
    at_sync = []

    def stop(handle: int) -> None:
        at_sync.append((sealed / "ledger.jsonl").read_text())
        raise OSError("disk gone")

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(SealError, match="disk gone"):
        open_once(sealed)
    assert json.loads(at_sync[0])["run"] == "run-1"


def test_an_opening_cannot_be_made_by_hand() -> None:
    with pytest.raises(SealError, match="made by hand"):
        Opening([], {}, token=object())


def test_unreadable_lines_count_and_do_not_spoil_later_ones(sealed: Path) -> None:
    ledger = sealed / "ledger.jsonl"
    open_once(sealed)
    with ledger.open("ab") as file:
        file.write(b'{"event": "open", "wh')  # a write cut short
    open_once(sealed, "run-2")
    events = read_ledger(ledger)
    assert [event["run"] for event in events] == ["run-1", "unreadable line 2", "run-2"]
    assert SealedLabels(sealed).openings().count == 3


def test_openings_from_many_processes_are_all_written(sealed: Path) -> None:
    code = (
        "import sys\nfrom earmark.data.seal import SealedLabels\n"
        "for i in range(10): SealedLabels(sys.argv[1]).open(run=f'{sys.argv[2]}-{i}', reason='r' * 300)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(sealed), str(i)]) for i in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    runs = sorted(event["run"] for event in read_ledger(sealed / "ledger.jsonl"))
    assert runs == sorted(f"{p}-{i}" for p in range(3) for i in range(10))


def test_sealing_other_items_than_were_split_is_refused(
    make_manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="prepare"):
        seal(tmp_path, make_manifest(60), Splits.make(make_manifest(61)))


def test_a_kill_at_any_moment_leaves_old_new_or_a_clear_error(
    make_manifest: Callable[..., Manifest], sealed: Path
) -> None:
    """Preparing again in a loop, killed: no test label ever reads from the manifest, and the next run repairs."""
    code = (
        "import sys, polars as pl\nfrom earmark.data.manifest import Manifest\n"
        "from earmark.data.seal import seal\nfrom earmark.data.splits import Splits\n"
        "manifest = Manifest(pl.read_parquet(sys.argv[1]), root=sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    previous = Splits.read(sys.argv[2] + '/splits.parquet')\n"
        "    seal(sys.argv[2], manifest, Splits.make(manifest, previous=previous))"
    )
    manifest = make_manifest(130, n_groups=60)
    source = sealed.parent / "labelled.parquet"
    manifest.table.write_parquet(source)
    for delay_s in (0.0, 0.004, 0.009, 0.013, 0.021, 0.035):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(source), str(sealed)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        process.kill()
        process.wait()
        process.stdout.close()
        splits, found = Splits.read(sealed / "splits.parquet"), Manifest.read(sealed / "manifest.parquet")
        labels = dict(found.table.select("id", "label").iter_rows())
        if found.items_hash == splits.items_hash:
            assert all(labels[id] is None for id in splits.test_ids)
    seal(sealed, manifest, Splits.make(manifest, previous=Splits.read(sealed / "splits.parquet")))
    assert open_once(sealed).labels.keys() == set(Splits.read(sealed / "splits.parquet").test_ids)


class TestSealedAgain:
    """Preparing again never lets a test item out unseen."""

    def test_with_the_earlier_splits_the_seal_grows(
        self, make_manifest: Callable[..., Manifest], sealed: Path
    ) -> None:
        manifest = make_manifest(140, n_groups=100)
        manifest = Manifest(
            pl.concat([make_manifest(100, n_groups=60).table, manifest.table[100:]]), root=manifest.root
        )
        previous = Splits.read(sealed / "splits.parquet")
        seal(sealed, manifest, Splits.make(manifest, previous=previous))
        assert set(previous.test_ids) <= set(open_once(sealed).labels)
        assert SealedLabels(sealed).openings().n_reseals == 0

    def test_releasing_a_test_item_is_refused(
        self, make_manifest: Callable[..., Manifest], sealed: Path
    ) -> None:
        before = (sealed / "manifest.parquet").read_bytes(), (sealed / "splits.parquet").read_bytes()
        manifest = make_manifest(100, n_groups=60)
        with pytest.raises(SealError, match="would be released"):
            seal(sealed, manifest, Splits.make(manifest, SplitPolicy(seed=7)))
        assert before == (
            (sealed / "manifest.parquet").read_bytes(),
            (sealed / "splits.parquet").read_bytes(),
        )

    def test_a_reseal_is_written_down_and_counts_anew(
        self, make_manifest: Callable[..., Manifest], sealed: Path
    ) -> None:
        open_once(sealed)
        manifest = make_manifest(100, n_groups=60)
        seal(
            sealed,
            manifest,
            Splits.make(manifest, SplitPolicy(seed=7)),
            reseal_reason="labels were corrected",
        )
        open_once(sealed, "run-2")
        events = read_ledger(sealed / "ledger.jsonl")
        assert [event["event"] for event in events] == ["open", "reseal", "open"]
        assert events[1]["reason"] == "labels were corrected"
        openings = SealedLabels(sealed).openings()
        assert (openings.count, openings.n_runs, openings.n_reseals) == (1, 1, 1)
        assert "drawn anew once" in str(openings)

    def test_removing_the_splits_frees_no_test_item(
        self, make_manifest: Callable[..., Manifest], sealed: Path
    ) -> None:
        (sealed / "splits.parquet").unlink()
        manifest = make_manifest(100, n_groups=60)
        with pytest.raises(SealError, match="would be released"):
            seal(sealed, manifest, Splits.make(manifest, SplitPolicy(seed=7)))
        seal(sealed, manifest, Splits.make(manifest))
        assert read_ledger(sealed / "ledger.jsonl") == []

    def test_a_sealed_manifest_cannot_be_split_again(self, sealed: Path) -> None:
        with pytest.raises(UsageError, match="sealed already"):
            Splits.make(Manifest.read(sealed / "manifest.parquet"))

    def test_a_stop_between_the_files_is_noticed(
        self, make_manifest: Callable[..., Manifest], sealed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = make_manifest(100, n_groups=60)
        manifest = Manifest(manifest.table.with_columns(label=pl.lit("GREEN")), root=manifest.root)
        previous = Splits.read(sealed / "splits.parquet")
        splits = Splits.make(manifest, previous=previous)
        seal_module._write_sealed(sealed / "sealed.parquet", manifest, splits)  # and here the machine stops
        with pytest.raises(SealError, match="was changed"):
            open_once(sealed)
        seal(sealed, manifest, splits)
        assert set(open_once(sealed).labels.values()) == {"GREEN"}
