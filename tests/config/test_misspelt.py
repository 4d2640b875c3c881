"""Names that look like misspelt settings are named; everything else that a file contains is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Start


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("preload", "preload_app"),
        ("logfile", "errorlog"),
        ("log_level", "loglevel"),
        ("access_logfile", "accesslog"),
        ("worker", "workers"),
        ("thread", "threads"),
        ("debug", "reload"),
        ("uid", "user"),
        ("WORKERS", "workers"),
        ("Timeout", "timeout"),
        ("LOG_LEVEL", "loglevel"),
        ("max_request", "max_requests"),
        ("gracefull_timeout", "graceful_timeout"),
        ("worker_conections", "worker_connections"),
        ("keep_alive", "keepalive"),
    ],
)
def test_misspelt_settings(start: Start, name: str, meant: str) -> None:
    start.write("gunicorn.conf.py", f"\n{name} = 1\n")
    assert start.load().warnings == [f"{name} (gunicorn.conf.py:2) is no setting; did you mean {meant}?"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("after_fork", "post_fork"),
        ("worker_start", "post_worker_init"),
        ("on_start", None),
        ("post_forks", "post_fork"),
    ],
)
def test_functions_that_look_like_hooks(start: Start, name: str, meant: str | None) -> None:
    start.write("gunicorn.conf.py", f"def {name}(server, worker):\n    pass\n")
    expected = [f"{name} (gunicorn.conf.py:1) is no setting; did you mean {meant}?"] if meant else []
    assert start.load().warnings == expected


def test_what_is_clearly_no_setting_is_left_alone(start: Start) -> None:
    start.write("helpers.py", "WORKERS = 3\n")
    start.write(
        "gunicorn.conf.py",
        """
        import os
        import multiprocessing as worker
        from helpers import WORKERS
        from pathlib import Path
        TIMEOUT = int(os.environ.get("TIMEOUT", "30"))
        timeout = TIMEOUT
        host, port = "0.0.0.0", 8000
        bind = f"{host}:{port}"
        cores = 2
        base_dir = Path(__file__).parent
        _worker = 1
        app_name = "shop"
        class Worker: pass
        def get_workers(): return cores
        def on_arbiter_start(): pass
        LOGGING = {}
        """,
    )
    assert start.load().warnings == []


def test_a_constant_beside_the_setting_that_it_resembles_is_left_alone(start: Start) -> None:
    start.write("gunicorn.conf.py", "WORKERS = 3\nworkers = 2\nlog_level = 'x'\nloglevel = 'info'\n")
    assert start.load().warnings == []


def test_a_slip_of_the_keyboard_is_named_beside_the_setting_too(start: Start) -> None:
    start.write("gunicorn.conf.py", "workers = 2\nwokers = 3\n")
    assert start.load().warnings == ["wokers (gunicorn.conf.py:2) is no setting; did you mean workers?"]
