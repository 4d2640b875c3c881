"""Opening the listeners at the start, where an address may be in use for a moment longer."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from supervisor.config.settings import Settings
from supervisor.runtime.holdings import Holdings
from supervisor.runtime.sockets import AddressInUse, Listener
from supervisor.runtime.system import Occurrence, SignalArrived, System

ATTEMPTS = 6
PAUSE = 1.0
"""Seconds between two attempts to bind. Both as in gunicorn."""

STOPS = [SignalArrived(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)]


def bind_patiently(
    system: System, holdings: Holdings, settings: Settings, *, early: list[Occurrence]
) -> Sequence[Listener] | None:
    """Open the listeners. An address in use is tried again for a while: its holder may be on its way out.

    What happens meanwhile is added to ``early``. None if it was told to stop. Raises as `Listeners.want` does.
    """
    said = ""
    for attempt in range(1, ATTEMPTS):
        try:
            return holdings.listeners.want(settings)
        except AddressInUse as error:
            text = "still in use" if str(error) == said else str(error)
            holdings.logs.error.warning("%s; trying again in %g s (%d of %d)", text, PAUSE, attempt, ATTEMPTS - 1)
            said = str(error)
        until = system.now() + PAUSE
        while system.now() < until:
            early += system.wait(until)
            if any(occurrence in STOPS for occurrence in early):
                return None
    return holdings.listeners.want(settings)
