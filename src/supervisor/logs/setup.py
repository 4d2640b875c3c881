"""The logs of a process, from the settings: a logger of ``logger_class``, and all or nothing of what it changes.

`setup` runs in the arbiter. Handlers and their files are inherited through forks.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from dataclasses import dataclass
from typing import Any, Final

from supervisor.errors import ConfigError
from supervisor.guard import OnlyHere
from supervisor.logs import lookup
from supervisor.logs.classes import logger_class, source
from supervisor.logs.configuration import flat, path_of
from supervisor.logs.handlers import ACCESS, ERROR, LogFile, QuietStreamHandler, all_handlers, reopen, set_capture
from supervisor.logs.logger import Logger
from supervisor.logs.relay import error_log_of, let_everything_escape, let_nothing_escape

UVICORN: Final = "uvicorn.error"


@dataclass(slots=True)
class Logs:
    """The logs of a process.

    ``logger`` is what hooks know as ``server.log`` and ``worker.log``, an instance of ``logger_class``. ``error`` is
    the log that the service itself writes to; whatever the user's class does, nothing that it raises comes out of it.
    """

    error: logging.Logger
    access: logging.Logger
    logger: Any
    _changed: _Changed

    def reopen(self) -> None:
        """Reopen the file of every handler of every logger, and captured output (USR1)."""
        reopen_files(self.logger, self.error)

    def close(self) -> None:
        """Leave the loggers as `setup` has found them, and close the files: the last thing an arbiter does."""
        global _last  # noqa: PLW0603 - as in `setup`
        if _last is self._changed:
            _last = None
        for handler in self._changed.undo():
            handler.close()
        for each in _error_logs(self.logger):
            let_everything_escape(each)

    def flush(self) -> None:
        """Write out what handlers hold."""
        for handler in all_handlers():
            with contextlib.suppress(BaseException):  # they are anybody's
                handler.flush()


def reopen_files(logger: Any, error_log: logging.Logger) -> None:
    """Have a logger reopen its files; one of the user's may have another idea of it, or none."""
    try:
        getattr(logger, "reopen_files", reopen)()
    except BaseException as error:  # noqa: BLE001 - a logger of the user's may raise anything
        error_log.error("reopen_files of logger_class raised %s: %s", type(error).__name__, error, exc_info=error)


class _Changed:
    """What a `setup` has changed on loggers: the handlers and filters that it has added, levels and propagation."""

    def __init__(self, before: _Snapshot) -> None:
        self._before = before
        self._handlers = [
            (state.logger, handler)
            for state in before.states
            for handler in state.logger.handlers
            if handler not in state.handlers
        ]
        self._filters = [
            (state.logger, added)
            for state in before.states
            for added in state.logger.filters
            if added not in state.filters
        ]

    def undo(self) -> list[logging.Handler]:
        """Put back what was there before, beside what others have added since; return the handlers of the setup."""
        for logger, handler in self._handlers:
            if handler in logger.handlers:
                logger.handlers.remove(handler)
        for logger, added in self._filters:
            logger.removeFilter(added)
        for state in self._before.states:
            state.logger.setLevel(state.level)
            state.logger.propagate = state.propagate
        return [handler for _, handler in self._handlers]


@dataclass(frozen=True, slots=True)
class _State:
    logger: logging.Logger
    handlers: list[logging.Handler]
    filters: list[Any]
    level: int
    propagate: bool


class _Snapshot:
    """The loggers as they are now."""

    def __init__(self) -> None:
        loggers = (logging.getLogger(ERROR), logging.getLogger(ACCESS), logging.getLogger(UVICORN), logging.root)
        self.states = [
            _State(each, list(each.handlers), list(each.filters), each.level, each.propagate) for each in loggers
        ]

    @property
    def handlers(self) -> list[logging.Handler]:
        return [handler for state in self.states for handler in state.handlers]

    def restore(self) -> None:
        for state in self.states:
            state.logger.handlers[:] = state.handlers
            state.logger.filters[:] = state.filters
            state.logger.setLevel(state.level)
            state.logger.propagate = state.propagate


