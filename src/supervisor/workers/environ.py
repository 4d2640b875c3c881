"""The WSGI environ of a request (PEP 3333), with the keys that gunicorn's workers give it."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Collection
from typing import Any, Final

from supervisor.compat.version import PRODUCT
from supervisor.workers.connection import address
from supervisor.workers.journal import Exchange
from supervisor.workers.proxy import Address, Forwarded
from supervisor.workers.streams import FileWrapper

_UNDERSCORE: Final = ord("_")
_PLAIN: Final = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_MOST_KEYS: Final = 512
_keys: dict[bytes, str] = dict(_PLAIN)


class RefusedHeader(Exception):
    """A header field that ``header_map = "refuse"`` does not let pass."""


class Misplaced(Exception):
    """A path that does not begin with SCRIPT_NAME."""


class EnvironMaker:
    """Makes the environ of each request of a worker.

    ``threads`` is how many requests the worker answers at the same time; ``errors`` becomes ``wsgi.errors``.
    ``forwarded`` tells whom to believe SCRIPT_NAME and the other ``forwarder_headers``.
    """

    def __init__(self, settings: Any, *, threads: int, errors: Any, forwarded: Forwarded | None) -> None:
        self.header_map: str = settings.header_map
        self.forwarder_headers: Collection[str] = {name.upper() for name in settings.forwarder_headers}
        self.forwarded = forwarded
        self.base: dict[str, Any] = {
            "wsgi.errors": errors,
            "wsgi.version": (1, 0),
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": settings.workers > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": settings.server_software or PRODUCT,
        }

    def make(
        self, exchange: Exchange, client: Address | None, server: tuple[str, int | None] | None, transport: Any = None
    ) -> dict[str, Any]:
        """The environ, without its input.

        ``client`` is who has connected, or whom a PROXY header has announced, None on Unix sockets: as with gunicorn,
        what X-Forwarded-For says of the client is left to the application. ``server`` is the connection's own address.
        Who is at the other end of ``transport`` decides what is believed, and ``client`` where there is none. Raises
        `RefusedHeader` and `Misplaced`.
        """
        scope = exchange.scope
        environ = self.base.copy()
        environ["REQUEST_METHOD"] = exchange.method
        environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
        environ["RAW_URI"] = exchange.target
        environ["SERVER_PROTOCOL"] = exchange.protocol
        environ["wsgi.url_scheme"] = scheme = scope["scheme"]
        if client is None:
            environ["REMOTE_ADDR"] = ""
        else:
            environ["REMOTE_ADDR"] = client[0]
            environ["REMOTE_PORT"] = str(client[1])
        script_name = self._fields(environ, scope["headers"], client, transport)
        if script_name is None:
            script_name = os.environ.get("SCRIPT_NAME", "")
        environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(server, environ.get("HTTP_HOST"), scheme)
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = _split(scope, script_name)
        return environ

    def _fields(self, environ: dict[str, Any], headers: Any, client: Address | None, transport: Any) -> str | None:
        """Put the header fields into the environ; return what SCRIPT_NAME one of them says, if one may.

        In the environ ``X_Forwarded_For`` could not be told from ``X-Forwarded-For``, which proxies look after: names
        with an underscore pass only if the settings say so.
        """
        script_name = None
        for name, value in headers:
            key = _keys.get(name)
            if key is None:
                if _UNDERSCORE in name:
                    if not self._passes(
                        name, client if transport is None else address(transport.get_extra_info("peername"))
                    ):
                        continue
                    if name == b"script_name":
                        script_name = value.decode("latin-1")
                key = _remember(name)
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ and name not in _PLAIN else text
        return script_name

    def _passes(self, name: bytes, peer: Address | None) -> bool:
        trusted = self.forwarded is not None and self.forwarded.trusts_peer(peer)
        if trusted and (name.decode("latin-1").upper() in self.forwarder_headers or "*" in self.forwarder_headers):
            return True
        if self.header_map == "refuse":
            raise RefusedHeader(f"header_map refuses the header name {name.decode('latin-1')!r}")
        return self.header_map == "dangerous"


def _remember(name: bytes) -> str:
    key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if _UNDERSCORE not in name and len(_keys) < _MOST_KEYS:
        _keys[name] = key
    return key


def _server(server: tuple[str, int | None] | None, host: str | None, scheme: str) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT. A Unix socket has neither: then it is what the client has asked for."""
    if server is not None and server[1] is not None:
        return server[0], str(server[1])
    if not host:
        return (server[0] if server is not None else ""), ""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, ""
    return name, port or {"http": "80", "https": "443"}.get(scheme, "")


def _split(scope: dict[str, Any], script_name: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO, the latter with its bytes decoded as PEP 3333 wants: in Latin-1.

    ``root_path`` is not part of what the client has sent; SCRIPT_NAME is.
    """
    root_path = scope["root_path"].encode("utf-8").decode("latin-1") if scope["root_path"] else ""
    path = scope["raw_path"].decode("latin-1").removeprefix(root_path)
    if script_name:
        if not path.startswith(script_name) or path[len(script_name) :][:1] not in ("", "/"):
            raise Misplaced(f"the path {path!r} does not begin with SCRIPT_NAME {script_name!r}")
        path = path[len(script_name) :]
    if "%" in path:
        path = urllib.parse.unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    return script_name or root_path, path
