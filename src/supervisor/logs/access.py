"""The access log: a line for each finished request, written cheaply: with others that come within a moment.

A worker that is killed loses the lines of its last `GATHERING`, or those since its event loop was blocked.
"""

from __future__ import annotations

import logging
import os
import select
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

from supervisor.logs.format import Atoms, compile_format
from supervisor.logs.handlers import LogFile, QuietStreamHandler
from supervisor.logs.record import Record

GATHERING: Final = 0.005
"""Seconds that a line may wait for others, to be written with them."""

CUT: Final = b"...\n"
"""The end of a line that is too long for a pipe."""

MOST_LINES: Final = 256
"""This many lines are written at once."""


class AccessLog:
    """Writes finished requests to the logger ``gunicorn.access``.

    With the handler of the setting ``accesslog`` alone, lines are gathered and written with one system call,
    `GATHERING` after the first of them: ``call_later`` is an event loop's. Without it each line is written at once.
    With handlers of a logging configuration each record goes through the logging module, its atoms in ``record.args``
    as with gunicorn. Nothing that goes wrong with writing reaches the request.
    """

    def __init__(
        self,
        logger: logging.Logger,
        access_log_format: str,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._logger = logger
        self._format = access_log_format
        self._render = compile_format(access_log_format)
        self._call_later = call_later
        self._lines: list[str] = []
        self._handler = self._own_handler()

    def _own_handler(self) -> LogFile | QuietStreamHandler | None:
        """The handler to write for, if the logging module would do no more with a line than that."""
        logger, handlers = self._logger, self._logger.handlers
        alone = len(handlers) == 1 and not logger.propagate and not logger.filters
        handler = handlers[0] if alone and logger.isEnabledFor(logging.INFO) else None
        if not isinstance(handler, LogFile | QuietStreamHandler) or type(handler) not in (LogFile, QuietStreamHandler):
            return None
        plain = not handler.filters and handler.level <= logging.INFO and _is_bare(handler.formatter)
        return handler if plain else None

    def log(self, record: Record) -> None:
        """Write one line for a finished request."""
        try:
            if self._handler is None:
                self._logger.info(self._format, Atoms(record))
                return
            self._lines.append(self._render(record))
        except BaseException as error:
            logging.getLogger("gunicorn.error").error("the access log failed", exc_info=error)
            return
        waiting = len(self._lines)
        if self._call_later is None or waiting >= MOST_LINES:
            self.flush()
        elif waiting == 1:
            self._call_later(GATHERING, self.flush)

    def flush(self) -> None:
        """Write what was gathered. Never raises; lines that cannot be written (a full disk, a closed pipe) are lost."""
        if not self._lines or self._handler is None:
            return
        lines, self._lines = self._lines, []
        # USR1 may be handled in another thread, and close the file whose descriptor is used here.
        self._handler.acquire()
        try:
            self._write(self._handler.stream, lines)
        finally:
            self._handler.release()

    def _write(self, stream: Any, lines: list[str]) -> None:
        try:
            descriptor = stream.fileno()
            pieces = _whole_lines(lines, most=select.PIPE_BUF if _is_pipe(descriptor) else None)
        except (OSError, ValueError, AttributeError):
            self._write_to_object(stream, _encoded(lines))
            return
        try:
            for piece in pieces:
                data = piece
                while data:
                    data = data[os.write(descriptor, data) :]
        except OSError:
            return

    @staticmethod
    def _write_to_object(stream: Any, data: bytes) -> None:
        """For a stream without a descriptor, such as one that a test has put in the place of standard output."""
        try:
            stream.write(data.decode("utf-8"))
            stream.flush()
        except (OSError, ValueError, AttributeError):
            return


def _is_bare(formatter: logging.Formatter | None) -> bool:
    return formatter is None or (type(formatter) is logging.Formatter and formatter._fmt == "%(message)s")


def _encoded(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _whole_lines(lines: list[str], most: int | None) -> Iterator[bytes]:
    """The lines in pieces of at most so many bytes, each of them whole; a line that is longer is cut.

    What is appended to a file stays together. Into a pipe, other workers may write in the middle of anything longer
    than ``PIPE_BUF`` (pipe(7)), and a client could choose what the rest of its line looks like.
    """
    data = _encoded(lines)
    while most is not None and len(data) > most:
        end = data.rfind(b"\n", 0, most) + 1
        if end:
            yield data[:end]
        else:
            end = data.find(b"\n") + 1
            yield data[: most - len(CUT)].decode("utf-8", "ignore").encode() + CUT
        data = data[end:]
    if data:
        yield data
