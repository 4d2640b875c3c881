"""Finding the address of a host in bounded time: the C library's resolver may take many seconds."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import Any, Final

PATIENCE: Final = 2.0
"""Seconds that a name server may take."""

_found: dict[tuple[str, int], tuple[int, tuple[Any, ...]]] = {}


def resolve(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """The family and the address of a host, an IPv4 one if it has both. Raises `OSError` if there is none.

    A name is looked up in a process of its own, since nothing else ends a lookup early. What was found before is used
    again when that fails, as it may at a reload.
    """
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    if host == "localhost":
        return _look_up(host, port)
    try:
        _found[host, port] = _in_a_child(host, port)
    except OSError:
        if (host, port) not in _found:
            raise
    return _found[host, port]


def _look_up(host: str, port: int, flags: int = 0) -> tuple[int, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return int(family), tuple(address)


def _in_a_child(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)  # it is the parent's
        try:
            answer: Any = _look_up(host, port)
        except OSError as error:
            answer = error.strerror or str(error)
        finally:
            with contextlib.suppress(BaseException):
                os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    try:
        data = os.read(reading, 4096) if select.select([reading], [], [], PATIENCE)[0] else b""
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
            os.waitpid(pid, 0)
    answer = json.loads(data) if data else f"no name server has answered within {PATIENCE:g} s"
    if isinstance(answer, str):
        raise OSError(None, answer)
    family, address = answer
    return family, tuple(address)
