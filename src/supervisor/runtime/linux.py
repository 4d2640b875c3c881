"""What Linux has and the standard library does not know: prctl(2)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

from supervisor.errors import SupervisorError

_PR_SET_PDEATHSIG: Final = 1  # numbers of <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37


def set_child_subreaper(*, on: bool = True) -> None:
    """Become the parent of descendants whose parent died, as PID 1 is (``PR_SET_CHILD_SUBREAPER``, Linux 3.4).

    Children made by fork(2) do not inherit it. Without ``on``, be that no more.

    Raises:
        SupervisorError: not on Linux.
        OSError: the kernel refuses.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def have_subreaper() -> bool:
    """Whether this process is a subreaper: `set_child_subreaper` was called and worked. False where there is none."""
    if sys.platform != "linux":
        return False
    import ctypes

    answer = ctypes.c_int()
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer))
    return bool(answer.value)


def set_parent_death_signal(signum: signal.Signals) -> None:
    """Have the kernel send ``signum`` to this process when its parent dies (``PR_SET_PDEATHSIG``).

    A change of user or group id and a fork(2) clear it. A parent that is dead already sends nothing: compare
    `os.getppid` afterwards. "Parent" is the *thread* that forked.

    Raises:
        SupervisorError: not on Linux.
        OSError: the kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, signum)


def clear_parent_death_signal() -> None:
    """Have the kernel send nothing when the parent dies."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def _prctl(option: int, argument: int) -> None:
    if sys.platform != "linux":
        raise SupervisorError(f"this needs Linux (prctl(2)), and runs on {sys.platform}")
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    if prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def has_terminal() -> bool:
    """Whether this process has a controlling terminal (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
