"""``enable_backlog_metric``: how many connections wait to be accepted, told to the logger once a second."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

INTERVAL: Final = 1.0
"""Seconds between measurements: gunicorn's."""
_UNACKED: Final = 24
"""Where ``tcpi_unacked`` is in ``struct tcp_info`` (<linux/tcp.h>): of a listening socket, its accept queue."""


class BacklogMeter:
    """Measures while it is asked to. Only TCP sockets tell: as with gunicorn, there is no metric without one."""

    def __init__(self) -> None:
        self.next_deadline: float | None = None

    def switch(self, *, on: bool) -> None:
        """From now on measure, or do not."""
        self.next_deadline = (self.next_deadline or 0.0) if on else None

    def tick(self, now: float, listeners: Iterable[Any], log: logging.Logger) -> None:
        """Measure if it is time: a histogram for StatsD, a line at level debug."""
        if self.next_deadline is None or now < self.next_deadline:
            return
        self.next_deadline = now + INTERVAL
        lengths = [length for listener in listeners if (length := waiting(listener.sock)) is not None]
        if lengths:
            metric = {"metric": "gunicorn.backlog", "value": sum(lengths), "mtype": "histogram"}
            log.debug("socket backlog: %d", sum(lengths), extra=metric)


def waiting(sock: socket.socket) -> int | None:
    """How many connections wait to be accepted; None where that cannot be known."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)
        return int(struct.unpack_from("I", info, _UNACKED)[0])
    except (OSError, AttributeError, struct.error):  # a system of another kind
        return None
