"""Logger classes: which one is meant, what they may do, and what is left of them when they are replaced."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gunicorn.glogging
import gunicorn.instrument.statsd
import pytest

from supervisor.errors import ConfigError
from supervisor.logs.classes import logger_class
from supervisor.logs.handlers import LogFile
from supervisor.logs.logger import Logger, SafeAtoms
from supervisor.logs.relay import Relay, error_log_of, overrides
from supervisor.logs.setup import Logs, setup
from supervisor.logs.statsd import Statsd
from tests.workers.conftest import make_settings

pytestmark = pytest.mark.usefixtures("fresh_loggers")


def make_logs(tmp_path: Path, **values: Any) -> Logs:
    values = {"errorlog": str(tmp_path / "error.log"), "accesslog": str(tmp_path / "access.log"), **values}
    return setup(make_settings(**values))


class Custom(Logger):
    """A class of a user's that does nothing of its own."""


HOST = {"statsd_host": "127.0.0.1:8125"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Logger),
        ({"logger_class": "simple"}, Logger),
        ({"logger_class": "gunicorn.glogging.Logger"}, Logger),
        ({"logger_class": gunicorn.glogging.Logger}, Logger),
        ({"logger_class": "supervisor.logs.logger:Logger"}, Logger),
        (HOST, Statsd),
        ({"logger_class": "gunicorn.instrument.statsd.Statsd"}, Statsd),
        ({"logger_class": gunicorn.instrument.statsd.Statsd}, Statsd),
        ({"logger_class": Custom}, Custom),
        ({"logger_class": Custom, **HOST}, Custom),
        ({"logger_class": "users_module.Custom"}, Custom),
        ({"logger_class": "users_module:Nested.inner"}, Custom),
    ],
)
def test_which_class_is_meant(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: type) -> None:
    module = ModuleType("users_module")
    vars(module).update(Custom=Custom, Nested=SimpleNamespace(inner=Custom))
    monkeypatch.setitem(sys.modules, "users_module", module)
    assert logger_class(make_settings(**values)) is expected


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.Logger", "cannot be imported: there is no module nowhere"),
        ("json.tool.nowhere.Logger", "cannot be imported: there is no module json.tool"),
        ("json.Nobody", "cannot be imported: json has no Nobody"),
        ("json.__name__", "is no class"),
        ("nobody", "names no logger"),
    ],
)
def test_a_class_that_is_not_there(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        logger_class(make_settings(logger_class=name))


def test_a_class_may_be_installed_first() -> None:
    done = []

    class Installed(Logger):
        @classmethod
        def install(cls) -> None:
            done.append(cls)

    assert logger_class(make_settings(logger_class=Installed)) is Installed
    assert done == [Installed]


def test_overrides_are_what_the_base_classes_do_not_have() -> None:
    class Theirs(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
        def atoms(self, *args: Any) -> Any:
            return {}

    cfg = make_settings(errorlog="-")
    assert not overrides(Custom(cfg), "access", "atoms", "now", "error")
    theirs = Theirs(cfg)
    assert overrides(theirs, "atoms")
    assert not overrides(theirs, "access", "error", "log")
    ours: Any = Custom(cfg)
    ours.access = print
    assert overrides(ours, "access")
    assert overrides(object(), "access")


def test_the_service_writes_to_the_log_itself_unless_methods_are_overridden() -> None:
    class Loud(Logger):
        def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
            super().warning(msg, *args, **kwargs)

    cfg = make_settings(errorlog="-")
    assert error_log_of(Custom(cfg)) is logging.getLogger("gunicorn.error")
    assert isinstance(error_log_of(Loud(cfg)), Relay)


def test_a_relay_hands_on_and_lets_nothing_out(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[Any] = []

    class Picky:
        def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
            said.append(("warning", msg % args, kwargs))

        def log(self, level: int, msg: str, *args: Any, **kwargs: Any) -> None:
            said.append((level, msg % args, kwargs))

        def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
            raise SystemExit(3)

        def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
            said.append(("exception", msg % args, kwargs))

    relay = Relay(Picky())
    relay.warning("%d of them", 3)
    relay.log(17, "odd")
    relay.warning("with", extra={"a": 1})
    relay.error("lost %s", "words")
    error = ValueError()
    relay.error("failed", exc_info=error)
    relay.info("nobody listens")
    assert said == [
        ("warning", "3 of them", {}),
        (17, "odd", {}),
        ("warning", "with", {"extra": {"a": 1}}),
        ("exception", "failed", {"exc_info": error}),
    ]
    shown = capfd.readouterr().err
    assert "Picky cannot log 'lost words': Traceback" in shown
    assert "cannot log 'nobody listens'" in shown


def test_setting_up_again_leaves_nothing_of_the_former_class(tmp_path: Path) -> None:
    made: list[logging.FileHandler] = []

    class Adding(Logger):
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            made.append(logging.FileHandler(tmp_path / "more.log"))
            self.access_log.addHandler(made[-1])
            self.access_log.addFilter(lambda record: True)
            self._set_handler(self.error_log, cfg.errorlog, logging.Formatter("mine %(message)s"))

    for _ in range(3):
        logs = make_logs(tmp_path, logger_class=Adding)
    assert len(logs.access.handlers) == 2
    assert len(logs.access.filters) == len(logs.error.handlers) == 1
    assert [handler.stream is None for handler in made] == [True, True, False]
    logs.error.info("hello")
    assert (tmp_path / "error.log").read_text() == "mine hello\n"
    logs = make_logs(tmp_path)
    assert (len(logs.access.handlers), len(logs.access.filters)) == (1, 0)


def test_a_class_that_raises_changes_nothing(tmp_path: Path) -> None:
    class Broken(Logger):
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            self.access_log.addFilter(lambda record: False)
            raise KeyboardInterrupt

    logs = make_logs(tmp_path, logger_class=Custom)
    before = list(logs.error.handlers), list(logs.access.handlers), list(logs.access.filters)
    with pytest.raises(ConfigError, match=r"Broken \(.*\) cannot be used: it raised KeyboardInterrupt") as raised:
        make_logs(tmp_path, logger_class=Broken, errorlog=str(tmp_path / "other.log"))
    assert "in setup" in raised.value.detail
    assert (logs.error.handlers, logs.access.handlers, logs.access.filters) == before
    logs.access.info("still there")
    assert (tmp_path / "access.log").read_text() == "still there\n"


def test_a_configuration_that_leaves_our_handler_alone_does_not_close_it(tmp_path: Path) -> None:
    """The logging module closes all handlers that there are when it is configured anew."""
    configuration = {"loggers": {"other": {"level": "INFO"}}, "root": {"handlers": []}}
    logs = make_logs(tmp_path, logconfig_dict=configuration)
    (handler,) = logs.access.handlers
    assert isinstance(handler, LogFile)
    assert handler.stream is not None
    with pytest.raises(ConfigError):
        make_logs(tmp_path, logconfig_dict={"handlers": {"x": {"class": "no.such.Class"}}})
    assert logs.access.handlers == [handler]
    assert handler.stream is not None


def test_reopening_is_the_loggers_business(tmp_path: Path) -> None:
    calls = []

    class Reopening(Logger):
        def reopen_files(self) -> None:
            calls.append("reopened")
            raise OSError("no more")

    logs = make_logs(tmp_path, logger_class=Reopening)
    logs.reopen()
    assert calls == ["reopened"]
    assert "reopen_files of logger_class raised OSError: no more" in (tmp_path / "error.log").read_text()


def test_a_logger_has_the_surface_of_gunicorns(tmp_path: Path) -> None:
    logger = make_logs(tmp_path).logger
    public = {name for name in dir(gunicorn.glogging.Logger) if not name.startswith("__")}
    used = public - {"_access_log_enabled", "_compute_access_log_enabled"}
    assert {name for name in used if not hasattr(logger, name)} == set()
    attributes = ("cfg", "error_log", "access_log", "error_handlers", "access_handlers", "logfile", "lock", "loglevel")
    assert all(hasattr(logger, name) for name in attributes)
    logger.log("warning", "by name")
    logger.log(logging.ERROR, "by number")
    logger.log("loud", "by an unknown name")
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logger.exception("with its traceback")
    text = (tmp_path / "error.log").read_text()
    for part in ("[WARNING] by name", "[ERROR] by number", "[INFO] by an unknown name", "ZeroDivisionError"):
        assert part in text
    assert logger.isEnabledFor(logging.INFO)
    with pytest.raises(AttributeError):
        _ = logger.no_such_thing


def test_access_and_atoms_of_a_hand_made_request(tmp_path: Path) -> None:
    layout = '%(h)s %(u)s "%(r)s" %(s)s %(b)s %(B)s %(T)s %(M)s %(D)s %(L)s %({X-A}i)s %({x-b}o)s %({RAW_URI}e)s %(no)s'
    logger = make_logs(tmp_path, access_log_format=layout).logger
    environ = {
        "REMOTE_ADDR": "192.0.2.7",
        "REQUEST_METHOD": "GET",
        "RAW_URI": '/"q"',
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_AUTHORIZATION": "Basic YW5uOnNlY3JldA==",
    }
    resp = SimpleNamespace(status="200 OK", headers={"X-B": "two"}.items(), sent=7)
    took = timedelta(seconds=61, microseconds=2345)
    logger.access(resp, SimpleNamespace(headers=[("X-A", "one\n")]), environ, took)
    expected = r'192.0.2.7 ann "GET /\"q\" HTTP/1.1" 200 7 7 61 61002 61002345 61.002345 one\x0a two /\"q\" -'
    assert (tmp_path / "access.log").read_text() == expected + "\n"


def test_atoms_that_raise_are_reported(tmp_path: Path) -> None:
    logger = make_logs(tmp_path, access_log_format="%(h)d").logger
    resp = SimpleNamespace(status=200, headers=[], sent=None)
    logger.access(resp, SimpleNamespace(headers=[]), {}, timedelta(0))


def test_safe_atoms() -> None:
    atoms = SafeAtoms({"a": 'x"y', "{x-a}i": "1", "n": 3})
    assert (atoms["a"], atoms["{X-A}i"], atoms["n"], atoms["nobody"], atoms["{nobody}i"]) == ('x\\"y', "1", 3, "-", "-")


def test_a_class_of_gunicorns_own_base_works(tmp_path: Path) -> None:
    class Theirs(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
        error_fmt = "theirs %(message)s"

    logs = make_logs(tmp_path, logger_class=Theirs)
    logs.error.info("hello")
    logs.access.info("line")
    assert (tmp_path / "error.log").read_text() == "theirs hello\n"
    assert (tmp_path / "access.log").read_text() == "line\n"
    (tmp_path / "error.log").unlink()
    logs.reopen()
    logs.error.info("again")
    assert (tmp_path / "error.log").read_text() == "theirs again\n"
