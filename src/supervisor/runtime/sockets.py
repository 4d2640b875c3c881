"""Listening sockets: opened by address, sealed before the end, closed without taking away what is not theirs."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any, Final

from supervisor.config.addresses import parse
from supervisor.errors import ConfigError, reason

_SO_ATTACH_FILTER: Final = 26  # <asm-generic/socket.h>

_UNKNOWN_HOLDER: Final = "; stop whoever listens there, or set another bind"

_DROP_SYN: Final = (  # (code, jump if true, jump if false, operand): classic BPF, <linux/bpf_common.h>
    (0x30, 0, 0, 13),  # load the byte at offset 13 of the TCP header: its flags (RFC 9293, section 3.1)
    (0x45, 0, 1, 0x02),  # SYN: go on if it is set, skip one if not
    (0x06, 0, 0, 0),  # take 0 bytes: drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # take all
)


class AddressInUse(ConfigError):
    """Somebody else listens there. Another try in a moment may succeed."""


class Listener:
    """A listening, non-blocking socket that closes on exec, and the address that it was configured with.

    A forked child that wants to be rid of its copy closes `sock`: `close` would remove the file of a Unix socket.
    """

    def __init__(self, sock: socket.socket, bind: str, *, path: str = "", inherited: bool = False) -> None:
        """Own ``sock``. ``path`` is the file that its bind(2) made; ``inherited`` says that others use it as well."""
        sock.setblocking(False)
        self.sock = sock
        self.bind = bind
        self.inherited = inherited
        self._path = os.path.abspath(path) if path else ""  # the working directory may change
        self._file = os.lstat(path) if path else None

    def __str__(self) -> str:
        return self.display

    @property
    def display(self) -> str:
        """The address as people write it, with the port that the kernel chose for port 0."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{os.fsdecode(name)}"
        host = f"[{name[0]}]" if self.sock.family == socket.AF_INET6 else name[0]
        return f"http://{host}:{name[1]}"

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self.sock.fileno()

    def getsockname(self) -> object:
        """As of the socket: hooks written for gunicorn ask its listeners for it."""
        return self.sock.getsockname()

    def stop_listening(self) -> None:
        """End it for everybody who has a copy, children of the application included; its queue must be empty.

        What waits in the queue of a TCP socket is reset (shutdown(2)). A socket that others use as well is left alone.
        """
        if not self.inherited and self.fileno() != -1:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close it, and before that remove the Unix socket's file if it is still the one made here. May be repeated."""
        self.unlink()
        self.sock.close()

    def clear(self) -> None:
        """Remove the file after the arbiter was killed, if it is still its, and nobody listens behind it any more.

        For a process that has closed its copy. An arbiter that took the socket over (USR2) listens.
        """
        if self._file is None:
            return
        with contextlib.suppress(OSError, ConfigError):
            if os.path.samestat(os.lstat(self._path), self._file):
                _remove_stale(self._path, self.bind)

    def unlink(self) -> None:
        """Remove the file, if there is one, and it is still the one made here."""
        # While the socket is open its inode is kept, so no other file can have got the same number meanwhile.
        if self._file is not None and self.fileno() != -1:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(self._path), self._file):
                    os.unlink(self._path)


