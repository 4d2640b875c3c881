"""A stop that waits needs nobody else's deadline to come true."""

from __future__ import annotations

from supervisor.core import actions, events
from supervisor.core.arbiter import Arbiter
from supervisor.core.events import Limits


def test_the_end_of_the_delay_is_a_deadline() -> None:
    arbiter = Arbiter(jitter=lambda: 0.5)
    arbiter.handle(events.Started(Limits(workers=1, timeout=0, drain_delay=5)), 0)
    arbiter.handle(events.LoaderReady(1), 1)
    arbiter.handle(events.Forked(1, 101), 2)
    arbiter.handle(events.Ready(1), 3)
    assert arbiter.next_deadline() is None
    assert arbiter.handle(events.StopRequested(graceful=True), 10) == [actions.AnnounceStop(5)]
    assert arbiter.next_deadline() == 15
    assert actions.Seal() in arbiter.handle(events.Tick(), 15)
    assert arbiter.next_deadline() != 15
