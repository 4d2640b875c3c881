"""What all tests share: measurements are shown at the end of a run, whether or not its output is captured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

MEASUREMENT = "measurement"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell the reader of the run a figure. Nothing is asserted about it."""

    def tell(text: str) -> None:
        request.node.user_properties.append((MEASUREMENT, f"{request.node.name}: {text}"))

    return tell


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
