"""The default worker class: ASGI on uvicorn's engine, with httptools and uvloop where they are installed."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from supervisor.errors import BootError
from supervisor.patched import threads_replaced
from supervisor.protocols import WorkerContext
from supervisor.workers import engine, state
from supervisor.workers.base import ALIVE_UNSET, Worker
from supervisor.workers.interface import is_wsgi
from supervisor.workers.journal import Exchange
from supervisor.workers.proxy import Forwarded
from supervisor.workers.reqhooks import RequestHooks
from supervisor.workers.requestlog import request_log
from supervisor.workers.server import Server
from supervisor.workers.state import Limits, Shared

if TYPE_CHECKING:
    from supervisor.workers.gateway import Gateway

GUNICORNS_OWN: Final = ("asgi", "gunicorn.workers.gasgi.ASGIWorker")
"""The names of gunicorn's own ASGI worker."""

ORPHAN_PATIENCE: Final = 5
"""Seconds in which the event loop of a worker without an arbiter must have heard that it is to stop."""


def _server_header(name: str | None) -> dict[str, Any]:
    """``Server`` as the file has set ``gunicorn.SERVER``: another name, or none at all."""
    if name is None:
        return {}
    return {"server_header": False, "headers": [("server", name)] if name else []}


class UvicornWorker(Worker):
    """Serves an ASGI application with an event loop of its own, and a WSGI application in ``threads`` beside it.

    Derive from it to change what uvicorn is configured with. ``CONFIG_KWARGS`` holds arguments of `uvicorn.Config`,
    which win over the settings::

        class QuietWorker(UvicornWorker):
            CONFIG_KWARGS = {"loop": "asyncio", "server_header": False}

    ``WEBSOCKET_GRACE`` is how many seconds after TERM WebSockets are closed with code 1012, with time for the closing
    handshake: by default 0, at once. None leaves them as long as requests, until shortly before ``graceful_timeout``.

    ``TIMED`` is whether ``timeout`` bounds each request of a WSGI application, as with gunicorn's ``sync``; None for
    yes, if there is one thread.

    ``forwarded`` tells which proxies are believed, None if none is. ``gateway`` stands in front of the application if
    that is a WSGI one, and is None otherwise.
    """

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": "auto"}
    WEBSOCKET_GRACE: ClassVar[float | None] = 0.0
    TIMED: ClassVar[bool | None] = None

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context)
        settings = context.settings
        arguments: dict[str, Any] = {
            "app": None,
            "loop": "auto",
            "http": "auto",
            "ws": "auto",
            "ws_max_size": settings.websocket_max_message_size or 1 << 40,
            "lifespan": settings.asgi_lifespan,
            "log_config": None,
            "access_log": False,
            "workers": 1,
            "root_path": settings.root_path or "",
            "proxy_headers": True,
            "forwarded_allow_ips": settings.forwarded_allow_ips,
            "limit_concurrency": settings.worker_connections or None,
            "timeout_keep_alive": settings.keepalive,
            "backlog": settings.backlog,
            "limit_max_requests": None,
            **_server_header(settings.server_name),
            **self.CONFIG_KWARGS,
        }
        arguments |= self._parts(arguments, settings)
        if limit := arguments["limit_max_requests"]:
            self.max_requests = limit
        self.loop_name: Any = arguments["loop"]
        trusts_proxies = bool(arguments["proxy_headers"])
        # Trust in proxies is our own: decided once per connection, and for all protocols alike.
        arguments["proxy_headers"] = False
        if arguments["http"] in ("httptools", "h11"):
            self.http_name: str = arguments["http"]
            arguments["http"] = asyncio.Protocol
        else:
            self.http_name = "custom"
        self.config = engine.Config(**arguments)
        self.forwarded: Forwarded | None = None
        if trusts_proxies:
            self.forwarded = Forwarded(self.config.forwarded_allow_ips, settings.secure_scheme_headers)
        self.gateway: Gateway | None = None
        # Signal handlers that run in the main thread, where the event loop is beside it.
        self.handling = 0
        self.shared: Shared | None = None
        self._server: Server | None = None

    @staticmethod
    def _parts(arguments: Mapping[str, Any], settings: Any) -> dict[str, Any]:
        """The arguments ``loop``, ``http`` and ``ws`` with what "auto" stands for."""
        parts = {name: arguments.get(name, "auto") for name in ("loop", "http", "ws")}
        if parts["loop"] == "auto":
            parts["loop"] = settings.asgi_loop
        if parts["http"] == "auto":
            parts["http"] = "httptools" if importlib.util.find_spec("httptools") else "h11"
        if parts["ws"] == "auto":
            parts["ws"] = engine.websocket_name()
        return parts

    @classmethod
    def load_ahead(cls, settings: Any) -> None:
        """Import the event loop and the protocols."""
        parts = cls._parts(cls.CONFIG_KWARGS, settings)
        if parts["http"] == "h11":
            importlib.import_module("supervisor.workers.h11")
        engine.load_ahead(parts["loop"], parts["ws"], cls.CONFIG_KWARGS.get("lifespan", settings.asgi_lifespan))

    def load_wsgi(self) -> None:
        super().load_wsgi()
        _refuse_greenlets()
        self.config.app = self.wsgi
        if self.speaks_wsgi(self.wsgi):
            from supervisor.workers import wsgi  # only who serves WSGI pays for it

            self.config.app = self.gateway = wsgi.make_gateway(self)
            self.config.interface = "asgi3"
        engine.load(self.config)

    @classmethod
    def speaks_wsgi(cls, app: Any) -> bool:
        """Whether ``app`` is served as a WSGI application: if it certainly is one, or ``interface`` says so."""
        interface = cls.CONFIG_KWARGS.get("interface", "auto")
        return interface == "wsgi" or (interface == "auto" and is_wsgi(app))

    @classmethod
    def examine(cls, app: Any) -> None:
        """Raise `BootError` if ``app`` cannot be served: ``--check-config`` asks."""
        _refuse_greenlets()
        if cls.speaks_wsgi(app):
            from supervisor.workers import gateway

            gateway.middleware()

    def serve(self) -> int:
        """Run the event loop until the worker was told to stop and has drained."""
        if self.gateway is None or self.gateway.main is None:
            return self._run_event_loop()
        from supervisor.workers import wsgi

        return wsgi.serve_beside(self, self.gateway.main, self._run_event_loop)

    def _run_event_loop(self) -> int:
        factory = self._loop_factory()
        loop = factory()
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(self._main(loop))
        finally:
            self.context.row.rest()
            asyncio.set_event_loop(None)
            loop.close()
            if self.shared is not None and self.shared.hooks is not None and not self.is_beside:
                self.shared.hooks.finish()

    async def _main(self, loop: asyncio.AbstractEventLoop) -> int:
        self.shared = shared = self._make_shared(loop)
        self._server = Server(self, self.config, shared, self.http_name)
        return await self._server.serve()

    def _make_shared(self, loop: asyncio.AbstractEventLoop) -> Shared:
        config, settings, context = self.config, self.cfg, self.context
        hooks = RequestHooks.of(self, context.log, settings)
        if self.gateway is not None:
            from supervisor.workers import wsgi

            hooks = wsgi.settle(self, self.gateway, hooks)
        limits = Limits(
            keepalive=config.timeout_keep_alive,
            head=state.HEAD,
            body=state.BODY,
            concurrency=config.limit_concurrency or 0,
            request_line=settings.limit_request_line,
            request_fields=settings.limit_request_fields,
            request_field_size=settings.limit_request_field_size,
        )
        return Shared(
            app=config.loaded_app,
            log=context.log,
            row=context.row,
            link=context.link,
            limits=limits,
            root_path=config.root_path,
            forwarded=self.forwarded,
            access=request_log(context, loop.call_later),
            hooks=hooks,
            # Read here and not before: a subclass or ``post_worker_init`` may have changed it.
            max_requests=self.max_requests if self.max_requests < sys.maxsize else 0,
            disconnect_grace=disconnect_grace(settings),
            fixed_headers=list(config.encoded_headers),
            date_header=config.date_header,
        )

    def _loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        if self.loop_name in ("auto", "asyncio", "uvloop"):
            return engine.loop_factory(self.loop_name)
        return functools.partial(engine.custom_loop, self.config)

    # -- what the server asks for

    @property
    def is_beside(self) -> bool:
        """Whether the event loop runs in a thread beside the application, which has the main one."""
        return self.gateway is not None and self.gateway.main is not None

    def is_stuck(self, seconds: float) -> bool:
        """Whether the heartbeat has to stop though the event loop runs: see `supervisor.workers.wsgi`."""
        return self.gateway is not None and self.gateway.timeout is not None and self.gateway.is_stuck(seconds)

    # -- what the base class asks for

    def orphan_patience(self) -> int:
        return ORPHAN_PATIENCE

    def loop_has_answered(self) -> None:
        """The event loop has heard of the stop, so it is not stuck: an orphan has its whole time to drain."""
        if self._last_resort:
            signal.alarm(super().orphan_patience())

    def wants_to_leave(self) -> None:
        if self.booted and self._server is not None and self.shared is not None:
            # It may be a thread that sets ``alive``.
            self._server.loop.call_soon_threadsafe(self.shared.retire, ALIVE_UNSET)
        else:
            super().wants_to_leave()

    def stop_changed(self) -> None:
        if self._server is not None:
            self._server.stop_changed()

    def silent_part(self) -> str:
        return super().silent_part() if not self.is_stuck(0) else "the thread that runs the application"

    def live_requests(self) -> list[Exchange]:
        return list(self.shared.live) if self.shared is not None else []

    def flush_logs(self) -> None:
        if self.shared is not None and self.shared.access is not None:
            self.shared.access.flush()
        super().flush_logs()


def _refuse_greenlets() -> None:
    """Raise `BootError` where the application, or who comes before it, has replaced Python's threads."""
    if (advice := threads_replaced()) is not None:
        raise BootError(advice)


def disconnect_grace(settings: Any) -> float | None:
    """``asgi_disconnect_grace_period``, None where tasks run to their end.

    The default is that of gunicorn's own ASGI worker. Who comes from Uvicorn's never had a task cancelled because its
    client went away, and may have left a write in it half done: so there it holds only where somebody has set it.
    """
    if settings.source("asgi_disconnect_grace_period") == "default" and settings.worker_class not in GUNICORNS_OWN:
        return None
    return float(settings.asgi_disconnect_grace_period)


class UvicornH11Worker(UvicornWorker):
    """The same in pure Python: h11 instead of httptools, asyncio's own event loop instead of uvloop."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}
