"""From the setting ``worker_class`` to a class, imported in the process that makes workers of it.

Whether the name is one at all was asked before, in the arbiter: see `supervisor.config.worker_class`.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any, cast

from supervisor.compat.bases import is_foreign
from supervisor.compat.standin import hint, standing_in
from supervisor.config.schema import Invalid
from supervisor.config.worker_class import ENTRY_POINTS, check, is_path, validate_name
from supervisor.errors import ConfigError
from supervisor.protocols import WorkerFactory


def resolve(value: Any) -> WorkerFactory:
    """Return the worker class that the setting ``worker_class`` stands for, importing its module.

    Raises `ConfigError` if there is no such class, if it cannot be imported, or is no worker class.
    """
    try:
        name = validate_name(value)
        found = check(_imported(name, value), value) if isinstance(name, str) else name
    except Invalid as error:
        raise ConfigError(f"worker_class {error}") from None
    if is_foreign(found):
        from supervisor.compat.guests import adopt  # only who brings such a class needs what it takes

        return cast(WorkerFactory, adopt(found))
    return cast(WorkerFactory, found)


def _imported(name: str, value: Any) -> Any:
    if not is_path(name):
        (entry,) = metadata.entry_points(group=ENTRY_POINTS, name=name)
        name = entry.value
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        with standing_in():
            found: Any = importlib.import_module(module_name)
            # Packages such as aiohttp import their workers, and gunicorn, when they are asked for them.
            for part in attribute.split("."):
                found = getattr(found, part)
    except Exception as error:
        said = "; ".join(filter(None, (f"{type(error).__name__}: {error}", hint(error))))
        raise ConfigError(f"worker_class {value!r} cannot be imported: {said}") from error
    return found
