"""What an import leaves behind that does not survive a fork: threads vanish in the child, sockets are shared by all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_KINDS = {"anon_inode:[eventpoll]": "an epoll", "anon_inode:[eventfd]": "an eventfd", "anon_inode:[io_uring]": "an io_uring"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Threads and descriptors of this process, by number, with what they are (proc(5))."""

    threads: Mapping[int, str]
    descriptors: Mapping[int, str]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(dict(_threads()), dict(_descriptors()))


def compare(before: Snapshot, after: Snapshot) -> list[str]:
    """One phrase for each thread, socket and event queue that is there after and was not before."""
    found = [
        f"the thread {name!r}" for number, name in after.threads.items() if number not in before.threads
    ]
    for fd, target in after.descriptors.items():
        if before.descriptors.get(fd) == target:
            continue
        if target.startswith("socket:"):
            found.append(f"{_socket(target)} (descriptor {fd})")
        elif target in _KINDS:
            found.append(f"{_KINDS[target]} (descriptor {fd})")
    return found


def _threads() -> Iterator[tuple[int, str]]:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    for entry in os.listdir("/proc/self/task"):
        number = int(entry)
        try:
            kernel_name = Path(f"/proc/self/task/{entry}/comm").read_text().strip()
        except OSError:
            continue  # it has ended meanwhile
        yield number, names.get(number, kernel_name)


def _descriptors() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc/self/fd"):
        try:
            yield int(entry), os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue  # the descriptor of the listing itself


def _socket(target: str) -> str:
    """A socket in words, looked up by its inode."""
    import psutil

    import_socket = {}
    inode = target.removeprefix("socket:[").removesuffix("]")
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = Path(f"/proc/self/net/{kind}").read_text().splitlines()[1:]
        except OSError:
            continue
        import_socket.update({line.split()[9]: kind for line in lines})
    if inode not in import_socket:
        return "a socket"
    peers = [c for c in psutil.Process().net_connections() if c.fd >= 0 and os.readlink(f"/proc/self/fd/{c.fd}") == target]
    remote = f" to {peers[0].raddr.ip}:{peers[0].raddr.port}" if peers and peers[0].raddr else ""
    return f"a {import_socket[inode].rstrip('6').upper()} socket{remote}"
