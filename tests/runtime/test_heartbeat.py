"""The row that two processes share, and the room for a dump behind it."""

from __future__ import annotations

import errno
import faulthandler
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import ConfigError
from supervisor.protocols import CONNECTIONS, IN_FLIGHT, REQUESTS, Row
from supervisor.runtime.heartbeat import MAX_DUMP, HeartbeatFile, default_directory


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def heartbeat(tmp_path: Path) -> Iterator[HeartbeatFile]:
    made = HeartbeatFile.create(str(tmp_path))
    yield made
    made.close()


def in_child(work: Callable[[], None]) -> None:
    """Run ``work`` in a forked process and wait for its success."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_file_has_no_name_and_one_user(heartbeat: HeartbeatFile, tmp_path: Path) -> None:
    status = os.fstat(heartbeat.fd)
    assert list(tmp_path.iterdir()) == []
    assert status.st_nlink == 0
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert not os.get_inheritable(heartbeat.fd)


def test_a_new_row_is_zero(heartbeat: HeartbeatFile) -> None:
    row: Row = heartbeat
    assert (row.last_beat, row.requests, row.in_flight, row.connections) == (0, 0, 0, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_arbiter_reads_what_the_worker_writes(heartbeat: HeartbeatFile) -> None:
    def worker() -> None:
        row: Row = HeartbeatFile.from_fd(heartbeat.fd)
        row.beat()
        row.counters[REQUESTS] += 1 << 40
        row.counters[IN_FLIGHT] = 2
        row.counters[CONNECTIONS] = 3

    before = time.monotonic()
    in_child(worker)
    assert before <= heartbeat.last_beat <= time.monotonic()
    assert (heartbeat.requests, heartbeat.in_flight, heartbeat.connections) == (1 << 40, 2, 3)


def test_rest_is_silence_that_counts_for_nothing(heartbeat: HeartbeatFile) -> None:
    heartbeat.beat()
    heartbeat.counters[REQUESTS] = 5
    heartbeat.rest()
    assert (heartbeat.last_beat, heartbeat.requests) == (0, 5)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), float("-inf")])
def test_a_clock_that_makes_no_sense_is_none(heartbeat: HeartbeatFile, nonsense: float) -> None:
    os.pwrite(heartbeat.fd, struct.pack("d", nonsense), 0)
    assert heartbeat.last_beat == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_dump_lies_behind_the_row(heartbeat: HeartbeatFile) -> None:
    def stuck_here() -> None:
        faulthandler.dump_traceback(file=HeartbeatFile.from_fd(heartbeat.fd).dump_fd())

    heartbeat.counters[REQUESTS] = 7
    assert heartbeat.read_dump() == ""
    in_child(stuck_here)
    assert "in stuck_here" in heartbeat.read_dump()
    assert (heartbeat.last_beat, heartbeat.requests) == (0, 7)


def test_writers_of_a_dump_follow_each_other(heartbeat: HeartbeatFile) -> None:
    fd = heartbeat.dump_fd()
    os.write(fd, b"the stacks\n")
    os.write(fd, b"the requests \xff\n")
    assert heartbeat.read_dump() == "the stacks\nthe requests \ufffd\n"


def test_a_new_dump_replaces_the_last(heartbeat: HeartbeatFile) -> None:
    os.write(heartbeat.dump_fd(), b"a long first dump")
    os.write(heartbeat.dump_fd(), b"second")
    assert heartbeat.read_dump() == "second"


def test_a_dump_is_read_to_a_limit(heartbeat: HeartbeatFile) -> None:
    os.write(heartbeat.dump_fd(), b"x" * (MAX_DUMP + 10))
    assert len(heartbeat.read_dump()) == MAX_DUMP


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile.create(str(tmp_path))
    heartbeat.close()
    heartbeat.close()
    assert heartbeat.fd == -1


def test_file_systems_without_unnamed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def without_tmpfile(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", without_tmpfile)
    heartbeat = HeartbeatFile.create(str(tmp_path))
    heartbeat.beat()
    assert heartbeat.last_beat > 0
    assert os.fstat(heartbeat.fd).st_nlink == 0
    assert stat.S_IMODE(os.fstat(heartbeat.fd).st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []
    heartbeat.close()


def test_a_full_file_system_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        HeartbeatFile.create(str(tmp_path))
    with pytest.raises(ConfigError, match="No space left"):
        default_directory(str(tmp_path))


def test_the_default_directory_is_in_memory() -> None:
    assert default_directory(None) == "/dev/shm"


def test_without_shared_memory_it_is_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_create = HeartbeatFile.create

    def without_shm(directory: str) -> HeartbeatFile:
        if directory == "/dev/shm":
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return real_create(directory)

    monkeypatch.setattr(HeartbeatFile, "create", without_shm)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_directory(None) == str(tmp_path)


def test_the_directory_of_the_user_is_taken(tmp_path: Path) -> None:
    assert default_directory(str(tmp_path)) == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "file", "no file system for files"])
def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    directory = "/proc" if kind == "no file system for files" else str(tmp_path / kind)
    with pytest.raises(ConfigError) as caught:
        default_directory(directory)
    assert repr(directory) in str(caught.value)
    assert "worker_tmp_dir" in str(caught.value)
    assert "\n" not in str(caught.value)
