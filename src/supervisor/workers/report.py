"""What a worker that is being aborted says: where each thread stands, and which requests are in flight."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from supervisor.workers.journal import Exchange

_BASE = str(Path(__file__).with_name("base.py"))

# More requests than this are counted, not listed.
LISTED = 50


def abort_report(
    last_beat: float, main_frame: FrameType | None, live: Iterable[Exchange], silent: str = "the event loop"
) -> str:
    """The text of the one ERROR record of a worker that got ABRT, main thread first.

    ``last_beat`` is in seconds of the monotonic clock, 0 if the loop did not run; ``silent`` is what has not beaten.
    """
    if last_beat:
        first = f"aborted: {silent} has been silent for {time.monotonic() - last_beat:.1f} s"
    else:
        first = "aborted before the event loop ran"
    return "\n".join([first, *_requests(live), *_stacks(main_frame)])


def _requests(live: Iterable[Exchange]) -> list[str]:
    oldest = sorted(live, key=lambda exchange: exchange.started)
    if not oldest:
        return ["no requests in flight"]
    lines = [f"{len(oldest)} requests in flight:" if len(oldest) > 1 else "1 request in flight:"]
    lines += [f"  {exchange.method} {exchange.path} {exchange.age():.1f} s" for exchange in oldest[:LISTED]]
    if len(oldest) > LISTED:
        lines.append(f"  and {len(oldest) - LISTED} more")
    return lines


def _stacks(main_frame: FrameType | None) -> list[str]:
    main = threading.main_thread().ident
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: dict[int, FrameType] = dict(sys._current_frames())
    if main is not None and main_frame is not None:
        frames[main] = main_frame
    lines: list[str] = []
    for ident in sorted(frames, key=lambda ident: (ident != main, ident)):
        lines.append(f"thread {names.get(ident, 'unknown')} ({ident}), most recent call last:")
        lines += "".join(traceback.format_list(_from_the_worker_on(frames[ident]))).rstrip("\n").splitlines()
    return lines


def _from_the_worker_on(frame: FrameType) -> list[traceback.FrameSummary]:
    """The stack without the frames above the worker: the arbiter's and the loader's, which the fork left there."""
    stack = traceback.extract_stack(frame)
    starts = [index for index, entry in enumerate(stack) if entry.name == "run" and entry.filename == _BASE]
    return stack[starts[-1] :] if starts else stack
