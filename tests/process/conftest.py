"""The `service` fixture, and the judgement that follows each of its tests."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.process.harness import Service

PR_SET_CHILD_SUBREAPER = 36
SERVICES = pytest.StashKey[list[Service]]()
PASSED = pytest.StashKey[bool]()


class StartService(Protocol):
    """What the fixture `service` is: a maker of services, each in a directory of its own."""

    def __call__(self, *, bind: str | None = "tcp", public: bool = False) -> Service: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.process)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
        if report.failed:
            for service in item.stash.get(SERVICES, []):
                report.sections.append((f"service in {service.directory.name}", service.report()))
    return report


@pytest.fixture
def adopt_orphans() -> Iterator[None]:
    """Make the test process the parent of orphans: what a service leaves behind is then found, and can be reaped."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path, adopt_orphans: None) -> Iterator[StartService]:
    """Make services; when the test has passed, stop those that still run, and hold all to promise 8."""
    made: list[Service] = []
    request.node.stash[SERVICES] = made
    publicly = contextlib.ExitStack()

    def make(*, bind: str | None = "tcp", public: bool = False) -> Service:
        """``public``: in a directory that every user can reach, and whose events every user can note."""
        directory = tmp_path / f"service{len(made)}"
        if public:
            directory = Path(publicly.enter_context(tempfile.TemporaryDirectory(prefix="supervisor-tests-")))
            directory.chmod(0o755)
        made.append(Service(directory, bind=bind))
        if public:
            (directory / "events.jsonl").chmod(0o666)
        return made[-1]

    try:
        yield make
        if request.node.stash.get(PASSED, False):
            for each in made:
                if each.running:
                    each.stop()
                each.assert_clean()
    finally:
        for each in made:
            each.kill()
        publicly.close()
