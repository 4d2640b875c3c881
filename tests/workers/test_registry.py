"""Worker classes by name, path, entry point and object; and one clear sentence for those that cannot be."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from supervisor.errors import ConfigError
from supervisor.protocols import WorkerContext
from supervisor.workers.registry import DEFAULT, H11, resolve, validate_name
from supervisor.workers.uvicorn import UvicornH11Worker, UvicornWorker


class Mine(UvicornWorker):
    pass


class Duck:
    """A worker class of nobody's."""

    def __init__(self, context: WorkerContext) -> None:
        self.pid, self.age, self.booted = 0, 0, False

    def run(self) -> int:
        return 0


@pytest.mark.parametrize(
    "name",
    ["sync", "uvicorn", "UvicornWorker", "uvicorn.workers.UvicornWorker", "uvicorn_worker.UvicornWorker", DEFAULT],
)
def test_names_of_the_default(name: str) -> None:
    assert validate_name(name) == DEFAULT
    assert resolve(name) is UvicornWorker


@pytest.mark.parametrize(
    "name", ["h11", "UvicornH11Worker", "uvicorn.workers.UvicornH11Worker", "uvicorn_worker.UvicornH11Worker", H11]
)
def test_names_of_h11(name: str) -> None:
    assert resolve(name) is UvicornH11Worker


@pytest.mark.parametrize("value", [f"{__name__}.Mine", f"{__name__}:Mine", Mine])
def test_paths_and_classes(value: Any) -> None:
    found: Any = resolve(value)
    assert found.__name__ == "Mine"


def test_a_class_of_nobodys_will_do() -> None:
    assert resolve(Duck) is Duck


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint(name="mine", value=f"{__name__}:Mine", group="supervisor.workers")

    def entry_points(**selection: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([entry]).select(**selection)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert validate_name("mine") == "mine"
    found: Any = resolve("mine")
    assert found.__name__ == "Mine"


@pytest.mark.parametrize("name", ["gevent", "eventlet", "tornado", "gthread", "gunicorn.workers.ggevent.GeventWorker"])
def test_gunicorns_own(name: str) -> None:
    with pytest.raises(ConfigError, match="for WSGI applications"):
        validate_name(name)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("uvicron", "did you mean 'uvicorn'"),
        ("zzz", 'use "uvicorn"'),
        ("not a name", "no worker class is called"),
        (42, "must be a name, a path or a class, not int 42"),
        (object, "no method run"),
    ],
)
def test_nonsense(value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        validate_name(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_module.Worker", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}.Nobody", "cannot be imported: AttributeError"),
        (f"{__name__}.pytest", "is a module, not a class"),
        ("logging.Handler", "no method run"),
    ],
)
def test_paths_that_lead_nowhere(value: str, says: str) -> None:
    validate_name(value)
    with pytest.raises(ConfigError, match=says):
        resolve(value)


def test_a_class_that_derives_from_gunicorns_says_what_to_do() -> None:
    foreign = type("Worker", (), {"__module__": "gunicorn.workers.base", "run": lambda self: None})
    with pytest.raises(ConfigError, match=r"derive it from supervisor\.workers\.uvicorn\.UvicornWorker"):
        validate_name(type("Derived", (foreign,), {}))


def test_a_class_that_cannot_be_constructed_with_a_context() -> None:
    class Bare:
        def run(self) -> int:
            return 0

    with pytest.raises(ConfigError, match="cannot be constructed with one WorkerContext"):
        validate_name(Bare)


def test_validating_a_name_imports_neither_uvicorn_nor_asyncio() -> None:
    code = (
        "import sys; from supervisor.workers.registry import validate_name; validate_name('uvicorn');"
        "validate_name('my.module:Worker'); assert not {'uvicorn', 'asyncio', 'my'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
