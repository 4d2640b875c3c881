"""``gunicorn.http``: names to derive from. Requests and responses of ours are made elsewhere."""

from __future__ import annotations

from typing import Any

from supervisor.compat.util import http_date
from supervisor.compat.version import SERVER


class Message:
    """The base of gunicorn's requests."""


class Request(Message):
    """What ``pre_request`` is called with has these names, and is no instance of this class."""


class Response:
    """A response whose ``default_headers`` files override to change or hide ``Server``."""

    def __init__(self, req: Any, sock: Any, cfg: Any) -> None:
        self.req = req
        self.sock = sock
        self.cfg = cfg
        self.version = SERVER
        self.status: Any = None
        self.chunked = False
        self.must_close = False
        self.headers: list[tuple[str, str]] = []
        self.headers_sent = False
        self.response_length: int | None = None
        self.sent = 0
        self.upgrade = False

    def default_headers(self) -> list[str]:
        """The head, a line each, as gunicorn begins it."""
        version = ".".join(map(str, getattr(self.req, "version", (1, 1))))
        return [
            f"HTTP/{version} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {http_date()}\r\n",
            f"Connection: {'close' if self.must_close else 'keep-alive'}\r\n",
        ]
