"""When it may be said that the service is ready, or that a reload is over: never before it is true, and once each.

Or that it does not get done: whoever waits for the end of a reload is to hear of that as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.core.actions import AnnounceReady, ReloadFinished, ReloadStalled
from supervisor.core.capacity import Capacity
from supervisor.core.events import Failure
from supervisor.core.generations import Generation


class Readiness:
    """What has been announced so far."""

    def __init__(self) -> None:
        self._announced = False

    def report(
        self, serving: Generation, capacity: Capacity, wanted: int, now: float
    ) -> Iterator[AnnounceReady | ReloadFinished]:
        """What is to be announced now that things are as ``capacity`` shows them."""
        if serving.reported or serving.placeholder or not capacity.is_filled():
            return
        seconds = now - serving.started_at
        if self._announced and capacity.is_pure():
            serving.reported = True
            yield ReloadFinished(serving.number, wanted, seconds)
        elif not self._announced and wanted:
            serving.reported = self._announced = True
            yield AnnounceReady(wanted, seconds)

    def stall(
        self, generation: Generation, failure: Failure, *, serving: int, wanted: int, now: float
    ) -> Iterator[ReloadStalled]:
        """What is to be said of a generation that serves, and of which a slot or the loader waits after a failure."""
        if self._announced and not generation.reported and not generation.stalled:
            generation.stalled = True
            yield ReloadStalled(generation.number, serving, wanted, now - generation.started_at, failure)
