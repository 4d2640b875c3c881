"""Forking from the arbiter: a child that holds nothing of its parent's but a line to it, and never returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from supervisor.logs.setup import Logs
from supervisor.runtime.channel import Channel
from supervisor.runtime.children import Children
from supervisor.runtime.signals import SignalWakeup

FAILED = 1
"""Exit code of a child whose life has ended in an exception, or has ended at all: it should not."""


@dataclass(frozen=True, slots=True)
class Forks:
    """Makes the arbiter's children. ``let_go`` closes, in a child, what the arbiter holds."""

    signals: SignalWakeup
    children: Children
    logs: Callable[[], Logs]
    let_go: Callable[[], None]

    def fork(self, name: str, live: Callable[[Channel], object], *, lets_go: bool = True) -> tuple[int, Channel]:
        """Fork a process that calls ``live`` with its end of a new line; return its pid, and the other end.

        ``name`` is what the log calls it. Without ``lets_go`` it keeps what does not close on exec. Raises `OSError`.
        """
        ours, theirs = Channel.pair()
        self.logs().flush()  # what is held back would be written by both
        try:
            with self.signals.held():
                if (pid := os.fork()) == 0:
                    ours.close()
                    self._be_the_child(name, live, theirs, lets_go=lets_go)
        except OSError:
            ours.close()
            theirs.close()
            raise
        theirs.close()
        self.children.expect(pid)
        return pid, ours

    def _be_the_child(self, name: str, live: Callable[[Channel], object], line: Channel, *, lets_go: bool) -> NoReturn:
        try:
            self.signals.reset_in_child()
            if lets_go:
                self.let_go()
            live(line)
        except BaseException as error:  # noqa: BLE001 - nothing may climb up into the arbiter's frames of this copy
            self.logs().error.critical("the %s failed: %s", name, error, exc_info=error)
        finally:
            self.logs().flush()
            os._exit(FAILED)
