"""The handlers of our logs, and what is done with those of everybody: reopening them, and capturing output."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, Final

ERROR: Final = "gunicorn.error"
ACCESS: Final = "gunicorn.access"
FILE_MODE: Final = 0o640

LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""Levels by the names that ``loglevel`` takes."""


class _Quiet(logging.Handler):
    """A handler that a closed pipe or a full disk does not make noisy."""

    _gunicorn = True
    """By this attribute logger classes find the handlers that the settings have made."""
    maker: object = None
    """The logger that has made it, and may close it before anybody else has seen it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the logging module's name
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class QuietStreamHandler(_Quiet, logging.StreamHandler[Any]):
    """For standard output or error."""


class LogFile(_Quiet, logging.FileHandler):
    """A log file, opened for appending (``O_APPEND``: whole lines from many processes) with mode 0640."""

    def __init__(self, path: str, owner: tuple[int, int]) -> None:
        self.owner = owner
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        stream = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=open_log_file
        )
        if os.geteuid() == 0 and self.owner != (0, 0):
            # Workers that have given up root must be able to reopen it.
            with contextlib.suppress(OSError):
                if _is_own(self.baseFilename, stream.fileno()):
                    os.fchown(stream.fileno(), *self.owner)
        return stream

    def revive(self) -> None:
        """Open it again if it was closed, as a logging configuration does with all handlers that there are."""
        if self.stream is None:
            self.stream = self._open()

    def close(self) -> None:
        # What a full disk has kept from being written is given up.
        with contextlib.suppress(OSError):
            super().close()


def _is_own(path: str, descriptor: int) -> bool:
    """Whether the open file is a regular one that has this name only. Devices keep their owner.

    In a directory of the user's, a link could have root give away any file (symlink(7), link(2)).
    """
    named, opened = os.lstat(path), os.fstat(descriptor)
    return stat.S_ISREG(named.st_mode) and os.path.samestat(named, opened) and opened.st_nlink == 1


def open_log_file(path: str, flags: int) -> int:
    """Open a file for appending, with the mode of log files."""
    return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def loggers() -> list[logging.Logger]:
    """Every logger of the process, the root first."""
    return [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]


def all_handlers() -> Iterator[logging.Handler]:
    """Every handler of every logger, once."""
    seen: set[int] = set()
    for logger in loggers():
        for handler in list(logger.handlers):
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler


def reopen() -> None:
    """Reopen the file of every `logging.FileHandler` of every logger, so that rotated files are let go."""
    for handler in all_handlers():
        if isinstance(handler, logging.FileHandler):
            handler.acquire()
            try:
                old = handler.stream
                try:
                    handler.stream = handler._open()
                except OSError as error:
                    logging.getLogger(ERROR).error("cannot reopen %s: %s", handler.baseFilename, error)
                    continue
                if old is not None:
                    with contextlib.suppress(OSError):
                        old.close()
            finally:
                handler.release()
    if _captured is not None:
        _capture(_captured)


_captured: str | None = None


def set_capture(path: str | None) -> None:
    """Send what the process writes to standard output and error to the file, now and after `reopen`. None: no more."""
    global _captured  # noqa: PLW0603 - a process has one standard output
    _captured = path
    if path is not None:
        _capture(path)


def _capture(path: str) -> None:
    try:
        descriptor = open_log_file(path, os.O_WRONLY)
    except OSError as error:
        logging.getLogger(ERROR).error("cannot capture output in %s: %s", path, error)
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
