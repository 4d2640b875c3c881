"""Any conversation by the rules against what it must come to, told by the requests and the application alone.

Each response is also read by h11, which has no code in common with the server or with these tests.
"""

from __future__ import annotations

import asyncio
import os

import h11
from hypothesis import HealthCheck, given, settings

from tests.workers.comparison import Answer, read_answers
from tests.workers.peers import Conversation, Program, with_ours
from tests.workers.traffic import READ, Sent, regular_conversations

MORE = os.environ.get("DIFFERENTIAL_EXAMPLES")


def ends_with(request: Sent, program: Program) -> bool:
    """Whether the answer to this request must be the connection's last."""
    message = next(step[1] for step in program if step[0] == "send")
    given = {name.lower(): value.lower() for name, value in message["headers"]}
    said = [value for name, value in message["headers"] if name.lower() == b"connection"]
    tokens = b",".join(line.partition(b":")[2] for line in request.fields if line.lower().startswith(b"connection:"))
    wishes = {token.strip().lower() for token in tokens.split(b",")}
    if b"close" in wishes or any(b"close" in value.lower() for value in said):
        return True
    if request.version == "1.1":
        return False
    chunked = any(line.lower().startswith(b"transfer-encoding") for line in request.fields)
    measured = b"content-length" in given or request.method == "HEAD" or message["status"] in (204, 304)
    return b"keep-alive" not in wishes or chunked or not measured


def holds(request: Sent, program: Program, answer: Answer) -> bool:
    """Whether an answer is what the application has sent."""
    messages = [step[1] for step in program if step[0] == "send"]
    status = messages[0]["status"]
    content = b"".join(message["body"] for message in messages[1:])
    if request.method == "HEAD" or status in (204, 304):
        content = b""
    framing = (b"content-length", b"transfer-encoding")
    fields = [(name.lower(), value) for name, value in messages[0]["headers"] if name.lower() not in framing]
    lines, head = [name + b": " + value for name, value in fields], iter(answer.head)
    return (
        (answer.status, answer.content, answer.whole) == (status, content, True)
        and all(line in head for line in lines)  # in this order: what is found is used up
        and (b"server: default" in answer.head) == all(name != b"server" for name, _ in fields)
    )


def read_by_h11(request: Sent, answers: bytes) -> tuple[int, bytes, bytes]:
    """The next response as another implementation reads it: status, content, and what comes behind."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=request.method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answers)
    status, content = 0, b""
    while True:
        match client.next_event():
            case h11.Response() as event:
                status = event.status_code
            case h11.Data() as event:
                content += bytes(event.data)
            case h11.EndOfMessage():
                return status, content, client.trailing_data[0]
            case h11.NEED_DATA:
                client.receive_data(b"")


@settings(
    max_examples=int(MORE or 200),
    derandomize=not MORE,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(regular=regular_conversations())
def test_whatever_is_asked_by_the_rules_is_answered_in_order(regular: tuple[list[Sent], Conversation]) -> None:
    requests, conversation = regular
    outcome = asyncio.run(with_ours(conversation))
    answers, rest = read_answers(conversation, outcome), outcome.written
    programs = [conversation.program(number) for number in range(len(requests))]
    last = [ends_with(request, program) for request, program in zip(requests, programs, strict=True)]
    expected = last.index(True) + 1 if True in last else len(requests)
    assert len(outcome.seen) == len(answers) == expected
    assert outcome.ended == (True in last)
    for request, program, seen, answer in zip(requests, programs, outcome.seen, answers, strict=False):
        assert (seen.scope["method"], seen.scope["http_version"]) == (request.method, request.version)
        target = seen.scope["raw_path"] + (b"?" + seen.scope["query_string"] if seen.scope["query_string"] else b"")
        assert request.target.partition(b"#")[0].rstrip(b"?").endswith(target.rstrip(b"?"))
        if READ in program[:2]:
            assert seen.body == request.content
        assert holds(request, program, answer)
        status, content, rest = read_by_h11(request, rest)
        assert (status, content) == (answer.status, answer.content)
    assert rest == b""
    assert [answer.last for answer in answers] == last[:expected]
