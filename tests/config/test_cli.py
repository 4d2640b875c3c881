"""The command line: forms, answers, exit codes. The arbiter is a stand-in that tells what it was given."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from supervisor import cli
from supervisor.config import flags
from supervisor.config.settings import TABLE
from supervisor.errors import BootError, ConfigError, UsageError

if TYPE_CHECKING:
    from tests.config.conftest import Start

Run = Callable[..., int]


@pytest.fixture
def arbiters(start: Start, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arbiters that were run, each with its settings and inputs. The process stands in the empty directory."""
    ran: list[Any] = []

    class Arbiter:
        def __init__(self, settings: Any, inputs: Any, *, ready: Any) -> None:
            self.settings = settings
            self.inputs = inputs

        def run(self) -> int:
            ran.append(self)
            if self.settings.app == "broken:app":
                raise BootError("The application raised.", detail="Traceback\n")
            return 0

    module = ModuleType("supervisor.runtime.loop")
    module.Arbiter = Arbiter  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "supervisor.runtime.loop", module)
    monkeypatch.chdir(start.directory)
    for name in ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS"):
        monkeypatch.delenv(name, raising=False)
    return ran


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-c gunicorn.conf.py app.main:app", {"config": "gunicorn.conf.py"}),
        ("-c gunicorn.conf.py app.main:app --reload", {"config": "gunicorn.conf.py", "reload": True}),
        (
            "-w 4 -k uvicorn.workers.UvicornWorker app.main:app",
            {"workers": 4, "worker_class": "uvicorn.workers.UvicornWorker"},
        ),
        (
            "-c gunicorn.conf.py --certfile=server.pem --keyfile=server.pem app.main:app",
            {"config": "gunicorn.conf.py", "certfile": "server.pem", "keyfile": "server.pem"},
        ),
        ("app.main:app -w4 -b :1 -b [::]:2 -e A=1 --env B=2", {"workers": 4, "bind": [":1", "[::]:2"]}),
        ("app.main:app --workers=4 -t=5 --access-logfile -", {"workers": 4, "timeout": 5, "accesslog": "-"}),
        ("--no-control-socket --no-sendfile app.main:app", {"control_socket_disable": True, "sendfile": False}),
        ("--error-log x --worker-tmp . app.main:app", {"errorlog": "x", "worker_tmp_dir": "."}),
        ("--log-file x -m 022 app.main:app", {"errorlog": "x", "umask": 0o22}),
        ("app.main:app --proxy-protocol", {"proxy_protocol": "auto"}),
        ("app.main:app --proxy-protocol v2 --preload", {"proxy_protocol": "v2", "preload_app": True}),
        ("-w 2 -- app.main:app", {"workers": 2}),
    ],
)
def test_forms(arbiters: list[Any], start: Start, line: str, expected: dict[str, Any]) -> None:
    start.write("gunicorn.conf.py", "")
    if "server.pem" in line:
        trustme.CA().issue_cert("test").private_key_and_cert_chain_pem.write_to_path(start.directory / "server.pem")
    assert cli.main(line.split()) == 0
    (arbiter,) = arbiters
    settings = arbiter.settings
    assert settings.app == "app.main:app"
    assert {name: settings.settings[name].value for name in expected} == expected
    for name in expected:
        assert settings.source(name) == f"command line {TABLE[name].long_flag}"


@pytest.mark.parametrize(
    ("line", "app"),
    [
        ("--factory app.main:create", "app.main:create()"),
        ("app.main:create --factory", "app.main:create()"),
        ("app.main:create('x') --factory", "app.main:create('x')"),
        ("--factory", "other:make()"),
    ],
)
def test_a_factory(arbiters: list[Any], start: Start, line: str, app: str) -> None:
    start.write("gunicorn.conf.py", "wsgi_app = 'other:make'\n")
    assert cli.main(line.split()) == 0
    assert arbiters[0].settings.app == app


