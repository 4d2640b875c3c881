"""What is wrong with the head of a request that a parser has let pass, and `Strict`, which reads along with h11."""

from __future__ import annotations

from typing import Any, Final

import httptools

from supervisor.workers.state import Limits

Objection = tuple[int, str]
"""The status, and the text, with which a request is refused."""
Fields = list[tuple[bytes, bytes]]

INVALID: Final = (400, "Invalid HTTP request received.")
LINE_TOO_LONG: Final = (414, "Request line too long.")
TOO_MANY_FIELDS: Final = (431, "Too many request header fields.")
FIELD_TOO_LARGE: Final = (431, "Request header field too large.")
FIELDS_TOO_LARGE: Final = (431, "Request header fields too large.")


def objection(limits: Limits, method: bytes, version: str, url: bytes, headers: Fields) -> Objection | None:
    """Why a well-formed head cannot become a request; None if it can. Names in ``headers`` are lower-case."""
    if version not in ("1.1", "1.0"):
        return 505, "HTTP version not supported."
    if len(method) + len(url) + 10 > limits.request_line > 0:
        return LINE_TOO_LONG
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return 400, "Exactly one Host header field is required."
    if version == "1.0" and b"transfer-encoding" in names:
        # RFC 9112, section 6.1: whoever passed it on may not have known what it means.
        return 400, "HTTP/1.0 has no Transfer-Encoding."
    if method == b"CONNECT":
        return 501, "CONNECT is not supported."
    expectations = {value.lower() for name, value in headers if name == b"expect"}
    if expectations - {b"", b"100-continue"}:
        return 417, "Expectation failed."
    return None


def written(method: bytes, url: bytes, version: str, headers: Fields) -> bytes:
    """A head as it is sent."""
    lines = [method, b" ", url, b" HTTP/", version.encode("ascii"), b"\r\n"]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


class Strict:
    """Reads what another parser is about to read, by the rules that hold for `supervisor.workers.http`.

    h11 takes lines that end with a bare line feed, folded lines, control bytes, both lengths at once, and more that
    another server on the way may read in another way.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self._objection: Objection | None = None
        self._head_open = False
        self._reading = False
        self._last = False
        self._url = b""
        self._headers: Fields = []
        self._overhead = 0

    def feed(self, data: bytes) -> Objection | None:
        """Take the next bytes of the connection; return why they are to be refused, if they are."""
        if self._parser is None:
            return None
        self._overhead += len(data)
        while self._objection is None:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._after_upgrade(data[upgrade.args[0] :])
                if self._parser is None:
                    return None
                continue
            except httptools.HttpParserError:
                if self._last:
                    # Whatever comes behind a last request, nobody reads it.
                    self._parser = None
                    return self._objection
                self._object(INVALID)
            break
        if (self._head_open or self._reading) and self._overhead > self._limits.head_bytes:
            self._object(FIELDS_TOO_LARGE)
        return self._objection

    def _object(self, objection: Objection) -> None:
        self._objection = self._objection or objection

    def _after_upgrade(self, rest: bytes) -> bytes:
        """What is to be read next: nothing more if uvicorn's h11 class will grant the upgrade, by its own rules."""
        fields = dict(self._headers)
        tokens = [token.strip().lower() for token in fields.get(b"connection", b"").split(b",")]
        if b"upgrade" in tokens and fields.get(b"upgrade", b"").lower() == b"websocket":
            self._parser = None
            return b""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        self._parser = httptools.HttpRequestParser(self)
        return written(method, self._url, version, [each for each in self._headers if each[0] != b"upgrade"]) + rest

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self._head_open = True
        self._overhead = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) + 13 > self._limits.request_line > 0:
            self._object(LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_open:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > self._limits.request_fields > 0:
            self._object(TOO_MANY_FIELDS)
        elif len(name) + len(value) + 2 > self._limits.request_field_size > 0:
            self._object(FIELD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._reading = True
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if found := objection(self._limits, method, version, self._url, self._headers):
            self._object(found)
        elif not (self._url.startswith(b"/") or self._url == b"*" or b"://" in self._url):
            self._object((400, "Invalid request target."))

    def on_body(self, body: bytes) -> None:
        self._overhead = 0

    def on_message_complete(self) -> None:
        self._reading = False
        self._last = not self._parser.should_keep_alive()