_last: _Changed | None = None


def setup(settings: Any) -> Logs:
    """Make the logger that ``settings`` ask for, in place of what an earlier call had set up.

    Raises `ConfigError` in one line if a file cannot be written, a logging configuration does not hold, or the class
    cannot be had or raises; the loggers are then as they were.
    """
    global _last  # noqa: PLW0603 - the loggers are the process's
    before = _Snapshot()
    replaced = _last.undo() if _last is not None else []
    bare = _Snapshot()
    try:
        logger = _make(settings)
        _revive()
    except BaseException:
        made = [handler for handler in _Snapshot().handlers if handler not in before.handlers]
        before.restore()
        _revive()
        for handler in made:
            handler.close()
        raise
    error = logging.getLogger(ERROR)
    access = getattr(logger, "access_log", None)
    if not isinstance(access, logging.Logger):
        access = logging.getLogger(ACCESS)
    _follow(error)
    _last = _Changed(bare)
    for each in _error_logs(logger):
        let_nothing_escape(each)
    ours = [handler for handler in before.handlers if isinstance(handler, LogFile | QuietStreamHandler)]
    _close_unused([*ours, *replaced])
    if not _captures_by_itself(logger):
        captured = settings.capture_output and settings.errorlog not in (None, "-")
        set_capture(path_of(settings, settings.errorlog) if captured else None)
    logs = Logs(
        error=error_log_of(logger),
        access=access,
        logger=logger,
        _changed=_last,
    )
    if settings.statsd_host is not None and not hasattr(logger, "increment"):
        logs.error.warning(
            "statsd_host has no effect: logger_class %s sends no metrics; derive it from "
            "gunicorn.instrument.statsd.Statsd or supervisor.logs.statsd.Statsd",
            type(logger).__qualname__,
        )
    return logs


def try_out(settings: Any) -> bytes:
    """`setup` for trial, in a process that is thrown away: raises what it would, and logs nothing.

    Returns what it has found out about hosts, for `supervisor.logs.lookup.learn`.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with lookup.patiently():
            setup(settings)
    finally:
        logging.disable(before)
    return lookup.knowledge()


def _make(settings: Any) -> Any:
    try:
        with OnlyHere():
            return logger_class(settings)(settings)
    except ConfigError:
        raise
    except BaseException as error:
        what = settings.logger_class
        name = what.__qualname__ if isinstance(what, type) else str(what)
        said = f"{type(error).__name__}: {flat(error)}" if str(error) else type(error).__name__
        detail = "".join(traceback.format_exception(error))
        raise ConfigError(
            f"logger_class {name} ({source(settings)}) cannot be used: it raised {said}", detail=detail
        ) from error


def _revive() -> None:
    """A logging configuration closes all handlers that there are, those too that stay in use."""
    for handler in all_handlers():
        if isinstance(handler, LogFile):
            with contextlib.suppress(OSError):
                handler.revive()


def _close_unused(handlers: list[logging.Handler]) -> None:
    used = {id(handler) for handler in all_handlers()}
    for key, handler in {id(handler): handler for handler in handlers}.items():
        if key not in used:
            with contextlib.suppress(BaseException):  # they are anybody's
                handler.close()


def _error_logs(logger: Any) -> list[logging.Logger]:
    """The error log, and the one that the user's logger has in its place."""
    error = logging.getLogger(ERROR)
    own = getattr(logger, "error_log", error)
    return [error, own] if own is not error and isinstance(own, logging.Logger) else [error]


def _follow(error: logging.Logger) -> None:
    """Uvicorn's messages go where ours go."""
    uvicorn = logging.getLogger(UVICORN)
    uvicorn.handlers[:] = error.handlers
    uvicorn.setLevel(error.level)
    uvicorn.propagate = error.propagate


def _captures_by_itself(logger: Any) -> bool:
    return any(base.__module__ == "gunicorn.glogging" for base in type(logger).__mro__) and not isinstance(
        logger, Logger
    )
