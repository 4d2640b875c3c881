"""Exit statuses in words."""

from __future__ import annotations


def describe(status: int) -> str:
    """An exit status, as of `supervisor.core.events.Exited`: ``exit code 3``, ``signal 9``."""
    return f"exit code {status}" if status >= 0 else f"signal {-status}"