def open_listener(
    bind: str, *, backlog: int, umask: int, owner: tuple[int, int] | None = None, reuse_port: bool = False
) -> Listener:
    """Listen at ``host:port``, ``[ipv6]:port`` or ``unix:PATH``, or on the inherited socket ``fd://N``.

    A host name means its first IPv4 address if it has one. ``[::]`` takes IPv4 as well, unless the system is set to
    ``net.ipv6.bindv6only`` (ipv6(7)). ``backlog`` counts connections, and the system caps it at ``net.core.somaxconn``
    (listen(2)). ``umask`` applies to the file of a Unix socket, and ``owner`` (user and group) is to have it. That file
    is replaced if nobody listens behind it. ``reuse_port`` lets other sockets of this user listen at the same TCP port
    (socket(7), ``SO_REUSEPORT``), which then take turns: `twin` opens them.

    Raises:
        AddressInUse: somebody listens there; says who, where that can be known.
        ConfigError: the address cannot be used.
    """
    try:
        address = parse(bind)
        if isinstance(address, int):
            return _inherit(address, bind)
        if isinstance(address, str):
            return _listen_unix(address, bind, backlog, umask, owner)
        return _listen_tcp(address, bind, backlog, reuse_port=reuse_port)
    except ConfigError:
        raise
    except OSError as error:  # gaierror, for a host that cannot be resolved, is one too
        raise ConfigError(f"bind = {bind!r}: {error.strerror or error}{_advice(error)}") from error
    except ValueError as error:
        raise ConfigError(f"bind {error}") from error


def twin(listener: Listener, bind: str, *, backlog: int) -> Listener:
    """Another one at the same TCP address, opened with ``reuse_port`` as well. Raises `OSError`."""
    with contextlib.ExitStack() as on_error:
        sock = on_error.enter_context(socket.socket(listener.sock.family, listener.sock.type))
        _prepare(sock, reuse_port=True)
        sock.bind(listener.sock.getsockname())
        sock.listen(backlog)
        on_error.pop_all()
    return Listener(sock, bind)


def adopt_listener(bind: str, fd: int) -> Listener:
    """The listener that another process of ours opened for ``bind``, with the descriptor that it left us."""
    sock = socket.socket(fileno=fd)
    if bind.startswith("fd://"):
        return Listener(sock, bind, inherited=True)
    name = sock.getsockname() if sock.family == socket.AF_UNIX else ""
    path = os.fsdecode(name)
    return Listener(sock, bind, path=path if path and os.path.exists(path) else "")


def seal(listener: Listener) -> bool:
    """Let no new connection in, while those that wait in the queue can still be accepted. Whether that was possible.

    Closing or shutting down a listening TCP socket resets the connections in its queue. A filter that drops packets
    with SYN (socket(7), ``SO_ATTACH_FILTER``) leaves them alone, and lets handshakes under way finish: of 50
    connections that had been made, and had sent data, before, all 50 were accepted and answered after; new ones got no
    answer, and were refused at the close, when the client sent its next SYN (a second later, as TCP does). Measured on
    the loopback of Linux 6.18, IPv4 and IPv6. Of a Unix socket the path is unlinked.

    An inherited socket is not sealed: it belongs to whoever passed it, and connections wait in it for the next process.
    """
    if listener.inherited:
        return False
    if listener.sock.family == socket.AF_UNIX:
        listener.unlink()
        return True
    program = array.array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
    try:
        listener.sock.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), program.buffer_info()[0])
        )
    except OSError:  # a sandbox whose kernel knows no socket filters
        return False
    return True


