"""Recycling by ``max_requests``: nobody notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.process.conftest import StartService
from tests.process.load import Load, Target, Traffic


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "one-shot"])
def test_max_requests_under_load(service: StartService, keep_alive: bool, measured: Callable[[str], None]) -> None:
    """Nothing is lost, workers retire at different counts, and there are always enough ready ones."""
    site = service().start("--workers", "2", "--preload", "--max-requests", "60", "--max-requests-jitter", "60")
    site.wait_serving(2)
    target = Target(("127.0.0.1", site.port))
    with Load(target, Traffic(150, keep_alive=keep_alive), Traffic(20, keep_alive=keep_alive, body=16384)) as load:
        site.wait_until(lambda: len(site.events("stopped")) >= 8, "eight workers have retired")
    report = load.stop()
    assert not report.lost, report
    site.wait_serving(2)

    served = Counter(record.pid for record in load.answers())
    retired = {event["pid"] for event in site.events("stopped")}
    counts = {served[pid] for pid in retired}
    assert len(counts) > 1, f"all retired at the same count: {counts}"
    assert min(counts) >= 60, f"one retired early: {sorted(counts)}"

    assert min(site.ready_counts()) >= 2, site.report()
    assert max(site.ready_counts()) <= 3, "surge is 1"
    measured(f"{report}; retired after {sorted(served[pid] for pid in retired)} requests")
