"""gunicorn and this package as programs: how either is started in a comparison, and ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

import supervisor
from tests.parity.oracle import PYTHON
from tests.process.harness import PATIENCE

SOURCE = str(Path(supervisor.__file__).parents[1])


def command(program: str, *arguments: str) -> list[str]:
    """The command line of ``program``, which is "gunicorn" or "supervisor"."""
    if program == "gunicorn":
        return [PYTHON, "-W", "ignore", "-m", "gunicorn", "--no-control-socket", *arguments]
    return [sys.executable, "-m", program, *arguments]


def launch(
    words: Sequence[str],
    directory: Path,
    output: Path,
    *,
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start it in this directory, in a session of its own; what it writes goes to the end of ``output``.

    Of the environment of the tests it has the least that is needed, and ``environ``.
    """
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    base |= {"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"}
    with output.open("ab") as file:
        return subprocess.Popen(
            words,
            cwd=directory,
            env={**base, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=pass_fds,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it behind."""
    if process.poll() is None:
        kill_tree(process.pid)
        process.wait(PATIENCE)


def kill_tree(pid: int) -> None:
    """Kill a process with all that descend from it."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid)
        for each in [*found.children(recursive=True), found]:
            with contextlib.suppress(psutil.Error):
                each.kill()
