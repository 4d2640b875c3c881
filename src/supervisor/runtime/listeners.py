"""The listening sockets that the arbiter holds, shared by all workers and kept across reloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from supervisor.config.settings import Settings
from supervisor.runtime.sockets import Listener, adopt_listener, open_listener, seal


class Listeners:
    """Open listeners by the address they were configured with.

    ``opener`` opens one; it is an argument for the tests' sake. While they are ``shared`` with another arbiter, which
    serves on, closing them leaves the files of Unix sockets, and they are not sealed.
    """

    def __init__(self, opener: Callable[..., Listener] = open_listener) -> None:
        self._opener = opener
        self._open: dict[str, Listener] = {}
        self.shared = False

    def __iter__(self) -> Iterator[Listener]:
        return iter(list(self._open.values()))

    def adopt(self, sockets: Mapping[str, int]) -> None:
        """Take over sockets that another arbiter opened, by the address that they were configured with."""
        for bind, fd in sockets.items():
            self._open[bind] = adopt_listener(bind, fd)

    def want(self, settings: Settings) -> tuple[Listener, ...]:
        """The listeners for these settings: open ones are kept, missing ones are opened, none is closed.

        Raises `supervisor.errors.ConfigError` if one cannot be opened; then all is as it was before.
        """
        opened: list[str] = []
        try:
            for bind in settings.bind:
                if bind not in self._open:
                    self._open[bind] = self._opener(bind, backlog=settings.backlog, umask=settings.umask)
                    opened.append(bind)
        except BaseException:
            for bind in opened:
                self._open.pop(bind).close()
            raise
        return tuple(self._open[bind] for bind in dict.fromkeys(settings.bind))

    def keep_only(self, used: Iterable[Sequence[Listener]]) -> None:
        """Close the listeners that none of these uses."""
        kept = {id(listener) for listeners in used for listener in listeners}
        for bind, listener in list(self._open.items()):
            if id(listener) not in kept:
                self._close(self._open.pop(bind))

    def seal(self) -> None:
        """Let no new connection in; those that wait to be accepted still can be."""
        for listener in self._open.values():
            if not self.shared:
                seal(listener)

    def close(self) -> None:
        """Close them all, for whoever else has a copy too, and take their Unix sockets away. Nobody serves any more."""
        for listener in () if self.shared else self._open.values():
            listener.stop_listening()
        self.keep_only(())

    def close_in_child(self) -> None:
        """Close this process' copies only: the arbiter keeps its own, and the files of Unix sockets."""
        for listener in self._open.values():
            listener.sock.close()

    def _close(self, listener: Listener) -> None:
        if self.shared:
            listener.sock.close()
        else:
            # Workers may still take what waits in its queue: nobody is to join it between that and their close.
            seal(listener)
            listener.close()
