"""Where `HttpProtocol` differs from uvicorn's protocol, each difference with its name and with what must hold.

The names are those of the table in ``docs/explanation/http.md``, which gives the reasons.
"""

from __future__ import annotations

from tests.workers.comparison import Difference, Pair, read_answers

_FRAMING = frozenset({"field content-length", "field transfer-encoding", "fields"})
_CONNECTION = frozenset({"field connection", "end"})

_INVALID = b"Invalid HTTP request received."


def _theirs_is_400(pair: Pair) -> bool:
    return pair.other is not None and (
        (pair.other.status == 400 and pair.other.content == _INVALID)
        or (pair.theirs.written.endswith(_INVALID) and _written_into(pair))
    )


def _written_into(pair: Pair) -> bool:
    """Whether theirs may hold a second response inside the first."""
    ours, theirs = pair.answer, pair.other
    return theirs is not None and (not theirs.whole or ours is None or ours.content != theirs.content)


def _host(pair: Pair) -> bool:
    hosts = len(pair.fields(b"host"))
    # Theirs may count one of a trailer section in.
    wrong = hosts > 1 or pair.fields(b"transfer-encoding") != [] or (hosts == 0 and pair.scope["http_version"] == "1.1")
    return pair.refused(400, b"Exactly one Host header field is required.") and (wrong or _theirs_is_400(pair))


def _version(pair: Pair) -> bool:
    return pair.refused(505, b"HTTP version not supported.") and pair.scope["http_version"] not in ("1.0", "1.1")


def _expectation(pair: Pair) -> bool:
    return pair.refused(417, b"Expectation failed.") and set(pair.fields(b"expect")) != {b"100-continue"}


def _connect(pair: Pair) -> bool:
    return pair.refused(501, b"CONNECT is not supported.") and b"CONNECT " in pair.conversation.stream


def _old_with_chunks(pair: Pair) -> bool:
    return pair.refused(400, b"HTTP/1.0 has no Transfer-Encoding.") and b"HTTP/1.0" in pair.conversation.stream


def _line(pair: Pair) -> bool:
    return pair.refused(400, b"Invalid request line.") and b"  " in pair.conversation.stream


def _beyond_them(raw_path: bytes) -> bool:
    """Whether uvicorn may have refused the target: not ASCII, or absolute without a path."""
    return not raw_path.isascii() or raw_path == b"/"


def _target(pair: Pair) -> bool:
    if not _theirs_is_400(pair):
        return False
    if pair.our is None:
        return pair.refused(400, b"Invalid request target.")
    raw = pair.scope["raw_path"]
    return _beyond_them(raw) and (raw != b"/" or b"://" in pair.conversation.stream)


def _old_kept_alive(pair: Pair) -> bool:
    return (
        pair.scope["http_version"] == "1.0"
        and pair.answer is not None
        and pair.answer.says(b"connection: keep-alive")
        and pair.other is not None
        and pair.other.says(b"connection: close")
    )


def _old_not_chunked(pair: Pair) -> bool:
    return (
        pair.scope["http_version"] == "1.0"
        and pair.answer is not None
        and pair.other is not None
        and pair.other.says(b"transfer-encoding: chunked")
        and not pair.answer.says(b"transfer-encoding: chunked")
        and (pair.answer.last or pair.scope["method"] == "HEAD" or pair.status in (204, 304))
    )


def _continue(pair: Pair) -> bool:
    """Ours says 100 only to who waits for it: RFC 9110, section 10.1.1."""
    if [0 if answer is None else answer.interim for answer in (pair.answer, pair.other)] != [0, 1]:
        return False
    stream = pair.conversation.stream.lstrip(b"\r\n")
    begun = len(pair.conversation.stream) - len(stream) + stream.find(b"\r\n\r\n") + 4
    ends = [sum(map(len, pair.conversation.pieces[: index + 1])) for index in range(len(pair.conversation.pieces))]
    waits = begun in ends and pair.our is not None and pair.our.body != b""
    return pair.number > 0 or pair.scope["http_version"] == "1.0" or not waits


def _unread_expected(pair: Pair) -> bool:
    return (
        b"100-continue" in [value.lower() for value in pair.fields(b"expect")]
        and pair.answer is not None
        and pair.answer.interim == 0
        and pair.answer.says(b"connection: close")
        and pair.ours.ended
    )


def _no_content(pair: Pair) -> bool:
    """204 has no framing: RFC 9110, section 8.6, and RFC 9112, section 6.1."""
    framed = pair.answer is not None and any(
        line.startswith((b"content-length", b"transfer-encoding")) for line in pair.answer.head
    )
    return pair.status == 204 and not framed


def _bodiless(pair: Pair) -> bool:
    """Theirs has put content behind a head that allows none, or missed what the length of a 304 announces."""
    earlier = read_answers(pair.conversation, pair.ours)[: pair.number + 1]
    return any(answer.status in (204, 304) and answer.whole for answer in earlier)


def _one_framing(pair: Pair) -> bool:
    """Where the application gives two lengths, or both, one is sent: chunked before any length."""
    given = [name for name, _ in pair.own if name in (b"content-length", b"transfer-encoding")]
    sent = [] if pair.answer is None else [line for line in pair.answer.head if line.startswith(tuple(given))]
    chunked = b"transfer-encoding" in given
    return len(given) > len(sent) or (chunked and sent == [b"transfer-encoding: chunked"])


def _own_server(pair: Pair) -> bool:
    return (
        any(name == b"server" for name, _ in pair.own)
        and pair.answer is not None
        and not pair.answer.says(b"server: default")
    )


