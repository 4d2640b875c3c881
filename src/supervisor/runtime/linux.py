"""prctl(2), which the standard library does not know."""

from __future__ import annotations

import os
import signal
import sys

from supervisor.errors import SupervisorError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def set_child_subreaper() -> None:
    """Become the parent of orphaned descendants, as PID 1 is (PR_SET_CHILD_SUBREAPER, Linux 3.4).

    Raises `SupervisorError` on other systems.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(signum: signal.Signals) -> None:
    """Have the kernel send this signal when the parent dies (PR_SET_PDEATHSIG).

    It is lost with a change of the user id. A parent that is dead already sends nothing: compare `os.getppid` after.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signum))


def _prctl(option: int, argument: int) -> None:
    if sys.platform != "linux":
        raise SupervisorError(f"supervisor runs on Linux only for now, and this is {sys.platform}")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
