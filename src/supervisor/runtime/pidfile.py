"""The pidfile, in gunicorn's format (the pid and a line break), locked for as long as its owner lives.

The lock, flock(2), tells a stale file from one in use: the pid alone may have been given to another process since.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path, PurePath
from typing import Final

from supervisor.errors import ConfigError, reason

SUFFIX: Final = ".2"
"""Behind the name while the arbiter before still has it (USR2). gunicorn's."""

_LONGEST: Final = 32  # bytes of a pidfile, with room for blanks


class Pidfile:
    """One pidfile.

    The lock belongs to the open file, which forked children inherit (flock(2)): every child must call `close_in_child`,
    or the lock outlives the arbiter. The descriptor closes on exec.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def acquire(self, pid: int) -> None:
        """Create the file with ``pid`` in it, or take over a stale one, and hold the lock; mode 0644.

        The file appears with its content: it is written under another name and linked or renamed (link(2), rename(2)).
        Of two starters one wins. Stale is a file that nobody locks, unless a gunicorn runs under its pid: gunicorn
        does not lock.

        Raises:
            ConfigError: the file has an owner who lives (named with pid and command), is no pidfile, or cannot be made.
        """
        try:
            self._fd = self._place(pid)
        except OSError as error:
            raise ConfigError(f"pidfile {self.path!r} cannot be written: {reason(error, self.path)}") from error

    def release(self) -> None:
        """Remove the file, if it is still ours, and give up the lock. Releasing twice is fine."""
        if self._fd >= 0 and _is_at(self.path, self._fd):
            with contextlib.suppress(OSError):  # a directory that has become unwritable must not spoil the exit
                os.unlink(self.path)
        self.close_in_child()

    def rename(self, path: str) -> None:
        """Move the file to another name, over a stale one if need be: for an upgrade, and for the way back.

        Raises:
            ConfigError: as `acquire`; the file then stays where it is. Also if ours is gone or no longer ours.
        """
        if self._fd < 0 or not _is_at(self.path, self._fd):
            raise ConfigError(f"pidfile {self.path!r} is no longer ours and cannot be renamed to {path!r}")
        try:
            stale = _lock_stale(path)
            try:
                os.rename(self.path, path)
            finally:
                _close(stale)  # and its lock, which kept others from the same rename
        except OSError as error:
            raise ConfigError(f"pidfile {self.path!r} cannot be renamed to {path!r}: {error.strerror}") from error
        self.path = path

    def close_in_child(self) -> None:
        """Close this process' copy of the descriptor and leave file and lock to the others that have one."""
        _close(self._fd)
        self._fd = -1

    def _place(self, pid: int) -> int:
        """A locked descriptor of the file at ``path``, which holds ``pid``."""
        where = PurePath(self.path)
        fd, temporary = tempfile.mkstemp(prefix=f".{where.name}.", dir=where.parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.fchmod(fd, 0o644)
            os.write(fd, b"%d\n" % pid)
            while not _is_at(self.path, fd):
                if _linked(temporary, self.path):
                    os.unlink(temporary)
                elif (stale := _lock_stale(self.path)) >= 0:
                    try:
                        os.rename(temporary, self.path)
                    finally:
                        os.close(stale)  # and its lock, which kept others from the same rename
            return fd
        except BaseException:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def settled(path: str) -> str:
    """The same file, wherever the working directory, or a link on the way to it, will lead later."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def clear(path: str, pid: int) -> None:
    """Remove the file that a killed process ``pid`` has left, unless somebody else has taken it over."""
    with contextlib.suppress(OSError, ConfigError):
        stale = _lock_stale(path)
        try:
            if stale >= 0 and _content(path, stale) == str(pid):
                os.unlink(path)
        finally:
            _close(stale)


def owner(path: str) -> int | None:
    """The arbiter that holds this pidfile now, None if there is none. Looks without touching the lock.

    It is the process whose pid the file holds, and that has the file open, as far as may be seen (proc_pid_fd(5)).

    Raises:
        ConfigError: the file is no pidfile, or a gunicorn runs under its pid.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"pidfile {path!r} cannot be read: {error.strerror}") from None
    try:
        pid = _content(path, fd)
        command = _command(pid) if pid else []
        if _is_gunicorn(command):
            raise _taken(path, pid)
        return int(pid) if command and _has_open(int(pid), fd) else None
    finally:
        os.close(fd)


def _has_open(pid: int, fd: int) -> bool:
    """Whether the process has the same file open. Where that may not be seen, its pid in the file has to do."""
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    wanted = os.fstat(fd)
    for entry in entries:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{entry}"), wanted):
                return True
    return False


def _linked(source: str, path: str) -> bool:
    """Whether ``path`` did not exist and now is ``source``."""
    try:
        os.link(source, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        # A file system without hard links: the empty file that is made here is a stale one, and replaced like one.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        return False
    return True


def _lock_stale(path: str) -> int:
    """The stale file at ``path``, locked, so that only one process replaces it; -1 if there is no file."""
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # non-blocking: it may be a FIFO
        except FileNotFoundError:
            if os.path.islink(path):
                raise ConfigError(f"pidfile {path!r} is a symbolic link to nowhere; remove it") from None
            return -1
        try:
            _lock(path, fd)
        except BaseException:
            os.close(fd)
            raise
        if _is_at(path, fd):
            return fd
        os.close(fd)  # replaced between our open and our lock


def _lock(path: str, fd: int) -> None:
    pid = _content(path, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(path, pid) from None
    if pid and _is_gunicorn(_command(pid)):
        raise _taken(path, pid)


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def _content(path: str, fd: int) -> str:
    """What the file says, if it can be a pidfile: a regular file with a number or nothing in it."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ConfigError(f"pidfile {path!r} is not a regular file; name another one")
    text = os.pread(fd, _LONGEST + 1, 0).decode("ascii", "replace").strip()
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigError(f"pidfile {path!r} exists and is no pidfile, it begins with {text[:16]!r}; name another file")
    return text


def _taken(path: str, pid: str) -> ConfigError:
    command = " ".join(" ".join(_command(pid)).split()) if pid else ""  # one line, whatever it was started with
    owner = f"process {pid} ({command[:200]})" if command else "a process that is just starting or ending"
    return ConfigError(f"pidfile {path!r} belongs to {owner}; stop that one first, or set another pidfile")


def _command(pid: str) -> list[str]:
    """The command line of a live process (proc_pid_cmdline(5)), empty if there is none."""
    try:
        return Path(f"/proc/{int(pid)}/cmdline").read_bytes().decode(errors="replace").strip("\0 ").split("\0")
    except OSError:
        return []


def _is_gunicorn(command: list[str]) -> bool:
    """Whether this is the command line, or the process title, of a gunicorn."""
    return " ".join(command[:1]).startswith("gunicorn: ") or any(PurePath(w).name == "gunicorn" for w in command[:3])


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
