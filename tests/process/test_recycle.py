"""Recycling by ``max_requests``, ``max_memory`` and ``max_lifetime``: nobody notices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service
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

    assert_capacity(site, 2)
    measured(f"{report}; retired after {sorted(served[pid] for pid in retired)} requests")


LEAK = """
shared = b"x" * (150 << 20)
kept = []

class Leaking(Probe):
    async def _answer(self, scope, receive, send):
        kept.append(bytearray(b"x" * 300_000))
        await super()._answer(scope, receive, send)

Probe = Leaking
"""
"""An application that is larger than the limit and keeps something of each request."""


def test_max_memory_under_load(service: StartService, measured: Callable[[str], None]) -> None:
    """A leak is cut back before anybody suffers. What workers share since the import counts for none of them."""
    site = service()
    site.deploy("1", at_import=LEAK)
    limits = ("--max-memory", "100M", "--max-memory-interval", "1", "--min-lifetime", "1")
    site.start("--workers", "2", "--preload", *limits)
    site.wait_serving(2)
    target = Target(("127.0.0.1", site.port))
    with Load(target, Traffic(120), Traffic(20, keep_alive=False)) as load:
        site.wait_until(lambda: len(site.events("stopped")) >= 2, "two workers have retired")
    report = load.stop()
    assert not report.lost, report
    site.wait_serving(2)

    served = Counter(record.pid for record in load.answers())
    retired = [event["pid"] for event in site.events("stopped")]
    assert min(served[pid] for pid in retired) > 150, f"one retired before it had leaked: {served}"
    assert_capacity(site, 2)
    sizes = departures(site, r"max_memory: (\d+) MiB private, limit 100 MiB")
    assert min(map(int, sizes)) > 100
    measured(f"{report}; retired with {sizes} MiB")


def test_max_lifetime_under_load(service: StartService, measured: Callable[[str], None]) -> None:
    """Workers leave one by one, however many are due, each at an age of its own."""
    site = service().start("--workers", "3", "--preload", "--max-lifetime", "1", "--max-lifetime-jitter", "2")
    site.wait_serving(3)
    target = Target(("127.0.0.1", site.port))
    with Load(target, Traffic(120), Traffic(20, body=16384), Traffic(20, keep_alive=False)) as load:
        site.wait_until(lambda: len(site.events("stopped")) >= 6, "six workers have retired")
    report = load.stop()
    assert not report.lost, report
    site.wait_serving(3)
    assert_capacity(site, 3)
    ages = departures(site, r"max_lifetime: served for (\d+) s")
    assert min(map(int, ages)) >= 1
    measured(f"{report}; retired at the age of {ages} s")


def assert_capacity(site: Service, wanted: int) -> None:
    """Never fewer ready workers than wanted, and one more at most."""
    assert min(site.ready_counts()) >= wanted, site.report()
    assert max(site.ready_counts()) <= wanted + 1, "surge is 1"


def departures(site: Service, reason: str) -> list[str]:
    """What the reasons say for which workers were drained, of which there is no other kind."""
    told = re.findall(r"Draining worker \d+ .*", site.log)
    matches = [re.search(reason, line) for line in told]
    assert told
    assert all(matches), told
    return [match[1] for match in matches if match]