def _prepare(sock: socket.socket, *, reuse_port: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it (tcp(7))
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listen_tcp(address: tuple[str, int], bind: str, backlog: int, *, reuse_port: bool) -> Listener:
    family, kind, protocol, target = resolved(address)
    with contextlib.ExitStack() as on_error:
        sock = on_error.enter_context(socket.socket(family, kind, protocol))
        _prepare(sock, reuse_port=reuse_port)
        try:
            sock.bind(target)
            sock.listen(backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise AddressInUse(f"bind = {bind!r}: the address is in use{named(tcp_holders(address[1]))}") from error
        on_error.pop_all()
    return Listener(sock, bind)


def resolved(address: tuple[str, int]) -> tuple[int, int, int, Any]:
    """Family, type, protocol and name of the socket to listen at: the first IPv4 one of a host. Raises `OSError`."""
    host, port = address
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, target = min(found, key=lambda info: info[0] != socket.AF_INET)
    return family, kind, protocol, target


def _listen_unix(path: str, bind: str, backlog: int, umask: int, owner: tuple[int, int] | None) -> Listener:
    with contextlib.ExitStack() as on_error:
        sock = on_error.enter_context(socket.socket(socket.AF_UNIX))
        _remove_stale(path, bind)
        before = os.umask(umask)
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"bind = {bind!r}: somebody else has just begun to listen there") from error
            raise ConfigError(f"bind = {bind!r}: {reason(error, path)}{_advice(error)}") from error
        finally:
            os.umask(before)
        if owner not in (None, (os.geteuid(), os.getegid())):
            os.chown(path, *owner)
        sock.listen(backlog)
        on_error.pop_all()
    return Listener(sock, bind, path=path)


def _remove_stale(path: str, bind: str) -> None:
    """Remove the file of a Unix socket if nobody listens behind it."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"bind = {bind!r}: there is a file that is not a socket; remove it or name another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if os.path.samestat(os.lstat(path), found):
                os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens, or should
        except OSError as error:
            # EPROTOTYPE: a datagram socket. EACCES: not ours to judge. In both cases not ours to remove (connect(2)).
            problem = f"there is a socket that cannot be examined ({error.strerror})"
            raise ConfigError(f"bind = {bind!r}: {problem}; remove it or name another path") from error
    raise AddressInUse(f"bind = {bind!r}: the address is in use{named(unix_holders(path))}")


def _inherit(fd: int, bind: str) -> Listener:
    """A listener on a duplicate: the descriptor itself stays, so that the address can be opened again."""
    copy = -1
    try:
        copy = os.dup(fd)
        sock = socket.socket(fileno=copy)
    except OSError as error:
        if copy >= 0:
            os.close(copy)
        raise ConfigError(f"bind = {bind!r}: descriptor {fd} is not an open socket ({error.strerror})") from error
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ConfigError(f"bind = {bind!r}: descriptor {fd} is a socket that does not listen")
    os.set_inheritable(fd, False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(sock, bind, inherited=True)


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.EACCES:
            return "; ports below 1024 and other users' directories need privileges"
        case errno.EADDRNOTAVAIL:
            return "; no network interface of this machine has this address"
        case _:
            return ""


def tcp_holders(port: int) -> set[int]:
    """Processes that listen at this port, as far as they may be seen: at least one, and those above it."""
    import psutil  # only where something has gone wrong: it is large

    def listens(connection: Any) -> bool:
        return bool(connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,))

    return _holders("tcp", listens)


def unix_holders(path: str) -> set[int]:
    """Processes that have a socket of this name, as bind(2) was given it; as `tcp_holders`."""
    return _holders("unix", lambda connection: str(connection.laddr) == path)


def _holders(kind: str, wanted: Callable[[Any], bool]) -> set[int]:
    import psutil

    found: set[int] = set()
    with contextlib.suppress(psutil.Error, OSError):
        found.update(c.pid for c in psutil.net_connections(kind) if c.pid and wanted(c))
        # Of those who share a socket psutil names one only. The one to be stopped is a parent of the others.
        for pid in list(found):
            for parent in psutil.Process(pid).parents():
                if not any(map(wanted, parent.net_connections(kind))):
                    break
                found.add(parent.pid)
    return found


def named(pids: set[int]) -> str:
    """Who it is, for a message: among those who share a socket the one that is nobody's child."""
    import psutil

    if not pids:
        return _UNKNOWN_HOLDER
    pid = _eldest(pids)
    if pid == os.getpid():
        return " by another bind of this process; take one of the two away"
    with contextlib.suppress(psutil.Error, OSError):
        command = " ".join(" ".join(psutil.Process(pid).cmdline()).split())  # one line, whatever it was started with
        return f" by process {pid} ({command[:200]}); stop that one first, or set another bind"
    return _UNKNOWN_HOLDER


def _eldest(pids: set[int]) -> int:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return next((pid for pid in sorted(pids) if psutil.Process(pid).ppid() not in pids), min(pids))
    return min(pids)
