"""Messages between the arbiter and its loaders and workers, over a pair of connected sockets.

``AF_UNIX`` with ``SOCK_SEQPACKET`` keeps message boundaries, reports the death of the peer as an end of file, and
carries descriptors (unix(7)). A packet is one line of JSON, ``["kind", {fields}]``, followed by ``payload`` bytes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from supervisor.errors import SupervisorError

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MAX_PACKET: Final = 120 * 1024
"""Bytes of the longest packet. A packet must fit into the send buffer, 208 KiB by default, at once (unix(7))."""

MAX_TEXT: Final = 100 * 1024
"""Bytes that `as_payload` leaves of a text."""

MAX_PATHS: Final = 64 * 1024
"""Bytes that `paths_as_payloads` puts into one packet, save for the last path in it."""

MAX_FDS: Final = 253
"""Descriptors that one packet can carry: ``SCM_MAX_FD`` of the kernel (unix(7))."""

_PACKETS_A_CALL: Final = 512  # more than fit into a default receive buffer; a peer that floods cannot hold `receive` up
_ANCILLARY: Final = socket.CMSG_SPACE(MAX_FDS * 4)
_PEER_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOTCONN})


class ChannelError(SupervisorError):
    """Descriptors that a trusted peer sent could not be received, or a message could not be sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Whoever takes ``fds`` owns them: they close on exec, and are its to close."""

    kind: str
    fields: Mapping[str, JSON] = field(default_factory=dict)
    payload: bytes = b""
    fds: Sequence[int] = ()

    def text(self, name: str, default: str = "") -> str:
        """The field if it is a string, else ``default``: a peer may have sent anything."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default

    def integer(self, name: str, default: int = 0) -> int:
        """The field if it is an integer, else ``default``."""
        value = self.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    @property
    def payload_text(self) -> str:
        """The payload as text; what is no UTF-8 shows as replacement characters."""
        return self.payload.decode("utf-8", "replace")

    @property
    def paths(self) -> tuple[str, ...]:
        """The absolute paths that `paths_as_payloads` has packed."""
        return tuple(filter(os.path.isabs, os.fsdecode(self.payload).split("\0")))


