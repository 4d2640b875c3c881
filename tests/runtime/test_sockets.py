"""Listeners on real addresses: opened, refused with a reason, sealed and closed."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.config.load import Inputs, load
from supervisor.errors import ConfigError
from supervisor.runtime.listeners import Listeners
from supervisor.runtime.sockets import AddressInUse, Listener, open_listener, seal

LISTEN = """
import socket, sys
sock = socket.socket(getattr(socket, sys.argv[1]))
sock.bind(sys.argv[2] if sys.argv[1] == "AF_UNIX" else (sys.argv[2], 0))
sock.listen()
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@contextlib.contextmanager
def listening(bind: str, *, backlog: int = 100, umask: int = 0) -> Iterator[Listener]:
    listener = open_listener(bind, backlog=backlog, umask=umask)
    try:
        yield listener
    finally:
        listener.close()


@contextlib.contextmanager
def stranger(family: str, address: str) -> Iterator[tuple[int, int]]:
    """Another process that listens: its pid, and its port if it has one."""
    command = [sys.executable, "-c", LISTEN, family, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        yield process.pid, int(line) if line.isdigit() else 0
        process.communicate()


@contextlib.contextmanager
def connected(listener: Listener, count: int) -> Iterator[list[socket.socket]]:
    """Clients that have sent their request and wait in the queue."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            client = stack.enter_context(socket.socket(listener.sock.family))
            client.settimeout(30)
            client.connect(listener.sock.getsockname())
            client.sendall(b"request %d" % number)
            clients.append(client)
        yield clients


def refusal(bind: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        open_listener(bind, backlog=5, umask=0).close()
    assert repr(bind) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def serve_all(listener: Listener) -> int:
    """Accept until the queue is empty, answer each; how many there were."""
    served = 0
    while True:
        try:
            client, _ = listener.sock.accept()
        except BlockingIOError:
            return served
        with client:
            client.settimeout(10)
            client.sendall(b"answer to " + client.recv(100))
        served += 1


# TCP


@pytest.mark.parametrize(
    ("bind", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]"), ("localhost:0", "127.0.0.1")]
)
def test_a_tcp_address(bind: str, host: str) -> None:
    with listening(bind) as listener:
        port = listener.sock.getsockname()[1]
        assert listener.bind == bind
        assert listener.display == str(listener) == f"http://{host}:{port}"
        assert listener.fileno() == listener.sock.fileno()
        assert listener.getsockname() == listener.sock.getsockname()
        assert not listener.sock.getblocking()
        assert not listener.sock.get_inheritable()
        with connected(listener, 1) as [client]:
            assert serve_all(listener) == 1
            assert client.recv(100) == b"answer to request 0"


def test_accepted_connections_do_not_wait_to_fill_segments() -> None:
    with listening("127.0.0.1:0") as listener, connected(listener, 1):
        accepted, _ = listener.sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_empty_host_is_every_ipv4_interface() -> None:
    with listening(":0") as listener:
        assert listener.display.startswith("http://0.0.0.0:")


@pytest.mark.skipif(
    Path("/proc/sys/net/ipv6/bindv6only").read_text().strip() != "0", reason="the system separates them"
)
def test_every_ipv6_interface_takes_ipv4_too() -> None:
    with listening("[::]:0") as listener:
        socket.create_connection(("127.0.0.1", listener.sock.getsockname()[1]), timeout=30).close()


def test_a_port_can_be_used_again_at_once() -> None:
    with listening("127.0.0.1:0") as listener, connected(listener, 1):
        bind = f"127.0.0.1:{listener.sock.getsockname()[1]}"
        serve_all(listener)  # the server closes first, so that its side stays in TIME_WAIT
    with listening(bind):
        pass


@pytest.mark.parametrize(("family", "address"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_a_port_in_use_is_refused_with_its_holder(family: str, address: str) -> None:
    with stranger(family, address) as (pid, port):
        error = refusal(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    assert isinstance(error, AddressInUse)
    assert f"in use by process {pid} ({sys.executable} -c import socket, sys sock =" in str(error)
    assert str(error).endswith("; stop that one first, or set another bind")


def test_two_binds_that_clash_are_named_so() -> None:
    with listening("127.0.0.1:0") as listener:
        error = refusal(f"127.0.0.1:{listener.sock.getsockname()[1]}")
    assert str(error).endswith("in use by another bind of this process; take one of the two away")


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("name.invalid:80", "name.invalid"),
        ("192.0.2.1:0", "no network interface"),
        ("127.0.0.1:http", "port"),
        ("unix:/nowhere/at/all", "the directory /nowhere/at does not exist"),
        ("unix:/" + "x" * 120, "too long"),
        ("fd://9999", "not an open socket"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_with_the_reason(bind: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        open_listener(bind, backlog=5, umask=0)
    assert not isinstance(caught.value, AddressInUse)
    assert bind in str(caught.value)


# Unix sockets


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o777), (0o007, 0o770), (0o177, 0o600)])
def test_a_unix_socket_and_its_mode(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "s"
    before = os.umask(0o022)
    with listening(f"unix:{path}", umask=umask) as listener:
        assert os.umask(before) == 0o022
        assert listener.display == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == mode
        with connected(listener, 1):
            assert serve_all(listener) == 1
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
        dead.listen()
    with listening(f"unix:{tmp_path}/s") as listener, connected(listener, 1):
        assert serve_all(listener) == 1


def test_a_unix_socket_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    with stranger("AF_UNIX", f"{tmp_path}/s") as (pid, _):
        error = refusal(f"unix:{tmp_path}/s")
        assert isinstance(error, AddressInUse)
        assert f"in use by process {pid}" in str(error)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/s")


def test_a_unix_socket_with_a_full_queue_is_in_use(tmp_path: Path) -> None:
    with listening(f"unix:{tmp_path}/s", backlog=0) as listener, connected(listener, 1):
        assert isinstance(refusal(f"unix:{tmp_path}/s"), AddressInUse)


def test_what_is_not_a_stale_socket_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        datagram.bind(str(tmp_path / "datagram"))
        for name, reason in [("file", "not a socket"), ("link", "not a socket"), ("datagram", "cannot be examined")]:
            assert reason in str(refusal(f"unix:{tmp_path}/{name}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["datagram", "file", "link"]
    assert (tmp_path / "file").read_text() == "precious"


def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    with listening(f"unix:{tmp_path}/s") as old:
        os.unlink(tmp_path / "s")
        with listening(f"unix:{tmp_path}/s") as new:
            old.close()
            with connected(new, 1):
                assert serve_all(new) == 1
        assert not (tmp_path / "s").exists()
        old.close()


def test_a_closed_listener_leaves_a_successor_alone(tmp_path: Path) -> None:
    old = open_listener(f"unix:{tmp_path}/s", backlog=5, umask=0)
    old.close()
    with listening(f"unix:{tmp_path}/s"):
        old.close()
        assert (tmp_path / "s").exists()


def test_a_relative_path_survives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening("unix:s"):
        monkeypatch.chdir("/")
    assert not (tmp_path / "s").exists()


# Inherited sockets


def test_an_inherited_socket_is_used_and_stays(tmp_path: Path) -> None:
    addresses: dict[socket.AddressFamily, tuple[str, int] | str] = {
        socket.AF_INET: ("127.0.0.1", 0),
        socket.AF_UNIX: f"{tmp_path}/s",
    }
    for family, address in addresses.items():
        with socket.socket(family) as given:
            given.bind(address)
            given.listen()
            given.set_inheritable(True)
            for _ in range(2):
                with listening(f"fd://{given.fileno()}") as listener, connected(listener, 1):
                    assert serve_all(listener) == 1
                    assert listener.inherited
            assert not given.get_inheritable()
            with socket.socket(family) as client:
                client.connect(given.getsockname())
    assert (tmp_path / "s").exists()


def test_an_inherited_descriptor_must_be_a_socket() -> None:
    with open(os.devnull) as null:
        assert "not an open socket" in str(refusal(f"fd://{null.fileno()}"))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_inherited_socket_must_listen(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as given:
        given.bind(("127.0.0.1", 0))
        assert "does not listen" in str(refusal(f"fd://{given.fileno()}"))


# Sealing


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_a_sealed_port_serves_its_queue_and_nobody_else(bind: str) -> None:
    with listening(bind) as listener, connected(listener, 50) as clients:
        address = listener.sock.getsockname()
        assert seal(listener)
        late = socket.socket(listener.sock.family)
        late.setblocking(False)
        with late:
            assert late.connect_ex(address) == errno.EINPROGRESS
            assert serve_all(listener) == 50
            for number, client in enumerate(clients):
                assert client.recv(100) == b"answer to request %d" % number
                assert client.recv(100) == b""
            assert select.select([], [late], [], 0)[1] == []
            listener.close()
            # The kernel of the client repeats its SYN, and hears now that nobody listens.
            assert select.select([], [late], [], 60)[1] == [late]
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        with socket.socket(listener.sock.family) as latest:
            assert latest.connect_ex(address) == errno.ECONNREFUSED


def test_closing_without_a_seal_resets_the_queue() -> None:
    """Why there is a seal, and that the test above could fail."""
    with listening("127.0.0.1:0") as listener, connected(listener, 1) as [client]:
        listener.close()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_a_sealed_unix_socket_serves_its_queue_and_nobody_else(tmp_path: Path) -> None:
    with listening(f"unix:{tmp_path}/s") as listener, connected(listener, 50) as clients:
        assert seal(listener)
        with socket.socket(socket.AF_UNIX) as late:
            assert late.connect_ex(f"{tmp_path}/s") == errno.ENOENT
        assert serve_all(listener) == 50
        assert [client.recv(100) for client in clients] == [b"answer to request %d" % n for n in range(50)]


def test_an_inherited_socket_is_not_sealed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given, listening(f"fd://{given.fileno()}") as listener:
        assert not seal(listener)
        with connected(listener, 1):
            assert serve_all(listener) == 1


def test_an_address_that_is_no_longer_used_is_sealed_before_it_is_closed() -> None:
    """A worker that drains holds a copy: what joined its queue behind the worker's last look would be reset."""
    listeners = Listeners()
    listeners.want(
        load(Inputs(app="shop:app", values={"bind": ["127.0.0.1:0"]}, environ={}, cwd="/", default_files=False))
    )
    [listener] = listeners
    address = listener.sock.getsockname()
    with listener.sock.dup() as copy, socket.socket() as late:
        listeners.keep_only(())
        late.setblocking(False)
        assert late.connect_ex(address) == errno.EINPROGRESS
        assert select.select([], [late], [], 0)[1] == []
        copy.close()
        assert select.select([], [late], [], 60)[1] == [late]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_kernel_without_filters_cannot_seal() -> None:
    class WithoutFilters(socket.socket):
        def setsockopt(self, *args: object) -> None:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

    with WithoutFilters() as sock:
        assert not seal(Listener(sock, "127.0.0.1:0"))
