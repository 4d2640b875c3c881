"""The PROXY protocol: a proxy that only passes bytes on says, before them, whose they are.

Versions 1 and 2 of https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt; sections below are those of this
document. The header comes before everything else, a TLS handshake included. It is read from the socket to its last byte
and not further, before there is a transport.
"""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from supervisor.workers.connection import address, named
from supervisor.workers.proxy import Address, Forwarded

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins (section 2.2)."""
LONGEST_LINE: Final = 107
"""The longest header of version 1, in bytes, with its CRLF (section 2.1)."""
LONGEST_HEADER: Final = 16 + 16384
"""The longest header of version 2 that is accepted. What proxies add to the addresses takes some hundred bytes."""
PAUSE: Final = 0.01
"""Seconds until it is looked again whether more has come of a header that has begun."""

_V1: Final = b"PROXY "


class InvalidHeader(Exception):
    """What came is a PROXY header, and not a valid one. The message is for the log."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What a header says: the client's address, and the one that it has connected to."""

    client: Address
    server: Address


class Greeting:
    """Reads the header of each connection that a worker accepts, from those who may send one.

    ``mode`` is the setting ``proxy_protocol``. Peers on Unix sockets have no address and are trusted. ``patience`` is
    how many seconds a header may take. ``announce`` is told what a connection began with; ``refuse`` returns what
    refuses one with a status and a text, or None where it can only be closed.
    """

    def __init__(
        self,
        mode: str,
        allowed: Forwarded,
        patience: float,
        *,
        announce: Callable[[socket.socket, Announced | None], None],
        refuse: Callable[[str, int, str], Callable[[], Any] | None],
        make_protocol: Callable[[], Any],
    ) -> None:
        self._mode = mode
        self._allowed = allowed
        self._patience = patience
        self._announce = announce
        self._refuse = refuse
        self._make_protocol = make_protocol

    async def __call__(self, connection: socket.socket) -> Callable[[], Any] | None:
        """What makes the protocol of a connection, or None if it is to be closed. Raises `OSError`."""
        peer = address(connection.getpeername())
        announced = None
        if self._allowed.trusts_peer(peer):
            try:
                announced = await asyncio.wait_for(read_header(connection, self._mode), self._patience)
            except InvalidHeader as error:
                return self._refuse(named(peer), 400, f"Invalid PROXY header {error}.")
            except TimeoutError:
                return self._refuse(named(peer), 408, "The PROXY header took too long.")
            except EOFError:
                return None
        self._announce(connection, announced)
        return self._make_protocol


async def read_header(sock: socket.socket, mode: str) -> Announced | None:
    """Read the header of a non-blocking socket; None if there is none, or one that names no addresses.

    ``mode`` is ``v1``, ``v2`` or ``auto``. Without a header nothing is taken from the socket. Raises `InvalidHeader`,
    `EOFError` where the connection ends within a header, and `OSError`. Sets no time limit.
    """
    if not (begin := await _beginning(sock, mode)):
        return None
    if begin == _V1:
        return parse_line(await _line(sock))
    head = await _exactly(sock, 16)
    length = int.from_bytes(head[14:16], "big")
    if 16 + length > LONGEST_HEADER:
        raise InvalidHeader(f"of {length} bytes")
    return parse_binary(head[12], head[13], await _exactly(sock, length))


async def _beginning(sock: socket.socket, mode: str) -> bytes:
    """What the connection begins with, of what ``mode`` allows; nothing if it begins with anything else."""
    beginnings = [text for text, version in ((_V1, "v1"), (SIGNATURE, "v2")) if mode in (version, "auto")]
    seen = 0
    while True:
        data = await _peek(sock, len(SIGNATURE), seen)
        if not data:
            return b""
        beginnings = [text for text in beginnings if text.startswith(data[: len(text)])]
        if not beginnings:
            return b""
        if len(data) == seen:
            # The end: what came of it is left to the next reader.
            return b""
        seen = len(data)
        for text in beginnings:
            if seen >= len(text):
                return text


async def _line(sock: socket.socket) -> bytes:
    line = b""
    while len(line) < LONGEST_LINE:
        data = await _peek(sock, LONGEST_LINE - len(line), 0)
        if not data:
            raise EOFError
        end = data.find(b"\n") + 1
        # Without an end all of it belongs to the line.
        line += await _exactly(sock, end or len(data))
        if end:
            break
    if not line.endswith(b"\r\n"):
        raise InvalidHeader("without an end")
    return line[:-2]


async def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


async def _peek(sock: socket.socket, count: int, seen: int) -> bytes:
    """What waits to be read, at most ``count`` bytes: more than ``seen``, or as much at the end of the connection."""
    while True:
        try:
            data = sock.recv(count, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock)
            continue
        if len(data) != seen or not data:
            return data
        # The socket stays readable, so that waiting for more of it is not possible.
        if _at_end(sock):
            return data
        await asyncio.sleep(PAUSE)


def _at_end(sock: socket.socket) -> bool:
    """Whether the other side has closed, whatever waits to be read (``POLLRDHUP``, poll(2))."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    loop.add_reader(sock, told.cancel)
    try:
        await asyncio.wait((told,))
    finally:
        loop.remove_reader(sock)


def parse_line(line: bytes) -> Announced | None:
    """A header of version 1, without its CRLF (section 2.1); None for ``UNKNOWN``. Raises `InvalidHeader`."""
    words = line.split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise InvalidHeader(f"{line!r}")
    version = 4 if words[1] == b"TCP4" else 6
    try:
        client, server = (_host(word.decode("ascii"), version) for word in words[2:4])
        return Announced((client, _port(words[4])), (server, _port(words[5])))
    except ValueError:
        raise InvalidHeader(f"{line!r}") from None


def _host(text: str, version: int) -> str:
    if "%" in text or (address := ipaddress.ip_address(text)).version != version:
        raise ValueError
    return str(address)


def _port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or (text[:1] == b"0" and len(text) > 1) or int(text) > 65535:
        raise ValueError
    return int(text)


def parse_binary(version_and_command: int, family: int, content: bytes) -> Announced | None:
    """The bytes of a version 2 header behind its signature (section 2.2); what follows the addresses is skipped.

    None for ``LOCAL``, and where no addresses of the Internet are named. Raises `InvalidHeader`.
    """
    version, command = version_and_command >> 4, version_and_command & 0xF
    if version != 2 or command > 1:
        raise InvalidHeader(f"of version {version} with command {command}")
    if command == 0:
        return None
    if family >> 4 > 3 or family & 0xF > 2:
        raise InvalidHeader(f"of family {family:#04x}")
    if family & 0xF == 2:
        raise InvalidHeader("of a datagram")
    size = {0x11: 4, 0x21: 16}.get(family)
    if size is None:
        return None
    if len(content) < 2 * size + 4:
        raise InvalidHeader(f"with {len(content)} bytes of addresses")
    kind = socket.AF_INET if size == 4 else socket.AF_INET6
    client, server = (socket.inet_ntop(kind, content[at : at + size]) for at in (0, size))
    ports = content[2 * size : 2 * size + 4]
    return Announced((client, int.from_bytes(ports[:2], "big")), (server, int.from_bytes(ports[2:], "big")))
