"""Processes beside loaders and workers: the arbiter before, the one after, and one in which something is tried."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from supervisor.core.events import Failure
from supervisor.core.status import describe
from supervisor.runtime.channel import Channel, Message
from supervisor.runtime.forking import Forks
from supervisor.runtime.handover import Handover, pass_on
from supervisor.runtime.rehearsal import rehearse
from supervisor.runtime.service_manager import for_successor
from supervisor.runtime.system import (
    Occurrence,
    PredecessorGone,
    Rehearsed,
    Succession,
    SuccessorExited,
    SuccessorReady,
)
from supervisor.runtime.wiring import Wiring


@dataclass(slots=True)
class OtherArbiter:
    """The arbiter that was before this one, or that comes after it. ``pid`` is 0 for the one before."""

    pid: int
    channel: Channel


@dataclass(slots=True)
class Rehearsal:
    """The process in which something is tried, and what it has said: None for nothing yet."""

    pid: int
    channel: Channel
    said: Message | None = None


class Relatives:
    """Starts them, hears of them, and lets them go. See `supervisor.runtime.system.System` for what each call means."""

    def __init__(self, wiring: Wiring, forks: Forks) -> None:
        self._wiring = wiring
        self._forks = forks
        self._successor: OtherArbiter | None = None
        self._predecessor: OtherArbiter | None = None
        self._rehearsal: Rehearsal | None = None

    def channels(self) -> Iterator[Channel]:
        """The lines to all of them."""
        others = (self._successor, self._predecessor, self._rehearsal)
        yield from (other.channel for other in others if other is not None)

    def ended(self, pid: int, status: int) -> list[Occurrence]:
        """A child was reaped; perhaps it was one of them."""
        if self._rehearsal is not None and self._rehearsal.pid == pid:
            return [self._rehearsed(self._rehearsal, status)]
        if self._successor is not None and self._successor.pid == pid:
            self._wiring.hang_up(self._successor.channel)
            self._successor = None
            return [SuccessorExited(pid, status)]
        return []

    # Rehearsal

    def rehearse(self, act: Callable[[], bytes]) -> int:
        self.stop_rehearsal()
        self._rehearsal = Rehearsal(*self._forks.fork("rehearsal", lambda line: rehearse(act, line)))
        self._wiring.connect(self._rehearsal)
        return self._rehearsal.pid

    def stop_rehearsal(self) -> None:
        if self._rehearsal is not None:
            os.kill(self._rehearsal.pid, signal.SIGKILL)  # it exists: it was not reaped
            self._wiring.hang_up(self._rehearsal.channel)
            self._rehearsal = None

    def heed_rehearsal(self, rehearsal: Rehearsal) -> None:
        """Keep what it says, until it has ended."""
        for message in rehearsal.channel.receive():
            rehearsal.said = message
        self._wiring.watch(rehearsal.channel)

    def _rehearsed(self, rehearsal: Rehearsal, status: int) -> Rehearsed:
        self.heed_rehearsal(rehearsal)
        self._wiring.hang_up(rehearsal.channel)
        self._rehearsal = None
        said = rehearsal.said
        if said is None:
            return Rehearsed(
                rehearsal.pid, Failure(f"reading the configuration ended the process ({describe(status)})")
            )
        if said.kind != "passed":
            return Rehearsed(rehearsal.pid, Failure(said.text("summary"), said.payload_text))
        return Rehearsed(rehearsal.pid, None, said.payload)

    # Arbiters before and after this one

    def start_successor(self, succession: Succession) -> int:

        def live(line: Channel) -> None:
            try:
                _become_the_arbiter(succession, line)
            except OSError as error:  # a directory or a program that is gone: the line says it all
                self._forks.logs().error.critical("the new arbiter cannot be started: %s", error)

        self._successor = OtherArbiter(*self._forks.fork("new arbiter", live, lets_go=False))
        self._wiring.connect(self._successor)
        return self._successor.pid

    def signal_successor(self, signum: signal.Signals) -> None:
        if self._successor is not None:
            os.kill(self._successor.pid, signum)  # it exists: it was not reaped

    def meet_predecessor(self, line: int) -> None:
        self._predecessor = OtherArbiter(0, Channel(socket.socket(fileno=line)))
        self._wiring.connect(self._predecessor)

    def tell_predecessor(self, kept: Iterable[str]) -> None:
        if self._predecessor is not None:
            self._predecessor.channel.send("ready", {"kept": list(kept)})

    def heed_arbiter(self, other: OtherArbiter) -> list[Occurrence]:
        """What the other arbiter said, or that it is gone."""
        happened: list[Occurrence] = [
            SuccessorReady(other.pid, _kept(message))
            for message in other.channel.receive()
            if other.pid and message.kind == "ready"
        ]
        if other.channel.at_eof and other is self._predecessor:
            self._predecessor = None
            happened.append(PredecessorGone())
        if other.channel.at_eof:
            self._wiring.hang_up(other.channel)
        return happened


def _become_the_arbiter(succession: Succession, line: Channel) -> NoReturn:
    """Replace the program. What is not passed on closes by itself."""
    succession.before_exec()
    sockets = {listener.bind: listener.fileno() for listener in succession.listeners}
    handover = Handover(os.getppid(), line.fileno(), sockets)
    pass_on(handover)
    os.chdir(succession.directory)
    environ = for_successor(succession.environ, arbiter=os.getppid(), successor=os.getpid())
    os.execvpe(succession.command[0], list(succession.command), handover.environ(environ))


def _kept(message: Message) -> frozenset[str] | None:
    """The addresses that a new arbiter has kept. Another version of this program may not say so."""
    kept = message.fields.get("kept")
    return frozenset(map(str, kept)) if isinstance(kept, list) else None
