"""gevent and eventlet: a process in which they have replaced Python's threads is not served with, and is told so."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from supervisor.config.load import Inputs, load
from supervisor.errors import BootError, ConfigError
from supervisor.patched import threads_replaced
from supervisor.workers.uvicorn import UvicornWorker


@pytest.fixture(autouse=True)
def _neither(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gevent.monkey", "eventlet.patcher"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def patch(monkeypatch: pytest.MonkeyPatch, name: str, question: str, *patched: str) -> None:
    module = ModuleType(name)
    setattr(module, question, lambda part: part in patched)
    monkeypatch.setitem(sys.modules, name, module)


def test_threads_as_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_replaced() is None
    patch(monkeypatch, "gevent.monkey", "is_module_patched", "socket")
    patch(monkeypatch, "eventlet.patcher", "is_monkey_patched", "socket")
    assert threads_replaced() is None, "it is threads that matter"


@pytest.mark.parametrize(
    ("patched", "says"),
    [
        (("gevent.monkey", "is_module_patched", "threading"), "gevent's monkey.patch_all() has replaced"),
        (("eventlet.patcher", "is_monkey_patched", "thread"), "eventlet's monkey_patch() has replaced"),
    ],
)
def test_threads_that_were_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patched: tuple[str, str, str], says: str
) -> None:
    patch(monkeypatch, *patched)
    assert str(threads_replaced()).startswith(says)
    with pytest.raises(ConfigError) as refused:
        load(Inputs(app="shop:app", environ={}, cwd=str(tmp_path)))
    assert str(refused.value).startswith(says)
    with pytest.raises(BootError) as failed:
        UvicornWorker.examine(SimpleNamespace())
    assert str(failed.value).startswith(says)
