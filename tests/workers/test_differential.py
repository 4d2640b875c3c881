"""Same bytes in, same bytes out: `HttpProtocol` against uvicorn's protocol, but for the differences that have a name.

A few hundred conversations by default, always the same. ``DIFFERENTIAL_EXAMPLES=20000`` runs so many new ones.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings

from tests.workers.comparison import explain, read_answers
from tests.workers.differences import KNOWN
from tests.workers.peers import Conversation, Outcome, Program, with_ours, with_uvicorn
from tests.workers.traffic import PAUSE, RAISE, READ, RECEIVE, body, conversations, start

# The differences are those from this release on; older ones have more.
SINCE = (0, 54)
pytestmark = pytest.mark.skipif(
    tuple(map(int, uvicorn.__version__.split(".")[:2])) < SINCE, reason=f"uvicorn before {SINCE[0]}.{SINCE[1]}"
)

ROOT = Path(__file__).parents[2]
MORE = os.environ.get("DIFFERENTIAL_EXAMPLES")

OK: Program = (READ, start(200, (b"content-length", b"2")), body(b"ok"))
EARLY: Program = OK[1:]
READ_FIRST: Program = (start(), READ)
STREAM: Program = (READ, start(), PAUSE, body(b"a", True), PAUSE, body(b"b"))
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"

EXAMPLES: dict[str, tuple[Program, list[bytes]]] = {
    "Host is required": (OK, [b"GET / HTTP/1.1\r\n\r\n"]),
    "only HTTP/1.0 and 1.1": (OK, [b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"]),
    "unknown expectations are refused": (OK, [b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"]),
    "CONNECT is refused": (OK, [b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]),
    "one space in the request line": (OK, [b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"]),
    "no chunks from HTTP/1.0": (OK, [b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]),
    "more targets are understood": (OK, [b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"]),
    "HTTP/1.0 may keep alive": (OK, [OLD]),
    "no chunks for HTTP/1.0": (STREAM, [b"GET / HTTP/1.0\r\n\r\n"]),
    "100 only to who waits for it": (OK, [EXPECT + b"a"]),
    "a body that may not come ends the connection": (EARLY, [EXPECT]),
    "204 has no framing": ((start(204, (b"content-length", b"0")), body()), [GET]),
    "204 and 304 have no content": ((start(304, (b"content-length", b"5")), body()), [GET, GET]),
    "one framing": ((start(200, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")), body(b"a")), [GET]),
    "an own Server or Date wins": ((start(200, (b"server", b"own")), body()), [GET]),
    "a mistake before the first byte is 500": ((start(200, (b"bad name", b"")), body()), [GET]),
    "a last piece that is too short is not sent": (
        (start(200, (b"content-length", b"9")), PAUSE, body(b"abc")),
        [GET],
    ),
    "a mistake after the response closes nothing": ((*OK, RAISE), [GET, GET]),
    "requests before an error are answered": (OK, [GET + b"\x00\x01"]),
    "no second answer": (EARLY, [CHUNKED, b"zz\r\n"]),
    "a broken body is given up at once": (READ_FIRST, [CHUNKED[:-6], CHUNKED[-6:] + b"zz\r\n"]),
    "a declined upgrade loses nothing": (OK, [GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET]),
    "trailers are no headers": (OK, [CHUNKED + b"0\r\nX: y\r\n\r\n"]),
    "Connection in a trailer ends the connection": (OK, [CHUNKED, b"0\r\nConnection: close\r\n\r\n", GET]),
    "no content for HEAD in a refusal": (OK, [b"HEAD / HTTP/1.1\r\nHost: a\r\n bad\r\n\r\n"]),
    "all statuses to 999": ((start(600, (b"content-length", b"0")), body()), [GET]),
}


async def both(conversation: Conversation) -> tuple[Outcome, Outcome]:
    return await with_ours(conversation), await with_uvicorn(conversation)


def in_order(conversation: Conversation, ours: Outcome) -> None:
    """What holds for every conversation, whatever uvicorn does."""
    answers = read_answers(conversation, ours)
    assert all(answer.whole and not answer.last for answer in answers[:-1]), "nothing follows a last response"
    assert len(answers) <= len(ours.seen) + 1
    assert all(answer.interim <= 1 for answer in answers)
    assert all(answer.status or (answer.interim and answer.whole) for answer in answers), "nothing but responses"
    if answers and answers[-1].last:
        assert ours.ended or not ours.seen[-1].ended, "the connection ends with its last response"


@settings(
    max_examples=int(MORE or 300),
    derandomize=not MORE,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(conversation=conversations())
def test_every_difference_has_a_name(conversation: Conversation) -> None:
    ours, theirs = asyncio.run(both(conversation))
    in_order(conversation, ours)
    explain(conversation, ours, theirs, KNOWN)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_named_difference_is_one(name: str) -> None:
    program, pieces = EXAMPLES[name]
    conversation = Conversation(tuple(pieces), (program,))
    ours, theirs = await both(conversation)
    in_order(conversation, ours)
    assert name in explain(conversation, ours, theirs, KNOWN)


async def test_what_has_no_name_is_found() -> None:
    """The comparison itself: outcomes that differ in any one thing are told apart."""
    conversation = Conversation((GET, CHUNKED + b"0\r\n\r\n"), (OK,))
    ours, theirs = await both(conversation)
    assert explain(conversation, ours, theirs, KNOWN) == set()
    wrong = [
        Outcome(ours.seen, ours.written, not ours.ended),
        Outcome(ours.seen, ours.written.replace(b"200 OK", b"201 OK"), ours.ended),
        Outcome(ours.seen, ours.written.replace(b"\r\n\r\nok", b"\r\n\r\nOK"), ours.ended),
        Outcome(ours.seen, ours.written.replace(b"server: default\r\n", b""), ours.ended),
        Outcome(ours.seen, ours.written[:-1], ours.ended),
        Outcome(ours.seen, ours.written + b"x", ours.ended),
        Outcome(ours.seen[:1], ours.written, ours.ended),
        Outcome([ours.seen[0], ours.seen[0]], ours.written, ours.ended),
    ]
    for outcome in wrong:
        with pytest.raises(AssertionError, match="differs in"):
            explain(conversation, outcome, theirs, KNOWN)


def test_the_names_are_documented_and_have_examples() -> None:
    page = (ROOT / "docs" / "explanation" / "http.md").read_text()
    table = page.partition("## Where it differs from uvicorn, and why\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| \*\*(.+?)\*\* \|", table, re.MULTILINE)
    assert documented == [difference.name for difference in KNOWN]
    assert set(EXAMPLES) == set(documented)


def test_who_waits_for_the_end_is_told() -> None:
    """The transport of these tests can lose a connection under an application that waits."""
    ours, theirs = asyncio.run(both(Conversation((GET,), ((READ, RECEIVE),))))
    assert [message["type"] for message in ours.seen[0].messages] == ["http.request", "http.disconnect"]
    assert ours.seen[0].messages == theirs.seen[0].messages
