"""``python -m supervisor migrate FILE``: what would be different from gunicorn with this configuration."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.checks import warnings
from supervisor.config.differences import DEPRECATED, OWN, STAND_IN, Verdict, difference
from supervisor.config.load import Examined
from supervisor.config.schema import Kind
from supervisor.config.settings import Settings, Value
from supervisor.config.validators import shown
from supervisor.config.worker_class import described

_HEADINGS: Mapping[Verdict, str] = {
    Verdict.REFUSED: "Cannot be had",
    Verdict.DIFFERS: "Differs",
    Verdict.NO_EFFECT: "No effect",
    Verdict.BETTER: "Better",
    Verdict.SAME: "Same",
}
_NOT_SHOWN = ("config", "check_config", "print_config", "default_proc_name")
"""How the question was asked, and what follows from the application."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting, hook or import. ``text`` is how it differs, empty where it does not."""

    verdict: Verdict
    subject: str
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Migration:
    """The lines, what is refused, and what is said at the start where gunicorn is silent."""

    title: str
    lines: list[Line]
    refused: list[str]
    remarks: list[str]

    @property
    def exit_code(self) -> int:
        """1 if something is refused, else 0."""
        return 1 if self.refused else 0

    def __str__(self) -> str:
        return "\n".join(self._text())

    def _text(self) -> Iterator[str]:
        yield self.title
        yield from _section("Refused", self.refused)
        for verdict, heading in _HEADINGS.items():
            lines = [line for line in self.lines if line.verdict is verdict]
            width = max((len(line.subject) for line in lines), default=0)
            shown_lines = []
            for line in lines:
                shown_lines.append(f"{line.subject:{width}}  # {line.place}")
                shown_lines += [f"    {line.text}"] if line.text else []
            yield from _section(heading, shown_lines)
        yield from _section("Said at the start, where gunicorn says nothing", self.remarks)
        yield ""
        if self.refused:
            yield "It would not start."
        else:
            yield "It would start, as far as the configuration goes: check looks at the rest."


def migration(examined: Examined) -> Migration:
    """Compare what the configuration sets, and what holds without being set, with gunicorn."""
    settings = examined.settings
    refused = [part for line, detail in examined.problems for part in (line, *detail.splitlines())]
    known = set(warnings(settings))
    return Migration(
        f"Compared with gunicorn: {settings.config_path or 'no file'}",
        [*_imports(settings), *_settings(settings, examined.invalid)],
        refused,
        [warning for warning in settings.warnings if warning not in known],
    )


def _settings(settings: Settings, invalid: AbstractSet[str]) -> Iterator[Line]:
    for name, value in settings.settings.items():
        if name in OWN or name in invalid or name in _NOT_SHOWN:
            continue
        found = difference(name)
        given = value.source != "default"
        if not given and not found.always:
            continue
        idle = found.verdict is Verdict.NO_EFFECT and value.is_default()
        text = _worker_class(settings) if name == "worker_class" else found.text
        subject = _subject(value) if given else name
        yield Line(Verdict.SAME if idle else found.verdict, subject, value.source, "" if idle else text)


def _subject(value: Value) -> str:
    if value.declaration.kind is Kind.CALLABLE:
        return f"{value.name}({', '.join(value.declaration.parameters)})"
    return f"{value.name} = {' '.join(shown(value.value).split())}"


def _worker_class(settings: Settings) -> str:
    given = settings.worker_class
    said = difference("worker_class").text
    if settings.source("worker_class") == "default":
        return said
    old = DEPRECATED.get(given) if isinstance(given, str) else None
    return "; ".join(filter(None, (f"runs as {described(given)}", old)))


def _imports(settings: Settings) -> Iterator[Line]:
    """Where the file needs gunicorn, or a package that has a worker class for it."""
    path = settings.config_path or ""
    try:
        tree = ast.parse(Path(path).read_bytes()) if path.endswith(".py") else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return  # is refused, and has been said
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            whole = node.module == "gunicorn"
            modules = [f"gunicorn.{alias.name}" for alias in node.names] if whole else [node.module or ""]
        for module in modules:
            if text := _import(module):
                assert isinstance(node, (ast.Import, ast.ImportFrom))
                yield Line(Verdict.DIFFERS, f"import {module}", f"{Path(path).name}:{node.lineno}", text)


def _import(module: str) -> str:
    if module in ("uvicorn.workers", "uvicorn_worker"):
        return "a class that derives from it runs as one of this package; CONFIG_KWARGS is heeded"
    if module.partition(".")[0] != "gunicorn":
        return ""
    if module in STAND_IN:
        return "gunicorn's where it is installed; else a stand-in that has the names that configuration files use"
    return "works only where gunicorn is installed"


def _section(heading: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"\n{heading}"
        yield from (f"  {line}" for line in lines)
