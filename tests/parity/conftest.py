"""One gunicorn for all questions of a session, and places to start in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.oracle import Oracle


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    asked = Oracle()
    yield asked
    asked.close()
