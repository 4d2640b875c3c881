"""Hostile bytes against gunicorn, to compare with what the corpus says of our answers.

gunicorn's answers are looked up, not believed: where ours differ, the corpus says why, and a reason that is not needed
any more fails as well.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.parity.hostile import CORPUS, LAXER, STRICTER
from tests.parity.playing import APP, CLIENTS, play_all
from tests.process.harness import PATIENCE, free_port

WSGI = """
def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]
"""


@contextlib.contextmanager
def gunicorn(directory: Path, app: str, *arguments: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", app, "--bind", f"127.0.0.1:{port}", "--no-control-socket", *arguments]
    with (directory / "gunicorn.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionError:
                assert process.poll() is None
                assert time.monotonic() < deadline, (directory / "gunicorn.log").read_text()
                time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait()


def test_gunicorn_is_not_stricter(tmp_path: Path) -> None:
    """Entry by entry: its workers for ASGI and for WSGI, against what the corpus says of ours."""
    (tmp_path / "hostile_app.py").write_text(APP)
    (tmp_path / "hostile_wsgi.py").write_text(WSGI)
    with gunicorn(tmp_path, "hostile_app:app", "--worker-class", "asgi") as address:
        for_asgi = play_all(address, gunicorn=True)
    with gunicorn(tmp_path, "hostile_wsgi:app", "--worker-class", "gthread", "--threads", str(CLIENTS)) as address:
        for_wsgi = play_all(address, gunicorn=True)
    failures = {}
    for entry in CORPUS:
        theirs = [for_asgi[entry.name].accepted, for_wsgi[entry.name].accepted]
        is_laxer = entry.reads is not None and not all(theirs)
        is_stricter = entry.reads is None and all(theirs)
        if (is_laxer, is_stricter) != (entry.name in LAXER, entry.name in STRICTER):
            failures[entry.name] = (theirs, "laxer" if is_laxer else "stricter" if is_stricter else "the same")
    assert failures == {}
