"""``logconfig_dict``, ``logconfig_json`` and ``logconfig``: configurations of the logging module, over our defaults."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any, Final

from supervisor.errors import ConfigError
from supervisor.logs.handlers import ACCESS, ERROR

ERROR_FORMAT: Final = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT: Final = "[%Y-%m-%d %H:%M:%S %z]"

CONFIG_DEFAULTS: Final[dict[str, Any]] = {
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


def path_of(settings: Any, name: str) -> str:
    """A file of the settings as an absolute path."""
    resolve = getattr(settings, "path", None)
    return str(resolve(name)) if resolve is not None else os.path.abspath(name)


def configuration(settings: Any) -> Callable[[], None] | None:
    """What to call to apply ``logconfig_dict``, ``logconfig_json`` or ``logconfig``, in this order; None without.

    Files are read at once. Both raise `ConfigError`.
    """
    if settings.logconfig_dict:
        return lambda: _apply_dict("logconfig_dict", settings.logconfig_dict)
    if settings.logconfig_json:
        path = path_of(settings, settings.logconfig_json)
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"logconfig_json {path!r} cannot be used: {flat(error)}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"logconfig_json {path!r} must hold an object, not {type(values).__name__}")
        return lambda: _apply_dict(f"logconfig_json {path!r}", values)
    if settings.logconfig:
        path = path_of(settings, settings.logconfig)
        if not os.path.isfile(path):
            raise ConfigError(f"logconfig {path!r} does not exist")
        return lambda: _apply_file(path)
    return None


def _apply_dict(origin: str, values: dict[str, Any]) -> None:
    from logging.config import dictConfig  # it is large, and only who has such a configuration needs it

    # One top-level key replaces the other, as with gunicorn; files still use handlers that they do not define.
    config: dict[str, Any] = {**copy.deepcopy(CONFIG_DEFAULTS), **values}
    try:
        missing = _missing_handlers(config)
        if missing:
            config["handlers"] = {**{name: CONFIG_DEFAULTS["handlers"][name] for name in missing}, **config["handlers"]}
            config["formatters"] = {**CONFIG_DEFAULTS["formatters"], **(config.get("formatters") or {})}
        dictConfig(config)
    except BaseException as error:  # it may have any shape, and names factories that may raise anything
        raise ConfigError(f"{origin} cannot be used: {_why(error)}") from error


def _missing_handlers(config: dict[str, Any]) -> list[str]:
    loggers = [config.get("root") or {}, *(config.get("loggers") or {}).values()]
    used = {name for logger in loggers for name in logger.get("handlers", ())}
    return [name for name in CONFIG_DEFAULTS["handlers"] if name in used and name not in (config.get("handlers") or {})]


def _apply_file(path: str) -> None:
    from logging.config import fileConfig  # as above

    defaults = {"__file__": path, "here": os.path.dirname(path)}
    try:
        fileConfig(path, defaults=defaults, disable_existing_loggers=False)
    except BaseException as error:  # the file names classes and evaluates their arguments: anything may come of it
        raise ConfigError(f"logconfig {path!r} cannot be used: {type(error).__name__}: {flat(error)}") from error


def _why(error: BaseException) -> str:
    """What the logging module says, which is the place, and what came of it there."""
    cause = error.__cause__
    if isinstance(error, ValueError):
        return f"{flat(error)}: {type(cause).__name__}: {flat(cause)}" if cause is not None else flat(error)
    return f"{type(error).__name__}: {flat(error)}"


def flat(error: BaseException) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split())
