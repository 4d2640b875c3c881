"""The same inputs through gunicorn and through us: the same values, or a difference that is named here.

Gunicorn runs in processes of its own, because it reads the environment when it is imported. ``GUNICORN_PYTHON``
may name an interpreter that has it; else it has to be importable here.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.config import flags
from supervisor.config.load import Inputs, load
from supervisor.config.render import print_config
from supervisor.config.schema import Invalid
from supervisor.config.settings import TABLE, Settings
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start

PYTHON = os.environ.get("GUNICORN_PYTHON")
if PYTHON is None:
    pytest.importorskip("gunicorn")
    PYTHON = sys.executable

OURS = {
    "boot_timeout",
    "max_lifetime",
    "max_lifetime_jitter",
    "max_memory",
    "max_memory_interval",
    "min_lifetime",
    "surge",
    "drain_delay",
    "upgrade_auto",
}
DATA = Path(__file__).parent / "data"

VALUES = """
import json, sys
from gunicorn.config import Config
found = []
for name, value in json.load(sys.stdin):
    config = Config()
    try:
        config.set(name, value)
        found.append(repr(config.settings[name].get()))
    except Exception:
        found.append(None)
print(json.dumps(found))
"""

DECLARATIONS = """
import json
from gunicorn.config import KNOWN_SETTINGS
print(json.dumps({s.name: [list(s.cli or ()), s.section, s.meta] for s in KNOWN_SETTINGS}))
"""

PRINT = """
import sys
from gunicorn.app.wsgiapp import WSGIApplication
sys.argv[0] = "gunicorn"
print(WSGIApplication("gunicorn").cfg)
"""


def gunicorn(code: str, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    directory = environ.pop("directory", None)
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", code, *arguments],
        input=stdin,
        env=base | environ | ({"PWD": directory} if directory else {}),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def ours(directory: str, arguments: list[str], environ: dict[str, str]) -> Settings:
    parsed = flags.parse(arguments)
    return load(Inputs(parsed.app, parsed.values, parsed.sources, environ, directory))


def lines(settings: Settings) -> dict[str, str]:
    """What we print, by name, without the sources."""
    printed = (line.rsplit("  # ", 1)[0] for line in print_config(settings).splitlines())
    return {line.partition(" = ")[0].strip(): line for line in printed if line.split(" ", 1)[0] not in OURS}


def test_every_setting_has_the_flags_of_gunicorn() -> None:
    theirs = json.loads(gunicorn(DECLARATIONS).stdout)
    assert set(TABLE) - set(theirs) == OURS
    assert set(theirs) - set(TABLE) == set()
    for name, (options, section, metavar) in theirs.items():
        setting = TABLE[name]
        assert list(setting.flags) == options, name
        assert setting.metavar == (metavar or setting.metavar), name
        assert setting.group == section, name


NUMBERS: list[Any] = ["3", " 0x10 ", "010", "0", "-1", "x", "", None, True, 1.5, -1, [], "auto"]
BOOLEANS: list[Any] = [True, False, "true", " False ", "yes", "", 1, 0, None]
STRINGS: list[Any] = [" x ", "", None, 5, ["x"]]
LISTS: list[Any] = ["a", ["a", " b "], [], None, "", ["a", 1], 5]
NETWORKS: list[Any] = ["127.0.0.1", "10.0.0.0/8, ::1", "10.0.0.1/8", "*", "", "localhost", 5]
DICTS: list[Any] = [{}, {"a": 1}, None, []]
CASES: list[tuple[str, Any]] = [
    *(("workers", value) for value in NUMBERS),
    *(("timeout", value) for value in NUMBERS),
    *(("umask", value) for value in [*NUMBERS, "0o027", "0x1f", 18]),
    *(("preload_app", value) for value in BOOLEANS),
    *(("daemon", value) for value in BOOLEANS),
    *(("sendfile", value) for value in BOOLEANS),
    *(("proc_name", value) for value in STRINGS),
    *(("accesslog", value) for value in STRINGS),
    *(("worker_class", value) for value in STRINGS),
    *(("bind", value) for value in LISTS),
    *(("raw_env", value) for value in LISTS),
    *(("forwarded_allow_ips", value) for value in NETWORKS),
    *(("forwarder_headers", value) for value in ["A,B", " A , B", "", None, 5]),
    *(("logconfig_dict", value) for value in DICTS),
    *(("chdir", value) for value in ["/", "/nope", 5]),
    *(("user", value) for value in [None, "root", "no such user", 0, "0"]),
    *(("group", value) for value in [None, "root", "no such group", 0, "0"]),
    *(("asgi_loop", value) for value in ["AUTO", "uvloop", "trio", None, 5]),
    *(("asgi_lifespan", value) for value in ["on", " OFF ", "maybe", None, True]),
    *(("reload_engine", value) for value in ["auto", "poll", "x"]),
    *(("header_map", value) for value in ["DROP", "refuse", "x", None, 5]),
    *(("http_parser", value) for value in ["fast", "x", None]),
    *(("proxy_protocol", value) for value in [True, False, None, "V2", "1", "0", "none", "x", 1]),
    *(("http_protocols", value) for value in ["h1", "h2, H1", "", None, "h3", "h1,h1", 5]),
    *(("http2_cleartext", value) for value in ["both", "OFF", True, False, None, "x", 5]),
    *(("http2_max_frame_size", value) for value in [1, 16384, 2**24, "16384"]),
    *(("http2_max_concurrent_streams", value) for value in [0, 1]),
    *(("statsd_host", value) for value in ["h", "h:1", "unix://s", "unix:1", "h:x", None, 5]),
    *(("on_exit", value) for value in ["os.fspath", "os.nope", "nope", 5]),
]

KINDER: list[tuple[str, Any]] = [
    ("workers", "auto"),  # a count of ours
    ("umask", "010"),  # octal as on gunicorn's command line, which its files refuse
]

STRICTER: list[tuple[str, Any]] = [
    ("worker_class", None),  # no worker can be made of it there either; it is said at once
]


def test_values_are_accepted_and_refused_alike() -> None:
    theirs = json.loads(gunicorn(VALUES, stdin=json.dumps(CASES)).stdout)
    differences = []
    for (name, value), their in zip(CASES, theirs, strict=True):
        found: str | None = None
        with contextlib.suppress(Invalid):
            found = repr(TABLE[name].validate(value))
        if name == "on_exit" and found and their:  # the repr of a function holds its address
            continue
        if (name, value) in KINDER:
            assert (their, found is None) == (None, False), (name, value)
        elif (name, value) in STRICTER:
            assert (their is None, found) == (False, None), (name, value)
        elif found != their:
            differences.append((name, value, their, found))
    assert differences == []


STARTS: list[tuple[str, dict[str, str]]] = [
    ("app:app", {}),
    ("app:app", {"PORT": "9000", "WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "*"}),
    ("app:app -w 4 -b :1 -b unix:s -k x.Y -t 5 -e A=1 -e B=2", {"WEB_CONCURRENCY": "3"}),
    ("app:app", {"GUNICORN_CMD_ARGS": "-w 5 --bind h:1 --preload --access-logfile - -m 0077"}),
    ("app:app -w 6 --bind h:2", {"GUNICORN_CMD_ARGS": "-w 5 --bind h:1 --keep-alive=9"}),
    ("app:app -c other.py -w 7", {"GUNICORN_CMD_ARGS": "-c gunicorn.conf.py --timeout 8"}),
    ("app:app", {"GUNICORN_CMD_ARGS": "-c file:other.py"}),
    ("app:app -c python:other", {}),
    ("app:app --chdir sub --name x --log-level debug --umask 022 --no-sendfile", {}),
    ("app:app --no-control-socket --control-socket-mode 0660 --cert-reqs 2 --forwarded-allow-ips 10.0.0.1", {}),
    ("app:app --error-log e --worker-tmp . -Rn x", {}),
    ("app:app --max-requests=10 --max-requests-j 5 --proxy-protocol", {}),
    ("-Dw3 app:app -- ", {}),
    ("app:app -w=3 --workers 4 --timeo 5 --access-logfi - --chdir .", {}),
    ("--proxy-protocol v1 -R app -b :1 -b :2 -m 0o22 -w 5 -w 6", {}),
    ("-c file:other.py shop.app:create('x',y=1)", {}),
    ("--preload -- app:app", {"GUNICORN_CMD_ARGS": "--name 'two words' -e A='x y'"}),
]


@pytest.mark.parametrize(("line", "environ"), STARTS, ids=range(len(STARTS)))
def test_whole_starts(start: Start, line: str, environ: dict[str, str]) -> None:
    start.write("gunicorn.conf.py", "workers = 2\ntimeout = '7'\nbind = 'f:1'\nraw_env = ['F=1']\n")
    start.write("other.py", "workers = 9\nloglevel = 'error'\n\ndef post_fork(server, worker): pass\n")
    start.write("sub/x", "")
    compare(str(start.directory), line.split(), environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"BIND": "127.0.0.1:9000", "WEB_CONCURRENCY": "3", "LOG_LEVEL": "debug"},
        {"MAX_REQUESTS": "5", "MAX_REQUESTS_JITTER": "1", "TIMEOUT": "6", "GRACEFUL_TIMEOUT": "7", "KEEPALIVE": "8"},
    ],
    ids=["plain", "server", "limits"],
)
def test_a_production_configuration(start: Start, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    arguments = ["-c", str(DATA / "production.conf.py"), "app.main:app"]
    compare(str(start.directory), arguments, environ)
    assert ours(str(start.directory), arguments, environ).warnings == []


@pytest.mark.parametrize(
    "text",
    [
        "workers = None",
        "workers = 'x'",
        "preload_app = 'yes'",
        "chdir = '/nope'",
        "def post_fork(server): pass",
        "raise SystemExit(0)",
        "1 / 0",
        "x = (",
    ],
)
def test_files_that_both_refuse(start: Start, text: str) -> None:
    start.write("gunicorn.conf.py", text)
    theirs = gunicorn(PRINT, "app:app", directory=str(start.directory))
    assert "workers" not in theirs.stdout
    with pytest.raises(ConfigError):
        start.load()


def compare(directory: str, arguments: list[str], environ: dict[str, str]) -> None:
    """Both print the same lines, save for the two defaults that are ours."""
    result = gunicorn(PRINT, *arguments, directory=directory, **environ)
    assert result.returncode == 0, result.stderr
    theirs = {line.partition(" = ")[0].strip(): line for line in result.stdout.splitlines()}
    found = lines(ours(directory, arguments, environ))
    if "= sync" in theirs["worker_class"]:
        theirs.pop("worker_class")
        assert found.pop("worker_class").endswith("= supervisor.workers.uvicorn.UvicornWorker")
    assert found == theirs
