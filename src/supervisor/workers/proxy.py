"""What a trusted proxy says about its client: ``X-Forwarded-For``, ``X-Forwarded-Proto`` and the like.

Whether a peer is trusted depends on its address alone, so a connection asks once. Peers on Unix sockets have no
address and are trusted, as gunicorn's ``forwarded_allow_ips`` documents.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final

Address = tuple[str, int]

DEFAULT_SCHEME_HEADERS: Final = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
CONTRADICTION: Final = "The fields that tell the scheme contradict each other."
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Forwarded:
    """Trust in proxies, from the settings ``forwarded_allow_ips`` and ``secure_scheme_headers``.

    ``allowed`` holds addresses, networks (``10.0.0.0/8``) and ``*``, as a list or in one string with commas.
    ``scheme_headers`` names the fields that tell the scheme, and the value by which each says https.
    ``X-Forwarded-Proto`` may also say http.
    """

    def __init__(self, allowed: str | Iterable[str], scheme_headers: Mapping[str, str] | None = None) -> None:
        items = allowed.split(",") if isinstance(allowed, str) else allowed
        names = [item.strip() for item in items if item.strip()]
        self.everyone = "*" in names
        self.networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self.literals: set[str] = set()
        for name in names:
            try:
                self.networks.append(ipaddress.ip_network(name, strict=False))
            except ValueError:
                self.literals.add(name)
        headers = DEFAULT_SCHEME_HEADERS if scheme_headers is None else scheme_headers
        self.secure = {
            name.lower().encode("latin-1"): value.lower().encode("latin-1") for name, value in headers.items()
        }

    def trusts(self, host: str) -> bool:
        """Whether ``host``, an address, belongs to a trusted proxy."""
        if self.everyone or host in self.literals:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks if network.version == address.version)

    def trusts_peer(self, peer: Address | None) -> bool:
        """Whether what the connection's peer forwards is to be believed; ``peer`` is None on Unix sockets."""
        return peer is None or self.trusts(peer[0])

    def apply(self, scope: dict[str, Any]) -> bool:
        """Correct ``client`` and ``scheme`` of a scope whose peer is trusted.

        False if fields contradict each other about the scheme: the request is to be refused, as gunicorn does, since a
        client may have written one of them, and the next program may believe the other.
        """
        scheme = judged = None
        hops: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                hops.append(value)
            elif name in self.secure or name == b"x-forwarded-proto":
                said = value.strip().lower()
                told = "https" if said == self.secure.get(name) else None
                if name == b"x-forwarded-proto":
                    told = told or _SCHEMES.get(said.decode("latin-1"))
                if name in self.secure:
                    if (told or "http") != (judged or told or "http"):
                        return False
                    judged = told or "http"
                scheme = told or scheme
        if scheme is not None:
            scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        if hops:
            client = self.client_of(b",".join(hops).decode("latin-1"))
            if client[0]:
                scope["client"] = client
        return True

    def client_of(self, chain: str) -> Address:
        """The client in a list of hops: the last that is no trusted proxy, or the first if all are."""
        hops = [split_host(hop.strip()) for hop in chain.split(",")]
        if not self.everyone:
            for hop in reversed(hops):
                if not self.trusts(hop[0]):
                    return hop
        return hops[0]


def split_host(text: str) -> Address:
    """Split ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare IPv6 address; the port is 0 where none is."""
    host, port = text, ""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return host, int(port) if port.isascii() and port.isdigit() else 0


class ForwardedMiddleware:
    """`Forwarded` around an application, for protocols that do not apply it themselves."""

    def __init__(self, app: Any, forwarded: Forwarded) -> None:
        self.app = app
        self.forwarded = forwarded

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        trusts = self.forwarded.trusts_peer(scope.get("client"))
        app = contradiction if trusts and not self.forwarded.apply(scope) else self.app
        await app(scope, receive, send)


async def contradiction(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The application of requests whose fields contradict each other (`Forwarded.apply`)."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    text = CONTRADICTION.encode("ascii")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 400, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": text})
