"""Which protocol a connection is made with. Decided once for a worker, so that no connection pays for what is off."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from supervisor.workers import engine
from supervisor.workers.ends import Known, KnownHttpProtocol, RefusingHttpProtocol, knowing
from supervisor.workers.http import HttpProtocol
from supervisor.workers.instrument import Instrumented
from supervisor.workers.proxy import Forwarded
from supervisor.workers.proxy_protocol import Greeting
from supervisor.workers.state import Shared
from supervisor.workers.tls import Tls


class Dispatch:
    """Makes the protocols of a worker, whose application has started. To be made inside its loop.

    ``http`` is ``httptools``, ``h11`` or, for the class that ``config`` names, ``custom``. ``new_protocol()`` returns
    what a connection is to be made with.
    """

    def __init__(
        self,
        config: engine.Config,
        shared: Shared,
        state: engine.ServerState,
        *,
        http: str,
        tls: Tls | None,
        cfg: Any,
    ) -> None:
        self._config = config
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._cfg = cfg
        # What uvicorn's protocol classes are made with.
        self._arguments = {
            "config": config,
            "server_state": state,
            "app_state": shared.app_state,
            "_loop": self._loop,
        }
        speaks_proxy = cfg.proxy_protocol != "off"
        self._known = Known(tls, shared.forwarded) if tls is not None or speaks_proxy else None
        config.loaded_app = Instrumented(shared.app, shared)
        shared.other_connections = lambda: len(state.connections)
        if config.ws_protocol_class is not None:
            draining = engine.draining_websocket(
                config.ws_protocol_class,
                lambda: shared.draining,
                shared.connection_count_changed,
                lambda protocol: shared.owner_left(self._loop, protocol),
            )
            config.ws_protocol_class = self._knowing(draining)
            shared.upgrade = self._upgrade
        self.new_protocol = self._http1(http)
        if (
            "h2" in cfg.http_protocols
            and tls is not None
            and (http2 := engine.http2_protocol(shared.limits.head, shared.complaints)) is not None
        ):
            make_http2 = functools.partial(self._knowing(http2), **self._arguments)
            self.new_protocol = functools.partial(Negotiated, self.new_protocol, make_http2)

    def _http1(self, http: str) -> Callable[[], Any]:
        shared, loop = self._shared, self._loop
        if http == "httptools":
            if self._known is not None:
                return functools.partial(KnownHttpProtocol, shared, loop, self._known)
            return functools.partial(HttpProtocol, shared, loop)
        if http == "h11":
            from supervisor.workers.h11 import DrainingH11Protocol

            return functools.partial(self._knowing(DrainingH11Protocol), shared, **self._arguments)
        return functools.partial(self._knowing(self._config.http_protocol_class), **self._arguments)

    def _knowing(self, protocol_class: Any) -> Any:
        """The class itself where nothing is to be known of a connection but its socket."""
        if self._known is None:
            return protocol_class
        return knowing(protocol_class, self._known, self._shared.connection_count_changed)

    def _upgrade(self, connection: HttpProtocol, data: bytes) -> None:
        """Hand a connection over to uvicorn's WebSocket class, with the request's head and what followed it."""
        make: Any = self._config.ws_protocol_class
        protocol = make(**self._arguments)
        transport = connection.transport
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        if connection.read_paused:
            transport.resume_reading()
        if connection.write_paused:
            protocol.pause_writing()
        protocol.data_received(data)

    # -- before the first request

    def greeting(self, make_protocol: Callable[[], Any]) -> Greeting | None:
        """What reads PROXY headers, and returns ``make_protocol`` for connections that may begin; None without any."""
        if self._known is None or self._cfg.proxy_protocol == "off":
            return None
        return Greeting(
            self._cfg.proxy_protocol,
            Forwarded(self._cfg.proxy_allow_ips),
            self._shared.limits.head,
            announce=self._known.announce,
            refuse=self._refusal,
            make_protocol=make_protocol,
        )

    def _refusal(self, peer: str, status: int, text: str) -> Callable[[], Any] | None:
        """What refuses a connection before its first request. Before a TLS handshake nobody would understand it."""
        if self._tls is not None:
            self._shared.complaints.warning("closing the connection of %s: %s", peer, text)
            return None
        return functools.partial(RefusingHttpProtocol, self._shared, self._loop, status, text)


class Negotiated(asyncio.Protocol):
    """A TLS connection until it is known which version of HTTP its client has agreed to (ALPN, RFC 7301)."""

    def __init__(self, make_http1: Callable[[], Any], make_http2: Callable[[], Any]) -> None:
        self._make_http1 = make_http1
        self._make_http2 = make_http2

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        connection = transport.get_extra_info("ssl_object")
        agreed = connection.selected_alpn_protocol() if connection is not None else None
        protocol = self._make_http2() if agreed == "h2" else self._make_http1()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
