"""Defaults < file < GUNICORN_CMD_ARGS < SUPERVISOR_* < command line, each value with its source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.config.load import Inputs, load
from supervisor.errors import ConfigError, SupervisorError, UsageError
from supervisor.launch import run

if TYPE_CHECKING:
    from tests.config.conftest import Start


def test_each_layer_wins_over_the_one_before(start: Start) -> None:
    assert (start.load().timeout, start.load().source("timeout")) == (30, "default")
    start.write("gunicorn.conf.py", "\ntimeout = 31\n")
    environ: dict[str, str] = {}
    seen = []
    for variable, value in (("", ""), ("GUNICORN_CMD_ARGS", "-t 32"), ("SUPERVISOR_TIMEOUT", "33")):
        environ |= {variable: value}
        settings = start.load(environ=environ)
        seen.append((settings.timeout, settings.source("timeout")))
    settings = start.load(environ=environ, timeout=34)
    seen.append((settings.timeout, settings.source("timeout")))
    assert seen == [
        (31, "gunicorn.conf.py:2"),
        (32, "GUNICORN_CMD_ARGS"),
        (33, "environment SUPERVISOR_TIMEOUT"),
        (34, "command line timeout"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("WEB_CONCURRENCY", "3", "workers", 3),
        ("PORT", "9000", "bind", ["0.0.0.0:9000"]),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8, *", "forwarded_allow_ips", ["10.0.0.0/8", "*"]),
    ],
)
def test_variables_that_feed_the_defaults(start: Start, variable: str, value: str, name: str, expected: object) -> None:
    settings = start.load(environ={variable: value})
    assert settings.settings[name].value == expected
    assert settings.source(name) == f"environment {variable}"
    start.write("gunicorn.conf.py", "workers = 7\nbind = 'unix:/s'\nforwarded_allow_ips = '::1'\n")
    assert start.load(environ={variable: value}).source(name).startswith("gunicorn.conf.py:")


def test_a_default_from_the_environment_is_validated_where_it_is_used(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"^workers must be a whole number, not 'many' \(environment WEB_CONCURRENC"):
        start.load(environ={"WEB_CONCURRENCY": "many"})
    assert start.load(environ={"WEB_CONCURRENCY": "many"}, workers=2).workers == 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("BIND", "127.0.0.1:1, [::1]:2", ["127.0.0.1:1", "[::1]:2"]),
        ("RAW_ENV", "A=1,2,B=3", ["A=1,2", "B=3"]),
        ("PRELOAD_APP", "true", True),
        ("UMASK", "022", 0o22),
        ("WORKERS", "2", 2),
        ("ACCESSLOG", "-", "-"),
    ],
)
def test_own_variables(start: Start, name: str, text: str, expected: object) -> None:
    settings = start.load(environ={f"SUPERVISOR_{name}": text})
    assert settings.settings[name.lower()].value == expected


def test_an_own_variable_that_is_misspelt_is_named(start: Start) -> None:
    environ = {"SUPERVISOR_WORKER": "2", "SUPERVISOR_PROCESS_NAME": "web", "SUPERVISOR_SERVICE_HOST": "10.0.0.1"}
    assert start.load(environ=environ).warnings == [
        "The environment variable SUPERVISOR_WORKER is no setting; did you mean SUPERVISOR_WORKERS?"
    ]


def test_the_file_is_chosen_by_command_line_then_environment_then_gunicorn_arguments(start: Start) -> None:
    for name in ("a.py", "b.py", "c.py", "gunicorn.conf.py"):
        start.write(name, f"proc_name = {name!r}\n")
    environ = {"GUNICORN_CMD_ARGS": "-c c.py"}
    assert start.load(environ={}).proc_name == "gunicorn.conf.py"
    assert start.load(environ=environ).proc_name == "c.py"
    assert start.load(environ=environ | {"SUPERVISOR_CONFIG": "file:b.py"}).proc_name == "b.py"
    settings = start.load(environ=environ | {"SUPERVISOR_CONFIG": "b.py"}, config="a.py")
    assert settings.proc_name == "a.py"
    assert settings.config_path == os.path.join(start.directory, "a.py")


def test_a_config_setting_inside_a_file_names_no_other_file(start: Start) -> None:
    start.write("gunicorn.conf.py", "config = 'other.py'\nworkers = 2\n")
    start.write("other.py", "workers = 3\n")
    settings = start.load()
    assert (settings.workers, settings.config) == (2, "other.py")


def test_lists_replace_each_other(start: Start) -> None:
    start.write("gunicorn.conf.py", "bind = ['a:1', 'b:2']\n")
    assert start.load(environ={"GUNICORN_CMD_ARGS": "-b c:3 -b d:4"}).address == [("c", 3), ("d", 4)]


def test_the_application(start: Start) -> None:
    settings = start.load("pkg.main:app")
    assert (settings.app, settings.wsgi_app, settings.default_proc_name) == ("pkg.main:app", None, "pkg.main:app")
    start.write("gunicorn.conf.py", "wsgi_app = 'other:app'\n")
    assert start.load(None).app == "other:app"
    assert start.load("pkg.main:app").app == "pkg.main:app"
    assert start.load(print).app is print


def test_no_application_is_a_usage_error(start: Start) -> None:
    with pytest.raises(UsageError, match=r"No application is named: give it as MODULE:ATTRIBUTE \(command line\)"):
        start.load(None)


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (None, "No application is named: give it as MODULE:ATTRIBUTE (run(app)), or as wsgi_app"),
        ("", "wsgi_app names no application: ''; write MODULE:ATTRIBUTE (run(app))."),
        (3, "wsgi_app must be MODULE:ATTRIBUTE or an ASGI application, which is callable; 3 is not (run(app))"),
    ],
)
def test_a_program_that_gives_no_application(
    start: Start, monkeypatch: pytest.MonkeyPatch, app: Any, says: str
) -> None:
    monkeypatch.chdir(start.directory)
    with pytest.raises(SupervisorError) as caught:
        run(app)
    assert says in str(caught.value)


def test_gunicorn_arguments_that_cannot_be_parsed(start: Start) -> None:
    with pytest.raises(UsageError, match=r"GUNICORN_CMD_ARGS cannot be parsed: No such option\W+--nope"):
        start.load(environ={"GUNICORN_CMD_ARGS": "--nope"})
    with pytest.raises(UsageError, match="GUNICORN_CMD_ARGS cannot be parsed: No closing quotation"):
        start.load(environ={"GUNICORN_CMD_ARGS": "--name 'x"})


def test_all_problems_come_in_one_report_with_their_sources(start: Start) -> None:
    start.write("gunicorn.conf.py", "workers = 'x'\ntimeout = None\ncertfile = 'none.pem'\nraw_env = ['A']\n")
    with pytest.raises(ConfigError, match=r"^The settings cannot be used: 7 problems\.$") as caught:
        start.load(environ={"SUPERVISOR_BACKLOG": "-1"}, bind=["host:99999", "fd://x"])
    assert caught.value.detail.splitlines() == [
        "workers must be a whole number, not 'x' (gunicorn.conf.py:1)",
        "timeout must be a whole number, not None (gunicorn.conf.py:2)",
        "backlog must be at least 0, not -1 (environment SUPERVISOR_BACKLOG)",
        "bind has no valid port number: host:99999; write HOST:PORT with a port from 0 to 65535 (command line bind)",
        "bind has no valid file descriptor: fd://x; write fd://N (command line bind)",
        "certfile names a file that cannot be read: 'none.pem': No such file or directory (gunicorn.conf.py:3)",
        "raw_env must hold NAME=VALUE, not 'A' (gunicorn.conf.py:4)",
    ]


def test_loading_leaves_the_working_directory_alone(start: Start) -> None:
    start.write("sub/x", "")
    start.write("gunicorn.conf.py", "import os\nos.chdir('sub')\nproc_name = os.getcwd()\n")
    before = os.getcwd()
    settings = start.load()
    assert os.getcwd() == before
    assert settings.proc_name == os.path.join(os.path.realpath(start.directory), "sub")
    assert settings.chdir == str(start.directory)


def test_a_working_directory_that_was_removed_is_a_config_error(start: Start) -> None:
    gone = start.directory / "gone"
    gone.mkdir()
    gone.rmdir()
    with pytest.raises(ConfigError, match="gone cannot be entered: No such file"):
        load(Inputs(app="app:app", environ={}, cwd=str(gone)))


def test_an_application_in_the_arguments_of_gunicorn_is_ignored_as_it_is_there(start: Start) -> None:
    settings = start.load("app:app", environ={"GUNICORN_CMD_ARGS": "other:app -w 2"})
    assert (settings.app, settings.workers) == ("app:app", 2)
    assert settings.warnings == [
        "GUNICORN_CMD_ARGS names the application other:app: it is ignored there; use wsgi_app."
    ]


def test_a_launcher_can_do_without_default_files(start: Start) -> None:
    start.write("gunicorn.conf.py", "workers = 2\n")
    inputs = Inputs(app="app:app", values={"timeout": "x"}, environ={}, cwd=str(start.directory), default_files=False)
    with pytest.raises(ConfigError, match=r"^timeout must be a whole number, not 'x' \(argument timeout\)\.$"):
        load(inputs)


def test_an_unknown_argument_of_a_launcher(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"^There is no setting 'wokers'; did you mean 'workers'\? \(command line wo"):
        start.load(wokers=3)
