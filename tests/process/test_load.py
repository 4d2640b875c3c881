"""The load client judged: a server that misbehaves on purpose is caught, by kind."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.process.certificates import Authority
from tests.process.connection import Outcome, Target, parse
from tests.process.load import Client, Load, Report, Traffic

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BODY = json.dumps({"pid": 7, "version": "1", "length": 0}).encode()
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CLOSING = GOOD.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        body = await read_request(reader)
        answer = json.dumps({"pid": 7, "version": "1", "length": len(body)}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        await writer.drain()


async def answers_in_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in BODY:
        writer.write(b"1\r\n%c\r\n" % byte)
    writer.write(b"0\r\n\r\n")


async def answers_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in BODY:
        await asyncio.sleep(0.002)
        writer.write(b"1\r\n%c\r\n" % byte)
    writer.write(b"0\r\n\r\n")


async def ends_a_stream_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All of the body, and not the chunk that says so: the client cannot know."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY))


async def stops_in_a_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await ends_a_stream_early(reader, writer)
    await writer.drain()
    await reader.read(-1)


async def announces_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(CLOSING)


async def closes_when_idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(GOOD)


async def closes_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the first request, then closes when the second one arrives."""
    await read_request(reader)
    writer.write(GOOD)
    await reader.readexactly(1)


async def resets_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    reset(writer)


async def closes_without_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(GOOD[:-5])


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def fails(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def loses_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(GOOD)


async def rejects_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers after the head, reads the rest later: an answer is an answer."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    await reader.read(-1)


@asynccontextmanager
async def serving(
    handler: Handler, path: Path | None = None, authority: Authority | None = None
) -> AsyncIterator[tuple[Target, list[int]]]:
    """A server of ``handler``, its target, and a list that grows by one entry per connection."""
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    if path is None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=authority and authority.server())
        target = Target(server.sockets[0].getsockname()[:2], authority.client() if authority else None)
    else:
        server = await asyncio.start_unix_server(handle, path)
        target = Target(str(path))
    async with server:
        yield target, connections


async def send(target: Target, traffic: Traffic, requests: int) -> Report:
    client = Client(target, traffic)
    stop = asyncio.Event()
    running = asyncio.create_task(client.run(stop))
    while len(client.report.records) < requests:
        await asyncio.sleep(0.005)
    stop.set()
    await running
    return client.report


