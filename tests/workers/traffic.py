"""Hypothesis strategies for HTTP/1.1 conversations: requests in every legal spelling, broken ones, applications."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.workers.peers import Conversation, Program, Step

# -- requests

_SEGMENTS = st.sampled_from(
    [b"", b"a", b"bc", b"..", b"a%2Fb", b"%C3%A9", b"%E2%82%AC", b"%zz", b"%", b"+", b"~x", b"a;b=c", b"a:b@c", b"%00"]
)
_QUERIES = st.sampled_from([b"", b"?", b"?a=b", b"?a=b&c=%20", b"??", b"?a/b:c@d", b"?%C3%A9"])
_FRAGMENTS = st.sampled_from([b"", b"", b"", b"", b"#", b"#f", b"#f?g"])
_ODD_TARGETS = st.sampled_from(
    [b"*", b"/\xc3\xa9", b"/\xff", b"/a|b", b'/"', b"/<a>", b"/{a}", b"/\\", b"/?\xc3\xa9", b"//a/b", b"///", b"http://",
     b"http://h", b"http://h?q", b"http://h#f", b"https://u:p@h:1/x", b"http://h:x/", b"http://[::1]:80/y", b"h:1", b"ftp://h/p"]
)  # fmt: skip


@st.composite
def targets(draw: st.DrawFn, odd: bool) -> bytes:
    if odd and draw(st.integers(0, 9)) == 0:
        return draw(_ODD_TARGETS)
    path = b"/" + b"/".join(draw(st.lists(_SEGMENTS, max_size=3)))
    origin = draw(st.sampled_from([b"", b"", b"", b"", b"http://a", b"HTTP://a.example:8080"]))
    return origin + path + draw(_QUERIES) + draw(_FRAGMENTS)


_METHODS = [b"GET"] * 12 + [b"POST"] * 8 + [b"HEAD"] * 4
_METHODS += [b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND", b"M-SEARCH", b"PURGE"]
_ODD_METHODS = [b"CONNECT", b"get", b"FOO"]
_VERSIONS = [b"HTTP/1.1"] * 25 + [b"HTTP/1.0"] * 5
_ODD_VERSIONS = [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2"]
_HOSTS = [[b"Host: a"]] * 30 + [[b"hOST:a.example:80 "], [b"Host:"]]
_ODD_HOSTS: list[list[bytes]] = [[], [b"Host: a", b"Host: b"]]
_CONNECTIONS: list[list[bytes]] = [[]] * 8 + [
    [b"Connection: close"],
    [b"Connection: CLOSE"],
    [b"Connection: keep-alive"],
    [b"Connection: Keep-Alive, x"],
    [b"Connection: x , close"],
    [b"Connection: keep-alive", b"Connection: close"],
    [b"Connection:"],
    [b"Upgrade: h2c"],
    [b"Connection: Upgrade"],
    [b"Connection: Upgrade", b"Upgrade: h2c"],
]
_ODD_CONNECTIONS = [[b"Connection: Upgrade, close", b"Upgrade: foo/1"], [b"Proxy-Connection: close"]]
_EXPECTS: list[list[bytes]] = [[]] * 7
_ODD_EXPECTS = [[b"Expect: 100-continue"], [b"Expect: 100-Continue"], [b"Expect: miracles"]]
_FIELDS = st.sampled_from(
    [
        b"X: ",
        b"X:y",
        b"x: \t y \t",
        b"X: one",
        b"X: two",
        b"Accept: */*",
        b"Cookie: a=b; c=d",
        b"Cookie: e=f",
        b"X_Under-score: 1",
        b"!#$%&'*+-.^_`|~09: odd",
        b"Obs: \xc3\xa9\xff",
        b'Quoted: "a\\"b"',
        b"User-Agent: " + b"u" * 300,
        b"TE: trailers",
        b"Keep-Alive: timeout=5",
        b"Content-Type: text/plain",
        b"Trailer: X-Sum",
    ]
)
_CONTENT = st.sampled_from([b"", b"a", b"abc", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n", b"x" * 40])
_EXTENSIONS = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"', b";a=b;c=d"])
_TRAILERS: list[list[bytes]] = [[]] * 3 + [[b"X-Sum: 1"], [b"Host: b", b"Host: c"], [b"Expect: x"]]
_ODD_TRAILERS = [[b"X: y", b"Connection: close"], [b"Content-Length: 9"], [b"Connection: Upgrade", b"Upgrade: h2c"]]


@dataclass(frozen=True)
class Sent:
    """A request as it is sent, and what it means."""

    raw: bytes
    method: str
    target: bytes
    version: str
    fields: tuple[bytes, ...]
    content: bytes


def _some(odd: bool, usual: list[Any], unusual: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(usual + unusual if odd else usual)


@st.composite
def bodies(draw: st.DrawFn, odd: bool) -> tuple[list[bytes], bytes, bytes]:
    """Framing fields, the body as it is sent, and what it holds."""
    kind = draw(st.sampled_from(["none", "none", "length", "chunked"]))
    if kind == "none":
        return [], b"", b""
    if kind == "length":
        content = draw(_CONTENT)
        zeros = b"0" * draw(st.sampled_from([0, 0, 0, 2]))
        return [b"Content-Length: " + zeros + b"%d" % len(content)], content, content
    sent, held = b"", b""
    for content in draw(st.lists(_CONTENT.filter(bool), max_size=3)):
        held += content
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(content)
        sent += size + draw(_EXTENSIONS) + b"\r\n" + content + b"\r\n"
    sent += draw(st.sampled_from([b"0", b"000"])) + draw(_EXTENSIONS) + b"\r\n"
    sent += b"".join(line + b"\r\n" for line in draw(_some(odd, _TRAILERS, _ODD_TRAILERS))) + b"\r\n"
    return [draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked"]))], sent, held


@st.composite
def requests(draw: st.DrawFn, odd: bool = False) -> Sent:
    """A request that must be answered; an ``odd`` one may be refused, or end the connection."""
    framing, sent, content = draw(bodies(odd))
    fields = [
        *draw(_some(odd, _HOSTS, _ODD_HOSTS)),
        *draw(_some(odd, _CONNECTIONS, _ODD_CONNECTIONS)),
        *draw(_some(odd, _EXPECTS, _ODD_EXPECTS)),
        *framing,
        *draw(st.lists(_FIELDS, max_size=3)),
    ]
    if draw(st.booleans()):
        fields = draw(st.permutations(fields))
    method, version = draw(_some(odd, _METHODS, _ODD_METHODS)), draw(_some(odd, _VERSIONS, _ODD_VERSIONS))
    if not odd and any(line.lower().startswith(b"transfer") for line in framing):
        version = b"HTTP/1.1"
    target = draw(targets(odd))
    blank = b"\r\n" * draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
    head = b"".join(part + b"\r\n" for part in (b" ".join((method, target, version)), *fields))
    return Sent(blank + head + b"\r\n" + sent, method.decode(), target, version[5:].decode(), tuple(fields), content)


_POISON = st.sampled_from(
    [b"\x00", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\xff", b"0", b"9", b"A", b";", b",", b"\r\n ", b"\x7f", b"/"]
)
_BROKEN_FIELDS = st.sampled_from(
    [
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 1, 1",
        b"Content-Length: -1",
        b"Content-Length: +1",
        b"Content-Length: 0x1",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 1 1",
        b"Content-Length:",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding : chunked",
        b"X : y",
        b" folded",
        b"no colon",
        b": no name",
        b"X: a\r\n folded",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\nY: b",
        b"(X): y",
        b"Connection: close\x0b",
    ]
)


@st.composite
def mutated(draw: st.DrawFn, stream: bytes) -> bytes:
    """``stream`` with one or two places broken."""
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["insert", "delete", "replace", "cut", "field"]))
        place = draw(st.integers(0, len(stream)))
        if kind == "insert":
            stream = stream[:place] + draw(_POISON) + stream[place:]
        elif kind == "delete":
            stream = stream[:place] + stream[place + draw(st.integers(1, 3)) :]
        elif kind == "replace":
            stream = stream[:place] + draw(_POISON) + stream[place + 1 :]
        elif kind == "cut":
            stream = stream[:place]
        else:
            end = stream.find(b"\r\n", place)
            if end >= 0:
                stream = stream[:end] + b"\r\n" + draw(_BROKEN_FIELDS) + stream[end:]
    return stream


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> tuple[bytes, ...]:
    """``stream`` in pieces."""
    # Right behind a head is where most depends on the moment.
    heads = [found.end() for found in re.finditer(rb"\r\n\r\n", stream)] or [0]
    places = sorted(draw(st.lists(st.one_of(st.integers(0, len(stream)), st.sampled_from(heads)), max_size=5)))
    pieces = [stream[begin:end] for begin, end in zip([0, *places], [*places, len(stream)], strict=True)]
    return tuple(piece for piece in pieces if piece)


# -- applications


def start(status: Any = 200, *headers: tuple[Any, Any]) -> Step:
    return ("send", {"type": "http.response.start", "status": status, "headers": list(headers)})


def body(data: Any = b"", more: bool = False) -> Step:
    return ("send", {"type": "http.response.body", "body": data, "more_body": more})


READ: Step = ("read",)
RECEIVE: Step = ("receive",)
PAUSE: Step = ("pause",)
RAISE: Step = ("raise",)

_STATUSES = st.sampled_from([200] * 8 + [201, 204, 204, 304, 304, 400, 404, 413, 500, 503, 299])
_ANSWER_FIELDS = st.sampled_from(
    [
        (b"x-one", b"1"),
        (b"X-Two", b" 2 "),
        (b"set-cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"content-type", b"text/plain"),
        (b"obs", b"\xc3\xa9\xff"),
        (b"tab", b"a\tb"),
        (b"empty", b""),
        (b"connection", b"close"),
        (b"Connection", b"x, Close"),
        (b"connection", b"keep-alive"),
        (b"server", b"own"),
        (b"Date", b"today"),
    ]
)
_WAITS: list[Program] = [(), (), (), (PAUSE,)]
_ODD_WAITS: list[Program] = [(RECEIVE,)]


@st.composite
def good_programs(draw: st.DrawFn, odd: bool = False) -> Program:
    """An application that keeps to the rules; an ``odd`` one may wait for the end of the connection before it goes on.

    Its content comes in as many messages as it likes.
    """
    content = draw(st.lists(_CONTENT, max_size=3))
    status = draw(_STATUSES)
    if status in (204, 304):
        content = [b""]
    headers = draw(st.lists(_ANSWER_FIELDS, max_size=3))
    framing = draw(st.sampled_from(["length", "length", "none", "chunked"]))
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(b"".join(content))))
    elif framing == "chunked":
        headers.append((b"transfer-encoding", b"chunked"))
    steps: list[Step] = [start(status, *draw(st.permutations(headers)))]
    for data in content[:-1]:
        steps += [*draw(_some(odd, _WAITS, _ODD_WAITS)), body(data, True)]
    steps += [*draw(_some(odd, _WAITS, _ODD_WAITS)), body(content[-1] if content else b"")]
    read = draw(_some(odd, [(READ,), (READ,), (PAUSE, READ), (), (PAUSE,)], [(RECEIVE,)]))
    after = draw(st.sampled_from([(), (), (), (PAUSE,), (RECEIVE,), (READ,)]))
    return (*read, *steps, *after)


_WRONG_HEADERS: st.SearchStrategy[list[tuple[Any, Any]]] = st.sampled_from(
    [
        [(b"bad name", b"x")],
        [(b"", b"x")],
        [(b"bad:name", b"x")],
        [(b"\xff", b"x")],
        [(b"a/b", b"x")],
        [(b"a", b"x\r\ny: z")],
        [(b"a", b"x\x00")],
        [("text", b"x")],
        [(b"a", "text")],
        [(b"content-length", b"1")],
        [(b"content-length", b"1000000")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"x")],
        [(b"content-length", b" 3 ")],
        [(b"content-length", b"3"), (b"content-length", b"3")],
        [(b"content-length", b"3"), (b"content-length", b"4")],
        [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"9")],
        [(b"transfer-encoding", b"gzip")],
        [(b"transfer-encoding", b"Chunked ")],
        [(b"connection", b"close"), (b"connection", b"x")],
    ]
)


@st.composite
def odd_programs(draw: st.DrawFn) -> Program:
    """An application that makes mistakes."""
    read = draw(st.sampled_from([(READ,), (), (PAUSE,)]))
    good = (start(200, (b"content-length", b"3")), body(b"abc"))
    kind = draw(st.sampled_from(["any order", "headers", "status", "after", "raise", "short"]))
    if kind == "headers":
        return (*read, start(200, *draw(_WRONG_HEADERS)), *draw(_some(True, _WAITS, _ODD_WAITS)), body(b"abc"))
    if kind == "status":
        return (*read, start(draw(st.sampled_from([0, 99, 100, 101, 102, 600, 999, 1000, "200", None]))), body(b"abc"))
    if kind == "after":
        return (*read, *good, *draw(st.sampled_from([(RAISE,), (("return", 1),), (body(b""),), (start(),)])))
    if kind == "raise":
        begun = (start(200, (b"content-length", b"3")), *draw(_some(True, _WAITS, _ODD_WAITS)))
        return (
            *read,
            *draw(st.sampled_from([(), begun, (*begun, body(b"ab", True), *draw(_some(True, _WAITS, _ODD_WAITS)))])),
            RAISE,
        )
    if kind == "short":
        return (
            *read,
            start(200, *draw(st.sampled_from([[], [(b"content-length", b"3")]]))),
            *draw(_some(True, _WAITS, _ODD_WAITS)),
        )
    messages = st.sampled_from(
        [start(), start(204), body(b"abc"), body(b"abc", True), body(), PAUSE, ("send", {"type": "foo"}), ("return", 2)]
    )
    return (*read, *draw(st.lists(messages, max_size=4)))


programs = st.one_of(good_programs(odd=True), good_programs(odd=True), odd_programs())


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Up to three requests on one connection, some of them broken, in pieces."""
    stream = b"".join(sent.raw for sent in draw(st.lists(requests(odd=True), min_size=1, max_size=3)))
    if draw(st.integers(0, 2)) == 0:
        stream = draw(mutated(stream))
    return Conversation(draw(cut(stream)), tuple(draw(st.lists(programs, min_size=1, max_size=3))))


@st.composite
def regular_conversations(draw: st.DrawFn) -> tuple[list[Sent], Conversation]:
    """Requests that must all be answered, by applications that answer, and the same in pieces."""
    sent = draw(st.lists(requests(), min_size=1, max_size=4))
    pieces = draw(cut(b"".join(request.raw for request in sent)))
    return sent, Conversation(pieces, tuple(draw(st.lists(good_programs(), min_size=1, max_size=3))))
