"""Hostile bytes against a whole service, with each of its HTTP protocols: nothing of them reaches the application."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parity.hostile import CORPUS, H11_PATHS, IN_BODIES, Hostile
from tests.parity.playing import APP, Outcome, play_all
from tests.process.conftest import StartService


def wrong(entry: Hostile, outcome: Outcome, seen: list[list[Any]]) -> str:
    """What is wrong with our answer, or nothing. ``seen`` is what the application has noted of this connection."""
    complete = [(path, body.encode("latin-1")) for what, path, body in seen if what == "complete"]
    if not outcome.ended:
        return "the connection stays open"
    if any(status not in entry.answers for status in outcome.statuses):
        return f"answered {outcome.statuses}"
    if len(outcome.statuses) > 1:
        return f"answered more than once: {outcome.statuses}"
    if outcome.statuses == [200]:
        path, body = entry.reads or ("", b"")
        good = ([(path, body)], [(H11_PATHS.get(entry.name, path), body)])
        return "" if complete in good else f"read as {complete}"
    if complete:
        return f"the application has got {complete}"
    if seen and entry.name not in IN_BODIES:
        return f"the application has heard of it: {seen}"
    return ""


@pytest.mark.parametrize("worker_class", ["uvicorn.workers.UvicornWorker", "uvicorn.workers.UvicornH11Worker"])
def test_nothing_of_it_reaches_the_application(service: StartService, worker_class: str) -> None:
    running = service()
    running.write("hostile_app.py", APP)
    running.start("--worker-class", worker_class, app="hostile_app:app")
    running.wait_log("Ready:")
    outcomes = play_all(("127.0.0.1", running.port))
    running.stop()
    notes = running.directory / "seen.jsonl"
    seen: dict[int, list[list[Any]]] = {}
    for line in notes.read_text().splitlines():
        port, *note = json.loads(line)
        seen.setdefault(port, []).append(note)
    failures = {
        entry.name: problem
        for entry in CORPUS
        if (problem := wrong(entry, outcomes[entry.name], seen.get(outcomes[entry.name].port, [])))
    }
    assert failures == {}
    assert "/smuggled" not in notes.read_text().replace("GET /smuggled HTTP", "")