def test_a_factory_in_the_variable(arbiters: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--factory")
    assert cli.main(["a:b"]) == 0
    assert arbiters[0].settings.app == "a:b()"


def test_the_second_bind_of_the_environment(arbiters: list[Any]) -> None:
    assert cli.main(["a:b", "-e", "A=1", "--env", "B=2=3"]) == 0
    assert arbiters[0].settings.env == {"A": "1", "B": "2=3"}


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("", 2, "Error: No application is named"),
        ("--wrkers 4 a:b", 2, "--workers"),
        ("--keepalive 4 a:b", 2, "--keep-alive"),
        ("--factory a", 1, "wsgi_app has to be MODULE:FUNCTION with --factory, not 'a' (command line)"),
        ("--paste x.ini", 1, "paste names a PasteDeploy file, which is not read"),
        ("-w abc a:b", 2, "'abc' is not a whole number"),
        ("-w", 2, "requires an argument"),
        ("a:b c:d", 2, "unexpected extra argument (c:d)"),
        ("--access-logfile --reload a:b", 2, "Option '--access-logfile' requires an argument, not --reload."),
        ("a:b -b -w 2", 2, "Option '-b' requires an argument, not -w."),
        ("migrate", 2, "Missing argument 'FILE'"),
        ("check a:b c:d", 2, "unexpected extra argument (c:d)"),
        ("--access-log x a:b", 2, "No such option"),
        ("-w -1 a:b", 1, "Error: workers must be at least 0, not -1 (command line --workers)."),
        ("-c none.py a:b", 1, "Error: The configuration file none.py does not exist."),
        ("a/b.py", 1, "Error: wsgi_app names no application: 'a/b.py'; write MODULE:ATTRIBUTE (command line)."),
        ("-u nobody-here a:b", 1, "Error: user names a user that does not exist: 'nobody-here' (command line --user)."),
        ("broken:app", 3, "Error: The application raised.\nTraceback\n"),
    ],
)
def test_mistakes(arbiters: list[Any], capsys: pytest.CaptureFixture[str], line: str, code: int, message: str) -> None:
    assert cli.main(line.split()) == code
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_version_and_help(arbiters: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("asgi-supervisor (version ")
    assert cli.main(["-h"]) == 0
    text = capsys.readouterr().out
    assert "Worker Processes:" in text
    assert re.search(
        r"Logging:.*Accepted, Without Effect:.*--dirty-threads.*docs/reference/settings\.md", text, re.DOTALL
    )
    idle = text[text.index("Accepted, Without Effect:") :]
    without = [setting for setting in TABLE.values() if setting.no_effect]
    assert {setting.long_flag for setting in without if setting.flags} <= set(re.findall(r"--[\w-]+", idle))
    assert not re.search(r"has no (effect yet|meaning)", " ".join(text[: -len(idle)].split()))
    assert re.search(r"--backlog INT [^[]+\[default: 2048\]", " ".join(text.split()))
    missing = [flag for setting in TABLE.values() for flag in setting.flags if flag not in text]
    assert missing == []
    assert arbiters == []


def test_print_config(arbiters: list[Any], start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start.write("site.py", "")
    start.write("gunicorn.conf.py", "workers = 2\ndef post_fork(server, worker): pass\n")
    assert cli.main(["--print-config", "site:app"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == sorted(lines)
    assert len(lines) == len(TABLE)
    width = max(map(len, TABLE))
    assert f"{'workers':{width}} = 2  # gunicorn.conf.py:1" in lines
    assert f"{'post_fork':{width}} = <post_fork()>  # gunicorn.conf.py:2" in lines
    assert f"{'pre_fork':{width}} = <Prefork.pre_fork()>  # default" in lines


def test_print_config_imports_nothing(arbiters: list[Any], start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start.write("shop/__init__.py", "raise SystemExit('nobody imports this')\n")
    start.write("shop/main.py", "")
    assert cli.main(["--print-config", "shop.main:app", "--dirty-threads", "4"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("Warning: dirty_threads = 4 (command line --dirty-threads) has no effect: ")
    assert cli.main(["--print-config", "shop.mein:app"]) == 1
    assert "Error: The application shop.mein:app cannot be found: there is no module shop.mein." in (
        capsys.readouterr().err
    )
    assert cli.main(["--print-config", "sys:exit"]) == 0
    assert cli.main(["--print-config", "main:app", "--pythonpath", "nowhere,shop"]) == 0


def test_the_other_program_of_the_same_name(tmp_path: Path) -> None:
    cli.refuse_namesake(tmp_path)
    (tmp_path / "supervisord.py").touch()
    with pytest.raises(ConfigError, match="supervisord, another program"):
        cli.refuse_namesake(tmp_path)


def test_the_parser_of_arguments_in_a_variable_does_not_exit() -> None:
    with pytest.raises(UsageError):
        flags.parse(["--help"])
    assert flags.parse(["-w", "3"]).values == {"workers": 3}
