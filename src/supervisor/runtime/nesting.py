"""An application that starts an arbiter while it is imported by one would start another one, without end."""

from __future__ import annotations

import traceback
from pathlib import Path

from supervisor.errors import BootError

_PACKAGE = str(Path(__file__).parents[1])

_below_an_arbiter = False


def mark() -> None:
    """From now on, this process and those that it forks are loaders and workers."""
    global _below_an_arbiter  # noqa: PLW0603 - a process is one thing
    _below_an_arbiter = True


def refuse() -> None:
    """Raise `BootError` in a loader or worker, with the place that wanted to start an arbiter there."""
    if not _below_an_arbiter:
        return
    callers = (frame for frame in reversed(traceback.extract_stack()) if not frame.filename.startswith(_PACKAGE))
    place = next((f"{frame.filename}:{frame.lineno}" for frame in callers), "its own code")
    raise BootError(
        f"the application starts a server itself, at {place}, while it is loaded or run by one: "
        'put that under `if __name__ == "__main__":`'
    )
