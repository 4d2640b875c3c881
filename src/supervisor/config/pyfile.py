"""Configuration files in Python: run as the module ``__config__``, read as names and values with their lines.

The file is the user's code. Whatever it raises, ``SystemExit`` included, becomes one `ConfigError`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from supervisor.compat import standin
from supervisor.config.misspelt import Names
from supervisor.errors import ConfigError
from supervisor.guard import OnlyHere

_OWN_FOLDER = str(Path(__file__).resolve().parents[1])


@dataclass(frozen=True, slots=True)
class PythonFile:
    """What a configuration file defined. ``shown`` is its name for messages."""

    path: str
    shown: str
    values: Mapping[str, Any]
    names: Names = field(default_factory=Names)

    def source(self, name: str) -> str:
        """Where a name was assigned: ``gunicorn.conf.py:12``, or without the line where it is not known."""
        line = self.names.line(name, self.values.get(name))
        return f"{self.shown}:{line}" if line else self.shown


def run_file(path: str, shown: str) -> PythonFile:
    """Run a file as ``__config__``. Raises `ConfigError`."""
    if not os.path.isfile(path):
        reason = "is not a file" if os.path.exists(path) else "does not exist"
        raise ConfigError(f"The configuration file {shown} {reason}.")
    path = os.path.abspath(path)
    if path.endswith(".pyc"):
        return _run(path, shown, "", lambda: _module_of_bytecode(path))
    try:
        source = importlib.machinery.SourceFileLoader("__config__", path).get_data(path)
    except OSError as error:
        raise ConfigError(f"The configuration file {shown} cannot be read: {error.strerror}.") from None
    return _run(path, shown, source, lambda: _module_of_source(path, source))


def run_module(name: str) -> PythonFile:
    """Import a module as configuration. Raises `ConfigError`."""
    shown = f"python:{name}"
    read = _run("", shown, "", lambda: importlib.import_module(name))
    path = read.values.get("__file__") or ""
    try:
        source = Path(path).read_bytes() if path.endswith(".py") else b""
    except OSError:
        source = b""
    return PythonFile(path, os.path.basename(path) or shown, read.values, Names.of(source))


def _run(path: str, shown: str, source: bytes | str, execute: Callable[[], ModuleType]) -> PythonFile:
    try:
        with OnlyHere():
            module = execute()
    except BaseException as error:  # user code: SystemExit and the like included, none of it may end the arbiter
        raise _failure(error, path, shown) from error
    return PythonFile(path, shown, dict(vars(module)), Names.of(source))


def _module_of_source(path: str, source: bytes) -> ModuleType:
    """Run the source, not bytecode cached beside it: that may be older than a change made within the same second."""
    loader = importlib.machinery.SourceFileLoader("__config__", path)
    spec = importlib.util.spec_from_file_location("__config__", path, loader=loader)
    module = ModuleType("__config__") if spec is None else importlib.util.module_from_spec(spec)
    sys.modules["__config__"] = module
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102  # the user's own configuration
    return module


def _module_of_bytecode(path: str) -> ModuleType:
    loader = importlib.machinery.SourcelessFileLoader("__config__", path)
    spec = importlib.util.spec_from_file_location("__config__", path, loader=loader)
    module = ModuleType("__config__") if spec is None else importlib.util.module_from_spec(spec)
    sys.modules["__config__"] = module
    loader.exec_module(module)
    return module


def _failure(error: BaseException, path: str, shown: str) -> ConfigError:
    record = traceback.TracebackException.from_exception(error)
    _trim(record)
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == path else _line_in(error, path)
    where = f"{shown}:{line}" if line else shown
    reason = error.msg if isinstance(error, SyntaxError) else _text(error)
    said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if advice := standin.hint(error):
        said = f"{said}; {advice}"
    lines = list(record.format())
    detail = "".join(lines) if len(lines) > 1 else ""  # one line alone would be said twice
    return ConfigError(f"The configuration file cannot be used: {where} raised {said}", detail=detail)


def _text(error: BaseException) -> str:
    try:
        return (str(error).splitlines() or [""])[0]
    except Exception:  # noqa: BLE001  # the user's exception class may be as broken as the file
        return ""


def _line_in(error: BaseException, path: str) -> int | None:
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == path]
    return lines[-1] if lines else None


def _trim(record: traceback.TracebackException) -> None:
    """Leave the user's frames only, in the chained exceptions too."""
    pending, seen = [record], set()
    while pending:
        one = pending.pop()
        seen.add(id(one))
        one.stack[:] = [frame for frame in one.stack if not _foreign(frame.filename)]
        pending += [other for other in (one.__cause__, one.__context__) if other is not None and id(other) not in seen]


def _foreign(filename: str) -> bool:
    return filename.startswith((_OWN_FOLDER + os.sep, "<frozen importlib")) or filename == importlib.__file__