class Channel:
    """One end of a line between two processes. No method but `receive_blocking` ever blocks.

    The peer is gone when *every* copy of its end is closed: after a fork each process closes the end that it does not
    use. What a peer said before it went can still be received: read until `at_eof`.

    A packet that makes no sense is dropped and counted in `malformed`. An end that takes no descriptors offers the
    kernel no room for any, so that none can be forced on it (cmsg(3), recvmsg(2)).
    """

    def __init__(self, sock: socket.socket, *, takes_fds: bool = False) -> None:
        """Take over ``sock``, a connected ``SOCK_SEQPACKET`` socket."""
        sock.setblocking(False)
        self._sock = sock
        self._takes_fds = takes_fds
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self.peer_gone = False
        self.at_eof = False
        self.malformed = 0

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends, near (kept by the arbiter) and far (for its child); both close on exec.

        Messages go both ways. Descriptors go from near to far only: what a worker sends cannot fill the arbiter.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(near), cls(far, takes_fds=True)

    def fileno(self) -> int:
        """The socket's descriptor: readable for messages and at the end of file. -1 once closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this process' copy of the end, and forget what is still queued. Closing twice is fine."""
        self._forget_queue()
        self._sock.close()

    @property
    def wants_write(self) -> bool:
        """Whether messages are queued: watch for writability and call `flush`."""
        return bool(self._queue)

    def send(
        self,
        kind: str,
        fields: Mapping[str, JSON] | None = None,
        *,
        payload: bytes = b"",
        fds: Sequence[int] = (),
    ) -> None:
        """Send a message, or queue it, in order, when the kernel takes no more now.

        ``fds`` stay the caller's: the message holds duplicates for as long as it is queued. Nothing happens, and
        nothing is raised, when the peer is gone (`peer_gone`).

        Raises:
            ValueError: the packet is longer than `MAX_PACKET`, or carries more than `MAX_FDS` descriptors.
            ChannelError: the kernel refuses the message for another reason than a full buffer.
        """
        packet = json.dumps([kind, fields or {}], separators=(",", ":")).encode() + b"\n" + payload
        if len(packet) > MAX_PACKET:
            raise ValueError(f"message {kind!r} has {len(packet)} bytes, more than {MAX_PACKET}")
        if len(fds) > MAX_FDS:
            raise ValueError(f"message {kind!r} carries {len(fds)} descriptors, more than {MAX_FDS}")
        if self._queue or not self._sent(packet, fds):
            self._queue.append((packet, [_duplicate(fd) for fd in fds]))

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it. Call it when the descriptor is writable."""
        while self._queue:
            packet, fds = self._queue[0]
            if not self._sent(packet, fds):
                return
            if self._queue:  # a peer found gone has emptied it
                self._queue.popleft()
                _close_all(fds)

    def receive(self) -> list[Message]:
        """All messages that are waiting, up to 512: the descriptor stays readable for more. Never raises for what
        an untrusted peer does. Sets `at_eof` when nothing will follow.

        Raises:
            ChannelError: on an end that takes descriptors, when some could not be received (``RLIMIT_NOFILE``).
        """
        messages: list[Message] = []
        for _ in range(_PACKETS_A_CALL):
            if self.at_eof:
                break
            try:
                message = self._receive_one()
            except BlockingIOError:
                break
            if message is not None:
                messages.append(message)
        return messages

    def receive_blocking(self) -> Message | None:
        """Wait for the next message; None at the end of file. Sends what is queued while it waits."""
        while not self.at_eof:
            try:
                message = self._receive_one()
            except BlockingIOError:
                self._wait()
                continue
            if message is not None:
                return message
        return None

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._queue else 0))
        poll.poll()
        self.flush()

    def _sent(self, packet: bytes, fds: Sequence[int]) -> bool:
        """Whether the packet is dealt with, because the kernel took it or because nobody will ever read it."""
        if self.peer_gone:
            return True
        try:
            socket.send_fds(self._sock, [packet], list(fds), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                return False  # too many descriptors are on their way (unix(7)): there is room when some have arrived
            if error.errno not in _PEER_GONE:
                what = f"a message of {len(packet)} bytes and {len(fds)} descriptors"
                raise ChannelError(f"cannot send {what}: {error.strerror}") from error
            self.peer_gone = True
            self._forget_queue()
        return True

    def _receive_one(self) -> Message | None:
        """The next packet as a message; None for one that was dropped and for the end of file."""
        fds: list[int] = []
        try:
            room = _ANCILLARY if self._takes_fds else 0
            packet, ancillary, flags, _ = self._sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            # The peer closed without reading all that it was sent. Its own last messages are still to come.
            self.peer_gone = True
            return None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.extend(memoryview(data)[: len(data) // 4 * 4].cast("i"))
        if not packet and self._hung_up():
            self.peer_gone = self.at_eof = True
            return None
        if self._takes_fds and flags & socket.MSG_CTRUNC:
            _close_all(fds)
            raise ChannelError("cannot receive all descriptors of a message: too many open files (RLIMIT_NOFILE)")
        message = None if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) else _parse(packet, fds)
        if message is None:
            _close_all(fds)
            self.malformed += 1
        return message

    def _hung_up(self) -> bool:
        """Whether an empty packet is the end of file, and not just an empty packet."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _forget_queue(self) -> None:
        while self._queue:
            _close_all(self._queue.popleft()[1])


def paths_as_payloads(paths: Iterable[str]) -> Iterator[bytes]:
    """Paths as the payloads of as few packets as they need, for `Message.paths`."""
    payload = b""
    for path in paths:
        name = os.fsencode(path)[:4096]
        if payload and len(payload) + len(name) >= MAX_PATHS:
            yield payload
            payload = b""
        payload = payload + b"\0" + name if payload else name
    if payload:
        yield payload


def as_payload(text: str, limit: int = MAX_TEXT) -> bytes:
    """``text`` as UTF-8 of at most ``limit`` bytes, a kibibyte or more. Of a longer text head and tail stay, so that
    a traceback keeps both where it began and what was raised.
    """
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data
    mark = f"\n[... {len(data)} bytes in all ...]\n".encode()
    room = limit - len(mark)
    head, tail = data[: room // 2], data[len(data) - (room - room // 2) :]
    return _whole(head) + mark + _whole(tail)


def _whole(data: bytes) -> bytes:
    """Without the halves of characters at the ends of a cut."""
    return data.decode("utf-8", "ignore").encode()


def _parse(packet: bytes, fds: Sequence[int]) -> Message | None:
    head, _, payload = packet.partition(b"\n")
    try:
        match json.loads(head):
            case [str(kind), dict(fields)]:
                return Message(kind, fields, payload, tuple(fds))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or brackets without end
        pass
    return None


def _duplicate(fd: int) -> int:
    # From 3 on, so that a queued message never takes the place of a closed standard stream (fcntl(2)).
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
