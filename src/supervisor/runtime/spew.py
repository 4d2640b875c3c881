"""``spew``: every line of Python that this thread executes, in gunicorn's format."""

from __future__ import annotations

import linecache
import os
import sys
from types import FrameType
from typing import Any


def spew() -> None:
    """Trace from now on (`sys.settrace`); forked processes go on with it."""
    sys.settrace(_trace)


def _trace(frame: FrameType, event: str, _argument: Any) -> Any:
    if event == "line":
        name = frame.f_globals.get("__name__", "[unknown]")
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
        _print(f"{name}:{frame.f_lineno}: {line or frame.f_code.co_name}\n")
    return _trace


def _print(text: str) -> None:
    # Not through `sys.stdout`: its buffer and lock may be in use by the very line that is traced.
    try:
        os.write(1, text.encode(errors="replace"))
    except OSError:
        sys.settrace(None)  # nobody reads it
