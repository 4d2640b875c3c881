"""A finished request, as the access log and the request hooks are told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

ENVIRON: Final = "wsgi.environ"
"""Where the scope of a request holds the environ that its WSGI application had."""


class Record(Protocol):
    """A finished request: its ASGI scope, its target as on the request line, ``duration`` in seconds."""

    scope: dict[str, Any]
    method: str
    target: str
    status: int
    sent: int
    duration: float
    response_headers: Any

    @property
    def protocol(self) -> str: ...


def environ_of(record: Record) -> dict[str, Any]:
    """The environ of a request, as its WSGI application had it or would have had, then without streams (PEP 3333)."""
    scope = record.scope
    known: dict[str, Any] | None = scope.get(ENVIRON)
    if known is not None:
        return known
    client: Sequence[Any] = scope.get("client") or ("",)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": record.method,
        "RAW_URI": record.target,
        "PATH_INFO": scope.get("path", ""),
        "SCRIPT_NAME": scope.get("root_path", ""),
        "QUERY_STRING": bytes(scope.get("query_string", b"")).decode("latin-1"),
        "SERVER_PROTOCOL": record.protocol,
        "REMOTE_ADDR": client[0],
        "wsgi.url_scheme": scope.get("scheme", "http"),
    }
    if len(client) > 1:
        environ["REMOTE_PORT"] = str(client[1])
    server = scope.get("server")
    if server and server[1] is not None:  # that of a Unix socket is a path without a port
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
