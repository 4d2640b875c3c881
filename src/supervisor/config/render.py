"""The settings as text: ``--print-config``."""

from __future__ import annotations

from supervisor.config.settings import Settings, Value


def print_config(settings: Settings) -> str:
    """A line for each setting, sorted: gunicorn's ``name = value``, two spaces, ``#`` and the source."""
    width = max(map(len, settings.settings))
    lines = (
        f"{name:{width}} = {spelled(value)}  # {value.source}" for name, value in sorted(settings.settings.items())
    )
    return "\n".join(lines)


def spelled(value: Value) -> str:
    """The value as gunicorn prints it."""
    found = value.value
    if found is None and value.declaration.unset:
        return value.declaration.unset
    if callable(found):
        return f"<{getattr(found, '__qualname__', type(found).__qualname__)}()>"
    return str(found)
