"""The application of the process tests, copied beside each test's ``app.py``: plain ASGI, imported in milliseconds.

What happens in it is appended to the file named by ``PROBE_EVENTS``, one JSON object per line, with the pid
it happened in. That is the tests' own view of the workers, independent of what the product logs.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import os
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Step = Callable[[], Awaitable[None]]


def note(event: str, **facts: object) -> None:
    """Append one event. One small `write` to a file opened for appending is not torn by other processes."""
    line = {"event": event, "pid": os.getpid(), "ppid": os.getppid(), "at": time.monotonic(), **facts}
    with open(os.environ["PROBE_EVENTS"], "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


class Probe:
    """An application of one version, with routes that misbehave on demand."""

    def __init__(self, version: str, startup: Step, shutdown: Step) -> None:
        self.version = version
        self._startup = startup
        self._shutdown = shutdown
        note("import", version=version)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._echo(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        note("starting", version=self.version)
        try:
            await self._startup()
        except Exception:
            # As Starlette does: the message of a failed startup is its traceback.
            await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})
            raise
        await send({"type": "lifespan.startup.complete"})
        note("started", version=self.version)
        await receive()
        note("stopping", version=self.version)
        await self._shutdown()
        note("stopped", version=self.version)
        await send({"type": "lifespan.shutdown.complete"})

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text") or "", "bytes": None})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        name, _, argument = scope["path"].strip("/").partition("/")
        length = 0
        while True:
            message = await receive()
            length += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        if name == "sleep":
            note("sleeping")
            await asyncio.sleep(float(argument))
        elif name == "later":
            note("sleeping")
            await asyncio.sleep(float(argument))
            note("blocking")
            time.sleep(3600)  # noqa: ASYNC251 - as below
        elif name == "block":
            note("blocking")
            time.sleep(float(argument))  # noqa: ASYNC251 - the wedge that the tests are about
        elif name == "stuck":
            note("stuck")
            # In C, without end, and without a moment for Python's signal handlers.
            collections.deque(itertools.repeat(1), maxlen=0)
        elif name == "exit":
            os._exit(int(argument))
        elif name == "raise":
            raise RuntimeError(argument)
        answer = {
            "pid": os.getpid(),
            "version": self.version,
            "length": length,
            "scheme": scope["scheme"],
            "client": scope["client"],
            "root_path": scope.get("root_path", ""),
        }
        body = json.dumps(answer).encode()
        if name == "stream":
            await self._stream(body, argument, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, body: bytes, argument: str, send: Send) -> None:
        """The answer in so many pieces, with so many seconds before each: ``/stream/8/0.05``."""
        pieces, _, seconds = argument.partition("/")
        size = -(-len(body) // int(pieces))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        for start in range(0, len(body), size):
            await asyncio.sleep(float(seconds))
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
