"""How a start that goes wrong ends, with gunicorn and with us."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor import cli
from tests.parity.beside import side_by_side
from tests.parity.oracle import Oracle

RAISES = "raise RuntimeError('no')\n"
FAILS = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})
"""

BEFORE = {
    "the version": (["--version"], 0, 0, ""),
    "an unknown flag": (["app:app", "--nope"], 2, 2, ""),
    "a flag without its operand": (["app:app", "--access-logfile", "--preload"], 2, 2, ""),
    "a number that is none": (["app:app", "-w", "x"], 2, 2, ""),
    "a value that cannot be used": (["app:app", "-w", "-1"], 1, 1, ""),
    "a file that is missing": (["app:app", "-c", "none.py"], 1, 1, ""),
    "a file that raises": (["app:app", "-c", "raises.py"], 1, 1, ""),
    "a file with a value that cannot be used": (["app:app", "-c", "invalid.py"], 1, 1, ""),
    "a file that exits": (
        ["app:app", "-c", "exits.py"],
        7,
        1,
        "what a file raises is a configuration that cannot be used",
    ),
    "no application": ([], 1, 2, "what is missing is on the command line: usage"),
}
"""What ends before anything is started: the command line, gunicorn's exit code, ours, and why they differ."""

AFTER = {
    "a check that goes well": (["app:app", "--check-config"], 0, 0, ""),
    "a check that goes wrong": (["raises:app", "--check-config"], 1, 1, ""),
    "a pidfile that cannot be made": (["app:app", "-p", "none/pid"], 1, 1, ""),
    "an application that raises": (["raises:app"], 3, 3, ""),
    "a startup that fails": (["fails:app"], 3, 3, ""),
    "an attribute that is missing": (["app:nope"], 4, 4, ""),
    "a module that is missing": (["nope:app"], 3, 4, "the application is not there, module or attribute"),
}
"""What takes processes to find out."""

FILES = [
    ("raises.py", RAISES),
    ("fails.py", FAILS),
    ("invalid.py", "timeout = None\n"),
    ("exits.py", "raise SystemExit(7)\n"),
]


@pytest.mark.parametrize("case", BEFORE)
def test_before_the_start(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, their, our, why = BEFORE[case]
    for name, text in FILES:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert oracle.ask("resolve", arguments=arguments, directory=str(tmp_path))["exit"] == their
    assert cli.main(arguments) == our, capsys.readouterr()
    assert (their != our) == bool(why)


@pytest.mark.parametrize("case", AFTER)
def test_after_it(tmp_path: Path, case: str) -> None:
    arguments, their, our, why = AFTER[case]
    with side_by_side(tmp_path, *arguments, files=FILES) as servers:
        codes = [server.wait_exit() for server in servers]
        assert codes == [their, our], "\n".join(server.output for server in servers)
        assert (their != our) == bool(why)


@pytest.mark.parametrize("hook", ["on_starting", "when_ready", "nworkers_changed", "pre_fork"])
def test_a_hook_that_raises(tmp_path: Path, hook: str) -> None:
    """On purpose: a mistake in a hook of the arbiter ends gunicorn. Ours says it, and serves."""
    file = f"def {hook}(*arguments):\n    raise RuntimeError('no')\n"
    with side_by_side(tmp_path, "app:app", "-c", "hook.py", files=[("hook.py", file)]) as (theirs, ours):
        assert theirs.wait_exit() != 0
        ours.wait_serving(1)
        assert ours.get() == "1"
        assert f"hook {hook}" in ours.output
