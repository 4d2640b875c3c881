"""What hooks find as ``server.log`` and ``worker.log``: a `logging.Logger` that also has gunicorn's Logger surface."""

from __future__ import annotations

import logging
import time
from typing import Any

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


class LogFacade:
    """The error log, with the names of gunicorn's ``Logger`` beside those of `logging.Logger`.

    Whatever is not defined here is the error logger's own.
    """

    LOG_LEVELS = LEVELS

    def __init__(self, error_log: logging.Logger, access_log: logging.Logger, settings: Any) -> None:
        self.error_log = error_log
        self.access_log = access_log
        self.cfg = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.error_log, name)

    @property
    def loglevel(self) -> int:
        """The least severe level that is logged, as a number."""
        return self.error_log.level

    def log(self, level: int | str, message: str, *args: Any, **options: Any) -> None:
        """Log at a level given by number or by name; an unknown name means info."""
        number = LEVELS.get(level.lower(), logging.INFO) if isinstance(level, str) else level
        self.error_log.log(number, message, *args, **options)

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write a line to the access log, as gunicorn's own workers do for a finished request."""
        line = f'"{req.method} {req.uri}" {resp.status} {request_time.total_seconds():.6f}'
        self.access_log.info("%s", line)

    def now(self) -> str:
        """The local time as in the access log."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def reopen_files(self) -> None:
        """Reopen the file of every handler of every logger."""
        from supervisor.logs.setup import reopen

        reopen()

    def close_on_exec(self) -> None:
        """Nothing to do: descriptors are not inherited through exec (PEP 446)."""
