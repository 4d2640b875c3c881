"""Who removes the pidfile and the files of Unix sockets when the arbiter was killed.

Mostly a loader, which outlives it. One that has given up root cannot remove what root has made: for each of them there
is a janitor, a fork of the arbiter that stays root, runs nothing of anybody's, and waits for both of them to be gone.
"""

from __future__ import annotations

import gc
import os
import select
import signal
from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Final, NoReturn

from supervisor.runtime import pidfile, titles
from supervisor.runtime.signals import HANDLED, SignalWakeup
from supervisor.runtime.sockets import Listener
from supervisor.runtime.system import Plan

END: Final = 5.0
"""Seconds that the end of a killed process may take."""
GLANCE: Final = 0.002
"""Seconds between two looks whether it has come."""


def tidy_up(pidfile_path: str, listeners: Iterable[Listener], arbiter_pid: int) -> None:
    """Remove the files that a killed arbiter could not remove: any other has ended this process before itself.

    To be called in a child of the arbiter.
    """
    _await_the_end_of(arbiter_pid)
    if pidfile_path:
        for suffix in ("", pidfile.SUFFIX):
            pidfile.clear(pidfile_path + suffix, arbiter_pid)
    for listener in listeners:
        listener.clear()


def _await_the_end_of(parent: int) -> None:
    """An exiting process closes its descriptors one after the other, and gives its children away after the last one.

    Its end of a channel may be closed when its lock of the pidfile and its listeners are not yet.
    """
    until = monotonic() + END
    while os.getppid() == parent and monotonic() < until:
        sleep(GLANCE)


def start(plan: Plan, *, loader: int, signals: SignalWakeup, let_go: Callable[[], None]) -> int:
    """Fork the janitor of a loader, a child of this process that was not reaped yet, and return its pid.

    ``let_go`` closes, in the fork, what the arbiter holds. Raises `OSError` if it cannot be forked, or if the kernel
    knows no descriptors of processes (pidfd_open(2)).
    """
    descriptor = os.pidfd_open(loader)
    try:
        with signals.held():
            arbiter_pid = os.getpid()
            if (pid := os.fork()) == 0:
                _be_the_janitor(plan, descriptor, let_go, arbiter_pid)
    finally:
        os.close(descriptor)
    return pid


def _be_the_janitor(plan: Plan, loader: int, let_go: Callable[[], None], arbiter_pid: int) -> NoReturn:
    try:
        gc.disable()  # a collection would copy what is shared with the arbiter
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)  # sent to the whole group, they are not for this process
        let_go()
        # Of the standard streams and the log files too, which others may wait for.
        os.dup2(loader, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        titles.set_title("janitor", plan.settings.proc_name)
        path = pidfile.settled(plan.settings.pidfile) if plan.settings.pidfile else ""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.poll()
        if os.getppid() != arbiter_pid:
            tidy_up(path, plan.listeners, arbiter_pid)
    finally:
        os._exit(0)
