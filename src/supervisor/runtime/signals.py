"""Signals as something to wait for: each arrives as a byte on a descriptor (`signal.set_wakeup_fd`, signal(7))."""

from __future__ import annotations

import contextlib
import os
import signal
import weakref
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Final

HANDLED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
    signal.SIGCHLD,
)
"""What an arbiter acts on."""


def take_no_notice(_signum: int, _frame: object) -> None:
    """The handler of a signal that a child leaves to the arbiter. SIG_IGN would be inherited through exec."""


def heed_before_start() -> None:
    """Until an arbiter takes the signals: a stop ends the process at once, with 0, and the others find nothing to do.

    Nothing has been started yet. As PID 1 a process without handlers would not even hear of them (pid_namespaces(7)).
    """
    for number in HANDLED:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: os._exit(0))
        elif number != signal.SIGCHLD:
            signal.signal(number, lambda *_: None)


class SignalWakeup:
    """Takes the signals from the moment it is made, in the main thread. Ignores SIGPIPE.

    The descriptor is a pipe: it holds 64 Ki signals, where a socketpair holds under 300 single bytes (pipe(7)). Should
    it be full nevertheless, no kind of signal is lost, only how often and in which order it came.
    """

    def __init__(self, signals: Iterable[signal.Signals] = HANDLED) -> None:
        """Install the handlers.

        Raises:
            ValueError: not in the main thread.
        """
        self._noted: set[signal.Signals] = set()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._previous_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:
            self._close()
            raise
        self._previous: dict[signal.Signals, Any] = {number: signal.signal(number, self._note) for number in signals}
        self._previous[signal.SIGPIPE] = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _in_charge.add(self)

    def fileno(self) -> int:
        """The descriptor that is readable when signals have arrived. -1 once closed."""
        return self._reader

    def drain(self) -> list[signal.Signals]:
        """The signals that have arrived, in order; of SIGCHLD only the first, which says that somebody has died."""
        # The interpreter runs a handler after it wrote the byte, and before the code that sees the byte. So a signal
        # that was noted before the pipe is read, and is not in it, has found the pipe full.
        noted, self._noted = self._noted, set()
        arrived = [signal.Signals(number) for number in self._read() if number in self._previous]
        self._noted.difference_update(arrived)
        arrived += sorted(noted.difference(arrived))
        first_child = arrived.index(signal.SIGCHLD) if signal.SIGCHLD in arrived else -1
        return [number for at, number in enumerate(arrived) if number != signal.SIGCHLD or at == first_child]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold all signals back (sigprocmask(2)): put it around a fork, in a process without other threads.

        Without it a signal that meets the child before its `reset_in_child` would be written to the pipe that it
        shares with its parent: the parent would take it for its own. In the child, `reset_in_child` ends it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def reassert(self) -> None:
        """Put back what code of the user may have changed: handlers, the wake-up descriptor, the mask."""
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else self._note)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._previous)

    def restore(self) -> None:
        """Put back what was there before."""
        _in_charge.discard(self)
        for number, handler in self._previous.items():
            # None is a handler that was not installed from Python, and cannot be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._close()

    def reset_in_child(self) -> None:
        """Default dispositions and an empty mask in a process that was just forked; nothing is shared any more.

        SIGPIPE stays ignored, as in every Python process. Called for every fork, those of hooks included: a signal to
        such a child would otherwise reach the arbiter, through the pipe that both share. May be repeated.
        """
        _in_charge.discard(self)
        if self._reader == -1:
            return
        signal.set_wakeup_fd(-1)
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
        self._close()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted.add(signal.Signals(number))

    def _read(self) -> bytes:
        data = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._reader, 65536):
                data += chunk
        return data

    def _close(self) -> None:
        if self._reader != -1:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = self._writer = -1


_in_charge: weakref.WeakSet[SignalWakeup] = weakref.WeakSet()


def _reset_in_child() -> None:
    for wakeup in list(_in_charge):
        wakeup.reset_in_child()


os.register_at_fork(after_in_child=_reset_in_child)
