"""The heartbeat of a worker and its row of shared memory: an unlinked file that both sides map.

Page 0 holds the row in cells of 8 bytes. A store is one aligned write, so a reader sees the old value or the new one,
never half of each, and it costs no system call. From page 1 on there is room for what `faulthandler` writes.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from time import monotonic
from typing import Final

from supervisor.errors import ConfigError
from supervisor.protocols import CONNECTIONS, IN_FLIGHT, REQUESTS

MAX_DUMP: Final = 256 * 1024
"""Bytes that `HeartbeatFile.read_dump` reads at most."""

_PAGE: Final = mmap.PAGESIZE
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_BEAT: Final = 0
_COUNTERS: Final = slice(1, 4)


class HeartbeatFile:
    """One worker's `supervisor.protocols.Row`, and the place of its last words.

    Counters are 64-bit integers. The clock is `time.monotonic`, which is one for all processes of a machine
    (clock_gettime(2), ``CLOCK_MONOTONIC``); it stands still while the machine is suspended.
    """

    __slots__ = ("_cells", "_clock", "_map", "counters", "fd")

    def __init__(self, fd: int) -> None:
        """Map ``fd`` and own it."""
        self.fd = fd
        self._map = mmap.mmap(fd, _PAGE)
        self._cells = memoryview(self._map).cast("q")
        self._clock = memoryview(self._map).cast("d")
        self.counters: memoryview[int] = self._cells[_COUNTERS]

    @classmethod
    def create(cls, directory: str) -> HeartbeatFile:
        """A new file in ``directory``, mode 0600, without a name, so that nothing is left of it after a crash.

        Its first page is allocated here: on a full file system that fails now, as an error, and not later, as a
        SIGBUS of the worker that writes to it (mmap(2)).

        Raises:
            OSError: the file cannot be made.
        """
        fd = _open_unnamed(directory)
        try:
            os.posix_fallocate(fd, 0, _PAGE)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int) -> HeartbeatFile:
        """The same file in the worker, from the inherited or received descriptor, which it then owns."""
        return cls(fd)

    def beat(self) -> None:
        """Store the monotonic clock."""
        self._clock[_BEAT] = monotonic()

    def rest(self) -> None:
        """Store zero: the loop does not run, silence is no wedge."""
        self._clock[_BEAT] = 0.0

    @property
    def last_beat(self) -> float:
        """Seconds of the monotonic clock at the last beat, 0 while the loop does not run (or wrote nonsense)."""
        value: float = self._clock[_BEAT]
        return value if math.isfinite(value) else 0.0

    @property
    def requests(self) -> int:
        """Requests answered so far."""
        return self.counters[REQUESTS]

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return self.counters[IN_FLIGHT]

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return self.counters[CONNECTIONS]

    def dump_fd(self) -> int:
        """The descriptor to write a dump to, in the worker: ``faulthandler.register(SIGABRT, file=row.dump_fd())``.

        It is `fd` itself with its position, which nothing else uses (the row is mapped, the arbiter reads with
        pread(2)), set behind the row; an earlier dump is forgotten. Several writers follow each other in the file.
        """
        os.ftruncate(self.fd, _PAGE)
        os.lseek(self.fd, _PAGE, os.SEEK_SET)
        return self.fd

    def read_dump(self) -> str:
        """What was written to `dump_fd`, at most its first 256 KiB; empty when nothing was."""
        return os.pread(self.fd, MAX_DUMP, _PAGE).decode("utf-8", "replace")

    def close(self) -> None:
        """Unmap the row and close the descriptor. Closing twice is fine; the row is unusable afterwards."""
        if self.fd == -1:
            return
        self.counters.release()
        self._cells.release()
        self._clock.release()
        self._map.close()
        os.close(self.fd)
        self.fd = -1


def default_directory(worker_tmp_dir: str | None) -> str:
    """The directory for heartbeat files: ``worker_tmp_dir``, else ``/dev/shm`` where files can be made in it (memory:
    a beat must never wait for a disk), else the temporary directory.

    Raises:
        ConfigError: no file can be made in the directory.
    """
    if worker_tmp_dir is None:
        if _unusable("/dev/shm") is None:  # noqa: S108 -- files there have no name that could be guessed
            return "/dev/shm"  # noqa: S108 -- as above
        directory = tempfile.gettempdir()
    else:
        directory = worker_tmp_dir
    problem = _unusable(directory)
    if problem is not None:
        raise ConfigError(
            f"no heartbeat file can be made in {directory!r}: {problem.strerror}; "
            "set worker_tmp_dir to a writable directory, best one in memory"
        )
    return directory


def _unusable(directory: str) -> OSError | None:
    try:
        HeartbeatFile.create(directory).close()
    except OSError as error:
        return error
    return None


def _open_unnamed(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:  # open(2): what kernels and file systems without O_TMPFILE answer
            raise
    fd, path = tempfile.mkstemp(prefix="supervisor-heartbeat-", dir=directory)
    os.unlink(path)
    return fd
