"""Loggers as they are in a new process, for tests that set them up."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from supervisor.logs import setup as setup_module
from supervisor.logs.handlers import ACCESS, ERROR


@pytest.fixture
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The loggers without handlers, and as they were when the test is over."""
    monkeypatch.setattr(setup_module, "_last", None)
    loggers = [logging.getLogger(name) for name in (ERROR, ACCESS, "uvicorn.error")]
    for logger in loggers:
        # pytest puts handlers of its own on loggers that an earlier test has cut off.
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
    before = [
        (logger, list(logger.handlers), list(logger.filters), logger.level, logger.propagate)
        for logger in (*loggers, logging.root)
    ]
    yield
    for logger, handlers, filters, level, propagate in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.filters[:] = filters
        logger.setLevel(level)
        logger.propagate = propagate
