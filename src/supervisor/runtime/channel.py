"""A line between two processes: whole messages, in order, with file descriptors (unix(7), SOCK_SEQPACKET).

One packet is a JSON object on one line, and after the line break the payload. Neither side ever waits for the other, but
for `Channel.receive_blocking`; the end of file means that the peer is gone.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_PACKET = 120 * 1024
"""Bytes of one message. A packet goes in one piece, so it has to fit into the default send buffer (208 KiB)."""

MAX_FDS = 250
"""Descriptors with one message; the kernel takes 253 (SCM_MAX_FD)."""


@dataclass(frozen=True, slots=True)
class Message:
    """What the peer said. The descriptors belong to the receiver."""

    kind: str
    fields: Mapping[str, Any]
    payload: bytes = b""
    fds: tuple[int, ...] = ()


class Channel:
    """One end of the line."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._queue: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.at_eof = False
        self.peer_gone = False

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends; neither is inherited by programs that are executed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """The end that came as a descriptor, which belongs to the channel from now on."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        return cls(sock)

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether messages wait for the kernel to take them: call `flush` when the descriptor is writable."""
        return bool(self._queue)

    def send(
        self, kind: str, fields: Mapping[str, Any] | None = None, *, payload: bytes = b"", fds: Sequence[int] = ()
    ) -> None:
        """Say something. What the kernel does not take now is kept, with duplicates of the descriptors.

        A peer that is gone is not an error. Raises `ValueError` if the message is too large.
        """
        packet = json.dumps({"kind": kind, **(fields or {})}, separators=(",", ":")).encode() + b"\n" + payload
        if len(packet) > MAX_PACKET or len(fds) > MAX_FDS:
            raise ValueError(f"a {kind} message of {len(packet)} bytes and {len(fds)} descriptors is too large")
        if self.peer_gone:
            return
        if self._queue or not self._offer(packet, tuple(fds)):
            self._queue.append((packet, tuple(os.dup(fd) for fd in fds)))

    def flush(self) -> None:
        """Send what was kept, as far as the kernel takes it."""
        while self._queue and self._offer(*self._queue[0]):
            _close_all(self._queue.popleft()[1])
        if self.peer_gone:
            self._forget_queue()

    def receive(self) -> list[Message]:
        """All messages that have arrived. Sets ``at_eof`` once the peer is gone."""
        messages = []
        while not self.at_eof:
            try:
                message = self._receive_one()
            except BlockingIOError:
                break
            if message is not None:
                messages.append(message)
        return messages

    def receive_blocking(self) -> Message | None:
        """The next message, or None when the peer is gone. Waits for it."""
        self._sock.setblocking(True)
        try:
            while not self.at_eof:
                if message := self._receive_one():
                    return message
            return None
        finally:
            self._sock.setblocking(False)

    def close(self) -> None:
        """Hang up. May be called again."""
        self._forget_queue()
        self._sock.close()

    def _offer(self, packet: bytes, fds: tuple[int, ...]) -> bool:
        """Whether the message is done with: taken by the kernel, or of no use any more."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._sock.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self.peer_gone = True
        return True

    def _receive_one(self) -> Message | None:
        """A message, or None for the end of the file and for what is none: the peer is not trusted to talk sense."""
        room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
        try:
            packet, ancillary, flags, _ = self._sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            packet, ancillary, flags = b"", [], 0
        fds = _descriptors(ancillary)
        if not packet:
            self.at_eof = self.peer_gone = True
            _close_all(fds)
            return None
        head, _, payload = packet.partition(b"\n")
        try:
            fields = json.loads(head)
            kind = str(fields.pop("kind"))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            kind = ""
        if not kind or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            _close_all(fds)
            return None
        return Message(kind, fields, payload, fds)

    def _forget_queue(self) -> None:
        while self._queue:
            _close_all(self._queue.popleft()[1])


def trim(text: str, limit: int = 64 * 1024) -> str:
    """The text, or its beginning and its end if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = (limit - 60) // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return tuple(fds)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
