"""One import per generation, in a process that dies with it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.conftest import StartService


def test_the_module_is_imported_once_per_generation(service: StartService) -> None:
    site = service().start("--workers", "4", "--preload")
    first = site.wait_serving(4)
    assert len(site.events("import")) == 1
    site.deploy("2")
    site.hup()
    second = site.wait_serving(4, version="2")
    assert [event["version"] for event in site.events("import")] == ["1", "2"]
    importers = {event["pid"] for event in site.events("import")}
    assert site.pid not in importers, "the application is never imported in the arbiter"
    assert not importers & (set(first) | set(second)), "nor in a worker"


def test_without_preload_every_worker_imports(service: StartService) -> None:
    site = service().start("--workers", "3")
    serving = site.wait_serving(3)
    assert {event["pid"] for event in site.events("import")} == set(serving)
    site.deploy("2")
    site.hup()
    serving = site.wait_serving(3, version="2")
    assert {event["pid"] for event in site.events("import") if event["version"] == "2"} == set(serving)


def test_a_crashed_worker_is_replaced_from_memory(service: StartService, measured: Callable[[str], None]) -> None:
    site = service()
    site.deploy(
        "1", at_import="begun = time.monotonic(); time.sleep(2); note('imported', took=time.monotonic() - begun)"
    )
    serving = site.start("--workers", "2", "--preload").wait_serving(2)
    site.deploy("2")
    victim = min(serving)
    killed_at = time.monotonic()
    site.expect_error(r"died|signal 9|SIGKILL|killed|exited", sure=False)
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: len(site.events("started")) == 3, "a replacement")
    after = site.wait_serving(2, version="1")
    assert victim not in after
    assert len(site.events("import")) == 1, "nothing was imported again, though the files have changed"
    took, replaced = site.events("imported")[0]["took"], site.events("started")[-1]["at"] - killed_at
    measured(f"import {took:.3f} s, replacement from memory {replaced:.3f} s")


@pytest.mark.parametrize("deployed", [True, False])
def test_a_lost_loader_and_files_that_have_changed(service: StartService, deployed: bool) -> None:
    """The next loader can only load what is there now. If that is something else, it is said, and where."""
    site = service().start("--workers", "2", "--preload")
    before = site.wait_serving(2)
    (loader,) = site.pids().loaders
    site.expect_error(r"loader|killed")
    if deployed:
        site.deploy("2")
    os.kill(loader, signal.SIGKILL)
    site.wait_event("import", count=2)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: victim not in site.workers() and len(site.serving()) == 2, "a replacement")
    warning = rf"\[WARNING\].*Generation 1.*{re.escape(str(site.directory))}/app\.py.* HUP"
    assert bool(re.search(warning, site.log)) is deployed, site.log
    assert set(site.serving().values()) == ({"1", "2"} if deployed else {"1"})
    site.hup()
    site.wait_serving(2, version="2" if deployed else "1")
    assert len(re.findall(r"\[WARNING\]", site.log)) == deployed, "the next generation is not compared"


def test_an_added_worker_runs_the_generation_that_serves(service: StartService) -> None:
    site = service().start("--workers", "1", "--preload")
    site.wait_serving(1)
    site.deploy("2")
    site.signal(signal.SIGTTIN)
    assert site.wait_serving(2, version="1")
    site.hup()
    assert site.wait_serving(1, version="2")


def test_the_heap_is_frozen_in_the_loader_and_collected_in_the_worker(service: StartService) -> None:
    """And collected during the import, as anywhere else: garbage that waits leaves holes between what is shared."""
    site = service()
    gc_state = "import gc; note('gc', frozen=gc.get_freeze_count(), enabled=gc.isenabled())"
    site.deploy("1", at_import=gc_state, startup=gc_state)
    site.start("--preload").wait_serving(1)
    at_import, at_startup = site.events("gc")
    assert at_import["enabled"]
    assert at_startup["enabled"]
    assert at_startup["frozen"] > 1000


def test_an_import_that_switches_the_collector_off_has_its_way(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import="import gc; gc.disable()", startup="note('gc', enabled=gc.isenabled())")
    site.start("--preload").wait_serving(1)
    assert not site.events("gc")[0]["enabled"]


WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--asgi-loop", "asyncio"),
        ("--worker-class", "supervisor.workers.uvicorn.UvicornH11Worker"),
    ],
)
def test_a_worker_imports_nothing(service: StartService, options: tuple[str, ...]) -> None:
    """What every worker needs is imported in the loader, once, and in memory that all of them share."""
    site = service()
    imported = "note('imported', modules=sorted(set(sys.modules) - before))"
    site.deploy("1", at_import="before = set(sys.modules)", startup=imported, shutdown=imported)
    site.start("--preload", "--workers", "1", *options).wait_serving(1)
    assert site.get().status == 200
    with site.connect() as client:
        client.sendall(WEBSOCKET)
        assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
    site.stop()
    assert [event["modules"] for event in site.events("imported")] == [[], []]


def test_what_the_import_left_behind_is_named(service: StartService) -> None:
    """Threads do not survive a fork; connections are shared by all workers: both are reported, neither is fatal."""
    site = service()
    site.deploy(
        "1",
        at_import="import socket\n"
        "pair = socket.socketpair()\n"
        "threading.Thread(target=time.sleep, args=(3600,), name='poller', daemon=True).start()",
    )
    site.start("--preload").wait_serving(1)
    warnings = "\n".join(line for line in site.log.splitlines() if "[WARNING]" in line)
    assert re.search(r"thread.*poller|poller.*thread", warnings), site.log
    assert re.search(r"socket", warnings), site.log


@pytest.mark.parametrize("preload", [True, False])
def test_random_numbers_differ_between_workers(service: StartService, preload: bool) -> None:
    site = service()
    site.deploy("1", at_import="import random", startup="note('random', number=random.random())")
    site.start("--workers", "3", *(["--preload"] if preload else [])).wait_serving(3)
    assert len({event["number"] for event in site.events("random")}) == 3


def test_what_the_arbiter_takes_for_itself(service: StartService, measured: Callable[[str], None]) -> None:
    """It is shown, not judged, since it depends on the machine. ``tests/test_imports.py`` says what may be imported."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    rollup = Path(f"/proc/{site.pid}/smaps_rollup").read_text()
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE)}
    assert kib["Pss"] > 0
    measured(f"the arbiter: {kib['Pss'] / 1024:.1f} MiB PSS, {kib['Private_Dirty'] / 1024:.1f} MiB private")
