"""The documentation: generated pages are up to date, links lead somewhere, the first commands are one line each."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosting sites make them."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {(ROOT / "docs" / target.partition("#")[0]).resolve() for target in LINK.findall(index)}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {ROOT / "docs" / "README.md"}
    assert pages <= linked


@pytest.mark.parametrize("name", ["reference/settings.md", "reference/gunicorn.md", "explanation/lifecycle.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    page = ROOT / "docs" / name
    assert page.read_text() == generated[page], "run: python docs/generate.py"


def test_the_first_two_commands_of_the_readme_stand_alone() -> None:
    commands = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    run, test = commands[:2]
    assert run.count("\n") == test.count("\n") == 1
    assert "supervisor.demo:app" in run
    assert "pytest" in test
