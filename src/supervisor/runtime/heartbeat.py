"""A worker's page of shared memory: its heartbeat, its row of the scoreboard, and room for its crash handler.

One unlinked file per worker, in memory where possible (``/dev/shm``), mapped on both sides. A store is one aligned
write of eight bytes and no system call, so that the event loop can afford it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time

from supervisor.errors import ConfigError

PAGE = mmap.PAGESIZE
DUMP_LIMIT = 64 * 1024
SHARED_MEMORY = "/dev/shm"

_BEAT = 0
_REQUESTS, _IN_FLIGHT, _CONNECTIONS = 1, 2, 3


class HeartbeatFile:
    """The page, as either side sees it. It implements `supervisor.protocols.Row`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, PAGE)
        # A loader, and its workers, would keep the pages of all workers that it was forked beside.
        self._map.madvise(mmap.MADV_DONTFORK)
        self._times = memoryview(self._map).cast("d")
        self._counts = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, directory: str) -> HeartbeatFile:
        """A new page in a file that has no name. Raises `OSError`."""
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            fd = os.open(directory, flags | os.O_TMPFILE, 0o600)
        except OSError:
            # Not every file system knows O_TMPFILE (open(2)).
            fd, path = tempfile.mkstemp(prefix="supervisor-", dir=directory)
            os.unlink(path)
        try:
            os.ftruncate(fd, PAGE)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int) -> HeartbeatFile:
        """The worker's side of a page; the descriptor belongs to it from now on."""
        return cls(fd)

    def beat(self) -> None:
        self._times[_BEAT] = time.monotonic()

    def rest(self) -> None:
        self._times[_BEAT] = 0.0

    @property
    def last_beat(self) -> float:
        return self._times[_BEAT]

    @property
    def requests(self) -> int:
        return self._counts[_REQUESTS]

    @requests.setter
    def requests(self, value: int) -> None:
        self._counts[_REQUESTS] = value

    @property
    def in_flight(self) -> int:
        return self._counts[_IN_FLIGHT]

    @in_flight.setter
    def in_flight(self, value: int) -> None:
        self._counts[_IN_FLIGHT] = value

    @property
    def connections(self) -> int:
        return self._counts[_CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._counts[_CONNECTIONS] = value

    def dump_fd(self) -> int:
        """A descriptor with a position of its own, behind the page: what is written to it, `read_dump` returns."""
        fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC)
        os.lseek(fd, PAGE, os.SEEK_SET)
        return fd

    def read_dump(self) -> str:
        """What the worker's crash handler has written, or an empty string."""
        return os.pread(self.fd, DUMP_LIMIT, PAGE).decode(errors="replace").strip("\0\n")

    def close(self) -> None:
        """Unmap and close. May be called again."""
        if self.fd >= 0:
            self._times.release()
            self._counts.release()
            self._map.close()
            os.close(self.fd)
            self.fd = -1


def default_directory(worker_tmp_dir: str | None) -> str:
    """Where the pages' files are made: the given directory, else shared memory, else the system's own.

    Raises `ConfigError` if the given directory cannot be written to.
    """
    if worker_tmp_dir is not None:
        if not os.access(worker_tmp_dir, os.W_OK | os.X_OK):
            raise ConfigError(f"worker_tmp_dir = {worker_tmp_dir!r} is no directory that can be written to")
        return worker_tmp_dir
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir()
