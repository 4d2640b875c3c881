"""Names of a configuration file that look like misspelt settings, and the lines on which names are assigned.

A file is full of names that are no settings: imports, helpers, constants that other lines use. Those are left
alone. What remains is a name that the file assigns and never reads: it was meant for us, if it resembles a setting.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

ALIASES = {
    "preload": "preload_app",
    "debug": "reload",
    "logfile": "errorlog",
    "log_file": "errorlog",
    "error_logfile": "errorlog",
    "access_logfile": "accesslog",
    "access_logformat": "access_log_format",
    "log_level": "loglevel",
    "worker": "workers",
    "num_workers": "workers",
    "thread": "threads",
    "log_format": "access_log_format",
    "keep_alive": "keepalive",
    "keepalive_timeout": "keepalive",
    "worker_timeout": "timeout",
    "max_requests_per_child": "max_requests",
    "ssl_certfile": "certfile",
    "ssl_keyfile": "keyfile",
    "pid": "pidfile",
    "uid": "user",
    "gid": "group",
    "env": "raw_env",
    "after_fork": "post_fork",
    "before_fork": "pre_fork",
    "worker_start": "post_worker_init",
}
"""What people write, and the setting that they mean: flags as names, and the words of other servers."""


@dataclass(frozen=True, slots=True)
class Names:
    """The top-level names of a file: where each is assigned, which are read or imported, which are functions."""

    lines: Mapping[str, list[tuple[int, ast.expr | ast.alias | None]]] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    @classmethod
    def of(cls, source: bytes | str) -> Names:
        """The names of a source; none where it cannot be parsed."""
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return cls()
        lines: dict[str, list[tuple[int, ast.expr | ast.alias | None]]] = {}
        for name, line, value in _assignments(tree.body):
            lines.setdefault(name, []).append((line, value))
        loads = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        imported = {name for name, _, value in _assignments(tree.body) if isinstance(value, ast.alias)}
        return cls(lines, frozenset(node.id for node in loads), frozenset(imported), frozenset(functions))

    def line(self, name: str, value: Any) -> int | None:
        """The line that assigned the value: the last one, without those that state another value literally."""
        candidates = [line for line, expression in self.lines.get(name, []) if _may_be(expression, value)]
        return candidates[-1] if candidates else None


def suspicious(values: Mapping[str, Any], names: Names, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each name that looks like a misspelt setting, with the setting that was probably meant."""
    for name in names.lines:
        if name in settings or name not in values or name.startswith("_"):
            continue
        if name in names.read or name in names.imported:
            continue
        if isinstance(values[name], type) or (callable(values[name]) and name not in names.functions):
            continue
        meant = nearest(name, settings, function=name in names.functions)
        another_way = name.lower() in ALIASES or name.lower() == meant
        if meant is not None and not (another_way and meant in values):
            yield name, meant


def nearest(name: str, settings: Mapping[str, Any], *, function: bool = False) -> str | None:
    """The setting that a name resembles. A function can only be a hook, and helpers are many: it must be close."""
    lower = name.lower()
    if lower in settings:
        return lower
    alias = ALIASES.get(lower)
    if alias in settings:
        return alias
    close = get_close_matches(lower, settings, n=1, cutoff=0.88 if function else 0.8)
    return close[0] if close else None


def _assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, int, ast.expr | ast.alias | None]]:
    """Names that the top level of a module assigns, ``if``, ``for``, ``with`` and ``try`` included."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name, statement.lineno, None
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield (alias.asname or alias.name).partition(".")[0], statement.lineno, alias
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                value = statement.value if isinstance(target, ast.Name) else None
                yield from ((name, statement.lineno, value) for name in _targets(target))
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from ((name, statement.lineno, statement.value) for name in _targets(statement.target))
        elif isinstance(statement, ast.AugAssign):
            yield from ((name, statement.lineno, None) for name in _targets(statement.target))
        else:
            if isinstance(statement, ast.For):
                yield from ((name, statement.lineno, None) for name in _targets(statement.target))
            for part in ("body", "orelse", "finalbody"):
                yield from _assignments(getattr(statement, part, []))
            for handler in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
                yield from _assignments(handler.body)


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _targets(element)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value)


def _may_be(expression: ast.expr | ast.alias | None, value: Any) -> bool:
    if expression is None or isinstance(expression, ast.alias):
        return True
    try:
        return bool(ast.literal_eval(expression) == value)
    except Exception:  # noqa: BLE001  # no literal, or a value of the user's with an odd comparison: it may well be this line
        return True
