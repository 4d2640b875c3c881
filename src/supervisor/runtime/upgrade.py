"""USR2: the same command is run again, with the listening sockets; both sides of it.

The new arbiter is a child of the old one until that one ends. It tells when it is ready. Whether the old one then goes
by itself (``upgrade_auto``) or waits for its operator, as with gunicorn, it goes on if the new one dies or is late.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping

from supervisor.config.settings import Settings
from supervisor.core.status import describe
from supervisor.errors import ConfigError
from supervisor.runtime import handover
from supervisor.runtime.holdings import Holdings
from supervisor.runtime.pidfile import SUFFIX
from supervisor.runtime.system import PredecessorGone, Succession, SuccessorExited, SuccessorReady, System

LAST_WORD = 10.0
"""Seconds from TERM to KILL for a new arbiter that is late."""

NAME_PATIENCE = 5.0
NAME_PAUSE = 0.05
"""Seconds for which, and after which, the pidfile's name is tried for again."""

Occurrence = SuccessorReady | SuccessorExited | PredecessorGone


class Upgrade:
    """One arbiter between the one before and the one after it.

    ``environ`` and ``directory`` are those that this arbiter was started with. ``before_exec`` runs in the new process,
    ``retire`` stops this one gracefully.
    """

    def __init__(
        self,
        system: System,
        holdings: Holdings,
        *,
        environ: Mapping[str, str],
        directory: str,
        before_exec: Callable[[], None],
        retire: Callable[[], None],
    ) -> None:
        self._system = system
        self._holdings = holdings
        self._environ = {name: value for name, value in environ.items() if name != handover.VARIABLE}
        self._directory = directory
        self._before_exec = before_exec
        self._retire = retire
        self._predecessor = 0
        self._successor = 0
        self._ready = False
        self._late_at: float | None = None
        self._name_at: float | None = None
        self._name_until = 0.0
        self._told_to_go = False
        self._settings: Settings | None = None

    @property
    def suffix(self) -> str:
        """What the pidfile's name ends in for now."""
        return SUFFIX if self._predecessor else ""

    @property
    def successor(self) -> int:
        """The pid of the new arbiter, once it is ready; else 0."""
        return self._successor if self._ready else 0

    @property
    def next_deadline(self) -> float | None:
        """When `tick` is due at the latest."""
        return min((at for at in (self._late_at, self._name_at) if at is not None), default=None)

    def receive(self) -> None:
        """Take over what the arbiter before hands to this one, if there is one."""
        received = handover.received(os.environ)
        if received is not None:
            self._predecessor = received.pid
            self._holdings.listeners.adopt(received.sockets)
            self._system.meet_predecessor(received.line)
            self._log.info("Started by the arbiter with pid %d, to take its place", received.pid)

    def start(self, settings: Settings) -> None:
        """Start a new arbiter. One at a time: refused while there is one, or while this is one itself."""
        if self._successor:
            self._log.warning("USR2 ignored: the new arbiter (pid %d) is there already", self._successor)
            return
        if self._predecessor:
            self._log.warning("USR2 ignored: the arbiter before (pid %d) has not gone yet", self._predecessor)
            return
        if settings.upgrade_auto and os.getpid() == 1:
            self._log.warning("USR2 ignored: this is PID 1, and the container ends with it; replace the container")
            return
        succession = Succession(
            command=handover.command(),
            environ=self._environ,
            directory=self._directory,
            listeners=list(self._holdings.listeners),
            before_exec=self._before_exec,
        )
        try:
            self._successor = self._system.start_successor(succession)
        except OSError as error:
            self._log.error("Upgrade failed, this arbiter goes on: no new one can be forked: %s", error.strerror)
            return
        self._holdings.listeners.share()
        self._settings, self._told_to_go = settings, False
        if settings.upgrade_auto:
            self._late_at = self._system.now() + settings.boot_timeout
        self._log.info("Upgrade: started a new arbiter with pid %d", self._successor)

    def announce(self) -> None:
        """This arbiter is ready: the one before may go."""
        self._system.tell_predecessor(listener.bind for listener in self._holdings.listeners)

    def notice(self, occurrence: Occurrence) -> None:
        """Something happened to the arbiter before or after this one."""
        match occurrence:
            case SuccessorReady(pid, kept):
                self._ready = True
                if kept is not None:
                    self._holdings.listeners.share(kept)
                self._late_at = None
                self._log.info("Upgrade: the new arbiter (pid %d) is ready", pid)
                if self._settings is not None and self._settings.upgrade_auto:
                    self._retire()
            case SuccessorExited(pid, status):
                self._successor, self._ready, self._late_at = 0, False, None
                self._holdings.listeners.unshare()
                self._holdings.clear_pidfile_of(pid)
                self._log.error(
                    "Upgrade failed, this arbiter goes on: the new one (pid %d) ended (%s)", pid, describe(status)
                )
            case PredecessorGone():
                self._promote()

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._late_at is not None and self._late_at <= now:
            self._hurry(now)
        if self._name_at is not None and self._name_at <= now:
            self._take_name(now)

    def _hurry(self, now: float) -> None:
        """Get rid of a new arbiter that is late."""
        self._log.error("Upgrade: the new arbiter (pid %d) is late, and told to go", self._successor)
        self._system.signal_successor(signal.SIGKILL if self._told_to_go else signal.SIGTERM)
        self._told_to_go = True
        self._late_at = now + LAST_WORD

    def _promote(self) -> None:
        before, self._predecessor = self._predecessor, 0
        self._holdings.listeners.unshare()
        self._log.info("Upgrade: the arbiter before (pid %d) is gone, this one takes its place", before)
        now = self._system.now()
        self._name_until = now + NAME_PATIENCE
        self._take_name(now)

    def _take_name(self, now: float) -> None:
        """Move the pidfile. One that was killed may hold its lock for a moment longer than its end of the line."""
        self._name_at = None
        try:
            self._holdings.drop_suffix()
        except ConfigError as error:
            if now < self._name_until:
                self._name_at = now + NAME_PAUSE
            else:
                self._log.error("Upgrade: %s", error)

    @property
    def _log(self) -> logging.Logger:
        return self._holdings.logs.error
