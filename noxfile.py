"""The checks by name: ``nox`` runs tests, lint and types; ``nox -l`` lists all."""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
ORACLE = ["gunicorn==27.0.1", "uvicorn-worker==0.4.0"]
PEERS = [*ORACLE, "uvicorn==0.54.0"]
MORE_PEERS = ["uvicorn[standard]==0.54.0", "granian==2.8.7", "hypercorn==0.18.0", "fastapi==0.165.0"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests; arguments after ``--`` go to pytest."""
    session.install("-e", ".[test]", *ORACLE)
    session.run("pytest", "-n", "4", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Random orders, deploys and kills under load; CHAOS_SECONDS and CHAOS_SEED are read."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "chaos", "-s", "tests/process/test_chaos.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, of the tests as well."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
@nox.parametrize("uvicorn", ["oldest", "newest"])
def uvicorn_compat(session: nox.Session, uvicorn: str) -> None:
    """What we use of uvicorn beyond its public API, on both ends of the supported range."""
    session.install("-e", ".[test]")
    if uvicorn == "oldest":
        session.install(f"uvicorn=={oldest('uvicorn')}")
    else:
        session.install("--upgrade", "uvicorn")
    session.run("pytest", "-n", "4", "tests/contracts", "tests/workers", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the pages that come from the code, then see that no link between the pages leads nowhere."""
    session.install("-e", ".[test]")
    session.run("python", "docs/generate.py")
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def gunicorn_parity(session: nox.Session) -> None:
    """Every setting and hook of gunicorn's beside ours, as a table; fails on a difference that nobody has declared."""
    session.install("-e", ".[test]", *ORACLE)
    session.run("python", "-m", "tests.parity", *session.posargs)


@nox.session
def lifecycle(session: nox.Session) -> None:
    """What operators do, under load, compared with other servers; arguments after ``--`` such as ``--quick``."""
    session.install("-e", ".[test]", *PEERS)
    session.run("python", "-m", "benchmarks.lifecycle", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, memory and recovery compared with other servers; arguments after ``--`` such as ``--quick``."""
    session.install("-e", ".[test]", *PEERS, *MORE_PEERS)
    session.run("python", "-m", "benchmarks.bench", *session.posargs)


def oldest(distribution: str) -> str:
    """The lower bound of a run-time dependency, read where it is declared."""
    found = re.search(rf'"{distribution}>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert found, f"{distribution} has no lower bound in pyproject.toml"
    return found.group(1)