ENDS = pytest.mark.parametrize(
    ("handler", "traffic", "outcome"),
    [
        (answers, Traffic(100), Outcome.ANSWERED),
        (answers, Traffic(100, body=16384), Outcome.ANSWERED),
        (answers, Traffic(100, body=16384, pause=0.002), Outcome.ANSWERED),
        (answers, Traffic(100, body=16384, keep_alive=False), Outcome.ANSWERED),
        (answers_in_chunks, Traffic(100), Outcome.ANSWERED),
        (answers_slowly, Traffic(100), Outcome.ANSWERED),
        (announces_close, Traffic(100), Outcome.ANSWERED),
        (resets_at_once, Traffic(100, body=16384), Outcome.RESET_BEFORE),
        (closes_without_answer, Traffic(100), Outcome.RESET_BEFORE),
        (breaks_off, Traffic(100), Outcome.RESET_MIDDLE),
        (ends_a_stream_early, Traffic(100), Outcome.RESET_MIDDLE),
        (stops_in_a_stream, Traffic(100, timeout=0.5), Outcome.TIMED_OUT),
        (hangs, Traffic(100, timeout=0.5), Outcome.TIMED_OUT),
        (fails, Traffic(100), Outcome.WRONG_STATUS),
        (rejects_early, Traffic(100, body=16384), Outcome.WRONG_STATUS),
        (loses_the_body, Traffic(100, body=16384), Outcome.WRONG_STATUS),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@ENDS
async def test_every_kind_of_end_is_told_from_the_others(handler: Handler, traffic: Traffic, outcome: Outcome) -> None:
    async with serving(handler) as (target, _):
        report = await send(target, traffic, 5)
    assert report.counts == {each.value: len(report.records) if each is outcome else 0 for each in Outcome}, report


@ENDS
async def test_every_kind_of_end_is_told_under_tls(
    handler: Handler, traffic: Traffic, outcome: Outcome, authority: Authority
) -> None:
    async with serving(handler, authority=authority) as (target, _):
        report = await send(target, traffic, 5)
    assert report.counts == {each.value: len(report.records) if each is outcome else 0 for each in Outcome}, report


async def test_connections_under_tls_are_used_again_while_they_are_open(authority: Authority) -> None:
    async with serving(answers, authority=authority) as (target, connections):
        report = await send(target, Traffic(100), 10)
    assert not report.lost, report
    assert len(connections) < len(report.records)
    async with serving(closes_when_idle, authority=authority) as (target, connections):
        report = await send(target, Traffic(30), 10)
    assert not report.lost, report
    assert len(connections) >= 10, "each request had to connect anew"


async def test_a_close_under_tls_after_the_request_was_sent_is_a_loss(authority: Authority) -> None:
    async with serving(closes_unread, authority=authority) as (target, _):
        report = await send(target, Traffic(50), 10)
    assert {record.outcome for record in report.lost} == {Outcome.RESET_BEFORE}
    assert len(report.lost) >= 4, "every second request is lost"


async def test_a_server_that_speaks_no_tls_is_a_loss(authority: Authority) -> None:
    async with serving(closes_without_answer) as (target, _):
        report = await send(Target(target.address, authority.client()), Traffic(100, timeout=1), 5)
    assert Outcome.ANSWERED not in {record.outcome for record in report.records}, report


async def test_a_limit_ends_the_requests() -> None:
    async with serving(answers) as (target, _):
        report = await send(target, Traffic(5000, limit=7), 7)
    assert len(report.records) == 7


async def test_a_closed_port_refuses() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        report = await send(Target(unused.getsockname()), Traffic(100), 5)
    assert {record.outcome for record in report.records} == {Outcome.REFUSED}


async def test_a_missing_unix_socket_refuses(tmp_path: Path) -> None:
    report = await send(Target(str(tmp_path / "web.sock")), Traffic(100), 5)
    assert {record.outcome for record in report.records} == {Outcome.REFUSED}


async def test_unix_sockets_are_spoken_to(tmp_path: Path) -> None:
    async with serving(answers, tmp_path / "web.sock") as (target, connections):
        report = await send(target, Traffic(100, body=16384), 5)
    assert not report.lost
    assert len(connections) < len(report.records), "keep-alive connections are used again"


async def test_a_full_unix_accept_queue_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        report = await send(Target(path), Traffic(100, timeout=0.3), 5)
    assert {record.outcome for record in report.records} == {Outcome.TIMED_OUT}


async def test_a_close_between_two_requests_is_legal() -> None:
    async with serving(closes_when_idle) as (target, connections):
        report = await send(target, Traffic(50), 10)
    assert not report.lost, report
    assert len(connections) >= 10, "each request had to connect anew"


async def test_a_close_after_the_request_was_sent_is_a_loss() -> None:
    async with serving(closes_unread) as (target, _):
        report = await send(target, Traffic(50), 10)
    assert {record.outcome for record in report.lost} == {Outcome.RESET_BEFORE}
    assert len(report.lost) >= 4, "every second request is lost"


async def test_the_rate_does_not_wait_for_answers() -> None:
    async with serving(hangs) as (target, connections):
        report = await send(target, Traffic(200, timeout=0.5), 5)
    assert len(connections) >= 20, "requests that are not answered hold up no others"
    assert len(report.records) == len(connections)


async def test_load_runs_beside_the_test() -> None:
    async with serving(answers) as (target, _):
        load = Load(target, Traffic(100), Traffic(100, keep_alive=False))
        with load:
            while len(load.report.records) < 20:
                await asyncio.sleep(0.005)
            report = await asyncio.to_thread(load.stop)
    assert not report.lost
    assert {record.pid for record in load.answers()} == {7}


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_a_partial_response_is_not_complete(length: int) -> None:
    assert parse(GOOD[:length]) is None


def test_a_whole_response_is_complete() -> None:
    response = parse(GOOD)
    assert response is not None
    assert (response.status, response.body, response.closes) == (200, BODY, False)


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    async with serving(answers) as (target, connections):
        report = await send(target, Traffic(20, max_idle=0.0), 5)
    assert not report.lost
    assert len(connections) == len(report.records)
