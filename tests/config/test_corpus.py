"""Configuration files as people write them, resolved by gunicorn, by us, and by us without gunicorn: the same values.

The files are in ``data/corpus``. Comments in them say what they are resolved with: ``# environ: NAME=VALUE …`` and
``# app: none``; ``# gunicorn: …`` says that there is no value of gunicorn's to compare with, and why.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import supervisor
from tests.config.test_gunicorn import OURS, PYTHON

CORPUS = Path(__file__).parent / "data" / "corpus"
FILES = sorted(path.name for path in CORPUS.glob("*.py"))
BATCHES = [FILES[start : start + 10] for start in range(0, len(FILES), 10)]
WITHOUT = Path(__file__).parents[1] / "without_gunicorn"
SOURCE = Path(supervisor.__file__).parent.parent

DRIVER = """
import argparse, grp, json, os, pwd, re, ssl, sys, traceback
def show(value, unset=""):
    if value is None and unset:
        return unset
    if callable(value):
        return "<%s()>" % getattr(value, "__qualname__", type(value).__qualname__)
    return re.sub("(?: at |x)[0-9a-fx.]{6,}", "", str(value))

found = []
for environ, arguments in json.load(sys.stdin):
    reading, writing = os.pipe()
    if os.fork() == 0:
        code = 1
        os.environ.update(environ)
        sys.argv[:] = ["gunicorn", *arguments]
        os.dup2(2, 1)
        try:
            answer = resolve()
        except BaseException:
            answer = traceback.format_exc()
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found.append(json.load(pipe))
    os.wait()
print(json.dumps(found))
"""
"""Each file in a process of its own. gunicorn is imported in there: it reads the environment as it is imported."""

THEIRS = f"""
def resolve():
    from gunicorn.app.wsgiapp import WSGIApplication
    settings = WSGIApplication("gunicorn").cfg.settings
    return {{name: show(setting.value) for name, setting in settings.items()}}
{DRIVER}"""

MINE = f"""
from supervisor.config import flags
from supervisor.config.load import Inputs, load
def resolve():
    parsed = flags.parse(sys.argv[1:])
    settings = load(Inputs(parsed.app, parsed.values, parsed.sources))
    assert "gunicorn" not in sys.modules or sys.modules["gunicorn"].__file__, "a stand-in is left behind"
    values = {{name: show(value.value, value.declaration.unset) for name, value in settings.settings.items()}}
    return values | {{"warnings": show(settings.warnings), "server": [settings.server_name, settings.server_software]}}
{DRIVER}"""


def on_purpose(setting: str, theirs: str, mine: str) -> bool:
    """Where the same file has another value here."""
    if setting == "worker_class":  # another default
        return (theirs, mine) == ("sync", "supervisor.workers.uvicorn.UvicornWorker")
    if setting == "default_proc_name":  # gunicorn names its processes by the application of the command line only
        return theirs == "gunicorn"
    # gunicorn shows what it wraps around a hook with fewer arguments, and not the hook.
    return setting == "post_request" and "validate_post_request" in theirs


def told(name: str) -> dict[str, str]:
    return dict(re.findall(r"^# (environ|app|gunicorn): (.*)$", (CORPUS / name).read_text("utf-8"), re.MULTILINE))


def start(code: str, names: list[str], *path: Path, python: str = sys.executable) -> subprocess.Popen[str]:
    inputs = [
        (
            dict(entry.split("=", 1) for entry in shlex.split(told(name).get("environ", ""))),
            ["-c", str(CORPUS / name), *(["app:app"] if told(name).get("app") != "none" else [])],
        )
        for name in names
    ]
    environ = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environ |= {"PYTHONPATH": os.pathsep.join(map(str, (*path, CORPUS / "packages"))), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [python, "-W", "ignore", "-c", code],
        env=environ,
        cwd=CORPUS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(inputs))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("names", BATCHES, ids=lambda names: names[0])
def test_files_mean_the_same(names: list[str]) -> None:
    processes = [
        start(THEIRS, names, python=str(PYTHON)),
        start(MINE, names, SOURCE),
        start(MINE, names, WITHOUT, SOURCE),
    ]
    answers: list[list[Any]] = []
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        answers.append(json.loads(out))
    for name, theirs, mine, alone in zip(names, *answers, strict=True):
        assert isinstance(mine, dict), f"{name}: {mine}"
        assert alone == mine, f"{name}, without gunicorn"
        if "gunicorn" in told(name):
            assert isinstance(theirs, str), f"gunicorn takes {name} by now: compare"
            continue
        assert isinstance(theirs, dict), f"{name}: {theirs}"
        differences = {
            setting: (value, mine[setting])
            for setting, value in theirs.items()
            if mine[setting] != value and not on_purpose(setting, value, mine[setting])
        }
        assert differences == {}, name
        assert set(mine) - set(theirs) == OURS | {"warnings", "server"}


def test_there_are_many() -> None:
    assert len(FILES) >= 60
