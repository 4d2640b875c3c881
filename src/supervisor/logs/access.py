"""The access log: a line for each finished request, written as cheaply as nothing gets lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from supervisor.logs.format import Atoms, compile_format
from supervisor.logs.record import Record
from supervisor.logs.setup import LogFile, QuietStreamHandler


class AccessLog:
    """Writes finished requests to the logger ``gunicorn.access``.

    With the handler of the setting ``accesslog`` alone, lines are gathered and written with one system call when
    ``schedule`` calls back (an event loop's ``call_soon``), or at once without one. With handlers of a logging
    configuration each record goes through the logging module, its atoms in ``record.args`` as with gunicorn. Nothing
    that goes wrong with writing reaches the request.
    """

    def __init__(
        self,
        logger: logging.Logger,
        access_log_format: str,
        schedule: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._logger = logger
        self._format = access_log_format
        self._render = compile_format(access_log_format)
        self._schedule = schedule
        self._lines: list[str] = []
        self._handler = self._own_handler()

    def _own_handler(self) -> LogFile | QuietStreamHandler | None:
        handlers = self._logger.handlers
        plain = len(handlers) == 1 and not self._logger.propagate and not self._logger.filters
        handler = handlers[0] if plain else None
        if isinstance(handler, LogFile | QuietStreamHandler) and not handler.filters:
            return handler
        return None

    def log(self, record: Record) -> None:
        """Write one line for a finished request."""
        try:
            if self._handler is None:
                self._logger.info(self._format, Atoms(record))
                return
            self._lines.append(self._render(record))
        except Exception as error:
            logging.getLogger("gunicorn.error").error("the access log failed", exc_info=error)
            return
        if self._schedule is None:
            self.flush()
        elif len(self._lines) == 1:
            self._schedule(self.flush)

    def flush(self) -> None:
        """Write what was gathered. Never raises; lines that cannot be written (a full disk, a closed pipe) are lost."""
        if not self._lines or self._handler is None:
            return
        lines, self._lines = self._lines, []
        data = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        stream: Any = self._handler.stream
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._write_to_object(stream, data)
            return
        try:
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
