"""What all tests share: a process that is after each of them as it was before, and measurements.

These are shown at the end of a run, whether or not its output is captured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from supervisor.logs import setup as setup_module
from supervisor.logs.handlers import ACCESS, ERROR
from supervisor.logs.setup import UVICORN
from supervisor.runtime.linux import have_subreaper

MEASUREMENT = "measurement"
LOGGERS = (ERROR, ACCESS, UVICORN)


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """No test leaves anything behind in the process that another one could trip over."""
    before = _state_of_the_process()
    yield
    assert _state_of_the_process() == before


def _state_of_the_process() -> dict[str, Any]:
    loggers = {name: logging.getLogger(name) for name in (*LOGGERS, "root")}
    state: dict[str, Any] = {
        name: {
            # pytest has handlers of its own.
            "handlers": [each for each in logger.handlers if not type(each).__module__.startswith("_pytest")],
            "filters": list(logger.filters),
            "level": logger.level,
            "propagate": logger.propagate,
            "disabled": logger.disabled,
            "guarded": "handle" in vars(logger),
        }
        for name, logger in loggers.items()
    }
    return {**state, "disabled": logging.root.manager.disable, "subreaper": have_subreaper()}


@pytest.fixture
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The loggers as in a new process, and as they were when the test is over."""
    monkeypatch.setattr(setup_module, "_last", None)
    loggers = [*map(logging.getLogger, LOGGERS), logging.root]
    before = [(each, list(each.handlers), list(each.filters), each.level, each.propagate) for each in loggers]
    for logger in loggers[:-1]:
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
    yield
    for logger, handlers, filters, level, propagate in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.filters[:] = filters
        logger.setLevel(level)
        logger.propagate = propagate
        logger.disabled = False
        vars(logger).pop("handle", None)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell the reader of the run a figure. Nothing is asserted about it."""

    def tell(text: str) -> None:
        request.node.user_properties.append((MEASUREMENT, f"{request.node.name}: {text}"))

    return tell


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that wait, for time limits of workers, between those that keep the processors busy.

    A tenth of the time of a whole run is saved.
    """
    groups: dict[str, list[pytest.Item]] = {"process": [], "workers": []}
    others: list[pytest.Item] = []
    for item in items:
        groups.get(item.path.parent.name, others).append(item)
    placed = [(number / len(group), item) for group in groups.values() for number, item in enumerate(group)]
    placed.sort(key=lambda each: each[0])
    items[:] = [*others, *(item for _, item in placed)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        text
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == MEASUREMENT
    ]
    if told:
        terminalreporter.section("measurements")
        for text in told:
            terminalreporter.line(text)
