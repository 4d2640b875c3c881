"""Worker classes by name, path, entry point and object; and one clear sentence for those that cannot be."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from supervisor.errors import ConfigError
from supervisor.protocols import WorkerContext
from supervisor.workers.registry import resolve
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
    [
        "sync",
        "uvicorn",
        "UvicornWorker",
        "uvicorn.workers.UvicornWorker",
        "uvicorn_worker.UvicornWorker",
        "supervisor.workers.uvicorn.UvicornWorker",
    ],
)
def test_names_of_the_default(name: str) -> None:
    assert resolve(name) is UvicornWorker


@pytest.mark.parametrize(
    "name", ["h11", "UvicornH11Worker", "uvicorn.workers.UvicornH11Worker", "uvicorn_worker.UvicornH11Worker"]
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
    found: Any = resolve("mine")
    assert found.__name__ == "Mine"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("gevent", "^worker_class names one of gunicorn's own"),
        ("no_such_module.Worker", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}.Nobody", "cannot be imported: AttributeError"),
        (f"{__name__}.pytest", "^worker_class .* is a module, not a class"),
        ("logging.Handler", "no method run"),
    ],
)
def test_names_and_paths_that_lead_nowhere(value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(value)
