"""`Logger`, the class to derive a ``logger_class`` from, with the surface of ``gunicorn.glogging.Logger``.

An instance is made in the arbiter, at the start and at each reload, and inherited by the workers.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from supervisor.errors import ConfigError, reason
from supervisor.logs.configuration import CONFIG_DEFAULTS, DATE_FORMAT, ERROR_FORMAT, configuration, path_of
from supervisor.logs.format import escape
from supervisor.logs.handlers import ACCESS, ERROR, LEVELS, LogFile, QuietStreamHandler, reopen

__all__ = ["CONFIG_DEFAULTS", "Logger", "SafeAtoms"]


class SafeAtoms(dict[str, Any]):
    """The atoms of a request for a ``%`` format: text is escaped, what is missing is ``-``, braces ignore the case."""

    def __init__(self, atoms: Any) -> None:
        super().__init__(
            {name: escape(value) if isinstance(value, str) else value for name, value in dict(atoms).items()}
        )

    def __getitem__(self, name: str) -> Any:
        return self.get(name.lower() if name.startswith("{") else name, "-")


class Logger:
    """The error log and the access log, as the settings have them.

    To change handlers, formatters or filters, override `setup` and begin with ``super().setup(cfg)``; to change what is
    logged of a request, `atoms` or `access`. Only with one of those two overridden, a request takes this way; else its
    line is made by a compiled format, without the objects that these methods are given. An override that raises is
    reported, and reaches no request.
    """

    LOG_LEVELS: ClassVar[dict[str, int]] = LEVELS
    loglevel: int = logging.INFO
    error_fmt: str = ERROR_FORMAT
    datefmt: str = DATE_FORMAT
    access_fmt: str = "%(message)s"
    syslog_fmt: str = "[%(process)d] %(message)s"
    atoms_wrapper_class: Any = SafeAtoms

    def __init__(self, cfg: Any) -> None:
        self.error_log = logging.getLogger(ERROR)
        self.access_log = logging.getLogger(ACCESS)
        self.error_log.propagate = False
        self.access_log.propagate = False
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        self.logfile: Any = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Give the loggers the handlers and levels that ``cfg`` asks for.

        Raises `ConfigError` in one line if a file cannot be written, or a logging configuration does not hold.
        """
        self.cfg = cfg
        level = LEVELS.get(str(cfg.loglevel).lower())
        if level is None:
            raise ConfigError(f"loglevel must be one of {', '.join(reversed(LEVELS))}, not {cfg.loglevel!r}")
        configure = configuration(cfg)
        self.loglevel = level
        self.error_log.setLevel(level)
        self.access_log.setLevel(logging.INFO)
        for log in (self.error_log, self.access_log):
            log.handlers[:] = [handler for handler in log.handlers if not getattr(handler, "_gunicorn", False)]
        errorlog = "-" if cfg.errorlog is None else cfg.errorlog
        self._set_handler(self.error_log, errorlog, logging.Formatter(self.error_fmt, self.datefmt))
        if cfg.accesslog is not None:
            self._set_handler(self.access_log, cfg.accesslog, logging.Formatter(self.access_fmt), sys.stdout)
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        if configure is not None:
            configure()

    # -- the error log

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at a level given by number or by name; an unknown name means info."""
        number = LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(number, msg, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # The rest of what a `logging.Logger` has.
        if name.startswith("_") or name in ("error_log", "access_log"):
            raise AttributeError(name)
        return getattr(self.error_log, name)

    # -- the access log

    @property
    def access_log_enabled(self) -> bool:
        """Whether any setting asks for an access log."""
        cfg = self.cfg
        syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        return bool(cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json or syslog)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line of a finished request: ``access_log_format``, with what `atoms` returns."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:  # noqa: BLE001 - handlers and formatters are anybody's
            self.exception("the access log failed")

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
        """The atoms of a request by name (see `supervisor.logs.format`), not yet escaped.

        ``resp`` has ``status``, ``headers`` and ``sent``; ``req`` has ``headers``, or is a list of them.
        """
        status = resp.status
        sent = getattr(resp, "sent", None)
        microseconds = request_time // timedelta(microseconds=1)
        method, protocol = environ.get("REQUEST_METHOD"), environ.get("SERVER_PROTOCOL")
        atoms: dict[str, Any] = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": f"{method} {environ.get('RAW_URI')} {protocol}",
            "s": status.split(None, 1)[0] if isinstance(status, str) else status,
            "m": method,
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": protocol,
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": microseconds // 1_000_000,
            "D": microseconds,
            "M": microseconds // 1_000,
            "L": f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06}",
            "p": f"<{os.getpid()}>",
        }
        atoms |= {f"{{{str(name).lower()}}}i": value for name, value in _pairs(getattr(req, "headers", req))}
        atoms |= {f"{{{str(name).lower()}}}o": value for name, value in _pairs(resp.headers)}
        atoms |= {f"{{{str(name).lower()}}}e": value for name, value in environ.items()}
        return atoms

    def now(self) -> str:
        """The local time as in the access log."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def _get_user(self, environ: dict[str, Any]) -> str | None:
        """The user of HTTP Basic authentication (RFC 7617)."""
        scheme, _, credentials = str(environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            return base64.b64decode(credentials.strip()).partition(b":")[0].decode()
        except (binascii.Error, ValueError):
            return None

    # -- files

    def reopen_files(self) -> None:
        """Reopen the file of every handler of every logger, and captured output (USR1)."""
        reopen()

    def close_on_exec(self) -> None:
        """Nothing to do: descriptors are not inherited through exec (PEP 446)."""

    # -- by these names, overrides of `setup` use what it is made of

    def _get_gunicorn_handler(self, log: logging.Logger) -> Any:
        """The handler that the settings have given to this logger, or None."""
        return next((handler for handler in log.handlers if getattr(handler, "_gunicorn", False)), None)

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: Any, stream: Any = None) -> None:
        """Put a handler for ``output`` in the place of the one that the settings have given to this logger.

        ``output`` is a file, ``-`` for ``stream`` (default: standard error), or None for no handler.
        """
        handler: LogFile | QuietStreamHandler
        if output == "-":
            handler = QuietStreamHandler(stream)
        elif output is not None:
            path = path_of(self.cfg, output)
            try:
                handler = LogFile(path, (self.cfg.user, self.cfg.group))
            except OSError as error:
                name = "accesslog" if log is self.access_log else "errorlog"
                raise ConfigError(f"{name} {path!r} cannot be written: {reason(error, path)}") from None
        old = self._get_gunicorn_handler(log)
        if old is not None:
            log.removeHandler(old)
            if getattr(old, "maker", None) is self:
                old.close()
        if output is not None:
            handler.maker = self
            handler.setFormatter(fmt)
            log.addHandler(handler)

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        """Add a handler that sends to ``syslog_addr``, in addition to the others."""
        from supervisor.logs.syslog import make_handler  # only who uses it pays for its imports

        log.addHandler(make_handler(cfg, fmt, name))


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    pairs: Iterable[tuple[Any, Any]] = headers.items() if hasattr(headers, "items") else headers
    return pairs
