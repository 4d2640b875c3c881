"""The notations of ``bind``: ``HOST``, ``HOST:PORT``, ``:PORT``, ``[IPV6]:PORT``, ``unix:PATH`` and ``fd://N``."""

from __future__ import annotations

from supervisor.config.schema import Invalid

Address = tuple[str, int] | str | int
"""A host and port, the path of a Unix socket, or the number of an inherited file descriptor."""


def parse(text: str, *, default_port: int = 8000) -> Address:
    """The address that the text names. Raises `Invalid` where it names none.

    An empty text is every IPv4 interface at the default port; an empty host with a port stays empty, which binds
    every interface.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise Invalid(f"has a Unix socket without a path: {text}")
        return path
    if text.startswith("fd://"):
        return _descriptor(text)
    host, port = _split(text.removeprefix("tcp://"))
    return host.lower(), default_port if port is None else _port(port.strip(), text)


def _split(text: str) -> tuple[str, str | None]:
    if not text:
        return "0.0.0.0", None  # noqa: S104  # what gunicorn makes of an empty address
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Invalid(f"has an address that cannot be read: {text}; write [IPV6]:PORT")
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise Invalid(f"has an address that cannot be read: {text}; write an IPv6 address as [IPV6]:PORT")
    return host, port if colon else None


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise Invalid(f"has no valid port number: {text}; write HOST:PORT with a port from 0 to 65535")
    return int(port)


def _descriptor(text: str) -> int:
    digits = text.removeprefix("fd://")
    if not (digits.isascii() and digits.isdigit()):
        raise Invalid(f"has no valid file descriptor: {text}; write fd://N")
    return int(digits)
