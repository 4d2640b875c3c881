"""Worker classes judged by their spelling: before the first fork, importing nothing, each refusal with its source."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.config.schema import Invalid
from supervisor.config.worker_class import DEFAULT, H11, THREADS, WSGI, described, validate_name
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("sync", "sync (supervisor's UvicornWorker)"),
        ("uvicorn.workers.UvicornH11Worker", "uvicorn.workers.UvicornH11Worker (supervisor's UvicornH11Worker)"),
        (DEFAULT, DEFAULT),
        ("my.module.Worker", "my.module.Worker"),
    ],
)
def test_what_really_runs_is_said(value: str, says: str) -> None:
    assert described(value) == says


def test_a_class_is_said_by_its_path() -> None:
    class Mine:
        def __init__(self, context: Any) -> None: ...

        def run(self) -> int:
            return 0

    assert described(Mine) == f"{__name__}.test_a_class_is_said_by_its_path.<locals>.Mine"


@pytest.mark.parametrize(
    ("name", "means"),
    [
        *((name, DEFAULT) for name in ("sync", "asgi", "uvicorn", "UvicornWorker", " uvicorn ", DEFAULT)),
        *((name, DEFAULT) for name in ("uvicorn.workers.UvicornWorker", "uvicorn_worker:UvicornWorker")),
        *((name, DEFAULT) for name in ("egg:gunicorn#sync", "gunicorn.workers.gasgi.ASGIWorker")),
        *((name, THREADS) for name in ("gthread", "egg:gunicorn#gthread", "gunicorn.workers.gthread.ThreadWorker")),
        ("wsgi", WSGI),
        *((name, H11) for name in ("h11", "UvicornH11Worker", "uvicorn_worker.UvicornH11Worker", H11)),
        *((name, name) for name in ("my.module.Worker", "my.module:Worker", "my:Out.Inner")),
    ],
)
def test_names(name: str, means: str) -> None:
    assert validate_name(name) == means


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint(name="mine", value="nowhere:Mine", group="supervisor.workers")

    def entry_points(**selection: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([entry]).select(**selection)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert validate_name("mine") == "mine"
    with pytest.raises(Invalid, match="did you mean 'mine'"):
        validate_name("mime")


@pytest.mark.parametrize(
    "name", ["gevent", "eventlet", "tornado", "gunicorn.workers.ggevent.GeventWorker", "egg:gunicorn#gevent"]
)
def test_gunicorns_own(name: str) -> None:
    with pytest.raises(Invalid, match=r"^names one of gunicorn's own, .* for a WSGI application use \"gthread\""):
        validate_name(name)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("uvicron", "^names no worker class: 'uvicron'; did you mean 'uvicorn'"),
        ("zzz", 'use "uvicorn"'),
        ("not a name", "^names no worker class"),
        ("", "^names no worker class"),
        (42, "must be a name, a path or a class, not int 42"),
        (object, "no method run"),
    ],
)
def test_nonsense(value: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        validate_name(value)


def test_a_class_that_derives_from_a_worker_with_another_kind_of_loop_says_what_to_do() -> None:
    base = type("Worker", (), {"__module__": "gunicorn.workers.base", "run": lambda self: None})
    foreign = type("GeventWorker", (base,), {"__module__": "gunicorn.workers.ggevent"})
    with pytest.raises(Invalid, match=r"derive it from supervisor\.workers\.uvicorn\.UvicornWorker"):
        validate_name(type("Derived", (foreign,), {}))


def test_a_class_that_cannot_be_constructed_with_a_context() -> None:
    class Bare:
        def run(self) -> int:
            return 0

    with pytest.raises(Invalid, match="cannot be constructed with one WorkerContext"):
        validate_name(Bare)


def test_a_load_refuses_it_with_its_source(start: Start) -> None:
    start.write("gunicorn.conf.py", "workers = 2\nworker_class = 'gevent'\n")
    with pytest.raises(ConfigError) as caught:
        start.load()
    assert str(caught.value) == (
        "worker_class names one of gunicorn's own, 'gevent', which is not offered here: for a WSGI application use "
        '"gthread", with threads = how many requests may run at once, and take its monkey patching out of the file and '
        "the application; for an ASGI one leave worker_class out "
        "(gunicorn.conf.py:2)."
    )
    with pytest.raises(ConfigError, match=r"'uvicron'; did you mean 'uvicorn'\? \(environment SUPERVISOR_WORKER_CLASS"):
        start.load(environ={"SUPERVISOR_WORKER_CLASS": "uvicron"})
    assert start.load(worker_class="uvicorn").worker_class == "uvicorn", "a stronger source wins, and alone counts"


def test_a_hook_cannot_set_it_either(start: Start) -> None:
    settings = start.load()
    before = settings.worker_class
    with pytest.raises(ConfigError, match=r"^worker_class names one of gunicorn's own, 'gevent'"):
        settings.set("worker_class", "gevent")
    assert settings.worker_class == before


def test_it_imports_neither_uvicorn_nor_asyncio_nor_the_worker() -> None:
    code = (
        "import sys; from supervisor.config.worker_class import validate_name; validate_name('uvicorn');"
        "validate_name('my.module:Worker');"
        "assert not {'uvicorn', 'asyncio', 'my', 'importlib.metadata'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
