"""Configuration files in Python: how they run, what they may do, and what becomes of their errors."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start


def test_the_file_runs_as_config_module_with_its_directory_to_import_from(start: Start) -> None:
    start.write("neighbour.py", "LIMIT = 5\n")
    start.write(
        "gunicorn.conf.py",
        """
        import os, sys
        import neighbour
        max_requests = neighbour.LIMIT
        proc_name = __name__ + " " + os.path.abspath(__file__) + " " + sys.path[0]
        """,
    )
    settings = start.load()
    path = str(start.directory)
    assert settings.proc_name == f"__config__ {path}/gunicorn.conf.py {path}"
    assert settings.max_requests == 5
    assert "__config__" in sys.modules
    assert "__pycache__/gunicorn" not in " ".join(map(str, start.directory.rglob("*")))


@pytest.mark.parametrize("location", ["conf/settings.py", "file:conf/settings.py", "python:conf.settings"])
def test_forms_of_the_location(start: Start, location: str) -> None:
    start.write("conf/__init__.py", "")
    start.write("conf/settings.py", "\ntimeout = 5\n")
    settings = start.load(config=location)
    assert settings.timeout == 5
    assert settings.source("timeout").endswith("settings.py:2")
    assert settings.config_path is not None
    assert settings.config_path.endswith("conf/settings.py")


def test_a_file_of_any_name_is_python(start: Start) -> None:
    start.write("production.conf", "timeout = 5\n")
    assert start.load(config="production.conf").timeout == 5


def test_names_written_through_globals_and_star_imports_count(start: Start) -> None:
    start.write("base.py", "timeout = 5\nworkers = 2\n")
    start.write("gunicorn.conf.py", "from base import *\nglobals()['backlog'] = 7\nlocals()['keepalive'] = 8\n")
    settings = start.load()
    assert (settings.timeout, settings.workers, settings.backlog, settings.keepalive) == (5, 2, 7, 8)
    assert settings.source("backlog") == "gunicorn.conf.py"
    assert settings.warnings == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("timeout = 1\ntimeout = 5\n", 2),
        ("if 1 > 0:\n    timeout = 5\nelse:\n    timeout = 6\n", 2),
        ("try:\n    timeout = int('x')\nexcept ValueError:\n    timeout = 5\n", 4),
        ("timeout: int = 5\n", 1),
        ("\nworkers, timeout = 2, 5\n", 2),
        ("timeout = 4\ntimeout += 1\n", 2),
        ("with open(__file__):\n    timeout = 5\n", 2),
        ("for timeout in (4, 5):\n    pass\n", 1),
    ],
)
def test_the_line_of_an_assignment(start: Start, text: str, line: int) -> None:
    start.write("gunicorn.conf.py", text)
    settings = start.load()
    assert settings.timeout == 5
    assert settings.source("timeout") == f"gunicorn.conf.py:{line}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (\n", r"gunicorn\.conf\.py:1 raised SyntaxError: '\(' was never closed"),
        ("\nimport sys\nsys.exit('no database')\n", r"gunicorn\.conf\.py:3 raised SystemExit: no database"),
        ("import sys\nsys.exit()\n", r"gunicorn\.conf\.py:2 raised SystemExit"),
        ("1 / 0\n", r"gunicorn\.conf\.py:1 raised ZeroDivisionError: division by zero"),
        ("raise KeyboardInterrupt\n", r"gunicorn\.conf\.py:1 raised KeyboardInterrupt"),
        ("import no_such_module\n", r"gunicorn\.conf\.py:1 raised ModuleNotFoundError: No module named 'no_such_"),
        ("open('/nope')\n", r"gunicorn\.conf\.py:1 raised FileNotFoundError"),
        ("\udcff", r"gunicorn\.conf\.py"),
        ("x = '\0'\n", r"gunicorn\.conf\.py"),
        ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E\n", r"gunicorn\.conf\.py:3 raised E$"),
    ],
)
def test_whatever_a_file_raises_is_a_config_error(start: Start, text: str, message: str) -> None:
    (start.directory / "gunicorn.conf.py").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigError, match=message) as caught:
        start.load()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_traceback_shows_the_frames_of_the_user_only(start: Start) -> None:
    start.write("neighbour.py", "def limit():\n    return {}['limit']\n")
    start.write(
        "gunicorn.conf.py",
        """
        import neighbour
        try:
            max_requests = neighbour.limit()
        except KeyError as error:
            raise RuntimeError("no limit") from error
        """,
    )
    with pytest.raises(ConfigError, match=r"gunicorn\.conf\.py:6 raised RuntimeError: no limit") as caught:
        start.load()
    detail = caught.value.detail
    assert 'neighbour.py", line 2, in limit' in detail
    assert "KeyError: 'limit'" in detail
    assert detail.count("File ") == 3
    assert "pyfile.py" not in detail
    assert "importlib" not in detail


def test_files_that_are_not_there(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"^The configuration file x\.py does not exist\.$"):
        start.load(config="x.py")
    with pytest.raises(ConfigError, match=r"^The configuration file \. is not a file\.$"):
        start.load(config=".")
    with pytest.raises(ConfigError, match="python:nope raised ModuleNotFoundError"):
        start.load(config="python:nope")


def test_a_compiled_file(start: Start) -> None:
    import py_compile

    source = start.write("source.py", "timeout = 5\n")
    py_compile.compile(str(source), str(start.directory / "conf.pyc"))
    assert start.load(config="conf.pyc").timeout == 5


def test_imports_with_the_name_of_a_setting_are_not_its_value(start: Start) -> None:
    start.write("config.py", "")
    start.write("neighbour.py", "class Threads: pass\n\ndef umask(): pass\n")
    start.write(
        "gunicorn.conf.py",
        """
        from importlib import reload
        import config
        from os import umask
        from neighbour import Threads as threads
        from neighbour import umask as backlog
        workers = 2
        """,
    )
    settings = start.load()
    assert (settings.reload, settings.config, settings.umask, settings.threads) == (False, "./gunicorn.conf.py", 0, 1)
    assert [warning.partition(" is ")[0] for warning in settings.warnings] == [
        "reload (gunicorn.conf.py:2)",
        "config (gunicorn.conf.py:3)",
        "umask (gunicorn.conf.py:4)",
        "threads (gunicorn.conf.py:5)",
        "backlog (gunicorn.conf.py:6)",
    ]


def test_an_object_called_config_is_the_applications_own(start: Start) -> None:
    start.write("gunicorn.conf.py", "class C:\n    workers = 3\nconfig = C()\nworkers = config.workers\n")
    settings = start.load()
    assert settings.workers == 3
    assert "not a value for the setting config" in settings.warnings[0]


def test_a_function_of_the_file_is_no_value_for_a_number(start: Start) -> None:
    start.write("gunicorn.conf.py", "def workers():\n    return 3\n")
    with pytest.raises(ConfigError, match=r"^workers must be a whole number, not <function .*\(gunicorn.conf.py:1\)"):
        start.load()


def test_classes_are_values_where_classes_are_wanted(start: Start) -> None:
    start.write(
        "gunicorn.conf.py",
        """
        class worker_class:
            def __init__(self, context): pass
            def run(self): return 0

        def logger_class():
            return 'a.Logger'
        """,
    )
    settings = start.load()
    assert settings.worker_class_str == "worker_class"
    assert settings.logger_class == "a.Logger"


def test_loading_does_not_touch_logging(start: Start) -> None:
    before = list(logging.root.handlers), logging.root.level
    start.write("gunicorn.conf.py", "loglevel = 'debug'\naccesslog = '-'\n")
    start.load()
    assert (list(logging.root.handlers), logging.root.level) == before


def test_values_that_break_when_they_are_looked_at(start: Start) -> None:
    start.write(
        "gunicorn.conf.py",
        """
        class Trap:
            def __repr__(self): raise SystemExit(3)
            def __bool__(self): raise RuntimeError("no truth in it")
            def __eq__(self, other): raise RuntimeError
        workers = Trap()
        bind = Trap()
        """,
    )
    with pytest.raises(ConfigError, match="2 problems") as caught:
        start.load()
    assert "bind cannot be used: RuntimeError: no truth in it (gunicorn.conf.py:7)" in caught.value.detail


def test_null_bytes_are_said_once(start: Start) -> None:
    start.write("x.py", "workers = 1\0")
    with pytest.raises(ConfigError, match=r"x\.py raised SyntaxError: source code .*null bytes") as caught:
        start.load(config="x.py")
    assert caught.value.detail == ""
