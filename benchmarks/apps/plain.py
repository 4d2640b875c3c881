"""Plain ASGI that does as little as an answer needs: what is measured is the server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import MutableMapping
from typing import Any

from tests.process.probe import Message, Receive, Send, note

PIECE = b"x" * 4096
"""One of the pieces of a streamed answer."""
PIECES = 16
BLOCKING = 0.02
"""Seconds for which ``/block`` holds up its event loop."""


class Plain:
    """``/``, ``/upload/<bytes>``, ``/stream``, ``/block`` and ``/pid/<seconds>``; WebSockets are echoed."""

    def __init__(self, version: str) -> None:
        self._version = version

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope["path"], receive, send)
        elif scope["type"] == "websocket":
            await self._echo(receive, send)
        else:
            await self._live(receive, send)

    async def _answer(self, path: str, receive: Receive, send: Send) -> None:
        if path == "/":
            await respond(send, b"Hello, world!")
        elif path.startswith("/upload/"):
            length = await received(receive)
            expected = int(path.removeprefix("/upload/"))
            await respond(send, b"%d" % length, 200 if length == expected else 400)
        elif path == "/stream":
            await stream(send)
        elif path == "/block":
            time.sleep(BLOCKING)  # noqa: ASYNC251 - what the measure is about
            await respond(send, b"blocked")
        elif path.startswith("/pid/"):
            await asyncio.sleep(float(path.removeprefix("/pid/")))
            await respond(send, b"%d" % os.getpid())
        else:
            await respond(send, b"no such path", 404)

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text") or "", "bytes": None})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        note("started", version=self._version)
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def respond(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def received(receive: Receive) -> int:
    """How many bytes the body of the request has."""
    length = 0
    while True:
        message: Message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            return length


async def stream(send: Send) -> None:
    """An answer of unknown length, in pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
