"""The acceptor by itself, on a loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket

import uvloop

from supervisor.runtime.scoreboard import NOBODY, Scoreboard
from supervisor.workers.acceptor import RUSH, Acceptor


def test_connections_that_are_lost_after_the_end_of_a_rush_and_of_the_listeners_are_no_error() -> None:
    seat = Scoreboard(1).seat(0)

    async def main() -> None:
        acceptor = Acceptor(
            asyncio.Protocol,
            tls=None,
            handshake=30.0,
            backlog=16,
            log=logging.getLogger("tests"),
            siblings=seat,
            changed=lambda: None,
        )
        acceptor.start([socket.create_server(("127.0.0.1", 0))])
        for _ in range(RUSH):
            acceptor.count_changed(1)
            acceptor.count_changed(0)
        await asyncio.sleep(0)
        assert acceptor._servers, "there is a rush"
        acceptor.count_changed(1)
        await acceptor.stop()
        for _ in range(2 * RUSH):
            acceptor.count_changed(40)
            acceptor.count_changed(0)
        acceptor.review()
        assert not acceptor._servers

    uvloop.run(main())
    assert seat.least() == NOBODY
