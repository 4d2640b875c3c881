"""Socket activation: a service manager has opened the listening sockets, and passes them on (sd_listen_fds(3))."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.config.schema import Invalid

FIRST_DESCRIPTOR = 3
"""``SD_LISTEN_FDS_START``: passed descriptors are numbered from here."""

SOURCE = "environment LISTEN_FDS"


def passed_sockets(environ: Mapping[str, str], pid: int) -> list[str]:
    """The sockets that were passed to the process ``pid``, as values for ``bind``. Mostly there are none.

    ``LISTEN_PID`` says whom they were meant for: a child inherits the variables, but not the sockets. Raises `Invalid`
    if they were meant for this process, and ``LISTEN_FDS`` is no number.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return []
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise Invalid(f"cannot be taken from LISTEN_FDS: {count!r} is no number of sockets")
    return [f"fd://{number}" for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))]
