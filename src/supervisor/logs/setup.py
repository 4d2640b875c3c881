"""The loggers ``gunicorn.error`` and ``gunicorn.access``, from the settings, in gunicorn's format.

`setup` runs in the arbiter. Handlers and their files are inherited through forks.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import logging.config
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from supervisor.errors import ConfigError, reason
from supervisor.logs.facade import LEVELS

ERROR: Final = "gunicorn.error"
ACCESS: Final = "gunicorn.access"
UVICORN: Final = "uvicorn.error"

ERROR_FORMAT: Final = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT: Final = "[%Y-%m-%d %H:%M:%S %z]"
ACCESS_FORMAT: Final = "%(message)s"
FILE_MODE: Final = 0o640

DEFAULTS: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        ERROR: {"level": "INFO", "handlers": ["error_console"], "propagate": True, "qualname": ERROR},
        ACCESS: {"level": "INFO", "handlers": ["console"], "propagate": True, "qualname": ACCESS},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {"generic": {"format": ERROR_FORMAT, "datefmt": DATE_FORMAT, "class": "logging.Formatter"}},
}
"""What ``logconfig_dict`` and ``logconfig_json`` are laid over, key by key of the top level."""


class QuietStreamHandler(logging.StreamHandler[Any]):
    """A handler for standard output or error that a closed pipe or a full disk does not make noisy."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the logging module's name
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class LogFile(logging.FileHandler):
    """A log file, opened for appending (``O_APPEND``: whole lines from many processes) with mode 0640."""

    def __init__(self, path: str, owner: tuple[int, int]) -> None:
        self.owner = owner
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        stream = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_open_log_file
        )
        if os.geteuid() == 0 and self.owner != (0, 0):
            # Workers that have given up root must be able to reopen it. Devices keep their owner.
            with contextlib.suppress(OSError):
                if os.path.isfile(self.baseFilename):
                    os.fchown(stream.fileno(), *self.owner)
        return stream

    def close(self) -> None:
        # What a full disk has kept from being written is given up.
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the logging module's name
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def _open_log_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


@dataclass(slots=True)
class Logs:
    """The loggers of a process. ``access_enabled`` tells whether anybody reads the access log."""

    error: logging.Logger
    access: logging.Logger
    access_enabled: bool
    _own: list[logging.Handler] = field(default_factory=list)

    def reopen(self) -> None:
        """Reopen the file of every handler of every logger, and captured output (USR1)."""
        reopen()

    def close(self) -> None:
        """Take our handlers off the loggers and close their files: the last thing an arbiter does."""
        for logger in (self.error, self.access, logging.getLogger(UVICORN)):
            logger.handlers[:] = [handler for handler in logger.handlers if handler not in self._own]
        for handler in self._own:
            handler.close()

    def flush(self) -> None:
        """Write out what handlers hold."""
        for handler in _all_handlers():
            with contextlib.suppress(OSError, ValueError):
                handler.flush()


_captured: str | None = None


def setup(settings: Any) -> Logs:
    """Set the loggers up as ``settings`` say, in place of what an earlier call had set up.

    Raises `ConfigError` in one line if a file cannot be written or a logging configuration does not hold; the loggers
    are then as they were.
    """
    error, access = logging.getLogger(ERROR), logging.getLogger(ACCESS)
    level = LEVELS.get(str(settings.loglevel).lower())
    if level is None:
        raise ConfigError(f"loglevel must be one of {', '.join(reversed(LEVELS))}, not {settings.loglevel!r}")
    owner = (settings.user, settings.group)
    configure = _configuration(settings)
    error_handler = _handler(settings, "errorlog", "stderr", logging.Formatter(ERROR_FORMAT, DATE_FORMAT), owner)
    access_handler = None
    if settings.accesslog is not None:
        try:
            access_handler = _handler(settings, "accesslog", "stdout", logging.Formatter(ACCESS_FORMAT), owner)
        except ConfigError:
            error_handler.close()
            raise

    before = [
        (logger, list(logger.handlers), logger.level, logger.propagate) for logger in (error, access, logging.root)
    ]
    own = [handler for handler in (error_handler, access_handler) if handler is not None]
    try:
        _use(error, error_handler, level)
        _use(access, access_handler, logging.INFO)
        if configure is not None:
            configure()
    except BaseException:
        for logger, handlers, old_level, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(old_level)
            logger.propagate = propagate
        for handler in own:
            handler.close()
        raise
    _follow(error)
    _let_nothing_escape(error)
    kept = {id(handler) for handler in _all_handlers()}
    for _, handlers, _, _ in before:
        for handler in handlers:
            if id(handler) not in kept and isinstance(handler, LogFile | QuietStreamHandler):
                handler.close()
    _set_capture(settings)
    enabled = access_handler is not None or configure is not None
    return Logs(error=error, access=access, access_enabled=enabled, _own=own)


def reopen() -> None:
    """Reopen the file of every `logging.FileHandler` of every logger, so that rotated files are let go."""
    for handler in _all_handlers():
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


