"""The floor: what any HTTP server on uvloop and httptools costs at least, ``python -m benchmarks.floor``.

A protocol that parses the request and writes canned bytes: no ASGI, no application, no log, no limits, no timeouts.
It is forked as often as wanted on one listening socket. Nobody should serve with it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from typing import cast

import httptools
import uvloop

from benchmarks.apps.plain import PIECE, PIECES
from tests.process.probe import note

BACKLOG = 2048
SERVER = b"server: floor\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" + SERVER + b"content-type: text/plain\r\n"
HELLO = HEAD + b"content-length: 13\r\n\r\nHello, world!"
STREAM = HEAD + b"transfer-encoding: chunked\r\n\r\n" + (b"1000\r\n" + PIECE + b"\r\n") * PIECES + b"0\r\n\r\n"


class Floor(asyncio.Protocol):
    """One connection. A body of another length than its path says is answered with 400."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._url = b""
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # -- called by the parser

    def on_message_begin(self) -> None:
        self._url = b""
        self._length = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._length += len(body)

    def on_message_complete(self) -> None:
        if self._parser.should_keep_alive():
            self._transport.write(answer(self._url, self._length))
        else:
            self._transport.write(answer(self._url, self._length).replace(SERVER, SERVER + b"connection: close\r\n", 1))
            self._transport.close()


def answer(url: bytes, length: int) -> bytes:
    """The whole response to a request with a body of ``length`` bytes."""
    if url == b"/stream":
        return STREAM
    if length and url != b"/upload/%d" % length:
        return b"HTTP/1.1 400 Bad Request\r\n" + SERVER + b"content-length: 0\r\n\r\n"
    return HELLO


async def serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Floor, sock=listener)
    note("started", version="1")
    await server.serve_forever()


def main() -> None:
    """Bind, fork, and pass TERM on."""
    parser = argparse.ArgumentParser(prog="floor", description=__doc__)
    parser.add_argument("--bind", required=True, metavar="HOST:PORT")
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    host, _, port = options.bind.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=BACKLOG)
    listener.setblocking(False)
    children = []
    for _ in range(options.workers):
        if (child := os.fork()) == 0:
            uvloop.run(serve(listener))
        children.append(child)

    def stop(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
