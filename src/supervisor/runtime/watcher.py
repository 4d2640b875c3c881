"""The watcher: a process that says when files have changed on which a reload depends.

It is forked from the arbiter, which neither imports what it imports nor waits for it, and is killed by the kernel when
the arbiter dies. What it says goes over a channel: ``changed`` with the files, ``said`` with a line for the log.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, NoReturn

from supervisor.runtime import privileges, titles
from supervisor.runtime.channel import Channel
from supervisor.runtime.linux import set_parent_death_signal
from supervisor.runtime.service_manager import forget
from supervisor.runtime.signals import HANDLED, take_no_notice
from supervisor.runtime.watched import CODE, Look, Watch, changes, is_half_done, latest, look, open_places

POLL: Final = 1.0
"""Seconds between two looks where nothing tells of changes, as with gunicorn."""

ROUND: Final = 2.0
"""Seconds between two looks where notifications come: not all file systems send them (network, some containers)."""

SHARE: Final = 20
"""A look that takes long is taken less often: for a twentieth of the time at most."""

BLINK: Final = 200
"""Milliseconds in which notifications are waited for at a time."""

STEP: Final = 0.1
"""Seconds that all files have to stand still before it is said that they have changed."""

HALF_DONE: Final = 0.5
"""The same, where a file is empty or gone: it may be about to be written."""

PATIENCE: Final = 5.0
"""Seconds after which it is said though they do not stand still."""

NAMED: Final = 20
"""So many files are named; of the others only the number is said."""


class Watcher:
    """The watcher's side. ``since`` is a wall clock time: what has changed after it counts as changed at once."""

    def __init__(self, watch: Watch, channel: Channel, *, proc_name: str, arbiter_pid: int, since: float) -> None:
        self._watch = watch
        self._channel = channel
        self._proc_name = proc_name
        self._arbiter_pid = arbiter_pid
        self._since = since
        self._imported: dict[str, None] = {}
        self._all_code = True
        self._took = 0.0
        self._said: set[str] = set()
        self._seen = Look()
        self._open_places = tuple(open_places(watch))

    def run(self) -> NoReturn:
        """Watch until the arbiter is gone. Never returns."""
        for number in HANDLED:
            # Meant for the arbiter, whom a terminal and a service manager send them to together with this process.
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else take_no_notice)
        privileges.drop(self._watch)
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != self._arbiter_pid:
            os._exit(0)
        forget(os.environ)
        titles.set_title("watcher", self._proc_name)
        seen = self._look()
        self._seen = seen
        wait, how = self._waiting()
        self._introduce(seen, how)
        if self._since:
            new = [name for name in changes(Look(), seen, all_code=True) if latest(seen, [name]) > self._since]
            self._report(seen, new)
        while True:
            wait(seen.directories)
            self._listen(seen)
            self._seen = seen = self._compare(seen)

    def _introduce(self, seen: Look, how: str) -> None:
        extra = len(self._watch.named) + len(self._watch.patterns)
        more = f" and {extra} more by name or pattern" if extra else ""
        places = ", ".join(self._watch.roots) or "no directory"
        self._say(logging.INFO, f"Watching {len(seen.code)} files in {places}{more}, {how}")
        for root in seen.cut:
            self._say(
                logging.WARNING,
                f"{root} has too many directories to watch all of them: new files in the deeper ones are not noticed. "
                "Start in the directory of the project, or set chdir",
            )

    def _listen(self, seen: Look) -> None:
        """Take what the arbiter says: files that workers have imported, and whether others matter."""
        for message in self._channel.receive():
            if message.kind == "imported":
                for name in message.paths:
                    if name not in self._imported:
                        self._imported[name] = None
                        self._note(name, seen)
            elif message.kind == "healthy":
                self._all_code = not message.integer("yes")
        if self._channel.at_eof:
            os._exit(0)

    def _note(self, name: str, seen: Look) -> None:
        """What was imported is from now on compared with what it was before, where that is known."""
        if signature := seen.code.get(name):
            seen.asked[name] = signature
        else:
            seen.asked |= look(Watch(""), [name]).asked

    def _look(self) -> Look:
        begun = time.monotonic()
        seen = look(self._watch, self._imported)
        self._took = time.monotonic() - begun
        return seen

    def _compare(self, before: Look) -> Look:
        """Look again; if something has changed, wait until it is done, and say so."""
        after = self._look()
        if after.same_as(before):
            return after
        until = time.monotonic() + PATIENCE
        still_since = time.monotonic()
        while (now := time.monotonic()) < until:
            found = changes(before, after, all_code=self._all_code)
            if now - still_since >= (HALF_DONE if is_half_done(after, found) else STEP) or not found:
                break
            time.sleep(STEP / 2)
            again = self._look()
            if not again.same_as(after):
                after, still_since = again, time.monotonic()
        self._report(after, changes(before, after, all_code=self._all_code))
        return after

    def _report(self, after: Look, names: list[str]) -> None:
        if names:
            for name in names:
                forget_bytecode(name)
            age = max(0.0, time.time() - latest(after, names))
            self._channel.send("changed", {"files": names[:NAMED], "count": len(names), "age": age})

    def _say(self, level: int, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._channel.send("said", {"level": level, "text": text[:1000]})

    # Waiting

    def _waiting(self) -> tuple[Callable[[set[str]], None], str]:
        """How to wait until it is time to look, and how that is called."""
        engine = self._watch.engine
        forced = os.environ.get("WATCHFILES_FORCE_POLLING", "")  # as the library itself has it
        if engine == "auto" and forced.lower() not in ("", "false", "disable", "disabled"):
            engine = "poll"
        if engine == "poll":
            return self._poll, "by looking at them each second"
        try:
            import watchfiles
        except ImportError:
            return self._poll, "by looking at them each second: the package watchfiles is not installed"
        notified = Notified(watchfiles.watch, poll=self._poll, is_due=self._is_due, say=self._say)
        return notified.wait, "through inotify"

    def _is_due(self, waited: float, paths: Iterable[str]) -> bool:
        """Whether to look now: something has changed that matters, the arbiter has spoken, or it is time."""
        return waited >= self._pause(ROUND) or self._has_mail() or any(map(self._matters, paths))

    def _matters(self, path: str) -> bool:
        known = path.endswith(CODE) or path in self._seen.asked
        return known or path.startswith(self._open_places) or os.path.isdir(path)

    def _has_mail(self, seconds: float = 0) -> bool:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _pause(self, seconds: float) -> float:
        return max(seconds, SHARE * self._took)

    def _poll(self, _directories: set[str], seconds: float = POLL) -> None:
        self._has_mail(self._pause(seconds))


class Notified:
    """Waits for notifications (inotify(7)) of changes in directories; where that does not work, looks by the clock.

    ``watch`` is `watchfiles.watch`. ``is_due`` tells whether to look, after so many seconds and these notifications.
    """

    def __init__(
        self,
        watch: Callable[..., Generator[set[tuple[Any, str]], None, None]],
        *,
        poll: Callable[[set[str]], None],
        is_due: Callable[[float, Iterable[str]], bool],
        say: Callable[[int, str], None],
    ) -> None:
        self._watch = watch
        self._poll = poll
        self._is_due = is_due
        self._say = say
        self._directories: set[str] = set()
        self._notices: Generator[set[tuple[Any, str]], None, None] | None = None

    def wait(self, directories: set[str]) -> None:
        """Until something has changed in one of the directories, or it is time."""
        try:
            if directories == self._directories and self._notices is not None:
                self._wait(self._notices)
            else:
                self._begin(directories)
        except FileNotFoundError:
            self._end()  # a directory was removed since
            time.sleep(STEP)
        except Exception as error:  # noqa: BLE001 - of the library; most likely there are too many directories
            self._end()
            self._say(logging.WARNING, f"No notifications of changes ({error}): looking at all files each second")
            self._poll(directories)

    def _wait(self, notices: Iterator[set[tuple[Any, str]]]) -> None:
        begun = time.monotonic()
        while not self._is_due(time.monotonic() - begun, [path for _, path in next(notices)]):
            pass

    def _begin(self, directories: set[str]) -> None:
        """Watch these; what has happened before is not noticed, so that a look is due in any case."""
        self._end()
        self._directories = set(directories)
        self._notices = self._watch(
            *sorted(directories),
            watch_filter=None,
            debounce=int(STEP * 1000),
            step=BLINK,
            rust_timeout=BLINK,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
            ignore_permission_denied=True,
        )
        next(self._notices)

    def _end(self) -> None:
        notices, self._notices = self._notices, None
        if notices is not None:
            notices.close()


def forget_bytecode(name: str) -> None:
    """Remove what a source file was compiled to before.

    It would be taken for that of the new text, if this is as long and was written in the same second (PEP 3147).
    """
    if name.endswith(tuple(importlib.machinery.SOURCE_SUFFIXES)):
        with contextlib.suppress(OSError, NotImplementedError):
            os.unlink(importlib.util.cache_from_source(name))
