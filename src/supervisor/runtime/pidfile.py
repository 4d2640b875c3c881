"""The pidfile: locked while its owner lives (flock(2)), so that a stale one is told from one in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from supervisor.errors import ConfigError

MODE = 0o644


class Pidfile:
    """One pidfile, in gunicorn's format: the pid and a line break."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def acquire(self, pid: int) -> None:
        """Create it, or take over a stale one, and hold the lock.

        Raises `ConfigError`, with the owner's pid and command, if another process holds it.
        """
        while self._fd < 0:
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = self._owner(fd)
                os.close(fd)
                raise ConfigError(f"pidfile {self.path} belongs to {owner}, which runs; stop it or name another file") from None
            if self._is_named(fd):
                self._fd = fd
            else:
                os.close(fd)  # its owner removed it between our open and our lock
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % pid, 0)

    def release(self) -> None:
        """Remove it, if it is still ours, and let the lock go."""
        if self._fd < 0:
            return
        if self._is_named(self._fd):
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.close_in_child()

    def close_in_child(self) -> None:
        """Close this process' copy. A lock is the open file's, so a forked child that keeps it keeps the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError as error:
            raise ConfigError(f"pidfile {self.path} cannot be written: {error.strerror}") from error

    def _is_named(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except OSError:
            return False

    def _owner(self, fd: int) -> str:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        try:
            command = Path(f"/proc/{int(text)}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, ValueError):
            return "another process"
        return f"process {text} ({command})"
