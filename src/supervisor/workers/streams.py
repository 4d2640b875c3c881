"""The three objects of a WSGI environ that have methods: input, errors and file wrapper (PEP 3333)."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

BLOCK: Final = 1 << 16
"""Bytes that are read at once from a file or from the client, at least."""


class ClientDisconnected(ConnectionError):
    """The client has gone, or did nothing for too long. Raised into the application where it reads or writes."""


class Body(io.RawIOBase):
    """The request's body as a raw stream: ``fetch`` waits for the next piece, and returns none at the end.

    `io.BufferedReader` makes of it what PEP 3333 wants. What ``fetch`` raises is raised to the application: a body that
    was cut off must not look like one that is complete.
    """

    def __init__(self, fetch: Callable[[], bytes]) -> None:
        self._fetch = fetch
        self._piece = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._next():
            return 0
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def readall(self) -> bytes:
        pieces = []
        while self._next():
            pieces.append(self._piece)
            self._piece = memoryview(b"")
        return b"".join(pieces)

    def _next(self) -> bool:
        """Have a piece that is not empty, unless the body has ended."""
        while not self._piece and not self._ended:
            self._piece = memoryview(self._fetch())
            self._ended = not self._piece
        return bool(self._piece)


class ErrorLog(io.TextIOBase):
    """``wsgi.errors``: text goes into the streams of the error log as it is, since frameworks format it themselves.

    The streams are looked up each time: USR1 reopens files. Where the error log has none (syslog, a queue), each text
    is a record of its own.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = False
        for handler in self._log.handlers:
            stream = getattr(handler, "stream", None)
            if stream is None:
                continue
            with handler.lock or _NoLock():
                # The log must not fail an application that writes to it, whatever the encoding of its file.
                encoding = getattr(stream, "encoding", None) or "utf-8"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
                stream.flush()
            written = True
        if not written and text.strip():
            self._log.error("%s", text.rstrip())
        return len(text)


class _NoLock:
    """For a handler that has given up its lock."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class FileWrapper:
    """``wsgi.file_wrapper``: a file as the iterable of its blocks, of ``blksize`` bytes."""

    def __init__(self, filelike: Any, blksize: int = BLOCK) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if data := self.filelike.read(self.blksize):
            return bytes(data)
        raise StopIteration

    def __getitem__(self, key: int) -> bytes:
        """The protocol of iteration that PEP 3333 shows."""
        if data := self.filelike.read(self.blksize):
            return bytes(data)
        raise IndexError(key)
