"""One conversation held with `HttpProtocol` and with uvicorn's protocol for httptools, on a transport without sockets.

The transport behaves as asyncio's do: nothing arrives while reading is paused, writes after ``close`` are dropped, and
``connection_lost`` follows on the next turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState

from supervisor.workers.http import HttpProtocol
from supervisor.workers.state import Limits
from tests.workers.wire import FakeTransport, make_shared

logging.getLogger("uvicorn.error").propagate = True

# What every response has, as the worker's settings and uvicorn's have it.
DEFAULTS = [(b"server", b"default")]
# How many turns of the loop without any event count as rest. An application's longest pause is shorter.
QUIET_TURNS = 8

Step = tuple[Any, ...]
Program = tuple[Step, ...]


@dataclass(frozen=True)
class Conversation:
    """What a client sends, in which pieces, and what the application does with each request, in turn."""

    pieces: tuple[bytes, ...]
    programs: tuple[Program, ...]

    @property
    def stream(self) -> bytes:
        return b"".join(self.pieces)

    def program(self, number: int) -> Program:
        return self.programs[number % len(self.programs)]


@dataclass
class Seen:
    """A request as the application saw it, and how its call went. The scope has its headers twice: then, and now."""

    scope: dict[str, Any]
    program: Program
    body: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    raised: BaseException | None = None
    ended: bool = False


@dataclass
class Outcome:
    """What a conversation came to."""

    seen: list[Seen]
    written: bytes
    ended: bool


class Channel(FakeTransport):
    """A connection to a client that sends pieces, and reads all that it gets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.events = 0

    def write(self, data: bytes) -> None:
        self.events += 1
        if not self.closed:
            super().write(data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.events += 1
        self.reading = True


class Talk:
    """A conversation while it goes on. To be made inside a running loop."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.transport = Channel(asyncio.get_running_loop())
        self.seen: list[Seen] = []

    async def app(self, scope: Any, receive: Any, send: Any) -> Any:
        """The application: runs the program of its turn, and writes down what it gets."""
        scope = {**scope, "headers": list(scope["headers"]), "headers after": scope["headers"]}
        seen = Seen(scope, self.conversation.program(len(self.seen)))
        self.seen.append(seen)
        try:
            return await self._run(seen, receive, send)
        except BaseException as error:
            seen.raised = error
            raise
        finally:
            seen.ended = True
            self.transport.events += 1

    async def _run(self, seen: Seen, receive: Any, send: Any) -> Any:
        for step in seen.program:
            self.transport.events += 1
            match step:
                case ("read",):
                    while (await self._receive(seen, receive)).get("more_body"):
                        pass
                case ("receive",):
                    await self._receive(seen, receive)
                case ("pause",):
                    for _ in range(QUIET_TURNS // 2):
                        await asyncio.sleep(0)
                case ("send", message):
                    await send(message)
                case ("raise",):
                    raise ValueError("on purpose")
                case ("return", value):
                    return value
        return None

    async def _receive(self, seen: Seen, receive: Any) -> dict[str, Any]:
        message = cast(dict[str, Any], await receive())
        self.transport.events += 1
        seen.messages.append(message)
        seen.body += message.get("body", b"")
        return message

    async def rest(self) -> None:
        """Let everything run that can run without a clock."""
        quiet, events = 0, self.transport.events
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.transport.events == events else 0
            events = self.transport.events

    async def hold(self, protocol: asyncio.Protocol) -> Outcome:
        """Send all pieces that are wanted; what the outcome says is the state when everything has come to rest."""
        transport = self.transport
        transport.protocol = protocol
        protocol.connection_made(cast(Any, transport))
        for piece in self.conversation.pieces:
            if transport.closed or not transport.reading:
                break
            protocol.data_received(piece)
            await self.rest()
        outcome = Outcome([replace(seen) for seen in self.seen], transport.written, transport.closed or transport.eof)
        transport.close()
        await self.rest()
        return outcome


async def with_ours(conversation: Conversation, limits: Limits | None = None) -> Outcome:
    """Hold the conversation with `HttpProtocol`, and see that nothing is left of it."""
    talk = Talk(conversation)
    shared = make_shared(talk.app, limits=limits, fixed_headers=DEFAULTS)
    outcome = await talk.hold(HttpProtocol(shared, asyncio.get_running_loop()))
    assert not shared.connections
    assert not shared.tasks
    assert not shared.live
    return outcome


def _make_uvicorn() -> Callable[[Talk], asyncio.Protocol]:
    config = Config(
        app=lambda scope: None,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        interface="asgi3",
    )
    config.load()

    def make(talk: Talk) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        state = ServerState()
        state.default_headers = DEFAULTS
        protocol: Any = cast(Any, config.http_protocol_class)(
            config=config, server_state=state, app_state={}, _loop=loop
        )
        protocol.app = talk.app
        return cast(asyncio.Protocol, protocol)

    return make


make_uvicorn = _make_uvicorn()


async def with_uvicorn(conversation: Conversation) -> Outcome:
    """Hold the conversation with uvicorn's protocol."""
    talk = Talk(conversation)
    return await talk.hold(make_uvicorn(talk))