def _all_handlers() -> Iterator[logging.Handler]:
    seen: set[int] = set()
    loggers = [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for logger in loggers:
        for handler in list(logger.handlers):
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler


def _use(logger: logging.Logger, handler: logging.Handler | None, level: int) -> None:
    """Make ``handler`` the only one of ours; handlers that others have added stay."""
    others = [old for old in logger.handlers if not isinstance(old, LogFile | QuietStreamHandler)]
    logger.handlers[:] = [*others, handler] if handler is not None else others
    logger.setLevel(level)
    logger.propagate = False


def _let_nothing_escape(logger: logging.Logger) -> None:
    """Filters, formatters and handlers of the user may raise, and so may what is logged: nobody who logs dies of it.

    The exception shows on standard error, and the record is lost.
    """

    def handle(record: logging.LogRecord) -> None:
        try:
            type(logger).handle(logger, record)
        except (Exception, SystemExit):  # noqa: BLE001 - see above
            with contextlib.suppress(Exception, SystemExit):
                os.write(2, f"a record could not be logged: {traceback.format_exc()}".encode(errors="replace"))

    setattr(logger, "handle", handle)  # noqa: B010 - of this one logger: its class is not ours to change


def _follow(error: logging.Logger) -> None:
    """Uvicorn's messages go where ours go."""
    uvicorn = logging.getLogger(UVICORN)
    uvicorn.handlers[:] = error.handlers
    uvicorn.setLevel(error.level)
    uvicorn.propagate = error.propagate


def _handler(
    settings: Any, name: str, stream: str, formatter: logging.Formatter, owner: tuple[int, int]
) -> logging.Handler:
    target = getattr(settings, name)
    handler: logging.Handler
    if target is None or target == "-":
        handler = QuietStreamHandler(getattr(sys, stream))
    else:
        path = _path(settings, target)
        try:
            handler = LogFile(path, owner)
        except OSError as error:
            raise ConfigError(f"{name} {path!r} cannot be written: {reason(error, path)}") from None
    handler.setFormatter(formatter)
    return handler


def _path(settings: Any, name: str) -> str:
    resolve = getattr(settings, "path", None)
    return str(resolve(name)) if resolve is not None else os.path.abspath(name)


# -- logging configurations


def _configuration(settings: Any) -> Callable[[], None] | None:
    """What to call to apply ``logconfig_dict``, ``logconfig_json`` or ``logconfig``, in this order; None without."""
    if settings.logconfig_dict:
        return lambda: _apply_dict("logconfig_dict", settings.logconfig_dict)
    if settings.logconfig_json:
        path = _path(settings, settings.logconfig_json)
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"logconfig_json {path!r} cannot be used: {_flat(error)}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"logconfig_json {path!r} must hold an object, not {type(values).__name__}")
        return lambda: _apply_dict(f"logconfig_json {path!r}", values)
    if settings.logconfig:
        path = _path(settings, settings.logconfig)
        if not os.path.isfile(path):
            raise ConfigError(f"logconfig {path!r} does not exist")
        return lambda: _apply_file(path)
    return None


def _apply_dict(origin: str, values: dict[str, Any]) -> None:
    # One top-level key replaces the other, as with gunicorn; files still use handlers that they do not define.
    config: dict[str, Any] = {**copy.deepcopy(DEFAULTS), **values}
    try:
        missing = _missing_handlers(config)
        if missing:
            config["handlers"] = {**{name: DEFAULTS["handlers"][name] for name in missing}, **config["handlers"]}
            config["formatters"] = {**DEFAULTS["formatters"], **(config.get("formatters") or {})}
        logging.config.dictConfig(config)
    except BaseException as error:  # it may have any shape, and names factories that may raise anything
        raise ConfigError(f"{origin} cannot be used: {_why(error)}") from error


def _missing_handlers(config: dict[str, Any]) -> list[str]:
    loggers = [config.get("root") or {}, *(config.get("loggers") or {}).values()]
    used = {name for logger in loggers for name in logger.get("handlers", ())}
    return [name for name in DEFAULTS["handlers"] if name in used and name not in (config.get("handlers") or {})]


def _apply_file(path: str) -> None:
    defaults = {"__file__": path, "here": os.path.dirname(path)}
    try:
        logging.config.fileConfig(path, defaults=defaults, disable_existing_loggers=False)
    except BaseException as error:  # the file names classes and evaluates their arguments: anything may come of it
        raise ConfigError(f"logconfig {path!r} cannot be used: {type(error).__name__}: {_flat(error)}") from error


def _why(error: BaseException) -> str:
    """What the logging module says, which is the place, and what came of it there."""
    cause = error.__cause__
    if isinstance(error, ValueError):
        return f"{_flat(error)}: {type(cause).__name__}: {_flat(cause)}" if cause is not None else _flat(error)
    return f"{type(error).__name__}: {_flat(error)}"


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())


# -- captured output


def _set_capture(settings: Any) -> None:
    global _captured  # noqa: PLW0603 - a process has one standard output
    _captured = None
    if settings.capture_output and settings.errorlog not in (None, "-"):
        _captured = _path(settings, settings.errorlog)
        _capture(_captured)


def _capture(path: str) -> None:
    """Send what the process writes to standard output and error to ``path``."""
    try:
        descriptor = _open_log_file(path, os.O_WRONLY)
    except OSError as error:
        logging.getLogger(ERROR).error("cannot capture output in %s: %s", path, error)
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
