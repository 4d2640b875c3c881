"""Golden transcripts. ``UPDATE_TRANSCRIPTS=1 pytest tests/core`` rewrites them: read what changed before keeping it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core.transcript import Player

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_arbiter_does_what_the_transcript_says(path: Path) -> None:
    text = path.read_text()
    played = Player().play(text)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        path.write_text(played)
    else:
        assert played == text


def test_a_transcript_that_says_otherwise_is_noticed() -> None:
    assert Player().play("> 0 start workers=2\n<   start loader 7\n") == (
        "> 0 start workers=2\n<   wanted: 2\n<   start loader 1\n"
    )


def test_an_event_before_which_a_tick_was_due_is_refused() -> None:
    with pytest.raises(AssertionError, match="a tick is due at 300"):
        Player().play("> 0 start\n> 301 loader 1 ready\n")
