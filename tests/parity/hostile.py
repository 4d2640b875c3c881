"""Malformed and hostile requests, as data: what is sent, and what a server that can be trusted makes of it.

Each entry is refused before the application hears of it, or is read in the one way that RFC 9112 leaves (``reads``).
Sections are those of RFC 9112 unless another document is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HOST = b"Host: a\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
"""What must never be taken for a request, where it stands behind something of doubtful length."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is ``sent`` goes out in one piece.

    ``reads`` is None for what must be refused or cut off, else the path and body that the application may be given.
    ``answers`` are the statuses that are allowed, besides a connection that just ends.
    """

    name: str
    sent: bytes
    reads: tuple[str, bytes] | None = None
    answers: frozenset[int] = field(default_factory=lambda: frozenset({400}))


def _head(*lines: bytes, target: bytes = b"/", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _get(*lines: bytes, target: bytes = b"/", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return _head(b"Host: a", *lines, target=target, method=method, version=version)


def _post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return _head(b"Host: a", *lines, method=b"POST", version=version) + body


def _chunked(body: bytes, *lines: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", *lines, body=body)


def _refused(name: str, sent: bytes, *answers: int) -> Hostile:
    return Hostile(name, sent, answers=frozenset(answers or (400,)))


def _read(name: str, sent: bytes, path: str = "/", body: bytes = b"", *, or_refused: bool = False) -> Hostile:
    answers = frozenset({200, 400} if or_refused else {200})
    return Hostile(name, sent, reads=(path, body), answers=answers)


LENGTHS = (
    *(
        _refused(f"content-length {name}", _post(b"Content-Length: " + value, body=b"abcde" + NEXT))
        for name, value in {
            "negative": b"-5",
            "signed": b"+5",
            "hexadecimal": b"0x5",
            "with a letter": b"5a",
            "empty": b"",
            "fraction": b"5.0",
            "with an underscore": b"1_0",
            "with a space inside": b"1 0",
            "list of different ones": b"5, 6",
            "list of the same": b"5, 5",
            "beyond 64 bits": b"18446744073709551621",
            "of a thousand digits": b"9" * 1000,
            "with a vertical tab": b"\x0b5",
            "of Arabic digits": "٥".encode(),
            "of a superscript": b"\xb2",
        }.items()
    ),
    _refused(
        "content-length twice, different", _post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcde" + NEXT)
    ),
    _refused("content-length twice, equal", _post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde" + NEXT)),
    _refused(
        "content-length and chunks",
        _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + NEXT),
    ),
    _refused(
        "chunks and content-length",
        _post(b"Transfer-Encoding: chunked", b"Content-Length: 50", body=b"0\r\n\r\n" + NEXT),
    ),
    _refused(
        "content-length of zero and chunks",
        _post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n0\r\n\r\n" + NEXT),
    ),
    _refused(
        "content-length and another coding",
        _post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"abcde" + NEXT),
        400,
        501,
    ),
)

CODINGS = (
    *(
        _refused(
            f"transfer-encoding {name}",
            _post(b"Transfer-Encoding:" + value, body=b"5\r\nabcde\r\n0\r\n\r\n" + NEXT),
            400,
            501,
        )
        for name, value in {
            "chunked, identity": b" chunked, identity",
            "identity": b" identity",
            "xchunked": b" xchunked",
            "chunkedx": b" chunkedx",
            "chunked twice in a list": b" chunked, chunked",
            "chunked in quotes": b' "chunked"',
            "chunked with a parameter": b" chunked;q=1",
            "empty": b"",
            "a comma": b" ,",
            "with a vertical tab": b" \x0bchunked",
            "with a null": b" chunked\0",
            "with a no-break space": b" \xa0chunked",
            "gzip": b" gzip",
            "chunked, then gzip": b" chunked, gzip",
            "with an odd letter": b" chun\xe2\x84\xaaed",
        }.items()
    ),
    _refused(
        "transfer-encoding twice",
        _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + NEXT),
    ),
    _refused(
        "transfer-encoding twice, the last is not chunked",
        _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + NEXT),
        400,
        501,
    ),
    _refused(
        "chunks in HTTP/1.0",
        _post(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=b"5\r\nabcde\r\n0\r\n\r\n" + NEXT),
    ),
    _refused(
        "a space before the colon of transfer-encoding",
        _post(b"Content-Length: 5", b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + NEXT),
    ),
    _refused(
        "transfer-encoding in a folded line",
        _post(b"Content-Length: 5", b"X: y", b" Transfer-Encoding: chunked", body=b"abcde" + NEXT),
    ),
    _refused(
        "transfer-encoding behind a bare line feed",
        _post(b"Content-Length: 5", b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + NEXT),
    ),
    _refused(
        "transfer-encoding behind a bare carriage return",
        _post(b"Content-Length: 5", b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + NEXT),
    ),
    _read("CHUNKED in capitals", _post(b"Transfer-Encoding: CHUNKED", body=b"3\r\nabc\r\n0\r\n\r\n"), body=b"abc"),
    _read("chunked behind a tab", _post(b"Transfer-Encoding:\tchunked", body=b"3\r\nabc\r\n0\r\n\r\n"), body=b"abc"),
    _read(
        "chunked before spaces",
        _post(b"Transfer-Encoding: chunked \t ", body=b"3\r\nabc\r\n0\r\n\r\n"),
        body=b"abc",
        or_refused=True,
    ),
)

CHUNKS = (
    *(
        _refused(f"chunk size {name}", _chunked(size + b"\r\nabcde\r\n0\r\n\r\n" + NEXT))
        for name, size in {
            "negative": b"-5",
            "signed": b"+5",
            "with 0x": b"0x5",
            "no number": b"g",
            "empty": b"",
            "with an underscore": b"0_5",
            "beyond 64 bits": b"10000000000000005",
            "beyond 64 bits, with zeros": b"1" + b"0" * 40 + b"5",
            "with a space before": b" 5",
            "with a line feed in the extension": b"5;a\nb",
            "with a null in the extension": b"5;a\0b",
            "with a carriage return in the extension": b"5;a\rb",
        }.items()
    ),
    _refused("chunk longer than its size", _chunked(b"3\r\nabcde\r\n0\r\n\r\n" + NEXT)),
    _refused("chunk without its end", _chunked(b"5\r\nabcde0\r\n\r\n" + NEXT)),
    _refused("chunk size behind a bare line feed", _chunked(b"5\nabcde\r\n0\r\n\r\n" + NEXT)),
    _refused("chunk before a bare line feed", _chunked(b"5\r\nabcde\n0\r\n\r\n" + NEXT)),
    _refused("last chunk with a bare line feed", _chunked(b"5\r\nabcde\r\n0\n\n" + NEXT)),
    _refused("chunk with XX for its end", _chunked(b"5\r\nabcdeXX0\r\n\r\n" + NEXT)),
    _refused("chunk extension without end", _chunked(b"5;" + b"a" * 2_000_000), 400, 431),
    _refused("trailer that is no field", _chunked(b"0\r\nnot a field\r\n\r\n" + NEXT)),
    _refused("trailer with a space before its colon", _chunked(b"0\r\nX : y\r\n\r\n" + NEXT)),
    _refused("trailer with a null", _chunked(b"0\r\nX: a\0b\r\n\r\n" + NEXT)),
    _refused("trailer with a bare line feed", _chunked(b"0\r\nX: a\nY: b\r\n\r\n" + NEXT)),
    _refused("trailers without end", _chunked(b"0\r\n" + b"X: y\r\n" * 200_000), 400, 431),
    _read("trailer of the head", _chunked(b"3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"), body=b"abc"),
)

FIELDS = (
    *(
        _refused(f"header field {name}", _get(line))
        for name, line in {
            "with a space before the colon": b"X : y",
            "with a tab before the colon": b"X\t: y",
            "without a name": b": y",
            "without a colon": b"nonsense",
            "with a null in its name": b"X\0Y: z",
            "with a null in its value": b"X: a\0b",
            "with a bell in its value": b"X: a\x07b",
            "with DEL in its value": b"X: a\x7fb",
            "with a bare carriage return": b"X: a\rb",
            "with a bare carriage return at its end": b"X: a\r",
            "with a space in its name": b"X Y: z",
            "with parentheses in its name": b"X(1): y",
            "with a byte beyond ASCII in its name": b"X\xe4: y",
            "with a slash in its name": b"X/Y: z",
            "with brackets in its name": b"X[1]: y",
            "folded": b"X: a\r\n b",
            "folded with a tab": b"X: a\r\n\tb",
            "folded to nothing": b"X: a\r\n ",
        }.items()
    ),
    _refused("bare line feeds for all ends", b"GET / HTTP/1.1\nHost: a\n\n" + NEXT),
    _refused("bare line feed behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    _refused("bare line feed behind a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    _refused("bare line feed as the end of the head", b"GET / HTTP/1.1\r\nHost: a\r\n\n" + NEXT),
    _refused("bare carriage returns for all ends", b"GET / HTTP/1.1\rHost: a\r\r" + NEXT),
    _refused("space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    _refused("folded line before the first field", b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
    _refused("too many fields", _get(*(b"X%d: y" % number for number in range(200))), 431),
    _refused("too long a field", _get(b"X: " + b"y" * 10_000), 431),
    _refused("too long a name of a field", _get(b"X" * 10_000 + b": y"), 431, 400),
    _refused("a field without end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 2_000_000, 431, 400),
    _refused("fields without end", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300_000, 431, 400),
    _refused("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    _refused("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    _refused("two equal Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    _refused("Host with a null", b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
    _refused("an expectation that nobody knows", _get(b"Expect: the-spanish-inquisition"), 417),
    _read("an empty value", _get(b"X:")),
    _read("bytes beyond ASCII in a value", _get(b"X: \xe4\xff")),
)

LINES = (
    *(
        _refused(f"request line {name}", line + b"\r\nHost: a\r\n\r\n", 400, 405, 501, 505)
        for name, line in {
            "of one word": b"GET",
            "without a version (HTTP/0.9)": b"GET /",
            "without a target": b"GET HTTP/1.1",
            "of four words": b"GET / x HTTP/1.1",
            "with two spaces": b"GET  / HTTP/1.1",
            "with two spaces before the version": b"GET /  HTTP/1.1",
            "with a space at its end": b"GET / HTTP/1.1 ",
            "with tabs": b"GET\t/\tHTTP/1.1",
            "with a space before": b" GET / HTTP/1.1",
            "of another protocol": b"GET / RTSP/1.0",
            "of another protocol, nearly": b"GET / HTTQ/1.1",
            "in lower case version": b"GET / http/1.1",
            "of HTTP/0.9": b"GET / HTTP/0.9",
            "of HTTP/1.2": b"GET / HTTP/1.2",
            "of HTTP/1.10": b"GET / HTTP/1.10",
            "of HTTP/01.1": b"GET / HTTP/01.1",
            "of HTTP/2.0": b"GET / HTTP/2.0",
            "of HTTP/11": b"GET / HTTP/11",
            "of HTTP/1,1": b"GET / HTTP/1,1",
            "of HTTP/-1.1": b"GET / HTTP/-1.1",
            "of HTTP/ 1.1": b"GET / HTTP/ 1.1",
            "with a null in the target": b"GET /a\0b HTTP/1.1",
            "with a control byte in the target": b"GET /a\x01b HTTP/1.1",
            "with DEL in the target": b"GET /a\x7fb HTTP/1.1",
            "with a carriage return in the target": b"GET /a\rb HTTP/1.1",
            "with a line feed in the target": b"GET /a\nb HTTP/1.1",
            "with a tab in the target": b"GET /a\tb HTTP/1.1",
            "with a target that is no path": b"GET a HTTP/1.1",
            "with an authority for GET": b"GET a:80 HTTP/1.1",
            "with an empty method": b" / HTTP/1.1",
            "with a null in the method": b"G\0T / HTTP/1.1",
            "with a method in lower case": b"get / HTTP/1.1",
            "with a method in mixed case": b"Get / HTTP/1.1",
            "with a method in quotes": b'"GET" / HTTP/1.1',
            "with CONNECT": b"CONNECT a:80 HTTP/1.1",
            "with CONNECT and a path": b"CONNECT / HTTP/1.1",
            "of no letters": b"\x00\x01\x02\x03",
            "of HTTP/2's beginning": b"PRI * HTTP/2.0",
        }.items()
    ),
    _refused("too long a request line", b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    _refused("a request line without end", b"GET /" + b"a" * 2_000_000, 414),
    _refused("a query without end", b"GET /?" + b"a" * 2_000_000, 414),
    _refused("a method without end", b"G" * 2_000_000, 400, 414, 501),
    _refused("a method that nobody has registered", _get(method=b"FOO"), 400, 501),
    _refused("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400, 405, 501, 505),
    _refused("a TLS handshake", bytes.fromhex("16030100f8010000f40303") + bytes(range(240)), 400),
    _refused("a PROXY header", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + _get(), 400, 501),
    _refused("a PROXY header of version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + _get(), 400),
    _refused("an SSH client", b"SSH-2.0-OpenSSH_9.6\r\n", 400, 501),
    _refused("a mail client", b"EHLO a\r\n", 400, 501),
    _read("empty lines before the request", b"\r\n" + _get(), or_refused=True),
    _read("an absolute target", _get(target=b"http://b/path"), "/path"),
    _read("an absolute target without a path", _get(target=b"http://b"), "/"),
    _read("an asterisk", _get(target=b"*", method=b"OPTIONS"), "*"),
    _read("escaped control bytes", _get(target=b"/a%00%0d%0ab"), "/a\0\r\nb"),
    _read("bytes beyond ASCII in the target", _get(target=b"/\xc3\xa9?\xff"), "/\xe9", or_refused=True),
    _read("no Host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n"),
)

PIPELINES = (
    _refused("a body that looks like a request, signed", _post(b"Content-Length: +0", body=NEXT)),
    _refused("a request behind a bare line feed", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n" + NEXT),
    _read("a body that is a request", _post(b"Content-Length: %d" % len(NEXT), body=NEXT), body=NEXT),
    _read("a request behind one that closes", _get(b"Connection: close") + NEXT),
    _read("a request behind HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n" + NEXT),
    _read("nonsense behind a request that closes", _get(b"Connection: close") + b"\0\xff" * 50),
)

WEBSOCKETS = (
    *(
        _refused(
            f"WebSocket {name}",
            _head(b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket", *lines, method=method, version=version),
            400,
            403,
            405,
            426,
            505,
        )
        for name, lines, method, version in (
            ("without a key", (b"Sec-WebSocket-Version: 13",), b"GET", b"HTTP/1.1"),
            ("with a short key", (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA"), b"GET", b"HTTP/1.1"),
            (
                "with a key that is no base64",
                (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="),
                b"GET",
                b"HTTP/1.1",
            ),
            ("without a version", (b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",), b"GET", b"HTTP/1.1"),
            (
                "of another version",
                (b"Sec-WebSocket-Version: 7", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
                b"GET",
                b"HTTP/1.1",
            ),
            (
                "with two keys",
                (
                    b"Sec-WebSocket-Version: 13",
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                    b"Sec-WebSocket-Key: BAAAAAAAAAAAAAAAAAAAAA==",
                ),
                b"GET",
                b"HTTP/1.1",
            ),
        )
    ),
)

IN_BODIES = frozenset(each.name for each in CHUNKS)
"""Those whose head is good: the application may have begun with them, and is told that the body will not get whole."""

STRICTER = {
    "no Host": "section 3.2: a server must refuse it",
    "request line with CONNECT": "there is no tunnel to be had (RFC 9110, section 9.3.6)",
    "request line with CONNECT and a path": "as above",
    "a method that nobody has registered": "llhttp knows a list of methods, and so it was under uvicorn",
    "content-length beyond 64 bits": "gunicorn waits for them; numbers of other servers wrap around",
    "content-length of a thousand digits": "as above",
    "chunk size beyond 64 bits": "as above",
    "chunk size beyond 64 bits, with zeros": "as above",
}
"""Why we refuse what gunicorn takes."""

LAXER = {
    "bytes beyond ASCII in the target": "browsers and crawlers send them, and nobody frames them in another way",
}
"""Why we take what gunicorn refuses."""

UNHEARD = frozenset(name for name in STRICTER if name.startswith(("content-length", "chunk")))
"""For what gunicorn goes on to wait."""

H11_PATHS = {"an absolute target": "http://b/path", "an absolute target without a path": "http://b"}
"""uvicorn's h11 protocol hands absolute targets out as they are."""

CORPUS = (*LENGTHS, *CODINGS, *CHUNKS, *FIELDS, *LINES, *PIPELINES, *WEBSOCKETS)
