"""``--check-config``: what would start, what would not and why, and that nothing is left of the attempt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import trustme

import supervisor


def check(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "supervisor", "--check-config", "--bind", "127.0.0.1:0", *arguments]
    source = str(Path(supervisor.__file__).parent.parent)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)


def test_what_would_start(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shop.py").write_text(
        "import os, sys\nprint('hello'); print('mind the gap', file=sys.stderr)\n"
        "def create(name): return {'a': print}[name]\napp = create(os.environ['NAME'])\n"
    )
    done = check(tmp_path, "shop:app", "--chdir", "code", "-e", "NAME=a", "--dirty-threads", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  dirty_threads = 4 (command line --dirty-threads) has no effect: " in done.stdout
    assert done.stdout.endswith("It would start: 1 warning.\n")
    assert "hello" not in done.stdout


@pytest.mark.parametrize(
    ("text", "arguments", "first", "then"),
    [
        ("", [], "application 'shop:app' not found: 'app' is not in module shop", ""),
        ("app = 3", [], "application 'shop:app' is an int, not callable", ""),
        ("print('so far')\nraise ValueError('no url')", [], "ValueError: no url", "so far"),
        ("raise ValueError('no url')", [], "ValueError: no url", 'shop.py", line 1'),
        ("import sys; sys.exit('no url')", [], "importing shop ended in sys.exit('no url')", "shop.py"),
        ("import os; os._exit(9)", [], "the process that loads the application ended early (exit code 9)", ""),
        ("import os; os.kill(os.getpid(), 9)", [], "ended early (signal 9)", ""),
        ("import os; os.close(1); os.close(2); raise KeyError(1)", [], "KeyError: 1", "shop.py"),
        (
            "async def app(a, b, c): ...",
            ["-k", "gthread"],
            "the application is an ASGI application, and worker_class",
            "",
        ),
        (
            "import sys; sys.modules['a2wsgi'] = None\ndef app(environ, start_response): ...",
            [],
            "the application is a WSGI application, and serving it needs a2wsgi, which is not installed",
            "",
        ),
        ("app = print", ["-k", "shop:app"], "worker_class 'shop:app' is a builtin_function_or_method, not a class", ""),
        ("app = print", ["--ciphers", "NONE", "--certfile", "server.pem"], "ciphers 'NONE' cannot be used", ""),
        ("import supervisor\nsupervisor.run('shop:app')", [], "the application starts a server itself, at ", ""),
    ],
)
def test_what_would_not(tmp_path: Path, text: str, arguments: list[str], first: str, then: str) -> None:
    (tmp_path / "shop.py").write_text(text)
    if "server.pem" in arguments:
        trustme.CA().issue_cert("test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    done = check(tmp_path, "shop:app", *arguments)
    assert (done.returncode, done.stderr) == (1, "")
    line, _, detail = done.stdout.partition("\nProblems\n")[2].partition("\n")
    assert first in line
    assert then in detail
    assert done.stdout.endswith("It would not start: 1 problem, no warnings.\n")


def test_a_hang_is_bounded_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import json, os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        "json.dump([os.getpid(), child.pid], open('pids', 'w'))\n"
        "time.sleep(3600)\n"
    )
    done = check(tmp_path, "shop:app", "--boot-timeout", "1")
    assert done.returncode == 1
    line, _, detail = done.stdout.partition("\nProblems\n")[2].partition("\n")
    assert line == "  the application was not loaded within boot_timeout = 1 s (command line --boot-timeout)."
    assert 'shop.py", line 4' in detail, "it says where it hangs"
    deadline = time.monotonic() + 20
    while any(map(alive, json.loads((tmp_path / "pids").read_text()))):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_problems_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("worker_class = 'gevent'\ntimeout = None\nlog_level = 'debug'\n")
    (tmp_path / "shop.py").write_text("raise ValueError('no url')")
    done = check(tmp_path, "shop:app", "--certfile", "none.pem", "--threads", "-1")
    assert (done.returncode, done.stderr) == (1, "")
    problems = done.stdout.partition("\nProblems\n")[2]
    for problem in (
        "  timeout must be a whole number, not None (gunicorn.conf.py:2).\n",
        "  threads must be at least 0, not -1 (command line --threads).\n",
        "  certfile names a file that cannot be read: 'none.pem': No such file or directory (command line",
        "  worker_class names one of gunicorn's own, 'gevent'",
        "  ValueError: no url.\n",
    ):
        assert problem in problems, done.stdout
    assert "  log_level (gunicorn.conf.py:3) is no setting; did you mean loglevel?\n" in done.stdout


def test_a_problem_of_the_settings_does_not_hide_that_the_application_loads(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("app = print")
    done = check(tmp_path, "shop:app", "-k", "gevent")
    assert done.returncode == 1
    assert "\n  application shop:app: loads in " in done.stdout
