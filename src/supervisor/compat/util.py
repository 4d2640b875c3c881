"""The functions of ``gunicorn.util`` that configuration files and worker classes call."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import inspect
import os
import random
import socket
import sys
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from supervisor.application import load_application
from supervisor.config.addresses import Address, parse


def import_app(module: str) -> Any:
    """The application that ``module:attribute`` names."""
    return load_application(module)


def load_class(uri: Any, default: str = "", section: str = "") -> Any:  # noqa: ARG001 - as it is called
    """The class at ``package.module.Class`` or ``package.module:Class``; what is no string is returned as it is."""
    if not isinstance(uri, str):
        return uri
    module, _, name = uri.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


def parse_address(netloc: str, default_port: str = "8000") -> Address:
    return parse(netloc, default_port=int(default_port))


def is_ipv6(addr: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        socket.inet_pton(socket.AF_INET6, addr)
        return True
    return False


def set_non_blocking(fd: int) -> None:
    os.set_blocking(fd, False)


def close_on_exec(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


def close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()


def unlink(filename: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(filename)


def chown(path: str, uid: int, gid: int) -> None:
    os.chown(path, uid, gid)


def getcwd() -> str:
    return os.getcwd()


def http_date(timestamp: float | None = None) -> str:
    return formatdate(timestamp, usegmt=True)


def bytes_to_str(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def to_bytestring(value: bytes | str, encoding: str = "utf-8") -> bytes:
    return value if isinstance(value, bytes) else value.encode(encoding)


def get_arity(function: Callable[..., Any]) -> int:
    """How many positional parameters a function has."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values())


def seed() -> None:
    random.seed()


def setproctitle(title: str) -> None:
    with contextlib.suppress(ImportError, ValueError):
        from setproctitle import setproctitle as change

        change(title)


def warn(message: str) -> None:
    print(f"\nWARNING: {message}\n", file=sys.stderr)  # noqa: T201 - what gunicorn's function of this name does
