"""What the service manager is told, in the protocol of sd_notify(3): when it serves, reloads, stops, and how it does.

Nothing here blocks or raises. Without ``NOTIFY_SOCKET`` in the environment nothing is sent, and nobody woken.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from supervisor.core import actions, events
from supervisor.core.actions import Action
from supervisor.core.arbiter import Arbiter as Core
from supervisor.core.events import Event
from supervisor.reporting import count

EXTENSION_REQUEST: Final = "EXTEND_TIMEOUT_USEC=30000000"
"""Thirty seconds from now. It never shortens what the unit file allows."""

EXTENSION_INTERVAL: Final = 5.0
"""So often it is asked for: five may get lost, or the machine be that busy."""

HOPELESS: Final = 8
"""Failures in a row, about a minute of them, after which one that cannot boot is no reason to ask for more time."""

RETRY: Final = 0.5
"""Seconds until the next try where the service manager is too busy to read."""

LONGEST_STATUS: Final = 500
"""Characters. A datagram above 4096 bytes is thrown away by the manager, with all that stands in it."""


class Phase(Enum):
    """What the service manager thinks that we are doing."""

    BOOTING = "booting"
    SERVING = "serving"
    RELOADING = "reloading"
    STOPPING = "stopping"


class Notifier:
    """Observes what happens and what is decided, as `supervisor.reporting.Reporter` does, and tells the manager.

    ``core`` is only read, for the number of workers. ``now`` has to be the machine's monotonic clock
    (``CLOCK_MONOTONIC``): the manager compares it with its own. ``log`` returns the log in use, ``successor`` the pid
    of a new arbiter (USR2) that is ready to be the service's main process, or 0.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        core: Core,
        *,
        now: Callable[[], float],
        log: Callable[[], logging.Logger],
        successor: Callable[[], int] = lambda: 0,
    ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog_interval(environ)
        self._core = core
        self._now = now
        self._log = log
        self._successor = successor
        self._is_main = True
        self._phase = Phase.BOOTING
        self._before_reload = (Phase.BOOTING, 0)
        self._target = 0
        self._generation = 0
        self._note = ""
        self._said = ""
        self._unsent: deque[str] = deque(maxlen=16)  # what is older than that has been taken back long since
        self._complaints: set[str] = set()
        self._may_boot_longer = True
        self._retry_at: float | None = None
        self._extend_at: float | None = None
        self._ping_at: float | None = None

    # What happens

    def occurrence(self, event: Event) -> None:
        """An event, before anything is decided about it."""
        if isinstance(event, events.StopRequested):
            self._stopping()

    def action(self, action: Action) -> None:
        """A decision."""
        match action:
            case actions.WorkersChanged(_, None):
                self._enter(Phase.BOOTING)
                self._say_status()
            case actions.AnnounceReady() if self._phase is Phase.BOOTING:  # it may be stopping already, with a delay
                self._note = ""
                self._serving()
            case actions.ReloadFinished(generation) if self._is_reloading_to(generation):
                self._serving()
            case (
                actions.ReloadFinished(generation)
                | actions.ReloadStalled(generation)
                | actions.GenerationDropped(generation)
            ) if self._before_reload == (Phase.RELOADING, generation):
                # A newer configuration is being read: if it is refused, there is no reload left to be waited for.
                self._before_reload = (Phase.SERVING, generation)
            case actions.BackOff(failures=failures) if self._phase is Phase.BOOTING and failures >= HOPELESS:
                self._note = "a worker cannot boot"
                self._may_boot_longer = False
            case actions.ReloadFinished(generation) if generation == self._target:
                self._note = ""  # it was incomplete for a while
            case actions.ReloadStalled(generation, failure=failure) if self._is_reloading_to(generation):
                self._note = f"reload incomplete: {failure.summary}"
                self._serving()
            case actions.GenerationDropped(generation, failure=failure) if self._is_reloading_to(generation):
                self._note = f"reload failed: {failure.summary}"
                self._serving()
            case actions.BootAbandoned(failure):
                self._note = f"boot failed: {failure.summary}"
                self._stopping()

    def reloading(self) -> None:
        """HUP has come; the configuration is about to be read."""
        self._note = ""
        self._before_reload = (self._phase, self._target)
        if self._phase in (Phase.SERVING, Phase.RELOADING):
            self._target = self._core.next_generation
            # The time tells the manager that this is the answer to its signal, and not to the one before.
            self._enter(Phase.RELOADING)
            self._say_with_status("RELOADING=1", f"MONOTONIC_USEC={int(self._now() * 1_000_000)}")

    def refused(self, reason: object) -> None:
        """What was read is no configuration: all is as it was, a reload included that was going on already."""
        self._note = f"reload refused: {reason}"
        phase, self._target = self._before_reload
        if phase is Phase.SERVING:
            self._serving()

    # Upgrades

    def stand_by(self) -> None:
        """Another arbiter is the main process of the service: say nothing of one's own until `take_over`.

        But keep the watchdog quiet: when the other has named this one, and drains, nobody else does.
        """
        self._is_main = False

    def hand_over_late(self) -> None:
        """The new arbiter got ready while this one is stopping already."""
        if self._phase is Phase.STOPPING and self._is_main and (successor := self._successor()):
            self._hand_over(successor)

    def take_over(self) -> None:
        """The other arbiter is gone, and this one the main process: say how it is."""
        if self._is_main:
            return
        self._is_main, self._said = True, ""
        if self._phase is Phase.SERVING:
            self._say_with_status("READY=1")
        elif self._phase is Phase.STOPPING:
            self._say("STOPPING=1")

    def _hand_over(self, pid: int) -> None:
        """Name the process that is the main one from now on, and fall silent: the rest is for that one to say.

        The manager ends the whole service with its main process. So this comes before the end of this one, and not
        before it is certain.
        """
        self._say(f"MAINPID={pid}")
        self._is_main = False

    # Time

    def next_deadline(self) -> float | None:
        """When `tick` will next have something to do, or None."""
        if not self._address:
            return None
        if self._retry_at is not None:
            return self._retry_at
        due = [self._extend_at if self._may_extend() else None, self._ping_at if self._is_well() else None]
        return min((at for at in due if at is not None), default=None)

    def tick(self, now: float) -> None:
        """Say what is due by ``now``: a status that has changed, that it takes longer, that all is well."""
        if not self._address or (self._retry_at is not None and now < self._retry_at):
            return
        self._flush()
        self._say_status()
        if _is_due(self._extend_at, now) and self._may_extend() and self._send(EXTENSION_REQUEST):
            self._extend_at = now + EXTENSION_INTERVAL
        if _is_due(self._ping_at, now) and self._is_well() and self._send("WATCHDOG=1"):
            self._ping_at = now + self._watchdog

    def _may_extend(self) -> bool:
        """The manager would put its watchdog off as well, which must bark when a reload leaves no worker."""
        if self._phase is Phase.BOOTING and not self._may_boot_longer:
            return False  # a start that does not come to its end is for the manager to give up
        return self._is_main and (self._phase is not Phase.RELOADING or self._is_well())

    def _is_well(self) -> bool:
        """Somebody serves, or nobody shall: WINCH is an order, and no reason to be killed."""
        return not self._core.wanted or any(worker.serving for worker in self._core.workers)

    # What is said

    def _is_reloading_to(self, generation: int) -> bool:
        return self._phase is Phase.RELOADING and self._target == generation

    def _serving(self) -> None:
        if self._ping_at is None and self._watchdog:
            self._ping_at = self._now() + self._watchdog
        self._enter(Phase.SERVING)
        self._say_with_status("READY=1")

    def _stopping(self) -> None:
        if self._phase is Phase.STOPPING:
            return
        self._ping_at = None  # the manager's watchdog ends with STOPPING, and its timeout for stops begins
        if successor := self._successor():
            self._hand_over(successor)
        self._enter(Phase.STOPPING)
        self._say("STOPPING=1")

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._extend_at = None if phase is Phase.SERVING else self._now() + EXTENSION_INTERVAL

    def _say_with_status(self, *lines: str) -> None:
        self._said = self._status()
        self._say(*lines, f"STATUS={self._said}")

    def _say_status(self) -> None:
        """Unless it has been said. One that cannot be sent now is not kept: there will be a newer one."""
        status = self._status()
        if self._address and self._is_main and status != self._said and self._send(f"STATUS={status}"):
            self._said = status

    def _status(self) -> str:
        text = "; ".join(filter(None, (self._note, self._state())))
        return " ".join(text.split())[:LONGEST_STATUS]

    def _state(self) -> str:
        serving = [worker.generation for worker in self._core.workers if worker.serving]
        wanted = self._core.wanted
        match self._phase:
            case Phase.BOOTING:
                return f"booting: {len(serving)} of {count(wanted, 'worker')}"
            case Phase.RELOADING:
                return f"reloading to generation {self._target}"
            case Phase.STOPPING:
                if serving:  # the delay before it has not passed
                    return f"stopping: {count(len(serving), 'worker')} still serving"
                left = sum(worker.has_process for worker in self._core.workers)
                return f"stopping: {count(left, 'worker')} draining" if left else "stopping"
            case Phase.SERVING if not wanted:
                return "standing by: no workers are wanted"
            case Phase.SERVING:
                self._generation = max(serving, default=self._generation)
                there = f"{len(serving)} of " if len(serving) < wanted else ""
                number = max(len(serving), wanted)
                return f"serving: {there}{count(number, 'worker')}, generation {self._generation}"

    # The line

    def _say(self, *lines: str) -> None:
        """Say what must not get lost, in one message: what cannot be sent now is sent as soon as it can be."""
        if self._address and self._is_main:
            self._unsent.append("\n".join(lines))
            self._flush()

    def _flush(self) -> None:
        self._retry_at = None
        while self._unsent and self._transmit(self._unsent[0]):
            self._unsent.popleft()

    def _send(self, message: str) -> bool:
        """Send it, but not before what has to be said first. False if it could not be sent now."""
        return self._retry_at is None and self._transmit(message)

    def _transmit(self, message: str) -> bool:
        """False if another try may succeed; what can never be sent counts as sent, and is complained about once."""
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            # A socket for each message: the manager knows us by the credentials that the kernel adds, and there is
            # nothing to be closed in children, or to be opened again where the manager was.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto(message.encode(errors="replace"), name)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                self._retry_at = self._now() + RETRY
                return False
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                self._log().warning("NOTIFY_SOCKET=%s: the service manager cannot be told: %s", self._address, error)
        return True


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and now >= at


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between two pings: half of what the manager allows (sd_watchdog_enabled(3)). 0 if it expects none."""
    limit = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not (limit.isascii() and limit.isdigit()):
        return 0.0
    return int(limit) / 2_000_000
