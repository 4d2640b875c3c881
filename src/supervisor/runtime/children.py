"""Children of the arbiter: whom to wait for, and whose exit status is somebody else's.

A subreaper, or PID 1, is given processes that it never started: orphans of the application's own subprocesses. They are
reaped. Subprocesses that a hook started are not: their `subprocess.Popen` waits for them and wants the status.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def exit_status(wait_status: int) -> int:
    """As in `subprocess`: the exit code, or minus the number of the signal."""
    return os.waitstatus_to_exitcode(wait_status)


class Children:
    """Reaps what is ours to reap, and never waits.

    Known pids are waited for by pid (waitpid(2)); strangers are looked at first (waitid(2) with WNOWAIT).
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._of_hooks: set[int] = set()

    def expect(self, pid: int) -> None:
        """This child is ours: `reap` reports it."""
        self._known.add(pid)

    def __contains__(self, pid: int) -> bool:
        return pid in self._known

    @contextmanager
    def left_to_hooks(self) -> Iterator[None]:
        """Children that appear in this block belong to the code that runs in it, which waits for them itself."""
        before = _children()
        try:
            yield
        finally:
            self._of_hooks |= _children() - before - self._known

    def reap(self) -> tuple[dict[int, int], dict[int, int]]:
        """The exit statuses, by pid, of known children and of strangers that have ended by now."""
        known: dict[int, int] = {}
        for pid in list(self._known):
            status = _wait(pid)
            if status is not None:
                known[pid] = status
                self._known.discard(pid)
        strangers: dict[int, int] = {}
        while (pid := _next_zombie()) and pid not in self._known:
            if pid in self._of_hooks:
                # It stands before all others that WNOWAIT would show; look at each child instead.
                strangers |= self._reap_by_list()
                break
            status = _wait(pid)
            if status is None:
                break
            strangers[pid] = status
        return known, strangers

    def reap_left_to_hooks(self) -> None:
        """At the end, when no hook will run any more: what they have not waited for."""
        for pid in self._of_hooks:
            _wait(pid)

    def _reap_by_list(self) -> dict[int, int]:
        children = _children()
        self._of_hooks &= children
        found = {pid: _wait(pid) for pid in children - self._known - self._of_hooks}
        return {pid: status for pid, status in found.items() if status is not None}


def is_child(pid: int) -> bool:
    """Whether ``pid`` is a child of this process, alive or waiting to be reaped."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_children() -> bool:
    """Whether this process has any child that was not reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _wait(pid: int) -> int | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 255  # somebody else has waited for it; that it is gone is all that can be known
    return exit_status(status) if found else None


def _next_zombie() -> int:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


def _children() -> set[int]:
    """All children of this single-threaded process (proc(5), ``/proc/PID/task/TID/children``)."""
    pid = os.getpid()
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()
