"""gunicorn's ``pre_request`` and ``post_request``, called for ASGI requests with what those hooks know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from supervisor.compat.config import pre_request as default_pre_request
from supervisor.compat.surface import REQUEST_LEFT_OUT, RESPONSE_LEFT_OUT, missing
from supervisor.hooks import call_hook, positional_limit
from supervisor.logs.record import environ_of
from supervisor.workers.journal import Exchange


class HookRequest:
    """The ``req`` of the request hooks, the same object in both, so that what one sets on it is there for the other.

    Header names are in capitals, and ``path`` is as it was sent, as gunicorn gives them.
    """

    def __init__(self, exchange: Exchange) -> None:
        scope = exchange.scope
        self.method = exchange.method
        self.uri = exchange.target
        self.path, self.query, self.fragment = _parts(exchange.target)
        self.version = tuple(int(part) for part in str(scope.get("http_version", "1.1")).partition(".")[::2] if part)
        self.headers = [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.remote_addr = self.peer_addr = scope.get("client") or ("", 0)
        self.trailers: list[tuple[str, str]] = []
        self.scheme = str(scope.get("scheme", "http"))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("req", name, REQUEST_LEFT_OUT))


def _parts(target: str) -> tuple[str, str, str]:
    """Path, query and fragment of a request target, none of them decoded."""
    target, _, fragment = target.partition("#")
    path, _, query = target.partition("?")
    if not path.startswith("/") and "://" in path:  # the absolute form of RFC 9112, section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path, query, fragment


class HookResponse:
    """The ``resp`` of ``post_request``. ``status`` reads as in ``200 OK``; ``sent`` counts the body's bytes."""

    def __init__(self, exchange: Exchange) -> None:
        try:
            phrase = HTTPStatus(exchange.status).phrase
        except ValueError:
            phrase = ""
        self.status_code = exchange.status
        self.status = f"{exchange.status} {phrase}".rstrip()
        self.headers = [
            (bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in exchange.response_headers
        ]
        self.sent = exchange.sent
        self.headers_sent = True

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("resp", name, RESPONSE_LEFT_OUT))


class RequestHooks:
    """The two request hooks of a worker, looked up and measured once."""

    def __init__(
        self,
        worker: Any,
        log: logging.Logger,
        pre: Callable[..., Any] | None,
        post: Callable[..., Any] | None,
    ) -> None:
        self.worker = worker
        self.log = log
        self.pre = pre
        self.post = post
        limit = positional_limit(post) if post is not None else 0
        self.post_arguments = 4 if limit is None else max(2, min(limit, 4))

    @classmethod
    def of(cls, worker: Any, log: logging.Logger, settings: Any) -> RequestHooks | None:
        """The hooks that ``settings`` names, or None if it names neither.

        With the log level ``debug`` there always is a ``pre_request``: gunicorn's own, which logs method and path.
        """
        pre, post = getattr(settings, "pre_request", None), getattr(settings, "post_request", None)
        if pre is None and log.isEnabledFor(logging.DEBUG):
            pre = default_pre_request
        return cls(worker, log, pre, post) if pre is not None or post is not None else None

    def before(self, exchange: Exchange) -> None:
        """Call ``pre_request(worker, req)``."""
        if self.pre is not None:
            exchange.hooked = HookRequest(exchange)
            call_hook(self.log, "pre_request", self.pre, self.worker, exchange.hooked)

    def after(self, exchange: Exchange) -> None:
        """Call ``post_request(worker, req[, environ[, resp]])`` with as many arguments as it takes."""
        if self.post is None:
            return
        request = getattr(exchange, "hooked", None) or HookRequest(exchange)
        arguments: list[Any] = [self.worker, request]
        if self.post_arguments > 2:
            arguments.append(environ_of(exchange))
        if self.post_arguments > 3:
            arguments.append(HookResponse(exchange))
        call_hook(self.log, "post_request", self.post, *arguments)

    def finish(self) -> None:
        """The worker serves no more. Hooks that were called elsewhere may come to their end."""
