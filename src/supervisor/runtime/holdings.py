"""What an arbiter holds beside its processes: environment, log files, pidfile and listeners; renewed at a reload."""

from __future__ import annotations

import os

from supervisor.config.settings import Settings
from supervisor.logs import lookup
from supervisor.logs.setup import Logs
from supervisor.logs.setup import setup as setup_logs
from supervisor.runtime.environment import Environment
from supervisor.runtime.listeners import Listeners
from supervisor.runtime.pidfile import SUFFIX, Pidfile, clear, settled
from supervisor.runtime.system import Plan


class Holdings:
    """Taken one after the other at the start, given back at the end.

    Everything that takes something raises `supervisor.errors.ConfigError` where it cannot be had.
    """

    logs: Logs

    def __init__(self) -> None:
        self.environment = Environment()
        self.listeners = Listeners()
        self.pidfile: Pidfile | None = None
        self._suffix = ""

    def open_logs(self, settings: Settings) -> None:
        """Enter the environment of these settings, and open their logs."""
        self.environment.apply(settings)
        with lookup.patiently():  # later nobody may be kept waiting for a name server
            self.logs = setup_logs(settings)

    def take_pidfile(self, settings: Settings, suffix: str = "") -> None:
        """Take the pidfile of these settings, if they name one, with ``suffix`` behind its name."""
        self._suffix = suffix
        self.pidfile = _pidfile(settings, suffix)

    def drop_suffix(self) -> None:
        """Move the pidfile to the name that the settings give it, now that nobody else has it."""
        if self.pidfile is not None:
            self.pidfile.rename(self.pidfile.path.removesuffix(self._suffix))
        self._suffix = ""

    def clear_pidfile_of(self, successor: int) -> None:
        """Remove the pidfile beside this arbiter's that the next one has left, if it was killed."""
        if self.pidfile is not None:
            clear(self.pidfile.path + SUFFIX, successor)

    def renew(self, settings: Settings) -> Plan:
        """Change over to these settings, and return the plan of their generation.

        Nothing is given up that a generation before this one uses. If anything fails, all is as it was.
        """
        # Each step that can fail comes before the first one that cannot be undone.
        self.environment.apply(settings)
        held = self.pidfile
        name = _place(settings, self._suffix)
        moves = name != (held.path if held else None)
        before = list(self.listeners)
        pidfile = None
        try:
            listeners = self.listeners.want(settings)
            pidfile = _pidfile(settings, self._suffix) if moves else held
            logs = setup_logs(settings)
        except BaseException:
            if moves and pidfile is not None:
                pidfile.release()
            self.listeners.keep_only([before])
            raise
        self.logs, self.pidfile = logs, pidfile
        if moves and held is not None:
            held.release()
        return Plan(settings, listeners)

    def close_in_child(self) -> None:
        """Let go of what a forked child must not hold. The logs stay: it writes to them."""
        self.listeners.close_in_child()
        if self.pidfile is not None:
            self.pidfile.close_in_child()

    def release(self) -> None:
        """Give everything back but the logs, which have the last word."""
        self.listeners.close()
        if self.pidfile is not None:
            self.pidfile.release()


def _place(settings: Settings, suffix: str) -> str | None:
    """Where the pidfile is to be, None without one."""
    return settled(settings.pidfile) + suffix if settings.pidfile else None


def _pidfile(settings: Settings, suffix: str) -> Pidfile | None:
    place = _place(settings, suffix)
    if place is None:
        return None
    pidfile = Pidfile(place)
    pidfile.acquire(os.getpid())
    return pidfile
