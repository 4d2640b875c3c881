"""What is named as left behind, and what is not."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.runtime.hazards import Snapshot, compare


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    """Threads to start, which end with the test."""
    end = threading.Event()
    made = [threading.Thread(target=end.wait, name=name) for name in ("metrics", "pool", "pool", "pool")]
    yield made
    end.set()
    for thread in made:
        if thread.ident is not None:
            thread.join(30)


def since(before: Snapshot) -> list[str]:
    return compare(before, Snapshot.take())


def test_nothing_new_is_nothing_to_say(threads: list[threading.Thread]) -> None:
    threads[0].start()
    with socket.socket():
        assert since(Snapshot.take()) == []


def test_threads_are_named_and_counted(threads: list[threading.Thread]) -> None:
    before = Snapshot.take()
    for thread in threads:
        thread.start()
    assert since(before) == ["the thread 'metrics'", "3 threads named 'pool'"]


def test_a_connection_is_named_with_its_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        host, port = database.getsockname()
        before = Snapshot.take()
        with socket.create_connection((host, port)) as client:
            assert since(before) == [f"a TCP socket to 127.0.0.1:{port} (descriptor {client.fileno()})"]


def test_a_bound_socket_is_named_with_its_address(tmp_path: Path) -> None:
    before = Snapshot.take()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_UNIX) as unix:
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "s"))
        assert sorted(since(before)) == [
            f"a UDP socket bound to 127.0.0.1:{udp.getsockname()[1]} (descriptor {udp.fileno()})",
            f"a Unix socket bound to {tmp_path}/s (descriptor {unix.fileno()})",
        ]


def test_an_ipv6_address_stands_in_brackets() -> None:
    before = Snapshot.take()
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.bind(("::1", 0))
        port = sock.getsockname()[1]
        assert since(before) == [f"a TCP socket bound to [::1]:{port} (descriptor {sock.fileno()})"]


def test_a_pair_has_no_address() -> None:
    before = Snapshot.take()
    left, right = socket.socketpair()
    with left, right:
        assert since(before) == [f"a Unix socket (descriptor {sock.fileno()})" for sock in (left, right)]


def test_event_queues_are_named() -> None:
    before = Snapshot.take()
    event = os.eventfd(0)
    with select.epoll() as queue:
        assert sorted(since(before)) == [
            f"an epoll instance (descriptor {queue.fileno()})",
            f"an eventfd (descriptor {event})",
        ]
    os.close(event)


def test_files_and_pipes_do_no_harm(tmp_path: Path) -> None:
    before = Snapshot.take()
    ends = os.pipe()
    with open(tmp_path / "data", "w"):
        assert since(before) == []
    for fd in ends:
        os.close(fd)


def test_a_socket_in_the_place_of_another_is_new_and_a_copy_is_not() -> None:
    first = socket.socket()
    before = Snapshot.take()
    with first.dup():
        assert since(before) == []
    number = first.fileno()
    first.close()
    with socket.socket() as second:
        assert second.fileno() == number
        assert len(since(before)) == 1
