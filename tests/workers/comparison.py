"""How the outcomes of one conversation with `HttpProtocol` and with uvicorn's protocol are compared.

Two outcomes of a conversation are compared request by request. What differs between them has to be covered, aspect by
aspect, by known differences (`tests.workers.differences`) that say of this very pair that they apply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.workers.peers import Conversation, Outcome, Seen

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire, with the interim responses before it."""

    status: int
    head: tuple[bytes, ...]
    content: bytes
    whole: bool
    interim: int

    def says(self, line: bytes) -> bool:
        return line in self.head

    @property
    def last(self) -> bool:
        """Whether nothing may follow it: it says so, or was cut off."""
        return not self.whole or any(line.startswith(b"connection:") and b"close" in line.lower() for line in self.head)


def read_answers(conversation: Conversation, outcome: Outcome) -> list[Answer]:
    """Split what a server has written into its responses."""
    data, seen = outcome.written, outcome.seen
    answers: list[Answer] = []
    while data:
        interim = 0
        while data.startswith(_INTERIM):
            interim += 1
            data = data.removeprefix(_INTERIM)
        head, blank, data = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*", lines[0])
        if not found or not blank:
            # Whole, if it is nothing but an interim response whose final one has not come.
            answers.append(Answer(0, tuple(lines), data, not head and interim > 0, interim))
            break
        status = int(found[1])
        number = len(answers)
        if number < len(seen):
            bodiless = status in (204, 304) or seen[number].scope["method"] == "HEAD"
        else:
            bodiless = not data and b"HEAD" in conversation.stream
        # What follows a head that allows no content, and is no response, is content all the same.
        bodiless = bodiless and (not data or data.startswith(b"HTTP/1.1 "))
        content, whole, data = (b"", True, data) if bodiless else _read_content(lines, data)
        answers.append(Answer(status, tuple(lines), content, whole, interim))
    return answers


def _read_content(lines: list[bytes], data: bytes) -> tuple[bytes, bool, bytes]:
    """The content, whether it is whole, and what comes after it."""
    if any(line.lower() == b"transfer-encoding: chunked" for line in lines):
        content = b""
        while found := re.match(rb"([0-9a-f]+)\r\n", data):
            size, begin = int(found[1], 16), found.end()
            if data[begin + size : begin + size + 2] != b"\r\n":
                return content + data[begin : begin + size], False, b""
            content += data[begin : begin + size]
            data = data[begin + size + 2 :]
            if size == 0:
                return content, True, data
        return content, False, data
    lengths = [line for line in lines if line.startswith(b"content-length: ")]
    if lengths:
        length = int(lengths[0][16:])
        return data[:length], len(data) >= length, data[length:]
    return data, True, b""


@dataclass(frozen=True)
class Pair:
    """One request of a conversation, as both have seen and answered it."""

    conversation: Conversation
    number: int
    ours: Outcome
    theirs: Outcome
    our: Seen | None
    their: Seen | None
    answer: Answer | None
    other: Answer | None
    final: bool

    @property
    def scope(self) -> dict[str, Any]:
        """The scope that either has seen."""
        seen = self.our or self.their
        return seen.scope if seen is not None else {"http_version": "", "method": "", "headers": [], "raw_path": b""}

    def fields(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.scope["headers"] if field == name]

    @property
    def status(self) -> int:
        """Ours; 0 where there is no answer."""
        return self.answer.status if self.answer is not None else 0

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What the application sends as far as its program goes."""
        return [step[1] for step in self.conversation.program(self.number) if step[0] == "send"]

    @property
    def own(self) -> list[tuple[Any, Any]]:
        """The header fields that the application sends, names in lower case."""
        starts = [message for message in self.sent if message["type"] == "http.response.start"]
        headers = starts[0]["headers"] if starts else []
        return [(name.lower() if isinstance(name, bytes) else name, value) for name, value in headers]

    def refused(self, status: int, text: bytes) -> bool:
        """Whether ours has refused this request with ``text``, and not shown it to the application."""
        if self.our is not None or self.answer is None or self.answer.status != status:
            return False
        empty = self.answer.content == b"" and self.answer.says(b"content-length: %d" % len(text))
        return self.answer.content == text or (empty and b"HEAD" in self.conversation.stream)


Aspects = frozenset[str]


def aspects(pair: Pair) -> Aspects:
    """In what the two differ over a request."""
    found = set()
    if (pair.our is None) != (pair.their is None):
        found.add("seen")
    elif pair.our is not None and pair.their is not None:
        if pair.our.scope != pair.their.scope:
            found.add("scope")
        if pair.our.body != pair.their.body:
            found.add("body")
    ours, theirs = pair.answer, pair.other
    if ours is None or theirs is None:
        one = ours or theirs
        if one is not None:
            found.add("interim" if one.status == 0 and one.whole else "answer")
    else:
        for name in ("status", "content", "whole", "interim"):
            if getattr(ours, name) != getattr(theirs, name):
                found.add(name)
        for line in set(ours.head) ^ set(theirs.head):
            # The status line has an aspect of its own.
            name = line.partition(b":")[0].decode("latin-1")
            found.add("status" if name.startswith("HTTP/") else f"field {name}")
        if not found and sorted(ours.head) != sorted(theirs.head):
            found.add("fields")
    if pair.final and pair.ours.ended != pair.theirs.ended:
        found.add("end")
    return frozenset(found)


@dataclass(frozen=True)
class Difference:
    """``applies`` says of a pair whether this is why it differs in ``covers``, by default in everything.

    ``parts`` says that the ways part here: what follows on the connection cannot be compared.
    """

    name: str
    applies: Callable[[Pair], bool]
    covers: Aspects | None = None
    parts: bool = True

    def explains(self, differs: Aspects) -> Aspects:
        """What of ``differs`` this covers."""
        return differs if self.covers is None else differs & self.covers


def pairs(conversation: Conversation, ours: Outcome, theirs: Outcome) -> Iterator[Pair]:
    our_answers, their_answers = read_answers(conversation, ours), read_answers(conversation, theirs)
    columns: list[list[Any]] = [ours.seen, theirs.seen, our_answers, their_answers]
    total = max(1, *(len(column) for column in columns))
    for number in range(total):
        our, their, answer, other = (column[number] if number < len(column) else None for column in columns)
        yield Pair(conversation, number, ours, theirs, our, their, answer, other, final=number == total - 1)


def explain(conversation: Conversation, ours: Outcome, theirs: Outcome, known: list[Difference]) -> set[str]:
    """The names of the differences between two outcomes; raises `AssertionError` for what none of them covers."""
    names: set[str] = set()
    for pair in pairs(conversation, ours, theirs):
        differs = aspects(pair)
        if not differs:
            continue
        why = [difference for difference in known if difference.explains(differs) and difference.applies(pair)]
        left = differs.difference(*(difference.explains(differs) for difference in why))
        assert not left, f"request {pair.number} differs in {sorted(left)}: {pair.answer} and {pair.other}"
        names.update(difference.name for difference in why)
        if any(difference.parts for difference in why):
            break
    return names
