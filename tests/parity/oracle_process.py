"""The other end of `tests.parity.oracle`: reads questions, a line of JSON each, and forks a fresh gunicorn for each."""

from __future__ import annotations

import argparse  # noqa: F401 - these are what gunicorn imports: the forks find them here
import inspect  # noqa: F401
import ipaddress  # noqa: F401
import json
import logging.config  # noqa: F401
import os
import socket  # noqa: F401
import ssl  # noqa: F401
import sys
import textwrap  # noqa: F401
import traceback
import types
from typing import Any


def resolve(question: dict[str, Any]) -> Any:
    """A whole start, up to the configuration: what ``--print-config`` prints."""
    from gunicorn.app.wsgiapp import WSGIApplication

    sys.argv = ["gunicorn", *question["arguments"]]
    return str(WSGIApplication("gunicorn").cfg)


def declarations(question: dict[str, Any]) -> Any:
    """Every setting: flags, section, metavar, and how its default is printed."""
    from gunicorn.config import KNOWN_SETTINGS, Config

    config = Config()
    lines = dict(line.split(" = ", 1) for line in str(config).splitlines())
    rendered = {name.strip(): value for name, value in lines.items()}
    return {
        setting.name: {
            "flags": list(setting.cli or ()),
            "section": setting.section,
            "metavar": setting.meta,
            "default": plain(config.settings[setting.name].get()),
            "line": rendered[setting.name],
            "callable": callable(config.settings[setting.name].get()),
        }
        for setting in KNOWN_SETTINGS
    }


def values(question: dict[str, Any]) -> Any:
    """For each setting and value (as Python source): the value kept and how it is printed, or None if it is refused."""
    from gunicorn.config import KNOWN_SETTINGS

    classes = {setting.name: setting for setting in KNOWN_SETTINGS}
    return [kept(classes[name](), value) for name, value in question["cases"]]


def kept(setting: Any, source: str) -> Any:
    try:
        setting.set(eval(source))
        found = setting.get()
    except Exception:  # noqa: BLE001 - whatever it raises, it is refused
        return None
    return [plain(found), f"<{found.__qualname__}()>" if callable(found) else str(found)]


def flags(question: dict[str, Any]) -> Any:
    """For each command line and the setting that it is about: the value that is kept, or None if it is refused."""
    from gunicorn.config import Config

    answers: list[str | None] = []
    config = Config()
    parser = config.parser()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for name, arguments in question["cases"]:
        try:
            found = getattr(parser.parse_args(arguments), name)
            config.settings[name].set(found)
            answers.append(plain(config.settings[name].get()))
        except (Exception, SystemExit):  # noqa: BLE001 - refused
            answers.append(None)
    return answers


def hooks(question: dict[str, Any]) -> Any:
    """Whether each hook takes each of the callables that a module's source defines."""
    from gunicorn.config import KNOWN_SETTINGS

    classes = {setting.name: setting for setting in KNOWN_SETTINGS}
    candidates = types.ModuleType("candidates")
    sys.modules["candidates"] = candidates
    exec(question["source"], vars(candidates))
    answers = {}
    for hook in question["hooks"]:
        for name, candidate in candidates.CANDIDATES.items():
            try:
                classes[hook]().set(candidate)
                answers[f"{hook}/{name}"] = True
            except Exception:  # noqa: BLE001 - refused
                answers[f"{hook}/{name}"] = False
    return answers


def plain(value: Any) -> str:
    """The value as Python source; a callable by its name, since its address is its own."""
    return getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else repr(value)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    for name in list(os.environ):
        if name not in ("PATH", "HOME", "PYTHONPATH"):
            del os.environ[name]
    os.environ.update(question.get("environ", {}))
    if directory := question.get("directory"):
        os.chdir(directory)
        os.environ["PWD"] = directory
    sys.dont_write_bytecode = True
    try:
        return {"answer": globals()[question["ask"]](question), "exit": 0}
    except SystemExit as error:
        return {"answer": None, "exit": error.code or 0}
    except BaseException:  # noqa: BLE001 - shown by the test
        return {"answer": None, "exit": 1, "error": traceback.format_exc()}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what configuration files print is not an answer
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            with os.fdopen(write, "w") as pipe:
                json.dump(answer(json.loads(line)), pipe)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        replies.write((text or json.dumps({"answer": None, "exit": -1})) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
