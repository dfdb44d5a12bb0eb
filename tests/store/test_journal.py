"""The journal: what was committed is read again, whatever happened after."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import InputError, UsageError
from earmark.store.journal import Journal, JournalError, frame, read_journal, scan_segment, segment_paths

records = st.lists(
    st.tuples(st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=60)), max_size=20
)


def contents(folder):
    return [(record.kind, record.received_ns, record.payload) for record in read_journal(folder)]


@given(rows=records, every=st.integers(1, 5), segment_bytes=st.integers(30, 300))
@settings(max_examples=40, deadline=None)
def test_what_is_committed_is_read_in_order(tmp_path_factory, rows, every, segment_bytes):
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, segment_bytes=segment_bytes) as journal:
        for position, row in enumerate(rows):
            journal.append(*row)
            if position % every == 0:
                journal.commit()
    assert contents(folder) == rows


def test_a_tail_torn_at_any_byte_costs_the_last_record_only(tmp_path):
    with Journal(tmp_path / "whole") as journal:
        journal.append(1, 10, b"first")
        journal.append(2, 20, b"second")
    whole = segment_paths(tmp_path / "whole")[0].read_bytes()
    last = len(frame(2, 20, b"second"))
    for cut in range(1, last):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "journal-1.wal").write_bytes(whole[:-cut])
        assert contents(folder) == [(1, 10, b"first")]
        with Journal(folder) as journal:
            assert journal.torn_bytes == last - cut
            journal.append(3, 30, b"third")
        assert contents(folder) == [(1, 10, b"first"), (3, 30, b"third")]


def test_a_segment_killed_at_birth_is_dropped(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(1, 1, b"one")
    (tmp_path / "journal-2.wal").write_bytes(b"EARM")
    with Journal(tmp_path) as journal:
        journal.append(2, 2, b"two")
    assert contents(tmp_path) == [(1, 1, b"one"), (2, 2, b"two")]


def test_damage_before_the_end_is_told_with_its_place(tmp_path):
    with Journal(tmp_path) as journal:
        for number in range(3):
            journal.append(number, number, b"payload")
    path = segment_paths(tmp_path)[0]
    data = bytearray(path.read_bytes())
    size = len(frame(0, 0, b"payload"))
    data[-2 * size + 25] ^= 1  # in the payload of the second record
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=f"journal-1.wal` is damaged at byte {len(data) - 2 * size} .*checksum"
    ):
        list(read_journal(tmp_path))
    with pytest.raises(InputError, match="damaged"):
        Journal(tmp_path)
    assert [record.kind for record in _readable(path)] == [0]


def _readable(path):
    found = []
    with pytest.raises(InputError):
        for record in scan_segment(path, is_last=True):
            found.append(record)
    return found


def test_a_torn_segment_before_the_last_is_damage(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(1, 1, b"one")
        journal.rotate()
        journal.append(2, 2, b"two")
    path = segment_paths(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"journal-1\.wal"):
        list(read_journal(tmp_path))


def test_cut_drops_old_segments_and_keeps_the_open_one(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(1, 1, b"old")
        number = journal.rotate()
        journal.append(2, 2, b"new")
        assert journal.cut(number) == 1
        assert journal.cut(number + 10) == 0
    assert contents(tmp_path) == [(2, 2, b"new")]


def test_a_second_writer_is_refused_with_the_first_ones_pid(tmp_path):
    with Journal(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_writer_killed_leaves_what_it_committed_and_no_lock(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from earmark.store.journal import Journal
        journal = Journal(sys.argv[1])
        for number in range(100_000):
            journal.append(7, number, b"x" * 50)
            if number % 10 == 9:
                journal.commit()
                print(number, flush=True)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    seen = [int(child.stdout.readline()) for _ in range(5)][-1]
    child.send_signal(signal.SIGKILL)
    seen = max([seen, *(int(line) for line in child.stdout.read().split()[:-1])])
    child.wait()
    child.stdout.close()
    numbers = [record.received_ns for record in read_journal(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > seen
    Journal(tmp_path).close()


def test_a_full_disk_stops_it_and_keeps_what_was_committed(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        journal = Journal(tmp_path)
        journal.append(1, 1, b"kept")
        journal.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        journal.append(2, 2, b"x" * 500)
        with pytest.raises(JournalError, match="cannot be written.*committed before is safe"):
            journal.commit()
        with pytest.raises(JournalError):
            journal.append(3, 3, b"")
        journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(tmp_path) == [(1, 1, b"kept")]
