"""Settings in TOML: a file of their own, or the table ``[tool.supervisor]`` of a ``pyproject.toml``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from supervisor.errors import ConfigError


def read(path: str, shown: str) -> dict[str, tuple[Any, str]] | None:
    """Each name with its value and its source. None for a ``pyproject.toml`` without a table for us.

    Dashes in names count as underscores. Raises `ConfigError` where the file cannot be read or is no TOML.
    """
    project = Path(path).name == "pyproject.toml"
    try:
        text = Path(path).read_text(encoding="utf-8")
        if project and not re.search(r"tool\W+supervisor", text):
            return None  # not about us: its mistakes are none of our business, and its parser stays unloaded
        import tomllib

        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"The configuration file {shown} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigError(f"The configuration file {shown} is not valid TOML: {error}") from None
    header = 0
    if project:
        table = document.get("tool", {}).get("supervisor")
        if not isinstance(table, dict):
            return None
        document = table
        header = _line(text, re.compile(r"\s*\[\s*tool\s*\.\s*supervisor\s*\]"), 0) or 0
    found = {}
    for key, value in document.items():
        line = _line(text, re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*="""), header)
        found[key.replace("-", "_")] = (value, f"{shown}:{line}" if line else shown)
    return found


def _line(text: str, pattern: re.Pattern[str], after: int) -> int | None:
    lines = enumerate(text.splitlines(), start=1)
    return next((number for number, line in lines if number > after and pattern.match(line)), None)
