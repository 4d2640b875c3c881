"""All that this package uses of uvicorn beyond its public `Config` and `Server`.

No other module imports uvicorn's own modules. Each name here is held by a test in ``tests/contracts/uvicorn``, run
against the oldest and the newest supported release:

- ``Config.load()`` with an application object; then ``loaded_app``, ``asgi_version``, ``root_path``,
  ``encoded_headers``, ``date_header``, ``server_header``, ``proxy_headers``, ``forwarded_allow_ips``,
  ``ws_protocol_class``, ``http_protocol_class``, ``ssl``, ``lifespan``, ``loop`` and ``http``; ``loaded_app`` and
  ``ws_protocol_class`` may be set afterwards, before the first connection;
- ``Server(config).server_state``: ``connections``, ``tasks``, ``default_headers``;
- protocol classes are made with ``config``, ``server_state``, ``app_state`` and ``_loop``, keep what they got as
  ``transport``, and end their connection with ``shutdown()`` (WebSocket: close code 1012);
- ``H11Protocol``: ``cycle`` (None, or with ``response_complete``, ``response_started``, ``default_headers``,
  ``more_body``, ``disconnected``, ``message_event``, ``waiting_for_100_continue``), ``flow.read_paused`` and
  ``conn``, an `h11.Connection`; the ``send`` of a request is a method of its cycle, which has ``transport`` and is
  silent once ``disconnected``;
- ``ClientDisconnected``, an `OSError` that WebSocket protocols take for the end of a connection and not for an error;
- ``uvicorn.protocols.websockets.websockets_sansio_impl`` and ``wsproto_impl``, their ``close_sent``,
  ``handshake_complete``;
- ``app``, ``client`` and ``server`` of its protocol classes, which ``connection_made`` sets or leaves, and which are
  read when a scope is made;
- ``uvicorn.protocols.http.zttp_h2_impl.ZttpH2Protocol`` where uvicorn has it, made as the other protocol classes:
  ``handle_request(event)``, ``cycles`` by ``event.stream_id``, ``event.end_stream``, ``event.path``, ``event.method``,
  ``conn.has_pending_send()``, ``logger``, ``_close_connection()``, by which alone it closes what is idle or was told to
  go; of a cycle ``stream`` with ``pending_bytes`` and ``reset()``, ``abort_stream()``, ``send`` as an attribute that is
  read when the application is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from supervisor.workers.complaints import Complaints
from supervisor.workers.connection import has_unsent
from supervisor.workers.http2 import hardened

__all__ = [
    "ClientDisconnected",
    "Config",
    "H11Protocol",
    "Server",
    "ServerState",
    "abandon",
    "custom_loop",
    "draining_websocket",
    "http2_installed",
    "http2_protocol",
    "load",
    "load_ahead",
    "loop_factory",
    "websocket_name",
]

# How long a WebSocket connection that was told to go may take for its closing handshake, in seconds.
CLOSING_HANDSHAKE = 2.0


def websocket_name() -> str:
    """The best of uvicorn's WebSocket classes for what is installed, as its setting ``ws`` names them."""
    if _installed("websockets") and _installed("uvicorn.protocols.websockets.websockets_sansio_impl"):
        return "websockets-sansio"
    if _installed("wsproto"):
        return "wsproto"
    return "websockets" if _installed("websockets") else "none"


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def http2_protocol(patience: float, complaints: Complaints) -> Any:
    """Uvicorn's class for HTTP/2, or None where it has none or its parser is not installed.

    The arguments are those of `supervisor.workers.http2.hardened`.
    """
    if not http2_installed():
        return None
    from uvicorn.protocols.http.zttp_h2_impl import ZttpH2Protocol

    return hardened(ZttpH2Protocol, patience, complaints)


def http2_installed() -> bool:
    """Whether uvicorn can speak HTTP/2 here: since 0.54, with zttp."""
    return _installed("zttp") and _installed("uvicorn.protocols.http.zttp_h2_impl")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """An event loop's constructor: ``uvloop``, ``asyncio``, or with ``auto`` uvloop where it is installed."""
    if name == "uvloop" or (name == "auto" and _installed("uvloop")):
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return asyncio.SelectorEventLoop


