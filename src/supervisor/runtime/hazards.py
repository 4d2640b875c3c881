"""What an import leaves behind that does not go well with a fork: threads, sockets and event queues.

A thread does not exist in the forked process, but the locks that it held do (fork(2)). A connection would be spoken on
by all workers at once. Event queues would be shared likewise (epoll(7), io_uring(7)).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_QUEUES: Final = {
    "anon_inode:[eventpoll]": "an epoll instance",
    "anon_inode:[eventfd]": "an eventfd",
    "anon_inode:[io_uring]": "an io_uring",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """This process' threads by native id, with their names, and its descriptors, with what proc_pid_fd(5) says of them.

    ``sockets`` holds what is known of those descriptors that are sockets, in words.
    """

    threads: Mapping[int, str]
    descriptors: Mapping[int, str]
    sockets: Mapping[int, str]

    @classmethod
    def take(cls) -> Snapshot:
        """What there is now."""
        descriptors = dict(_descriptors())
        sockets = {fd: _describe(fd) for fd, target in descriptors.items() if target.startswith("socket:")}
        return cls(dict(_threads()), descriptors, sockets)


def compare(before: Snapshot, after: Snapshot) -> list[str]:
    """One phrase for each name of threads, socket and event queue that came between; files and pipes do no harm.

    ``the thread 'metrics'``, ``8 threads named 'python'``, ``a TCP socket to 127.0.0.1:5432 (descriptor 7)``.
    """
    names = Counter(name for number, name in after.threads.items() if number not in before.threads)
    found = [
        f"the thread {name!r}" if count == 1 else f"{count} threads named {name!r}" for name, count in names.items()
    ]
    known_sockets = {target for fd, target in before.descriptors.items() if fd in before.sockets}
    for fd, target in after.descriptors.items():
        if fd in after.sockets and target not in known_sockets:  # the inode in its name tells sockets apart
            found.append(f"{after.sockets[fd]} (descriptor {fd})")
        elif target in _QUEUES and before.descriptors.get(fd) != target:
            found.append(f"{_QUEUES[target]} (descriptor {fd})")
    return found


def _threads() -> Iterator[tuple[int, str]]:
    """Names as Python knows them, and as the kernel does, at most 15 characters, for threads of libraries in C."""
    threading = sys.modules.get("threading")
    python_names = {thread.native_id: thread.name for thread in threading.enumerate()} if threading else {}
    for entry in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            comm = Path(f"/proc/self/task/{entry}/comm").read_text(errors="replace").rstrip("\n")
            yield int(entry), python_names.get(int(entry), comm)


def _descriptors() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            yield int(entry), os.readlink(f"/proc/self/fd/{entry}")


def _describe(fd: int) -> str:
    """A socket in words: what kind it is, and whom it is connected to or where it is bound."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            kind = _KINDS.get((sock.family, sock.type), "")
            with contextlib.suppress(OSError):
                return f"{kind or 'a socket'}{_address(' to ', sock.getpeername())}"
            return f"{kind or 'a socket'}{_address(' bound to ', sock.getsockname())}"
    except OSError:
        return "a socket"


_KINDS: Final[Mapping[tuple[int, int], str]] = {
    (socket.AF_INET, socket.SOCK_STREAM): "a TCP socket",
    (socket.AF_INET6, socket.SOCK_STREAM): "a TCP socket",
    (socket.AF_INET, socket.SOCK_DGRAM): "a UDP socket",
    (socket.AF_INET6, socket.SOCK_DGRAM): "a UDP socket",
    (socket.AF_UNIX, socket.SOCK_STREAM): "a Unix socket",
    (socket.AF_UNIX, socket.SOCK_DGRAM): "a Unix socket",
    (socket.AF_UNIX, socket.SOCK_SEQPACKET): "a Unix socket",
}


def _address(preposition: str, name: object) -> str:
    match name:
        case (str(host), int(port), *_):
            return f"{preposition}[{host}]:{port}" if ":" in host else f"{preposition}{host}:{port}"
        case str(path) if path:
            return f"{preposition}{path}"
        case _:
            return ""  # one end of a pair, or one that is not bound yet
