"""Signals as something to wait for: each arrives as a byte on a descriptor (signal.set_wakeup_fd)."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Any

HANDLED = (
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


class SignalWakeup:
    """Takes the signals from the moment it is made. Only the main thread can make one."""

    def __init__(self, signals: Iterable[signal.Signals] = HANDLED) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._pending: list[signal.Signals] = []
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in signals:
            self._previous[number] = signal.signal(number, self._note)

    def fileno(self) -> int:
        """Readable when signals have arrived."""
        return self._reader.fileno()

    def drain(self) -> list[signal.Signals]:
        """The signals that have arrived, in order, each kind of them once in a row."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        pending, self._pending = self._pending, []
        folded: list[signal.Signals] = []
        for number in pending:
            if number is signal.SIGCHLD and number in folded:
                continue
            folded.append(number)
        return folded

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._reader.close()
        self._writer.close()

    def reset_in_child(self) -> None:
        """Default dispositions in a freshly forked process, and nothing shared with the parent any more."""
        signal.set_wakeup_fd(-1)
        for number in self._previous:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(signal.Signals(number))
