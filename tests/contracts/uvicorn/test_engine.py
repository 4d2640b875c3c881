"""What `supervisor.workers.engine` relies on in uvicorn, beyond its public API, named one by one.

Run against the oldest and the newest supported release. A failure here says which assumption a release has broken.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState

from supervisor.workers import engine
from supervisor.workers.complaints import Complaints

WEBSOCKETS = [WebSocketsSansIOProtocol, WSProtocol]
HANDSHAKE = (
    b"GET /ws?q=1 HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


class Transport:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.eof = False
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def make_config(**options: Any) -> uvicorn.Config:
    arguments = {
        "log_config": None,
        "access_log": False,
        "workers": 1,
        "proxy_headers": False,
        "ws": engine.websocket_name(),
        **options,
    }
    config = uvicorn.Config(arguments.pop("app", app), **arguments)
    engine.load(config)
    return config


def arguments_of(config: uvicorn.Config) -> dict[str, Any]:
    state = uvicorn.Server(config).server_state
    return {"config": config, "server_state": state, "app_state": {}, "_loop": asyncio.get_running_loop()}


@pytest.fixture(params=WEBSOCKETS, ids=["sansio", "wsproto"])
def websocket_class(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_config_takes_what_the_worker_gives() -> None:
    parameters = inspect.signature(uvicorn.Config).parameters
    given = (
        "app loop http ws ws_max_size lifespan log_config access_log workers root_path proxy_headers "
        "forwarded_allow_ips limit_concurrency timeout_keep_alive backlog"
    )
    assert set(given.split()) <= set(parameters)


def test_config_without_log_config_leaves_logging_alone() -> None:
    import logging

    before = list(logging.getLogger("uvicorn").handlers), list(logging.root.handlers)
    make_config()
    assert (list(logging.getLogger("uvicorn").handlers), list(logging.root.handlers)) == before


def test_config_loads_an_object_and_a_protocol_class() -> None:
    config = make_config(http=asyncio.Protocol, headers=[("x-mine", "yes")], root_path="/below")
    assert config.loaded_app is app
    assert config.http_protocol_class is asyncio.Protocol
    assert config.asgi_version == "3.0"
    assert config.root_path == "/below"
    assert config.encoded_headers == [(b"server", b"uvicorn"), (b"x-mine", b"yes")]
    assert config.date_header is True
    assert config.ssl is None
    assert config.lifespan == "auto"


def test_config_wraps_an_application_of_the_old_interface() -> None:
    class Old:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None: ...

    assert make_config(app=Old).loaded_app is not Old


def test_config_may_be_told_another_application_after_loading() -> None:
    config = make_config()
    config.loaded_app = other = object()
    assert config.loaded_app is other


def test_server_state_is_shared_state() -> None:
    state = uvicorn.Server(make_config()).server_state
    assert isinstance(state, ServerState)
    assert (state.connections, state.tasks, state.default_headers) == (set(), set(), [])


def test_websocket_names_are_known_to_uvicorn() -> None:
    assert engine.websocket_name() == "websockets-sansio"
    assert make_config(ws="websockets-sansio").ws_protocol_class is WebSocketsSansIOProtocol
    assert make_config(ws="wsproto").ws_protocol_class is WSProtocol
    assert make_config(ws="none").ws_protocol_class is None


def test_client_disconnected_is_an_oserror() -> None:
    assert issubclass(ClientDisconnected, OSError)


def test_a_custom_loop_is_made_from_its_import_string() -> None:
    loop = engine.custom_loop(make_config(loop="asyncio:SelectorEventLoop"))
    assert type(loop) is asyncio.SelectorEventLoop
    loop.close()


async def test_websocket_handshake_close_and_peers_answer(websocket_class: Any) -> None:
    config = make_config(ws=websocket_class)
    arguments = arguments_of(config)
    changes: list[int] = []
    made = engine.draining_websocket(websocket_class, lambda: True, lambda: changes.append(1))
    protocol = made(**arguments)
    transport = Transport()
    protocol.connection_made(transport)
    assert protocol in arguments["server_state"].connections
    protocol.data_received(HANDSHAKE)
    await settle()
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    assert len(arguments["server_state"].tasks) == 1

    transport.written = b""
    protocol.shutdown()
    assert transport.written == b"\x88\x02\x03\xf4", "a close frame with 1012"
    assert transport.eof
    assert not transport.closed, "the peer has its time to answer"
    await settle()
    assert not transport.closed, "also after the application has ended"

    protocol.connection_lost(None)
    await settle()
    assert not arguments["server_state"].connections
    assert not arguments["server_state"].tasks
    assert len(changes) == 2


async def test_websocket_closes_at_once_unless_draining(websocket_class: Any) -> None:
    arguments = arguments_of(make_config(ws=websocket_class))
    protocol = engine.draining_websocket(websocket_class, lambda: False, lambda: None)(**arguments)
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE)
    await settle()
    protocol.shutdown()
    assert transport.closed
    protocol.connection_lost(None)
    await settle()


async def test_websocket_before_its_handshake_answers_500_at_shutdown(websocket_class: Any) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass
        raise ClientDisconnected

    arguments = arguments_of(make_config(app=silent, ws=websocket_class))
    protocol = engine.draining_websocket(websocket_class, lambda: False, lambda: None)(**arguments)
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE)
    await settle()
    protocol.shutdown()
    assert transport.written.startswith(b"HTTP/1.1 500 ")
    assert transport.closed
    protocol.connection_lost(None)
    await settle()


async def test_websocket_scope(websocket_class: Any) -> None:
    scopes: list[Any] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "websocket.close"})

    arguments = arguments_of(make_config(app=keep, ws=websocket_class))
    protocol = websocket_class(**arguments)
    protocol.connection_made(Transport())
    protocol.data_received(HANDSHAKE)
    await settle()
    (scope,) = scopes
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/ws", b"/ws", b"q=1")
    assert scope["client"] == ("192.0.2.1", 5)
    protocol.connection_lost(None)


async def test_h11_cycle_and_connection() -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await app(scope, receive, send)

    arguments = arguments_of(make_config(app=gated, http=H11Protocol))
    protocol = H11Protocol(**arguments)
    transport = Transport()
    protocol.connection_made(transport)  # type: ignore[arg-type]  # it looks like one
    before: Any = protocol.cycle
    assert before is None
    assert isinstance(protocol.conn, h11.Connection)
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\n")
    cycle: Any = protocol.cycle
    assert (cycle.response_started, cycle.response_complete, cycle.disconnected) == (False, False, False)
    assert cycle.transport is transport
    assert protocol.conn.trailing_data[0] == b"GET /two HTTP/1.1\r\n"
    cycle.default_headers = [*cycle.default_headers, (b"connection", b"close")]
    gate.set()
    await settle()
    assert b"connection: close" in transport.written.lower()
    assert transport.closed
    assert cycle.response_complete
    protocol._unset_keepalive_if_required()
    protocol.connection_lost(None)


async def test_abandon_finds_the_cycle_behind_send(caplog: pytest.LogCaptureFixture) -> None:
    async def cut_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        engine.abandon(send)

    arguments = arguments_of(make_config(app=cut_off, http=H11Protocol))
    protocol = H11Protocol(**arguments)
    transport = Transport()
    protocol.connection_made(transport)  # type: ignore[arg-type]  # it looks like one
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await settle()
    assert transport.closed
    assert caplog.text == ""
    protocol.connection_lost(None)


async def test_h11_hands_websockets_to_the_class_of_the_config() -> None:
    config = make_config(http=H11Protocol, ws="wsproto")
    arguments = arguments_of(config)
    config.ws_protocol_class = engine.draining_websocket(WSProtocol, lambda: False, lambda: None)
    protocol = H11Protocol(**arguments)
    transport = Transport()
    protocol.connection_made(transport)  # type: ignore[arg-type]  # it looks like one
    protocol.data_received(HANDSHAKE)
    await settle()
    assert hasattr(transport.protocol, "lingering")
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    transport.protocol.connection_lost(None)
    await settle()


def test_what_cannot_be_loaded_ahead_is_left_to_the_worker() -> None:
    """Which tells of it when it comes to the same, in the words that its own failures have."""
    engine.load_ahead("auto", "no.such.module:Protocol", "auto")


@pytest.mark.parametrize("protocol_class", [H11Protocol, *WEBSOCKETS])
async def test_the_ends_of_a_connection_may_be_corrected(protocol_class: Any) -> None:
    scopes: list[Any] = []

    async def show(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await app(scope, receive, send)

    protocol = protocol_class(**arguments_of(make_config(ws=WSProtocol)))
    protocol.connection_made(Transport())
    assert (protocol.client, protocol.server) == (("192.0.2.1", 5), ("192.0.2.2", 80))
    protocol.client, protocol.server, protocol.app = ("192.0.2.3", 6), ("192.0.2.4", 443), show
    protocol.data_received(HANDSHAKE if protocol_class is not H11Protocol else b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await settle()
    assert [(scope["client"], scope["server"]) for scope in scopes] == [(("192.0.2.3", 6), ("192.0.2.4", 443))]
    protocol.connection_lost(None)
    await settle()


async def test_what_is_known_of_an_h11_request_whose_body_comes() -> None:
    got: list[Any] = []

    async def read(scope: Any, receive: Any, send: Any) -> None:
        got.append(await receive())

    protocol = H11Protocol(**arguments_of(make_config(app=read)))
    protocol.connection_made(Transport())  # type: ignore[arg-type]  # all that is used of one
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
    cycle = protocol.cycle
    assert (cycle.more_body, cycle.response_started, cycle.waiting_for_100_continue) == (True, False, True)
    assert protocol.flow.read_paused is False
    await settle()
    assert cycle.waiting_for_100_continue is False
    cycle.disconnected = True
    cycle.message_event.set()
    await settle()
    assert got == [{"type": "http.disconnect"}]
    protocol.connection_lost(None)
    await settle()


async def test_http2_is_uvicorns_where_it_is_installed() -> None:
    made = engine.http2_protocol(30.0, Complaints(logging.getLogger("test")))
    assert (made is not None) == engine.http2_installed()
    if made is not None:
        assert list(inspect.signature(made.handle_request).parameters) == ["self", "event"]
        protocol = made(**arguments_of(make_config()))
        assert protocol.cycles == {}
        assert protocol.conn.has_pending_send() is False
        from uvicorn.protocols.http import zttp_h2_impl

        assert callable(zttp_h2_impl.ZttpH2Protocol._close_connection)
        assert callable(zttp_h2_impl.ZttpH2Protocol.on_stream_closed)
        assert callable(zttp_h2_impl.RequestResponseCycle.abort_stream)
        assert callable(zttp_h2_impl.RequestResponseCycle.send)
