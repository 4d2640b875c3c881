"""The bytes of a response's head: status lines, validated header fields, framing (RFC 9112, RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

PLAIN: Final = 0
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
CONNECTION: Final = 4
DATE: Final = 8
SERVER: Final = 16

_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"date": DATE,
    b"server": SERVER,
}
# RFC 9110, section 5.6.2 (token) and 5.5 (field values: no control character but the tab).
_BAD_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_CACHE_ENTRIES: Final = 1024
_CACHE_BYTES: Final = 512
_cache: dict[tuple[bytes, bytes], tuple[bytes, int]] = {}
_HEADS: Final = 512
_HEAD_FIELDS: Final = 16
_heads: dict[tuple[Any, ...], Head] = {}


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s\r\n" % (status, _phrase(status)) for status in range(200, 1000)}

CONNECTION_CLOSE: Final = b"connection: close\r\n"
CONNECTION_KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class InvalidResponse(RuntimeError):
    """The application sent what cannot be a response. Raised into the application."""


def encode_field(name: Any, value: Any) -> tuple[bytes, int]:
    """Return the line of one header field and its kind; raise `InvalidResponse` if it is malformed.

    Lines are remembered, since applications send the same few fields with every response. The memory is bounded in
    number and in size, and only what was validated gets into it.
    """
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise InvalidResponse(f"header names and values must be bytes, not {name!r}: {value!r}")
    if not name or _BAD_NAME.search(name):
        raise InvalidResponse(f"invalid HTTP header name {name!r}")
    if _BAD_VALUE.search(value):
        raise InvalidResponse(f"invalid value of HTTP header {name!r}: {value!r}")
    lower = name.lower()
    entry = (b"%b: %b\r\n" % (lower, value), _KINDS.get(lower, PLAIN))
    if len(value) <= _CACHE_BYTES:
        if len(_cache) >= _CACHE_ENTRIES:
            _cache.clear()
        _cache[name, value] = entry
    return entry


class Head:
    """A response's head as the application gave it: encoded lines, and what they say about the framing."""

    __slots__ = ("chunked", "close", "closing", "kinds", "known", "length", "lines", "plain")

    def __init__(self, headers: Iterable[Iterable[bytes]]) -> None:
        lines: list[bytes] = []
        self.length: int | None = None
        self.chunked = False
        self.close = False
        self.kinds = 0
        self.known = True
        for name, value in headers:
            try:
                line, kind = _cache[name, value]
            except (KeyError, TypeError):
                line, kind = encode_field(name, value)
                self.known = False
            if kind:
                self._note(kind, value)
                if kind in (CONTENT_LENGTH, TRANSFER_ENCODING):
                    continue
            lines.append(line)
        self.lines = b"".join(lines)
        self.plain, self.closing = self._whole()

    def _whole(self) -> tuple[bytes, bytes]:
        """All behind the default fields, the empty line included, if the connection stays and if it closes.

        Both are empty where more than that has to be decided.
        """
        if self.length is None or self.chunked or self.close or self.kinds & (DATE | SERVER):
            return b"", b""
        fields = b"%bcontent-length: %d\r\n" % (self.lines, self.length)
        return fields + b"\r\n", fields + CONNECTION_CLOSE + b"\r\n"

    def _note(self, kind: int, value: bytes) -> None:
        self.kinds |= kind
        if kind == CONTENT_LENGTH:
            if not value.isdigit() or (self.length is not None and self.length != int(value)):
                raise InvalidResponse(f"invalid content-length {value!r}")
            self.length = int(value)
        elif kind == TRANSFER_ENCODING:
            if value.strip().lower() != b"chunked":
                raise InvalidResponse(f"transfer-encoding {value!r} is not supported, only chunked is")
            self.chunked = True
        elif kind == CONNECTION:
            self.close = self.close or b"close" in [token.strip() for token in value.lower().split(b",")]


def head_of(fields: tuple[Any, ...]) -> Head:
    """The `Head` of these header fields; raises `InvalidResponse` if one of them is malformed.

    Whole heads are remembered like single fields, but only those whose every field was known: a field that is another
    one each time would fill the memory with heads that never come back.
    """
    try:
        return _heads[fields]
    except (KeyError, TypeError):
        pass
    head = Head(fields)
    if head.known and len(fields) <= _HEAD_FIELDS and all(type(field) is tuple for field in fields):
        if len(_heads) >= _HEADS:
            _heads.clear()
        _heads[fields] = head
    return head


def simple(status: int, text: str, default_head: bytes, *, head_only: bool = False) -> bytes:
    """A whole response of the server's own, in plain text, after which the connection ends."""
    body = text.encode("utf-8")
    return b"".join(
        (
            STATUS_LINES[status],
            default_head,
            b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body),
            CONNECTION_CLOSE,
            b"\r\n",
            b"" if head_only else body,
        )
    )
