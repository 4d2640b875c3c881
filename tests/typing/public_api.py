"""The public surface as a typed program uses it. Never run: the type checker reads it."""

from __future__ import annotations

from typing import Any, ClassVar, assert_type

import supervisor
from supervisor import Arbiter, ConfigError, Settings, SupervisorError, Worker, WorkerContext, WorkerFactory
from supervisor.config.load import Inputs, load
from supervisor.workers.uvicorn import UvicornWorker


def launch() -> int:
    return supervisor.run("app.main:app", workers=4, preload_app=True)


def launch_with_settings() -> int:
    inputs = Inputs("app.main:app", {"workers": 4})
    settings = load(inputs)
    assert_type(settings, Settings)
    assert_type(settings.workers, int)
    assert_type(settings.bind, list[str])
    assert_type(settings.timeout, int)
    assert_type(settings.source("workers"), str)
    return Arbiter(settings, inputs).run()


def report(error: SupervisorError) -> tuple[int, str]:
    assert_type(error.exit_code, int)
    return error.exit_code, error.detail


def refuse() -> None:
    raise ConfigError("workers = 0: at least one", detail="from run(workers=...)")


class Mine(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"server_header": False}

    def run(self) -> int:
        assert_type(self.age, int)
        self.log.info("pid %d", self.pid)
        return super().run()


def make(context: WorkerContext) -> Worker:
    return Mine(context)


factory: WorkerFactory = Mine
version: str = supervisor.__version__
anything: Any = supervisor.run
