"""Sending to syslog, as gunicorn does: what `logging.handlers.SysLogHandler` makes of a record, to ``syslog_addr``.

A syslog that is not there costs its lines, never the service: nothing here waits, and nothing raises.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import logging.handlers
import os
import select
import socket
import time
from typing import Any, Final

from supervisor.errors import ConfigError
from supervisor.logs.handlers import ERROR
from supervisor.logs.lookup import is_patient, resolve

RETRY: Final = 3.0
"""Seconds between attempts to reach a syslog that is away."""
CONNECT: Final = 0.5
"""Seconds that the first connection over TCP may take, at a start."""
AT_WORK: Final = 0.02
"""The same at a reload, in an arbiter that others wait for. For any later connection nobody waits."""

_OTHERS: Final = ("console", "ntp", "solaris-cron")
FACILITIES: Final = {
    **{name: code for name, code in logging.handlers.SysLogHandler.facility_names.items() if name not in _OTHERS},
    "security": 4,  # an old name of auth; the logging module has something else by it
}

_told: set[str] = set()


def make_handler(settings: Any, fmt: str, log: str) -> SyslogHandler:
    """The handler for ``log``, which is "error" or "access". Raises `ConfigError` for a setting that cannot be used."""
    facility = FACILITIES.get(str(settings.syslog_facility).lower())
    if facility is None:
        known = ", ".join(sorted(FACILITIES))
        raise ConfigError(f"syslog_facility must be one of {known}, not {settings.syslog_facility!r}")
    kinds, address = parse_address(settings.syslog_addr)
    handler = SyslogHandler(settings.syslog_addr, kinds, address, facility)
    prefix = settings.syslog_prefix or settings.proc_name.replace(":", ".")
    handler.setFormatter(logging.Formatter(f"gunicorn.{prefix}.{log}: {fmt}"))
    return handler


def parse_address(text: str) -> tuple[tuple[int, ...], str | tuple[str, int]]:
    """The types of sockets to try, in this order, and the address, of ``syslog_addr``. Raises `ConfigError`."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix":
        path, _, kind = rest.partition("#")
        kinds = {"dgram": (socket.SOCK_DGRAM,), "stream": (socket.SOCK_STREAM,)}
        return kinds.get(kind, (socket.SOCK_DGRAM, socket.SOCK_STREAM)), path
    if separator and scheme in ("udp", "tcp"):
        host, port = _host_and_port(rest)
        if port.isdigit():
            kind_of = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
            return (kind_of,), (host.lower() or "localhost", int(port))
    raise ConfigError(f"syslog_addr must be udp://HOST:PORT, tcp://HOST:PORT or unix://PATH#TYPE, not {text!r}")


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":") or "514"
    host, _, port = text.partition(":")
    return host, port or "514"


class SyslogHandler(logging.handlers.SysLogHandler):
    """Sends records without ever waiting: what cannot be sent at once is lost.

    That syslog cannot be reached is said once in the error log, and tried again every `RETRY` seconds.
    """

    _gunicorn = True

    def __init__(self, name: str, kinds: tuple[int, ...], address: str | tuple[str, int], facility: int) -> None:
        self._place = name
        self._kinds = kinds
        self._target: Any = address
        self._family: int = socket.AF_UNIX
        self._resolved = isinstance(address, str)
        self._retry_at = 0.0
        self._sock: socket.socket | None = None
        self._patience = CONNECT if is_patient() else AT_WORK
        super().__init__(address, facility)
        self._patience = 0.0

    def createSocket(self) -> None:  # noqa: N802 - the logging module's name
        """Connect, unless that has failed a moment ago."""
        if time.monotonic() < self._retry_at:
            return
        try:
            if not self._resolved:
                self._family, self._target = resolve(*self._target)
                self._resolved = True
            self._sock = self._connect()
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY
            self._tell(error)
        else:
            _told.discard(self._place)

    def _connect(self) -> socket.socket:
        failure = OSError()
        for kind in self._kinds:
            sock = socket.socket(self._family, kind)
            sock.setblocking(False)
            # Datagrams over IP need no connection; with one, the answer that nobody listens would come as an error.
            error = 0
            if kind == socket.SOCK_STREAM or self._family == socket.AF_UNIX:
                error = self._begin(sock)
            if not error:
                return sock
            sock.close()
            failure = OSError(error, os.strerror(error))
        raise failure

    def _begin(self, sock: socket.socket) -> int:
        """Connect, and return the error number. One that is not there yet is an error only where there was time."""
        error = sock.connect_ex(self._target)
        if error != errno.EINPROGRESS:
            return error
        if select.select([], [sock], [], self._patience)[1]:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.ETIMEDOUT if self._patience == CONNECT else 0

    def _tell(self, error: OSError) -> None:
        if self._place in _told:
            return
        _told.add(self._place)
        why = error.strerror or str(error) or type(error).__name__
        logging.getLogger(ERROR).warning(
            "syslog cannot be reached at %s (%s): what is logged is not sent there, until it can be", self._place, why
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = self._framed(record)
        except Exception:  # noqa: BLE001 - formatters are anybody's
            self.handleError(record)
            return
        try:
            if self._send(data):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        # It may have been started anew since.
        self._hang_up()
        try:
            self._send(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._hang_up()
            self._retry_at = time.monotonic() + RETRY
            self._tell(error)

    def _framed(self, record: logging.LogRecord) -> bytes:
        priority = self.encodePriority(self.facility, self.mapPriority(record.levelname))
        end = "\0" if self.append_nul else ""
        return f"<{priority}>{self.ident}{self.format(record)}{end}".encode("utf-8", "backslashreplace")

    def _send(self, data: bytes) -> bool:
        """Send, and return whether the connection can be used further. Raises `OSError`."""
        if self._sock is None:
            self.createSocket()
        if self._sock is None:
            return True
        if self._family != socket.AF_UNIX and self._sock.type == socket.SOCK_DGRAM:
            self._sock.sendto(data, self._target)
            return True
        return self._sock.send(data) == len(data)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
            self._sock = None
