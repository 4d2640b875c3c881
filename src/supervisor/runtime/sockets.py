"""Listening sockets: opened by address, sealed at the end, and closed without taking away what is not theirs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct

from supervisor.config.addresses import parse
from supervisor.errors import ConfigError

SO_ATTACH_FILTER = 26


class AddressInUse(ConfigError):
    """Somebody else listens there."""


class Listener:
    """A listening socket, and the address it was configured with."""

    def __init__(self, sock: socket.socket, bind: str, *, inherited: bool = False) -> None:
        self.sock = sock
        self.bind = bind
        self._inherited = inherited
        self._path = sock.getsockname() if sock.family == socket.AF_UNIX and not inherited else ""
        self._inode = os.stat(self._path).st_ino if self._path else 0

    def __str__(self) -> str:
        return self.display

    @property
    def display(self) -> str:
        """The address, for people."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{name}"
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"http://{host}:{name[1]}"

    def fileno(self) -> int:
        return self.sock.fileno()

    def getsockname(self) -> object:
        return self.sock.getsockname()

    def seal(self) -> None:
        """Let no new connection in, while those that wait in the queue can still be accepted.

        A socket that was handed to us belongs to somebody else, and stays as it is.
        """
        if self._inherited:
            return
        if self._path:
            self._unlink()
        else:
            _drop_syn(self.sock)

    def close(self) -> None:
        """Close it, and remove the Unix socket's file if it is still the one that was made."""
        self._unlink()
        self.sock.close()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._path and os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)


def seal(listener: Listener) -> None:
    listener.seal()


def open_listener(bind: str, *, backlog: int, umask: int) -> Listener:
    """Listen at ``host:port``, ``[ipv6]:port``, ``unix:PATH`` or on ``fd://N``.

    Raises `AddressInUse` with the holder, where it can be known, or `ConfigError`.
    """
    address = parse(bind)
    if isinstance(address, int):
        return _adopt(address, bind)
    if isinstance(address, str):
        return _listen_unix(address, bind, backlog, umask)
    return _listen_tcp(address, bind, backlog)


def _listen_tcp(address: tuple[str, int], bind: str, backlog: int) -> Listener:
    try:
        family, kind, proto, _, target = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError(f"bind = {bind!r}: {error.strerror}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(target)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"bind = {bind!r}: the address is in use{_holder(address[1])}") from error
        raise ConfigError(f"bind = {bind!r}: {error.strerror}") from error
    sock.setblocking(False)
    return Listener(sock, bind)


def _listen_unix(path: str, bind: str, backlog: int, umask: int) -> Listener:
    sock = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path, bind)
        before = os.umask(umask)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ConfigError(f"bind = {bind!r}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return Listener(sock, bind)


def _remove_stale(path: str, bind: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"bind = {bind!r}: the file exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise AddressInUse(f"bind = {bind!r}: somebody listens there already")


def _adopt(fd: int, bind: str) -> Listener:
    try:
        sock = socket.socket(fileno=os.dup(fd))
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigError(f"bind = {bind!r}: descriptor {fd} is a socket that does not listen")
    except OSError as error:
        raise ConfigError(f"bind = {bind!r}: descriptor {fd} is no socket ({error.strerror})") from error
    sock.setblocking(False)
    return Listener(sock, bind, inherited=True)


def _holder(port: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f" by process {connection.pid} ({command})"
    return ""


def _drop_syn(sock: socket.socket) -> None:
    """Have the kernel drop SYN packets to this socket (socket(7), SO_ATTACH_FILTER; classic BPF).

    Handshakes under way finish, and queued connections stay: shutdown(2) or close(2) would reset them.
    """
    program = struct.pack("HBBI", 0x30, 0, 0, 13)  # load the byte of flags in the TCP header
    program += struct.pack("HBBI", 0x45, 0, 1, 0x02)  # SYN set?
    program += struct.pack("HBBI", 0x06, 0, 0, 0)  # drop
    program += struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)  # take
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 4, ctypes.addressof(buffer)))
