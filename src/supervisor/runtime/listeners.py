"""The listening sockets that the arbiter holds, shared by all workers and kept across reloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from supervisor.config.settings import Settings
from supervisor.errors import ConfigError
from supervisor.runtime.sockets import Listener, adopt_listener, open_listener, seal, twin

_NUMBER: Final = "\t"  # before the number in the names of those that share an address

MOST: Final = 128
"""Sockets that ``reuse_port`` opens in all: a worker is given each of them, in one message."""


class Listeners:
    """Open listeners by the address they were configured with; with ``reuse_port`` several of them at each.

    All workers accept from all of them, and their number stays what it was at the start: whichever worker goes,
    and however many there are, no queue is left to itself.

    ``opener`` opens one; it is an argument for the tests' sake. Some may be *shared* with another arbiter, which serves
    on: they are not sealed, and closing them leaves the files of Unix sockets to the other one.
    """

    def __init__(self, opener: Callable[..., Listener] = open_listener) -> None:
        self._opener = opener
        self._open: dict[str, Listener] = {}
        self._shared: set[str] = set()
        self._given_up: list[Listener] = []

    def __iter__(self) -> Iterator[Listener]:
        return iter(list(self._open.values()))

    def adopt(self, sockets: Mapping[str, int]) -> None:
        """Take over sockets that another arbiter opened, and shares, by the address that they were configured with."""
        for bind, fd in sockets.items():
            self._open[bind] = adopt_listener(bind, fd)
        self.share()

    def share(self, binds: Iterable[str] | None = None) -> None:
        """Another arbiter has got what is open now; of that only ``binds``, if they are given."""
        self._shared = set(self._open) if binds is None else self._shared.intersection(binds)

    def unshare(self) -> None:
        """The other arbiter is gone: this one alone sees to them, and to those that it has given up meanwhile."""
        self._shared.clear()
        given_up, self._given_up = self._given_up, []
        for listener in given_up:
            _close(listener)

    def want(self, settings: Settings) -> tuple[Listener, ...]:
        """The listeners for these settings: open ones are kept, missing ones are opened, none is closed.

        Raises `supervisor.errors.ConfigError` if one cannot be opened; then all is as it was before.
        """
        binds = list(dict.fromkeys(settings.bind))
        opened: list[Listener] = []
        try:
            for bind in binds:
                if not self._at(bind):
                    for listener in self._take_back(bind) or self._opened(bind, settings, room=MOST // len(binds)):
                        self._open[listener.bind] = listener
                        opened.append(listener)
        except BaseException:
            for listener in opened:
                self._give_up(listener.bind)
            raise
        return tuple(listener for bind in binds for listener in self._at(bind))

    def _at(self, bind: str) -> list[Listener]:
        """The open listeners of one address, as many as it once took: each has a queue that somebody must empty."""
        return [listener for name, listener in self._open.items() if _address(name) == bind]

    def _opened(self, bind: str, settings: Settings, room: int) -> Iterator[Listener]:
        """One listener, or with ``reuse_port`` one for each worker that is wanted."""
        shares = bool(settings.reuse_port) and not bind.startswith(("unix:", "fd://"))
        owner = (settings.user, settings.group)
        first = self._opener(bind, backlog=settings.backlog, umask=settings.umask, owner=owner, reuse_port=shares)
        yield first
        for number in range(2, min(settings.workers, room) + 1 if shares else 0):
            try:
                yield twin(first, f"{bind}{_NUMBER}{number}", backlog=settings.backlog)
            except OSError as error:
                raise ConfigError(f"bind = {bind!r}: no more sockets with reuse_port: {error.strerror}") from error

    def keep_only(self, used: Iterable[Sequence[Listener]]) -> None:
        """Close the listeners that none of these uses."""
        kept = {id(listener) for listeners in used for listener in listeners}
        for bind, listener in list(self._open.items()):
            if id(listener) not in kept:
                self._give_up(bind)

    def seal(self) -> None:
        """Let no new connection in; those that wait to be accepted still can be."""
        for bind, listener in self._open.items():
            if bind not in self._shared:
                seal(listener)

    def close(self) -> None:
        """Close them all, for whoever else has a copy too, and take their Unix sockets away. Nobody serves any more."""
        for bind, listener in self._open.items():
            if bind not in self._shared:
                listener.stop_listening()
        self.keep_only(())
        for listener in self._given_up:
            listener.sock.close()

    def close_in_child(self) -> None:
        """Close this process' copies only: the arbiter keeps its own, and the files of Unix sockets."""
        for listener in (*self._open.values(), *self._given_up):
            listener.sock.close()

    def _give_up(self, bind: str) -> None:
        listener = self._open.pop(bind)
        if bind in self._shared:
            # It may outlive the other arbiter, and then its file is left to this one.
            self._given_up.append(listener)
        else:
            _close(listener)

    def _take_back(self, bind: str) -> list[Listener]:
        """Those that are shared, and were given up a moment ago: nobody could open them anew."""
        found = [listener for listener in self._given_up if _address(listener.bind) == bind]
        self._given_up = [listener for listener in self._given_up if listener not in found]
        return found


def _address(name: str) -> str:
    """The configured address of a listener that may be one of several."""
    return name if name.startswith("unix:") else name.partition(_NUMBER)[0]


def _close(listener: Listener) -> None:
    # Workers may still take what waits in its queue: nobody is to join it between that and their close.
    seal(listener)
    listener.close()