def _mistake_is_500(pair: Pair) -> bool:
    return (
        pair.our is not None
        and pair.our.ended
        and pair.status == 500
        and pair.answer is not None
        and pair.answer.content == (b"" if pair.scope["method"] == "HEAD" else b"Internal Server Error")
        and pair.answer.says(b"connection: close")
        and pair.ours.ended
    )


def _short(pair: Pair) -> bool:
    """The last piece of content was shorter than announced: theirs has written it before it found out."""
    ours, theirs = pair.answer, pair.other
    return (
        pair.our is not None
        and pair.our.raised is not None
        and ours is not None
        and theirs is not None
        and not ours.whole
        and theirs.content.startswith(ours.content)
        and pair.ours.ended
    )


def _late_mistake(pair: Pair) -> bool:
    """Theirs has closed the connection since an application did wrong after its response."""
    earlier = zip(pair.theirs.seen, read_answers(pair.conversation, pair.theirs)[: pair.number + 1], strict=False)
    return pair.theirs.ended and any(
        answer.whole and (seen.raised is not None or any(step[0] == "return" for step in seen.program))
        for seen, answer in earlier
    )


def _error_behind(pair: Pair) -> bool:
    """Theirs has broken off for an error further on; ours answers, and then refuses if it finds an error there too."""
    if not _theirs_is_400(pair) or not pair.ours.seen:
        return False
    waits = not pair.ours.seen[-1].ended
    refuses = pair.ours.ended or waits or any(_beyond_them(seen.scope["raw_path"]) for seen in pair.ours.seen)
    return refuses and (waits or (pair.our is not None and pair.answer is not None))


def _answered_once(pair: Pair) -> bool:
    if pair.answer is not None or not _theirs_is_400(pair) or not 0 < pair.number <= len(pair.ours.seen):
        return False
    before = pair.ours.seen[pair.number - 1].messages
    return pair.ours.ended and not any(message.get("more_body") is False for message in before)


def _broken_body(pair: Pair) -> bool:
    """Ours says ``http.disconnect`` as soon as a body turns out broken; theirs may hand out the part before."""
    if pair.our is None or pair.their is None or not pair.theirs.written.endswith(_INVALID):
        return False
    told = any(message["type"] == "http.disconnect" for message in pair.our.messages)
    return told and pair.their.body.startswith(pair.our.body)


def _upgrade(pair: Pair) -> bool:
    """Theirs has been asked for an upgrade, and has thrown away the body and what came behind it."""
    return any(
        any(name == b"upgrade" for name, _ in headers)
        and any(name == b"connection" and b"upgrade" in value.lower() for name, value in headers)
        for headers in (seen.scope["headers"] for seen in pair.theirs.seen[: pair.number + 1])
    )


def _trailers(pair: Pair) -> bool:
    if pair.our is None or pair.their is None:
        return False
    ours, theirs = pair.our.scope, pair.their.scope
    merged = theirs["headers after"]
    return (
        ours["headers after"] == ours["headers"] == merged[: len(ours["headers"])]
        and len(merged) > len(ours["headers"])
        and pair.fields(b"transfer-encoding") != []
        and {key for key in ours if ours[key] != theirs[key]} <= {"headers", "headers after"}
    )


def _trailing_close(pair: Pair) -> bool:
    after = pair.their.scope["headers after"] if pair.their is not None else []
    trailing = after[len(pair.scope["headers"]) :]
    ends = pair.ours.ended or not pair.ours.seen[-1].ended
    return any(name == b"connection" for name, _ in trailing) and ends


def _head_refused(pair: Pair) -> bool:
    return (
        b"HEAD" in pair.conversation.stream
        and pair.answer is not None
        and pair.status == 400
        and pair.answer.content == b""
        and pair.ours.ended
        and _theirs_is_400(pair)
    )


def _other_status(pair: Pair) -> bool:
    return pair.status >= 600 and pair.answer is not None and pair.answer.whole and pair.theirs.ended


KNOWN = [
    Difference("Host is required", _host),
    Difference("only HTTP/1.0 and 1.1", _version),
    Difference("unknown expectations are refused", _expectation),
    Difference("CONNECT is refused", _connect),
    Difference("one space in the request line", _line),
    Difference("no chunks from HTTP/1.0", _old_with_chunks),
    Difference("more targets are understood", _target),
    Difference("HTTP/1.0 may keep alive", _old_kept_alive, _CONNECTION),
    Difference("no chunks for HTTP/1.0", _old_not_chunked, _FRAMING | {"whole"}, parts=False),
    Difference("100 only to who waits for it", _continue, frozenset({"interim"}), parts=False),
    Difference("a body that may not come ends the connection", _unread_expected, _CONNECTION),
    Difference("204 has no framing", _no_content, _FRAMING, parts=False),
    Difference("204 and 304 have no content", _bodiless),
    Difference("one framing", _one_framing, _FRAMING, parts=False),
    Difference("an own Server or Date wins", _own_server, frozenset({"field server"}), parts=False),
    Difference("a mistake before the first byte is 500", _mistake_is_500),
    Difference("a last piece that is too short is not sent", _short, frozenset({"content"})),
    Difference("a mistake after the response closes nothing", _late_mistake),
    Difference("requests before an error are answered", _error_behind),
    Difference("no second answer", _answered_once),
    Difference("a broken body is given up at once", _broken_body, frozenset({"body"})),
    Difference("a declined upgrade loses nothing", _upgrade),
    Difference("trailers are no headers", _trailers, frozenset({"scope"}), parts=False),
    Difference("Connection in a trailer ends the connection", _trailing_close, _CONNECTION),
    Difference("no content for HEAD in a refusal", _head_refused, frozenset({"content"})),
    Difference("all statuses to 999", _other_status),
]
