"""The line between two processes: what goes in comes out, and nothing that a peer does raises or blocks."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from supervisor.runtime import channel as module
from supervisor.runtime.channel import MAX_FDS, MAX_PACKET, Channel, ChannelError, Message, as_payload


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    near, far = Channel.pair()
    yield near, far
    near.close()
    far.close()


def fill(end: Channel, fds: tuple[int, ...] = ()) -> None:
    """Send until the kernel takes no more."""
    while not end.wants_write:
        end.send("big", payload=bytes(100_000), fds=fds)


def raw(end: Channel) -> socket.socket:
    """Another handle on the end's socket, to send what `Channel.send` would not."""
    return socket.socket(fileno=os.dup(end.fileno()))


def test_messages_go_both_ways(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    near.send("fork", {"worker": 3, "tags": ["a", None]}, payload=b"\n\0\n")
    near.send("reopen_logs")
    far.send("forked", {"pid": 7, "comment": "line\nbreak \ud800"})
    assert far.receive() == [
        Message("fork", {"worker": 3, "tags": ["a", None]}, b"\n\0\n"),
        Message("reopen_logs"),
    ]
    assert near.receive() == [Message("forked", {"pid": 7, "comment": "line\nbreak \ud800"})]
    assert near.receive() == far.receive() == []
    assert not any((near.at_eof, far.at_eof, near.wants_write))


def test_fields_of_another_type_are_as_if_missing() -> None:
    message = Message("x", {"text": "a", "number": 5, "flag": True, "list": []})
    assert message.text("text") == "a"
    assert message.text("number", "none") == message.text("missing", "none") == "none"
    assert message.integer("number") == 5
    assert [message.integer(name, -1) for name in ("flag", "list", "text", "missing")] == [-1] * 4


def test_descriptors_arrive_usable_and_closed_on_exec(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    reader, writer = os.pipe()
    near.send("fork", fds=[writer, reader])
    os.close(writer)
    [message] = far.receive()
    os.write(message.fds[0], b"through")
    assert os.read(reader, 100) == b"through"
    assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in message.fds)
    for fd in (reader, *message.fds):
        os.close(fd)


def test_both_ends_are_closed_on_exec(ends: tuple[Channel, Channel]) -> None:
    assert not any(os.get_inheritable(end.fileno()) for end in ends)


def test_what_the_kernel_does_not_take_is_queued_in_order(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    reader, writer = os.pipe()
    for number in range(10):
        near.send("fork", {"number": number}, payload=bytes(100_000), fds=[writer])
    os.close(writer)  # the queue has its own
    received = far.receive()
    assert len(received) < 10
    while near.wants_write:
        near.flush()
        received += far.receive()
    assert [message.integer("number") for message in received] == list(range(10))
    os.write(received[-1].fds[0], b"late")
    assert os.read(reader, 100) == b"late"
    for fd in (reader, *(fd for message in received for fd in message.fds)):
        os.close(fd)


def test_a_message_does_not_overtake_the_queue(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    fill(near)
    far.receive()  # there is room again, and nobody has flushed yet
    near.send("small")
    near.flush()
    assert [message.kind for message in far.receive()][-2:] == ["big", "small"]


def test_closing_forgets_the_queue(ends: tuple[Channel, Channel]) -> None:
    near, _ = ends
    fill(near, fds=(0,))
    near.close()
    near.close()
    assert not near.wants_write
    assert near.fileno() == -1


def test_a_peer_that_is_gone_is_no_error(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    fill(near, fds=(0,))
    far.close()
    near.flush()
    assert near.peer_gone
    assert not near.wants_write
    near.send("ready")
    assert near.receive() == []
    assert near.at_eof


def test_last_words_are_heard(ends: tuple[Channel, Channel]) -> None:
    """A peer that dies with unread messages resets the connection; what it said comes all the same (unix(7))."""
    near, far = ends
    near.send("never_read")
    far.send("boot_failed", payload=b"Traceback")
    far.close()
    assert near.receive() == [Message("boot_failed", payload=b"Traceback")]
    assert near.at_eof


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_killed_process_is_an_end_of_file(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    pid = os.fork()
    if pid == 0:
        near.close()
        far.send("ready")
        signal.pause()
    far.close()
    while not (messages := near.receive()):
        pass
    assert messages == [Message("ready")]
    assert not near.at_eof
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert near.receive() == []
    assert near.at_eof


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="only a line break"),
        pytest.param(b"\xff\xfe\n", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="brackets without end"),
        pytest.param(b'["x", {"n": ' + b"9" * 10_000 + b"}]", id="a number of 10,000 digits"),
        pytest.param(b'{"kind": "x"}', id="an object"),
        pytest.param(b'["x"]', id="no fields"),
        pytest.param(b"[1, {}]", id="kind is a number"),
        pytest.param(b'["x", []]', id="fields are a list"),
        pytest.param(b'["x", {}]\n' + bytes(MAX_PACKET), id="too long"),
    ],
)
def test_a_malformed_packet_is_dropped(ends: tuple[Channel, Channel], packet: bytes) -> None:
    near, far = ends
    with raw(far) as hostile:
        hostile.send(packet)
    far.send("sane")
    assert near.receive() == [Message("sane")]
    assert near.malformed == 1
    assert not near.at_eof


def test_descriptors_cannot_be_forced_on_the_arbiter(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    before = len(os.listdir("/proc/self/fd"))
    far.send("ready", fds=[0] * MAX_FDS)
    far.send("sane")
    assert near.receive() == [Message("sane")]
    assert near.malformed == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_of_a_malformed_packet_are_closed(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    before = len(os.listdir("/proc/self/fd"))
    with raw(near) as sender:
        socket.send_fds(sender, [b"nonsense"], [0, 1])
        socket.send_fds(sender, [b""], [0, 1])
    assert far.receive() == []
    assert len(os.listdir("/proc/self/fd")) == before
    assert far.malformed == 2


def test_descriptors_that_do_not_fit_into_the_process_are_an_error(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    near.send("fork", fds=[0, 1, 2])
    lowest_free = os.dup(0)
    os.close(lowest_free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, limits[1]))
    try:
        with pytest.raises(ChannelError, match="RLIMIT_NOFILE"):
            far.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_flood_cannot_hold_the_receiver(ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = ends
    monkeypatch.setattr(module, "_PACKETS_A_CALL", 5)
    for _ in range(7):
        far.send("x")
    assert [len(near.receive()) for _ in range(3)] == [5, 2, 0]


def test_limits_of_a_message(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    overhead = len(b'["x",{}]\n')
    near.send("x", payload=bytes(MAX_PACKET - overhead))
    assert len(far.receive()[0].payload) == MAX_PACKET - overhead
    with pytest.raises(ValueError, match="bytes, more than"):
        near.send("x", payload=bytes(MAX_PACKET - overhead + 1))
    with pytest.raises(ValueError, match="descriptors, more than"):
        near.send("x", fds=[0] * (MAX_FDS + 1))


def test_the_largest_messages_arrive_whole(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    near.send("x", payload=bytes(MAX_PACKET - 100), fds=[0] * MAX_FDS)
    [message] = far.receive()
    assert len(message.fds) == MAX_FDS
    for fd in message.fds:
        os.close(fd)


def test_blocking_receive_waits_and_sends_meanwhile(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    for number in range(10):
        far.send("report", {"number": number}, payload=bytes(100_000))
    assert far.wants_write
    received: list[Message | None] = []
    loader = threading.Thread(target=lambda: received.append(far.receive_blocking()))
    loader.start()
    reports: list[Message] = []
    while len(reports) < 10:
        reports += near.receive()
    near.send("fork")
    loader.join(30)
    assert received == [Message("fork")]
    assert [report.integer("number") for report in reports] == list(range(10))


def test_blocking_receive_skips_nonsense_and_ends_with_the_peer(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    with raw(near) as sender:
        sender.send(b"nonsense")
    near.send("fork")
    near.close()
    assert far.receive_blocking() == Message("fork")
    assert far.receive_blocking() is None
    assert far.receive_blocking() is None


def test_a_short_text_is_a_payload_as_it_is() -> None:
    assert as_payload("Traceback: é") == "Traceback: é".encode()
    assert as_payload("\ud800") == rb"\ud800"
    assert Message("x", payload=b"\xff").payload_text == "\ufffd"


@pytest.mark.parametrize("shift", range(4))
def test_a_long_text_keeps_head_and_tail(shift: int) -> None:
    text = "x" * shift + "Traceback" + "🙂" * 100_000 + "ValueError: é"
    data = as_payload(text, 2000)
    assert 1900 < len(data) <= 2000
    trimmed = data.decode()
    assert trimmed.startswith("x" * shift + "Traceback🙂")
    assert trimmed.endswith("🙂ValueError: é")
    assert f"{len(text.encode())} bytes in all" in trimmed
