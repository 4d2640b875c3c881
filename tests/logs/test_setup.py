"""The loggers: files, formats, configurations, reopening; and what is said when they cannot be had."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import ConfigError
from supervisor.logs.handlers import ERROR, LogFile, reopen
from supervisor.logs.setup import Logs, setup
from tests.workers.conftest import make_settings

pytestmark = pytest.mark.usefixtures("fresh_loggers")


def make_logs(tmp_path: Path, **values: Any) -> Logs:
    values = {"errorlog": str(tmp_path / "error.log"), "accesslog": str(tmp_path / "access.log"), **values}
    return setup(make_settings(**values))


def test_error_lines_read_like_gunicorns(tmp_path: Path) -> None:
    make_logs(tmp_path).error.info("hello %s", "there")
    line = (tmp_path / "error.log").read_text()
    pattern = rf"\[\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{{4}}\] \[{os.getpid()}\] \[INFO\] hello there\n"
    assert re.fullmatch(pattern, line)


def test_access_lines_are_bare(tmp_path: Path) -> None:
    logs = make_logs(tmp_path)
    logs.access.info("line")
    assert (tmp_path / "access.log").read_text() == "line\n"
    assert logs.access.handlers
    assert (tmp_path / "error.log").read_text() == ""


def test_without_accesslog_nobody_listens(tmp_path: Path) -> None:
    logs = make_logs(tmp_path, accesslog=None)
    assert not logs.access.propagate
    assert not logs.access.handlers


def test_level(tmp_path: Path) -> None:
    logs = make_logs(tmp_path, loglevel="warning")
    logs.error.info("no")
    logs.error.warning("yes")
    assert "no" not in (text := (tmp_path / "error.log").read_text())
    assert "yes" in text


def test_unknown_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loglevel must be one of debug, info, warning, error, critical, not 'loud'"):
        make_logs(tmp_path, loglevel="loud")


def test_uvicorn_follows(tmp_path: Path) -> None:
    make_logs(tmp_path)
    logging.getLogger("uvicorn.error").warning("from uvicorn")
    assert "[WARNING] from uvicorn" in (tmp_path / "error.log").read_text()


def test_dash_is_the_standard_streams(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs = setup(make_settings(errorlog="-", accesslog="-"))
    logs.error.info("to standard error")
    logs.access.info("to standard output")
    captured = capfd.readouterr()
    assert "to standard error" in captured.err
    assert captured.out == "to standard output\n"


def test_files_are_not_readable_by_all_and_opened_for_appending(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        logs = make_logs(tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "error.log").stat().st_mode) == 0o640
    import fcntl

    (handler,) = logs.error.handlers
    assert isinstance(handler, logging.FileHandler)
    assert handler.stream is not None
    assert fcntl.fcntl(handler.stream.fileno(), fcntl.F_GETFL) & os.O_APPEND
    assert not os.get_inheritable(handler.stream.fileno())


def test_relative_names_start_from_chdir(tmp_path: Path) -> None:
    make_logs(tmp_path, errorlog="relative.log", chdir=str(tmp_path)).error.info("x")
    assert (tmp_path / "relative.log").exists()


@pytest.mark.parametrize("name", ["errorlog", "accesslog"])
def test_a_file_that_cannot_be_written_is_one_line_and_changes_nothing(tmp_path: Path, name: str) -> None:
    logs = make_logs(tmp_path)
    before = list(logs.error.handlers), list(logs.access.handlers)
    message = f"{name} '/nonexistent/x.log' cannot be written: the directory /nonexistent does not exist"
    with pytest.raises(ConfigError, match=message) as raised:
        make_logs(tmp_path, **{name: "/nonexistent/x.log"})
    assert "\n" not in str(raised.value)
    assert (list(logs.error.handlers), list(logs.access.handlers)) == before
    logs.error.info("still there")
    assert "still there" in (tmp_path / "error.log").read_text()


def test_setting_up_again_replaces_handlers_and_closes_the_old(tmp_path: Path) -> None:
    logs = make_logs(tmp_path)
    (old,) = logs.error.handlers
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for number in range(5):
        logs = make_logs(tmp_path, errorlog=str(tmp_path / f"other{number}.log"))
    assert len(logs.error.handlers) == len(logs.access.handlers) == 1
    assert old not in logs.error.handlers
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_handlers_of_others_stay(tmp_path: Path) -> None:
    other = logging.NullHandler()
    logging.getLogger(ERROR).addHandler(other)
    assert other in make_logs(tmp_path).error.handlers


def test_reopen_lets_go_of_rotated_files_of_every_logger(tmp_path: Path) -> None:
    logs = make_logs(tmp_path)
    mine = logging.getLogger("tests.mine")
    handler = logging.FileHandler(tmp_path / "mine.log")
    mine.addHandler(handler)
    try:
        for name in ("error.log", "access.log", "mine.log"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        logs.reopen()
        logs.error.error("new")
        logs.access.info("new")
        mine.error("new")
        for name in ("error.log", "access.log", "mine.log"):
            assert "new" in (tmp_path / name).read_text()
            assert "new" not in (tmp_path / f"{name}.1").read_text()
    finally:
        mine.removeHandler(handler)
        handler.close()


def test_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    logs = make_logs(tmp_path, errorlog=str(directory / "error.log"))
    directory.rename(tmp_path / "moved")
    reopen()
    logs.error.error("still written")
    text = (tmp_path / "moved" / "error.log").read_text()
    assert "cannot reopen" in text
    assert "still written" in text


def raising(error: type[BaseException]) -> Callable[..., logging.Handler]:
    """A factory of handlers that makes none."""

    def factory(**_: Any) -> logging.Handler:
        raise error("from the factory")

    return factory


def test_logconfig_dict_is_laid_over_defaults(tmp_path: Path) -> None:
    config = {
        "loggers": {ERROR: {"level": "DEBUG", "handlers": ["console", "mine"], "propagate": False}},
        "handlers": {"mine": {"class": "logging.FileHandler", "filename": str(tmp_path / "mine.log")}},
    }
    logs = make_logs(tmp_path, logconfig_dict=config)
    logs.error.debug("detail")
    assert (tmp_path / "mine.log").read_text() == "detail\n"
    assert logs.access.handlers


def test_logconfig_json(tmp_path: Path) -> None:
    config = {
        "handlers": {
            "error_console": {"class": "logging.FileHandler", "filename": str(tmp_path / "j.log")},
            "console": {"class": "logging.NullHandler"},
        }
    }
    (tmp_path / "log.json").write_text(json.dumps(config))
    make_logs(tmp_path, logconfig_json=str(tmp_path / "log.json")).error.info("from json")
    assert (tmp_path / "j.log").read_text() == "from json\n"


def test_logconfig_file(tmp_path: Path) -> None:
    (tmp_path / "log.ini").write_text(
        "[loggers]\nkeys=root,gunicorn.error\n[handlers]\nkeys=file\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=INFO\nhandlers=\n"
        "[logger_gunicorn.error]\nlevel=INFO\nhandlers=file\npropagate=0\nqualname=gunicorn.error\n"
        "[handler_file]\nclass=FileHandler\nargs=('%(here)s/ini.log',)\n"
    )
    make_logs(tmp_path, logconfig=str(tmp_path / "log.ini")).error.info("from ini")
    assert (tmp_path / "ini.log").read_text() == "from ini\n"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"logconfig_dict": {"handlers": {"x": {"class": "no.such.Class"}}}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"loggers": {"a": {"handlers": ["nobody"]}}}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"loggers": {"a": None}}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"root": {"handlers": None}}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"root": ["console"]}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"handlers": {"x": {"()": raising(SystemExit)}}}}, "logconfig_dict cannot be used"),
        ({"logconfig_dict": {"handlers": {"x": {"()": raising(ZeroDivisionError)}}}}, "ZeroDivisionError"),
        ({"logconfig_json": "JSON"}, "cannot be used"),
        ({"logconfig": "INI"}, "cannot be used"),
    ],
)
def test_a_broken_configuration_is_one_line_and_changes_nothing(
    tmp_path: Path, values: dict[str, Any], says: str
) -> None:
    for name, values_of_file in {"JSON": "{", "INI": "[loggers"}.items():
        (tmp_path / name).write_text(values_of_file)
        values = {key: str(tmp_path / name) if value == name else value for key, value in values.items()}
    logs = make_logs(tmp_path)
    before = list(logs.error.handlers), logs.error.level, logs.error.propagate
    with pytest.raises(ConfigError, match=re.escape(says)) as raised:
        make_logs(tmp_path, **values)
    assert "\n" not in str(raised.value)
    assert (list(logs.error.handlers), logs.error.level, logs.error.propagate) == before
    logs.error.info("still there")
    assert "still there" in (tmp_path / "error.log").read_text()


def test_captured_output_goes_to_the_error_log_and_follows_it(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            logs = make_logs(tmp_path, capture_output=True)
            os.write(1, b"printed\n")
            (tmp_path / "error.log").rename(tmp_path / "error.log.1")
            logs.reopen()
            os.write(2, b"printed later\n")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "error.log.1").read_text() == "printed\n"
    assert (tmp_path / "error.log").read_text() == "printed later\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    logs = setup(make_settings(errorlog="/dev/full", accesslog="/dev/full"))
    logs.error.error("lost")
    logs.access.info("lost")
    assert capfd.readouterr().err == ""
    logs.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("link", "given"), [(None, 1), (os.symlink, 0), (os.link, 0)])
def test_root_gives_a_log_file_to_the_workers_but_none_behind_a_link(
    link: Callable[[str, str], None] | None, given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_away: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _fd, *owner: given_away.append(owner))
    path = tmp_path / "error.log"
    if link is not None:
        (tmp_path / "shadow").touch()
        link(str(tmp_path / "shadow"), str(path))
    LogFile(str(path), (1234, 1234)).close()
    assert given_away == [(1234, 1234)] * given
