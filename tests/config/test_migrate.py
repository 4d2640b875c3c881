"""``migrate``: what is said of a configuration that comes from gunicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.config.load import Inputs, examine
from supervisor.migrate import Migration, migration

if TYPE_CHECKING:
    from tests.config.conftest import Start

FILE = """\
import gunicorn
from gunicorn.glogging import Logger
from gunicorn import sock
import uvicorn_worker

worker_class = "uvicorn.workers.UvicornWorker"
workers = 4
timeout = 60
daemon = False
sendfile = True
preload = True

def when_ready(server): pass
def pre_request(worker, req): pass
keepalive = 5
"""


def migrated(start: Start, text: str, app: str | None = None) -> Migration:
    start.write("gunicorn.conf.py", text)
    return migration(examine(Inputs(app=app, environ={}, cwd=str(start.directory))))


def section(text: str, heading: str) -> list[str]:
    return text.partition(f"\n{heading}\n")[2].partition("\n\n")[0].splitlines()


def test_each_line_stands_in_its_group_with_its_place(start: Start) -> None:
    found = migrated(start, FILE)
    text = str(found)
    assert found.exit_code == 0
    assert text.startswith("Compared with gunicorn: ")
    places = {line.subject.partition(" ")[0]: (line.verdict.value, line.place) for line in found.lines}
    assert places["worker_class"] == ("differs", "gunicorn.conf.py:6")
    assert places["timeout"] == ("differs", "gunicorn.conf.py:8")
    assert places["workers"] == ("better", "gunicorn.conf.py:7")
    assert places["daemon"] == ("better", "gunicorn.conf.py:9")
    assert places["keepalive"] == ("same", "gunicorn.conf.py:15")
    assert places["sendfile"] == ("no effect", "gunicorn.conf.py:10")
    assert places["when_ready(server)"] == ("differs", "gunicorn.conf.py:13")
    assert places["pre_request(worker,"] == ("better", "gunicorn.conf.py:14")
    assert places["limit_request_line"] == ("differs", "default")
    assert "backlog" not in places, "what is the same without being set is not told"
    assert "runs as uvicorn.workers.UvicornWorker (supervisor's UvicornWorker); Uvicorn has deprecated" in text
    said = {line.place: line.text for line in found.lines if line.subject.startswith("import")}
    assert said["gunicorn.conf.py:2"].startswith("gunicorn's where it is installed; else a stand-in")
    assert said["gunicorn.conf.py:3"] == "works only where gunicorn is installed"
    assert "CONFIG_KWARGS" in said["gunicorn.conf.py:4"]
    (remark,) = section(text, "Said at the start, where gunicorn says nothing")
    assert remark == "  preload (gunicorn.conf.py:11) is no setting; did you mean preload_app?"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker_class = 'gevent'\nworkers = 'x'\n", "workers must be a whole number, not 'x' (gunicorn.conf.py:2)."),
        ("raise ValueError('no')\n", "The configuration file cannot be used: gunicorn.conf.py:1 raised ValueError: no"),
        ("when_ready = 5\n", "when_ready must be callable, not 5 (gunicorn.conf.py:1)."),
    ],
)
def test_what_is_refused(start: Start, text: str, says: str) -> None:
    found = migrated(start, text)
    assert found.exit_code == 1
    assert any(line.strip() == says for line in section(str(found), "Refused"))
    assert str(found).endswith("\nIt would not start.")


def test_without_a_file_only_what_always_holds_is_told(start: Start) -> None:
    found = migrated(start, "")
    assert {line.place for line in found.lines} == {"default"}
    assert found.exit_code == 0