def custom_loop(config: Config) -> asyncio.AbstractEventLoop:
    """A loop of the class that ``CONFIG_KWARGS`` names by import string; uvicorn knows how since 0.36."""
    factory = config.get_loop_factory()
    return factory() if factory is not None else asyncio.new_event_loop()


def load(config: Config) -> None:
    """Load ``config``, whose ``app`` is an object. Raises what the application's factory or the settings raise."""
    if not config.loaded:
        config.load()


def load_ahead(loop: Any, ws: Any, lifespan: Any) -> None:
    """Import what `loop_factory` and `load` will, given the same names. Where they will fail, nothing is said here."""
    with contextlib.suppress(Exception, SystemExit):
        if isinstance(loop, str):
            loop_factory(loop)
        load(Config(_no_application, http=asyncio.Protocol, ws=ws, lifespan=lifespan, log_config=None))


async def _no_application(_scope: Any, _receive: Any, _send: Any) -> None:
    """What a `Config` is loaded with that serves nothing."""


def abandon(send: Any) -> None:
    """Cut a response off: close the connection of the request whose ASGI ``send`` this is. Nothing is logged.

    With HTTP/2 the stream only, which others share the connection with.
    """
    cycle = getattr(send, "__self__", None)
    if abort_stream := getattr(cycle, "abort_stream", None):
        abort_stream()
    elif cycle is not None:
        cycle.disconnected = True
        cycle.transport.close()


def is_open(websocket: Any) -> bool:
    """Whether the application has accepted it. Uvicorn answers 500 to one that is told to go before."""
    return bool(getattr(websocket, "handshake_complete", True))


class LingeringTransport:
    """A transport whose ``close`` gives the peer time to end: for the closing handshake of RFC 6455, section 7.

    uvicorn closes a WebSocket's transport at once after the close frame, and a close frame that is answered into a
    closed socket makes the kernel reset the connection; so does what follows the last request of an HTTP connection.
    This one closes its sending side, and the rest when the peer has closed or `CLOSING_HANDSHAKE` is over. Only while
    ``lingers()``; else it is the ``plain`` transport itself.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, lingers: Callable[[], bool]
    ) -> None:
        self.plain = transport
        # Looked up once, since it is called for each message.
        self.write = transport.write
        self._loop = loop
        self._lingers = lingers
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def is_closing(self) -> bool:
        return self._timer is not None or self.plain.is_closing()

    def close(self) -> None:
        if self._timer is not None:
            return
        if self.plain.is_closing() or not self._lingers():
            self._end()
            return
        self._timer = self._loop.call_later(CLOSING_HANDSHAKE, self._end)
        self.plain.resume_reading()
        if self.plain.can_write_eof():
            self.plain.write_eof()

    def _end(self) -> None:
        self.plain.close()
        self._timer = self._loop.call_later(CLOSING_HANDSHAKE, self._give_up)

    def _give_up(self) -> None:
        """TLS waits for the peer's farewell: long enough, once the peer has taken everything."""
        if has_unsent(self.plain):
            self._timer = self._loop.call_later(CLOSING_HANDSHAKE, self._give_up)
        else:
            self.plain.abort()

    def lost(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()


def draining_websocket(
    base: Any, lingers: Callable[[], bool], changed: Callable[[], None], lost: Callable[[Any], None] = lambda _: None
) -> Any:
    """Derive a protocol class from one of uvicorn's for WebSockets whose shutdown lets the closing handshake end.

    It lets it end while ``lingers()``. ``changed`` is called when a connection was made or lost, and ``lost`` before
    that with the protocol whose connection it was.
    """

    class DrainingWebSocket(base):  # type: ignore[misc]  # the base is known at run time only
        lingering: LingeringTransport | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            plain = transport.plain if isinstance(transport, LingeringTransport) else transport
            self.lingering = LingeringTransport(plain, self.loop, lingers)
            super().connection_made(self.lingering)
            changed()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.lingering is not None:
                self.lingering.lost()
            super().connection_lost(exc)
            lost(self)
            changed()

    return DrainingWebSocket
