"""Counting, logging and ending the requests of protocols that are not ours: uvicorn's h11 and WebSocket classes.

Both call an ASGI application; `Instrumented` stands in front of it and sees everything that `HttpProtocol` knows about
its requests.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

from supervisor.workers.engine import ClientDisconnected, abandon
from supervisor.workers.journal import Exchange
from supervisor.workers.proxy import contradiction
from supervisor.workers.request import is_event_stream, unavailable
from supervisor.workers.state import Shared


class Instrumented:
    """The application as uvicorn's protocols call it."""

    def __init__(self, app: Any, shared: Shared) -> None:
        self.app = app
        self.shared = shared

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """Call the application; return what it returns, which should be nothing and which the protocol checks."""
        shared = self.shared
        forwarded = shared.forwarded
        if forwarded is not None and forwarded.trusts_peer(scope.get("client")) and not forwarded.apply(scope):
            return await contradiction(scope, receive, send)
        return await self.handle(scope, receive, send)

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """The same for a scope that is as the application is to see it."""
        shared = self.shared
        if scope["type"] == "websocket":
            watched: _Watched = _WatchedSocket(scope, receive, send, shared)
        else:
            watched = request = _WatchedRequest(scope, receive, send, shared)
            receive = request.receive
        app = unavailable if shared.busy and scope["type"] == "http" else self.app
        shared.started(watched)
        if shared.disconnect_grace is not None:
            watched.task = asyncio.current_task()
        if shared.hooks is not None:
            shared.hooks.before(watched)
        try:
            result = await app(scope, receive, watched.send)
            if shared.told.is_set():
                await watched.end_stream()
            return result
        except asyncio.CancelledError:
            if not watched.cancelled:
                raise
            # Cancelled by the worker: no error of the application, which uvicorn would report.
            await watched.refuse()
            return None
        finally:
            watched.finish()
            shared.ended(watched)


class _Watched(Exchange):
    __slots__ = ("finished", "more_body", "raw_receive", "raw_send", "shared")

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any, shared: Shared) -> None:
        target = urllib.parse.quote(scope["path"]) if "raw_path" not in scope else scope["raw_path"].decode("latin-1")
        if scope.get("query_string"):
            target = f"{target}?{scope['query_string'].decode('latin-1')}"
        super().__init__(scope, scope.get("method", "GET"), target)
        self.raw_receive = receive
        self.raw_send = send
        self.shared = shared
        self.finished = False
        self.more_body = True

    @property
    def owner(self) -> Any:
        return getattr(self.raw_send, "__self__", None)

    async def send(self, message: dict[str, Any]) -> None:
        await self.raw_send(message)

    async def end_stream(self) -> None:
        """The application has ended after it was told to: see `supervisor.workers.request.Request`."""

    async def refuse(self) -> None:
        """Answer a request that was cancelled before it was answered."""
        raise ClientDisconnected

    def finish(self) -> None:
        """The response has ended, or never began. Tells the log and the hooks, once."""
        if self.finished or not self.status:
            return
        self.finished = True
        self.duration = self.age()
        if self.shared.access is not None:
            self.shared.access.log(self)
        if self.shared.hooks is not None:
            self.shared.hooks.after(self)


class _WatchedRequest(_Watched):
    __slots__ = ()

    async def refuse(self) -> None:
        if self.status:
            abandon(self.raw_send)
        elif not getattr(self.owner, "disconnected", False):
            await unavailable(self.scope, self.receive, self.send)

    async def end_stream(self) -> None:
        if not self.status or self.finished:
            return
        if is_event_stream(self.response_headers):
            await self.send({"type": "http.response.body"})
        else:
            abandon(self.raw_send)

    async def receive(self) -> Any:
        if self.more_body:
            message = await self.raw_receive()
            self.more_body = message["type"] == "http.request" and message.get("more_body", False)
            return message
        # Nothing is left to read: who waits here waits for the end, and is told of the drain's soft deadline too.
        told = asyncio.ensure_future(self.shared.told.wait())
        received = asyncio.ensure_future(self.raw_receive())
        try:
            await asyncio.wait((told, received), return_when=asyncio.FIRST_COMPLETED)
            return received.result() if received.done() else {"type": "http.disconnect"}
        finally:
            told.cancel()
            received.cancel()

    async def send(self, message: dict[str, Any]) -> None:
        await self.raw_send(message)
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            self.response_headers = message.get("headers", ())
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False) and not self.finished:
                self.shared.answered()
                self.finish()


class _WatchedSocket(_Watched):
    __slots__ = ()

    async def send(self, message: dict[str, Any]) -> None:
        await self.raw_send(message)
        kind = message["type"]
        if kind == "websocket.send":
            self.sent += len(message.get("bytes") or message.get("text") or b"")
        elif not self.status:
            if kind == "websocket.accept":
                self.status = 101
            elif kind == "websocket.close":
                self.status = 403
            else:
                self.status = int(message.get("status", 500))
            self.response_headers = message.get("headers", ())
            self.shared.answered()
