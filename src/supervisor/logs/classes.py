"""Which class ``logger_class`` means. Gunicorn's own two are ours by another name."""

from __future__ import annotations

import importlib
from typing import Any, Final

from supervisor.compat.standin import standing_in
from supervisor.errors import ConfigError
from supervisor.logs.logger import Logger

ENTRY_POINTS: Final = "gunicorn.loggers"
PLAIN: Final = ("simple", "gunicorn.glogging.Logger", "supervisor.logs.logger.Logger")
STATSD: Final = ("gunicorn.instrument.statsd.Statsd", "supervisor.logs.statsd.Statsd")


def logger_class(settings: Any) -> Any:
    """The class of the logger: imported, if it is given by its name. Raises `ConfigError`, or what the import raises.

    With ``statsd_host`` the plain logger becomes one that sends metrics.
    """
    value = settings.logger_class
    name = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else str(value).strip()
    name = name.replace(":", ".") if name.count(":") == 1 else name
    if name in STATSD or (name in PLAIN and settings.statsd_host is not None):
        from supervisor.logs.statsd import Statsd

        return Statsd
    if name in PLAIN:
        return Logger
    found = value if isinstance(value, type) else _imported(str(value).strip(), settings)
    if not callable(found):
        raise ConfigError(f"logger_class {value!r} ({source(settings)}) is no class")
    install = getattr(found, "install", None)
    if callable(install):
        install()
    return found


def _imported(name: str, settings: Any) -> Any:
    if name.startswith("egg:") or not {".", ":"} & set(name):
        return _entry_point(name, settings)
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        with standing_in():
            found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that it imports itself
        raise ConfigError(
            f"logger_class {name!r} ({source(settings)}) cannot be imported: there is no module {error.name}"
        ) from None
    except AttributeError:
        raise ConfigError(
            f"logger_class {name!r} ({source(settings)}) cannot be imported: {module_name} has no {attribute}"
        ) from None
    return found


def _entry_point(name: str, settings: Any) -> Any:
    from importlib import metadata  # only who uses entry points pays for its import

    distribution, _, short = name.removeprefix("egg:").rpartition("#")
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=short):
        if not distribution or (entry.dist is not None and entry.dist.name == distribution):
            return entry.load()
    raise ConfigError(
        f"logger_class {name!r} ({source(settings)}) names no logger: write the path of a class, such as "
        f'"package.module.Class"'
    )


def source(settings: Any) -> str:
    """Where the setting comes from. Settings that are none of ours do not tell."""
    told = getattr(settings, "source", None)
    return str(told("logger_class")) if told is not None else "the settings"
