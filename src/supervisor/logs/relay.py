"""A user's logger in front of the service: which of its methods are its own, and a way to it that nothing escapes."""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from typing import Any, Final

from supervisor.logs.handlers import ERROR, LEVELS

STOCK: Final = ("supervisor.logs.logger", "gunicorn.glogging")
"""The modules of the base classes. What a logger has from there is no override."""

_METHODS: Final = {number: name for name, number in LEVELS.items()}


def overrides(logger: Any, *names: str, stock: tuple[str, ...] = STOCK) -> bool:
    """Whether the logger has one of these attributes from elsewhere than the base classes, or not at all."""
    for name in names:
        if name in getattr(logger, "__dict__", ()):
            return True
        owner = next((base for base in type(logger).__mro__ if name in vars(base)), None)
        if owner is None or owner.__module__ not in stock:
            return True
    return False


def error_log_of(logger: Any) -> logging.Logger:
    """The log that the service itself writes to: the logger's own ``error_log``, or a `Relay` to its methods."""
    error_log = getattr(logger, "error_log", None)
    if isinstance(error_log, logging.Logger) and not overrides(logger, *LEVELS, "log"):
        return error_log
    return Relay(logger)


def let_nothing_escape(logger: logging.Logger) -> None:
    """Filters, formatters and handlers of the user may raise, and so may what is logged: nobody who logs dies of it.

    The exception shows on standard error, and the record is lost.
    """

    def handle(record: logging.LogRecord) -> None:
        try:
            type(logger).handle(logger, record)
        except BaseException:  # noqa: BLE001 - see above
            _shout("a record could not be logged")

    setattr(logger, "handle", handle)  # noqa: B010 - of this one logger: its class is not ours to change


def let_everything_escape(logger: logging.Logger) -> None:
    """Take `let_nothing_escape` back."""
    vars(logger).pop("handle", None)


def _shout(what: str) -> None:
    with contextlib.suppress(BaseException):
        os.write(2, f"{what}: {traceback.format_exc()}".encode(errors="replace"))


class Relay(logging.Logger):
    """Hands each message on to the method of a user's logger that is meant for its level. Whatever that raises shows
    on standard error, with the message.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__(ERROR)
        self._to = logger
        error_log = getattr(logger, "error_log", None)
        if isinstance(error_log, logging.Logger):
            # For those who flush them, and the one who follows.
            self.handlers = error_log.handlers
            self.level = error_log.level

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the logging module's name
        return True

    def _log(  # noqa: PLR0917 - the logging module calls it
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Any = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        options = {"exc_info": exc_info, "extra": extra, "stack_info": stack_info}
        given = {name: value for name, value in options.items() if value}
        try:
            if level == logging.ERROR and exc_info:
                # An exception is counted as one, as gunicorn does.
                self._to.exception(msg, *args, **given)
            elif level in _METHODS:
                getattr(self._to, _METHODS[level])(msg, *args, **given)
            else:
                self._to.log(level, msg, *args, **given)
        except BaseException:  # noqa: BLE001 - the logger is anybody's
            _shout(f"logger_class {type(self._to).__qualname__} cannot log {_text(msg, args)!r}")


def _text(msg: object, args: Any) -> str:
    try:
        return str(msg) % args if args else str(msg)
    except BaseException:  # noqa: BLE001 - what cannot be shown is shown as it is
        return repr((msg, args))
