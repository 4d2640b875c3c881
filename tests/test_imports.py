"""Who may import whom: ``cli → runtime → core`` and ``cli → config``; workers know the protocols, never the arbiter.

Imports under ``TYPE_CHECKING`` do not count, imports inside functions do: they happen.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import supervisor

PACKAGE = Path(supervisor.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FORBIDDEN = {
    # core is pure: no I/O, no clock, no logging, no randomness of its own.
    "supervisor.core": [
        "asyncio", "datetime", "logging", "os", "random", "secrets", "select", "selectors", "signal", "socket",
        "subprocess", "threading", "time", "supervisor.cli", "supervisor.config", "supervisor.hooks", "supervisor.logs",
        "supervisor.runtime", "supervisor.workers",
    ],
    "supervisor.config": ["supervisor.cli", "supervisor.core", "supervisor.runtime", "supervisor.workers"],
    "supervisor.logs": ["supervisor.cli", "supervisor.core", "supervisor.runtime", "supervisor.workers"],
    "supervisor.workers": ["supervisor.cli", "supervisor.core", "supervisor.runtime"],
    "supervisor.runtime": ["supervisor.cli", "asyncio", "uvicorn", "uvloop"],
    # Stand-ins are found wherever a configuration is read. Some of what is behind them runs elsewhere: see LAZY.
    "supervisor.compat": ["supervisor.cli", "supervisor.core", "supervisor.check", "supervisor.migrate"],
    # Questions about a configuration are answered without an arbiter.
    "supervisor.migrate": ["supervisor.cli", "supervisor.core", "supervisor.runtime", "supervisor.workers"],
    "supervisor.check": ["supervisor.cli", "supervisor.core", "supervisor.workers", "supervisor.runtime.loop"],
    "supervisor.imported": ["supervisor.cli", "supervisor.config", "supervisor.core", "supervisor.runtime"],
    "supervisor.placeholder": ["supervisor.cli", "supervisor.config", "supervisor.runtime", "supervisor.workers"],
    "supervisor.protocols": ["supervisor.runtime", "supervisor.core", "supervisor.workers"],
    "supervisor.errors": ["supervisor"],
}  # fmt: skip

LAZY = {"supervisor.compat.app": "supervisor.runtime", "supervisor.compat.guests": "supervisor.workers"}
"""Of the stand-ins, launchers run the arbiter, and guests are workers. No other one knows either."""

QUESTIONS = ("supervisor.check", "supervisor.migrate")

WORKER_MODULES = "supervisor.workers"
LOADER_ONLY = {f"supervisor.runtime.{name}" for name in ("child", "credentials", "loader", "trial")}
"""They run in the loader, in workers, or in their place, so they may import worker classes."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that the file imports, with its line, ``from x import y`` as both x and x.y."""

    def visit(node: ast.AST) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                yield child.module or "", child.lineno
                yield from ((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)
            yield from visit(child)

    return visit(ast.parse(path.read_text()))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_directions(path: Path) -> None:
    module = name_of(path)
    wrong = [
        f"{path.name}:{line} imports {imported}"
        for package, forbidden in FORBIDDEN.items()
        if within(module, package)
        for imported, line in imports(path)
        if any(within(imported, name) for name in forbidden) and not within(imported, package)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), "supervisor.runtime")], ids=name_of)
def test_the_runtime_knows_workers_by_their_protocol(path: Path) -> None:
    if name_of(path) in LOADER_ONLY:
        return
    assert [imported for imported, _ in imports(path) if within(imported, WORKER_MODULES)] == []


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), "supervisor.compat")], ids=name_of)
def test_stand_ins_know_neither_arbiter_nor_workers(path: Path) -> None:
    allowed = LAZY.get(name_of(path), "")
    known = {imported for imported, _ in imports(path)}
    wrong = {name for name in known if within(name, "supervisor.runtime") or within(name, "supervisor.workers")}
    assert {name for name in wrong if not (allowed and within(name, allowed))} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_asks(path: Path) -> None:
    if name_of(path) != "supervisor.cli":
        assert [name for name, _ in imports(path) if name in QUESTIONS] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_touches_uvicorn_beyond_its_public_api(path: Path) -> None:
    if name_of(path) == "supervisor.workers.engine":
        return
    public = {"uvicorn", "uvicorn.main", "uvicorn.run", "uvicorn.Config", "uvicorn.Server"}
    assert [name for name, _ in imports(path) if within(name, "uvicorn") and name not in public] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_have_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 440


def test_the_arbiter_is_small() -> None:
    """What its process imports decides how fast it starts, and how much every worker carries."""
    loaded = loaded_by("import supervisor.runtime.loop, supervisor.runtime.daemon, supervisor.cli")
    assert not {"asyncio", "uvicorn", "uvloop", "httptools", "fastapi", "starlette"} & loaded
    # What only some settings need.
    assert not {"gunicorn", "a2wsgi", "importlib.metadata", "logging.config", "psutil", "ssl", "watchfiles"} & loaded
    assert not {"supervisor.check", "supervisor.migrate", "supervisor.logs.statsd", "supervisor.logs.syslog"} & loaded


def test_a_question_needs_no_arbiter() -> None:
    """``--version`` and ``--print-config`` answer at once."""
    loaded = loaded_by("import supervisor.cli")
    assert not {"json", "pickle", "socket", "ctypes", "importlib.resources", "supervisor.runtime.loop"} & loaded


def loaded_by(code: str) -> set[str]:
    """The modules that an interpreter has after this code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
