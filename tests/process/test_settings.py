"""What some settings do in a running service, as seen from the outside."""

from __future__ import annotations

import struct

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.process.conftest import StartService

CONFIGURATION = """
import socket
from probe import note

workers = 2
backlog = 77
max_requests = 1000
max_requests_jitter = 500
asgi_loop = {loop!r}
websocket_max_message_size = 100

def when_ready(server):
    note("listening", info=server.LISTENERS[0].sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104).hex())

def post_worker_init(worker):
    note("limit", requests=worker.max_requests)
"""
MAXIMUM = 8 + 5 * 4
"""Where tcp_info has the longest queue of a listening socket (tcpi_sacked; <linux/tcp.h>, inet_diag)."""


@pytest.mark.parametrize(("loop", "module"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")])
def test_they_do_what_they_say(service: StartService, loop: str, module: str) -> None:
    site = service()
    site.deploy("1", startup="note('loop', module=type(asyncio.get_running_loop()).__module__)")
    site.write("gunicorn.conf.py", CONFIGURATION.format(loop=loop))
    site.start().wait_serving(2)
    assert {event["module"].partition(".")[0] for event in site.events("loop")} == {module}
    (longest,) = struct.unpack_from("I", bytes.fromhex(site.wait_event("listening")["info"]), MAXIMUM)
    assert longest == 77
    limits = [event["requests"] for event in site.events("limit")]
    assert len(limits) == 2
    assert all(1000 <= limit <= 1500 for limit in limits)
    with connect(f"ws://{site.address}/") as client:
        client.send("x" * 100)
        assert client.recv() == "x" * 100
        client.send("x" * 101)
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009, "message too big (RFC 6455, section 7.4.1)"
    site.stop()
