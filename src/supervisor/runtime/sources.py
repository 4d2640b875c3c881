"""Which files an application was imported from, and whether they are the same ones when it is imported again.

A loader that was lost is replaced by one that imports what is on the disk by then. Its workers stand beside those that
were forked before, so that it has to be said where the two differ.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Container, Iterable, Mapping
from typing import Final

DIGEST: Final = 6
"""Bytes that stand for one file."""

ROOM: Final = 48 * 1024
"""Bytes for all of them: some eight thousand files, and a packet that has room for other findings beside them."""


def digests(before: Container[str]) -> dict[str, bytes]:
    """For each file of the modules that are not in ``before``, in the order of their import: its name, size and time
    of change as a digest. Files that cannot be looked at (in an archive, removed by now) are left out.
    """
    found: dict[str, bytes] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in before and isinstance(file, str):
            try:
                status = os.stat(file)
            except (OSError, ValueError):
                continue
            text = f"{file}\0{status.st_mtime_ns}\0{status.st_size}"
            found[file] = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=DIGEST).digest()
    return found


def packed(found: Iterable[bytes], room: int = ROOM) -> bytes:
    """The digests in one piece, for `changed`; nothing if they need more than ``room`` bytes."""
    data = b"".join(found)
    return data if len(data) <= room else b""


def changed(found: Mapping[str, bytes], known: bytes) -> list[str]:
    """The files that are not, or not like this, among those known from before. None are, if nothing is known."""
    before = {known[at : at + DIGEST] for at in range(0, len(known), DIGEST)}
    return [file for file, digest in found.items() if before and digest not in before]
