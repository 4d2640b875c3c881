"""gunicorn's answers to questions about configuration.

``GUNICORN_PYTHON`` may name an interpreter that has gunicorn; else it has to be installed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PYTHON = os.environ.get("GUNICORN_PYTHON", sys.executable)


@dataclass(frozen=True, slots=True)
class Resolved:
    """How a start went: the lines of ``--print-config`` by name, or none and an exit code."""

    lines: dict[str, str] | None
    exit_code: int


class Oracle:
    """One process, which forks a gunicorn for each question."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-W", "ignore", str(Path(__file__).with_name("oracle_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        """End the process."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def ask(self, what: str, **question: Any) -> dict[str, Any]:
        """The answer of one of the functions of `tests.parity.oracle_process`, with the exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": what, **question}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "gunicorn's process has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def resolve(self, arguments: Sequence[str], environ: Mapping[str, str], directory: str) -> Resolved:
        """A start with this command line, in this directory, up to the configuration."""
        found = self.ask("resolve", arguments=list(arguments), environ=dict(environ), directory=directory)
        if found["answer"] is None:
            return Resolved(None, found["exit"])
        lines = (line.split(" = ", 1) for line in found["answer"].splitlines())
        return Resolved({name.strip(): value for name, value in lines}, 0)

    def answers(self, what: str, **question: Any) -> Any:
        """As `ask`, where gunicorn must have an answer."""
        found = self.ask(what, **question)
        assert found["answer"] is not None, found.get("error")
        return found["answer"]
