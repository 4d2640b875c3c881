"""The acceptor by itself, on a loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
import uvloop

from supervisor.runtime.scoreboard import NOBODY, Scoreboard
from supervisor.workers.acceptor import Acceptor
from supervisor.workers.bounded import BoundedAcceptor
from supervisor.workers.capacity import Capacity
from supervisor.workers.reception import Reception
from supervisor.workers.rush import RUSH


def test_connections_that_are_lost_after_the_end_of_a_rush_and_of_the_listeners_are_no_error() -> None:
    seat = Scoreboard(1).seat(0)

    async def main() -> None:
        acceptor = Acceptor(
            Reception(asyncio.Protocol),
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
        assert acceptor._rush.servers, "there is a rush"
        acceptor.count_changed(1)
        await acceptor.stop()
        for _ in range(2 * RUSH):
            acceptor.count_changed(40)
            acceptor.count_changed(0)
        acceptor.review()
        assert not acceptor._rush.servers

    uvloop.run(main())
    assert seat.least() == NOBODY


@pytest.mark.parametrize(("sibling", "taken"), [(None, 3), (0, 0), (1 << 61, 0)], ids=["alone", "free", "busy"])
def test_who_leaves_takes_what_waits_only_if_nobody_else_will(sibling: int | None, taken: int) -> None:
    board = Scoreboard(2)
    board.take()
    board.take()
    if sibling is not None:
        board.seat(1).tell(sibling)
    made: list[asyncio.Protocol] = []

    def make() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    async def main() -> None:
        acceptor = BoundedAcceptor(
            Reception(make),
            backlog=16,
            log=logging.getLogger("tests"),
            siblings=board.seat(0),
            changed=lambda: None,
            capacity=Capacity(1, lambda: 1),
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            acceptor.start([listener.dup()])
            clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
            await asyncio.sleep(0.1)
            assert made == [], "there is no room"
            await acceptor.stop()
            while acceptor.pending:
                await asyncio.sleep(0)
            for client in clients:
                client.close()

    uvloop.run(main())
    assert len(made) == taken
