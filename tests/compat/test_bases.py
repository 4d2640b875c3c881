"""What becomes of a class that derives from gunicorn's or Uvicorn's, told by its bases and what it overrides."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisor.compat import bases, workers
from supervisor.config.schema import Invalid
from supervisor.config.worker_class import validate_name
from supervisor.workers.uvicorn import UvicornWorker as Ours


class Calls(workers.UvicornWorker):
    async def _serve(self) -> None:
        await super()._serve()  # type: ignore[misc]  # the stand-in is a name only


class Replaces(workers.UvicornWorker):
    async def _serve(self) -> None:
        await asyncio.sleep(0)


class Below(Replaces):
    def handle_exit(self, sig: int, frame: Any) -> None: ...


class Sync(workers.SyncWorker):
    def handle_quit(self, sig: int, frame: Any) -> None: ...


class OwnRequests(workers.ThreadWorker):
    def handle_request(self) -> None: ...


class OwnLoop(workers.Worker):
    async def _serve(self) -> None: ...


@pytest.mark.parametrize(
    ("cls", "foreign", "replaced"),
    [
        (Calls, True, ""),
        (Replaces, True, "Replaces._serve"),
        (Below, True, "Replaces._serve"),
        (Sync, True, ""),
        (OwnRequests, True, "OwnRequests.handle_request"),
        (OwnLoop, True, ""),
        (Ours, False, ""),
        (dict, False, ""),
    ],
)
def test_what_a_class_derives_from(cls: type, foreign: bool, replaced: str) -> None:
    assert (bases.is_foreign(cls), bases.replaced_loop(cls)) == (foreign, replaced)


def test_they_are_worker_classes() -> None:
    for cls in (Calls, Replaces, Below, Sync, OwnLoop):
        assert validate_name(cls) is cls


def test_a_loop_that_only_gunicorn_has() -> None:
    with pytest.raises(Invalid, match=r"overrides OwnRequests\.handle_request\(\) of gunicorn's ThreadWorker"):
        validate_name(OwnRequests)
