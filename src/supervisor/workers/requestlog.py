"""Who is told of each finished request: the compiled access log, metrics, or the methods of a user's logger.

Decided once per worker. Nobody pays for what nobody has asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from supervisor.guard import OnlyHere
from supervisor.logs.access import AccessLog
from supervisor.logs.record import environ_of
from supervisor.logs.relay import STOCK, overrides
from supervisor.protocols import WorkerContext
from supervisor.workers.journal import Exchange
from supervisor.workers.reqhooks import HookRequest, HookResponse

STATSD = "supervisor.logs.statsd"
_ATOMS = ("atoms", "atoms_wrapper_class", "now", "_get_user")
_METRICS = ("measure", "timer", "increment", "_sock_send")


class RequestLog(Protocol):
    """What is told of finished requests. Neither method raises."""

    def log(self, record: Exchange) -> None:
        """A request has ended."""

    def flush(self) -> None:
        """Write out what was gathered."""


def request_log(
    context: WorkerContext, call_later: Callable[[float, Callable[[], None]], object] | None
) -> RequestLog | None:
    """The request log of a worker, None if nobody wants to know."""
    logger, access_log = context.logger, context.access_log
    heard = bool(access_log.handlers) or (access_log.propagate and access_log.hasHandlers())
    stock = (*STOCK, STATSD)
    metrics = hasattr(logger, "measure")
    if overrides(logger, "access", stock=stock):
        return LoggerAccess(logger, context.log)
    if (heard or metrics) and overrides(logger, *_ATOMS):
        return LoggerAccess(logger, context.log)
    if metrics and overrides(logger, *_METRICS, stock=stock):
        return LoggerAccess(logger, context.log)
    lines = AccessLog(access_log, str(context.settings.access_log_format), call_later) if heard else None
    return Measured(logger.measure, lines) if metrics and logger.sock is not None else lines


class Measured:
    """Metrics of each request, and its line."""

    def __init__(self, measure: Callable[[float, int], None], lines: AccessLog | None) -> None:
        self._measure = measure
        self._lines = lines

    def log(self, record: Exchange) -> None:
        if self._lines is not None:
            self._lines.log(record)
        self._measure(record.duration, record.status)

    def flush(self) -> None:
        if self._lines is not None:
            self._lines.flush()


class LoggerAccess:
    """A logger whose ``access`` or ``atoms`` is the user's own is called for each request, as gunicorn does."""

    def __init__(self, logger: Any, log: logging.Logger) -> None:
        self._logger = logger
        self._log = log
        self._told = False

    def log(self, record: Exchange) -> None:
        """Call ``access``. What it raises is reported once."""
        try:
            with OnlyHere():
                request_time = timedelta(seconds=record.duration)
                self._logger.access(HookResponse(record), HookRequest(record), environ_of(record), request_time)
        except BaseException as error:  # noqa: BLE001 - the logger is anybody's
            if not self._told:
                self._told = True
                name = f"{type(self._logger).__qualname__}.access"
                self._log.error(
                    "%s raised %s: %s; the request is answered all the same, and this is said once",
                    *(name, type(error).__name__, error),
                    exc_info=error,
                )

    def flush(self) -> None:
        """Nothing is gathered here."""
