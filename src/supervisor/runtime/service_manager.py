"""The variables in which a service manager such as systemd speaks to the arbiter, and to nobody else.

They stay in the arbiter's environment, where a configuration file finds the same at every reload.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Final

VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
)
"""Of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3)."""


def forget(environ: MutableMapping[str, str]) -> None:
    """Take the variables out: neither workers nor what they start are spoken to."""
    for name in VARIABLES:
        environ.pop(name, None)


def for_successor(environ: Mapping[str, str], *, arbiter: int, successor: int) -> dict[str, str]:
    """The environment of an arbiter, in which what is addressed to its pid is addressed to the next one's.

    To be called in the process that becomes the next one, which is the first to know its pid.
    """
    translated = dict(environ)
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        if translated.get(name) == str(arbiter):
            translated[name] = str(successor)
    translated.pop("LISTEN_PIDFDID", None)  # names the old process by another number; the pid is enough
    return translated
