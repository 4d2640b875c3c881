"""The setting ``reload``: real edits of real files, each answered by a new generation, or by nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.connection import Target
from tests.process.harness import Answer, Service
from tests.process.load import Load, Traffic

Measured = Callable[[str], None]

PRELOAD = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each_worker", "preload"])


def start(site: Service, *options: str, workers: int = 1, environment: dict[str, str] | None = None) -> Service:
    """Start it, and wait until it serves and is watched."""
    site.start("--reload", "--workers", str(workers), *options, environment=environment)
    site.wait_serving(workers)
    site.wait_log(r"Ready: \d")
    site.wait_log("Watching")
    return site


def watcher(site: Service) -> int:
    """The pid of the watcher, 0 where there is none."""
    for pid in site.pids().others:  # the configuration may be on trial in another one
        with contextlib.suppress(psutil.NoSuchProcess):
            if " watcher " in " ".join(psutil.Process(pid).cmdline()):
                return pid
    return 0


def reloads(site: Service) -> int:
    return len(re.findall(r"Changed: .*Reloading", site.log))


def wait_answer(site: Service, condition: Callable[[Answer], bool]) -> Answer:
    """Ask until the answer is the wanted one."""

    def asked() -> Answer | None:
        with contextlib.suppress(ConnectionRefusedError):  # it has not bound its address yet
            answer = site.get()
            return answer if condition(answer) else None
        return None

    answer = site.wait_until(asked, "the wanted answer")
    assert answer is not None
    return answer


@pytest.mark.parametrize(("options", "times"), [((), 3), (("--preload",), 10)], ids=["each_worker", "preload"])
def test_reloads_under_load(service: StartService, measured: Measured, options: tuple[str, ...], times: int) -> None:
    """Gunicorn's reload and its preload_app exclude each other; here they go together."""
    site = start(service(), *options, workers=2)
    versions = [str(version) for version in range(1, times + 2)]
    traffic = (Traffic(60), Traffic(30, keep_alive=False), Traffic(5, path="/sleep/0.2"))
    with Load(Target(("127.0.0.1", site.port)), *traffic) as load:
        for version in versions[1:]:
            site.deploy(version)
            site.wait_serving(2, version=version)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report
    assert min(site.ready_counts()) >= 2
    assert {record.version for record in load.answers()} <= set(versions)


@PRELOAD
def test_a_syntax_error_is_shown_and_the_old_code_serves_on(service: StartService, options: tuple[str, ...]) -> None:
    site = start(service(), *options, workers=2)
    before = site.workers()
    site.expect_error("died", sure=False)
    site.expect_error("Reload failed: generation 2 was dropped, 1 goes on serving: SyntaxError")
    site.write("app.py", "def app(:\n")
    site.wait_log("Reload failed")
    site.wait_until(lambda: site.workers() == before, "only the old workers are left")
    assert site.get().json()["version"] == "1"
    assert site.log.count("    def app(:\n") == 1
    site.deploy("2")
    site.wait_serving(2, version="2")
    assert reloads(site) == 2


@PRELOAD
def test_an_application_that_cannot_be_loaded_at_first(service: StartService, options: tuple[str, ...]) -> None:
    """Its clients are shown why; each edit changes what is shown, and the last one puts it right."""
    site = service()
    site.expect_error("died|killed", sure=False)
    site.expect_error("Boot failed: generation 1 was dropped; waiting for changed files: SyntaxError")
    site.expect_error("Reload failed: generation 3 was dropped, 2 goes on serving: ModuleNotFoundError")
    site.write("app.py", "def app(:\n")
    site.start("--reload", "--workers", "2", *options)
    answer = wait_answer(site, lambda answer: b"SyntaxError" in answer.body)
    assert answer.status == 500
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert b"    def app(:\n" in answer.body
    site.write("app.py", "from shop import app\n")
    wait_answer(site, lambda answer: b"No module named 'shop'" in answer.body)
    assert "Ready:" not in site.log
    site.write(
        "shop.py",
        "from asyncio import sleep\nfrom probe import Probe\napp = Probe('2', lambda: sleep(0), lambda: sleep(0))\n",
    )
    site.wait_serving(2, version="2")
    site.wait_log("Ready: 2 workers")
    assert site.log.count("Ready:") == 1


@pytest.mark.parametrize("startup", ["raise RuntimeError('no database')", "os._exit(7)"])
def test_an_application_that_cannot_start_at_first(service: StartService, startup: str) -> None:
    site = service()
    site.expect_error("died", sure=False)
    site.expect_error("Boot failed: generation 1 was dropped")
    site.deploy("1", startup=startup)
    site.start("--reload")
    wait_answer(site, lambda answer: answer.status == 500)
    site.deploy("2")
    site.wait_serving(1, version="2")


def test_it_stops_while_nothing_can_be_started(service: StartService) -> None:
    site = service()
    site.expect_error("died|Boot failed")
    site.write("app.py", "1 / 0\n")
    site.start("--reload", "--pid", "service.pid")
    wait_answer(site, lambda answer: b"ZeroDivisionError" in answer.body)
    site.stop()


def save_in_place(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def save_by_rename(path: Path) -> None:
    new = path.with_name(f"{path.name}.tmp123")
    new.write_text(path.read_text() + "\n")
    new.rename(path)


def save_with_a_backup(path: Path) -> None:
    """As vim does: the old file is renamed, the new one written, and a probe of the directory comes and goes."""
    path.with_name("4913").touch()
    path.with_name("4913").unlink()
    text = path.read_text()
    path.rename(f"{path}~")
    path.write_text(text + "\n")
    Path(f"{path}~").unlink()


def save_after_a_removal(path: Path) -> None:
    text = path.read_text()
    path.unlink()
    path.write_text(text + "\n")


def touch(path: Path) -> None:
    os.utime(path)


@pytest.mark.parametrize("engine", ["inotify", "poll"])
def test_however_an_editor_saves(service: StartService, engine: str) -> None:
    site = start(service(), "--reload-engine", engine)
    saves = (save_in_place, save_by_rename, save_with_a_backup, save_after_a_removal, touch)
    for count, save in enumerate(saves, start=1):
        save(site.directory / "app.py")
        site.wait_log("Reloaded: generation", count=count)
    assert reloads(site) == len(saves), "one for each save"
    assert len(re.findall(r"Changed: \S+/app\.py\. Reloading", site.log)) == len(saves)


def test_what_changes_together_is_one_reload(service: StartService) -> None:
    """As at a checkout of another branch."""
    site = service()
    for number in range(50):
        site.write(f"part{number}.py", "value = 1\n")
    imports = "\n".join(f"import part{number}" for number in range(50))
    site.deploy("1", at_import=imports)
    start(site)
    for number in range(50):
        (site.directory / f"part{number}.py").write_text("value = 2\n")
    site.deploy("2", at_import=imports)
    site.wait_serving(1, version="2")
    site.wait_log("Reloaded: generation 2")
    assert re.search(r"Changed: \S+ and 50 other files\. Reloading", site.log)
    assert reloads(site) == 1


def test_what_is_none_of_the_applications_files_changes_nothing(service: StartService) -> None:
    """Logs, databases, caches, editors' files, and code that nobody has imported: then what is one, to have an end."""
    site = service()
    site.write("manage.py", "x = 1\n")
    (site.directory / "env").mkdir()
    (site.directory / "env" / "pyvenv.cfg").touch()
    start(site, "--access-logfile", "access.log")
    database = sqlite3.connect(site.directory / "shop.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE basket (item)")
    database.execute("INSERT INTO basket VALUES (1)")
    site.write("manage.py", "x = 2\n")
    site.write(".#app.py", "")
    site.write("app.py~", "")
    (site.directory / "env" / "new.py").touch()
    (site.directory / "__pycache__").mkdir()
    (site.directory / "__pycache__" / "app.cpython-311.pyc").touch()
    site.get()
    database.close()
    site.write("new.py", "")
    site.wait_log("Reloaded: generation 2")
    assert re.findall("Changed: (.*)", site.log) == [f"{site.directory}/new.py. Reloading"]


def test_extra_files_patterns_and_the_configuration(service: StartService) -> None:
    site = service()
    site.write("data.yaml", "1")
    (site.directory / "templates" / "deep").mkdir(parents=True)
    (site.directory / "templates" / "deep" / "a.html").write_text("1")
    (site.directory / "static").mkdir()
    site.write(
        "gunicorn.conf.py",
        "reload_extra_files = ['data.yaml', 'templates/**/*.html', 'static']\nraw_env = ['GREETING=1']\n",
    )
    site.deploy("1", startup="note('greeting', text=os.environ['GREETING'])")
    start(site)
    edits = ["data.yaml", "templates/deep/a.html", "templates/new.html", "static/new.css", "static/new.css"]
    for count, name in enumerate(edits, start=1):
        (site.directory / name).write_text("2" * count)
        site.wait_log(f"Changed: {site.directory}/{name}. Reloading", count=edits[:count].count(name))
        site.wait_log("Reloaded: generation", count=count)
    site.expect_error("Reload refused, nothing has changed")
    configuration = (site.directory / "gunicorn.conf.py").read_text()
    site.write("gunicorn.conf.py", "raw_env = (")
    site.wait_log("Reload refused")
    site.write("gunicorn.conf.py", configuration.replace("GREETING=1", "GREETING=2"))
    site.wait_event("greeting", count=len(edits) + 2)
    assert [event["text"] for event in site.events("greeting")][-2:] == ["1", "2"]


def test_what_is_imported_late_and_from_elsewhere(service: StartService, tmp_path: Path) -> None:
    """As an editable install is, or a plug-in that the first request loads."""
    elsewhere = tmp_path / "elsewhere" / "src"
    elsewhere.mkdir(parents=True)
    (elsewhere / "plugin_of_tests.py").write_text("value = 1\n")
    site = service()
    late = "asyncio.get_running_loop().call_later(0.2, lambda: note('late', value=__import__('plugin_of_tests').value))"
    site.deploy("1", at_import=f"sys.path.append({str(elsewhere)!r})", startup=late)
    start(site)
    site.wait_event("late")
    workers = site.workers()

    def changed() -> bool:
        # It is told of within a second; what was there before that moment is nothing new.
        plugin = elsewhere / "plugin_of_tests.py"
        if time.time() - plugin.stat().st_mtime > 1:
            plugin.write_text(f"value = 2  # {time.time()}\n")
        return site.workers() != workers

    site.wait_until(changed, "a reload")
    site.wait_until(lambda: site.events("late")[-1]["value"] == 2, "the new value")


@PRELOAD
def test_the_same_length_within_the_same_second(service: StartService, options: tuple[str, ...]) -> None:
    """Python takes bytecode for fresh whose source has the same size and second: the old code would be loaded."""
    site = start(service(), *options, environment={"PYTHONDONTWRITEBYTECODE": ""})
    for version in "23456":
        site.deploy(version)
        site.wait_serving(1, version=version)


def test_a_watcher_that_dies_is_replaced_and_misses_nothing(service: StartService) -> None:
    site = start(service())
    first = watcher(site)
    assert first
    os.kill(first, signal.SIGKILL)
    site.wait_log(r"\[WARNING\] The watcher died \(signal 9")
    site.deploy("2")
    site.wait_serving(1, version="2")
    assert watcher(site) != first
    site.deploy("3")
    site.wait_serving(1, version="3")


def test_the_watcher_leaves_the_signals_of_a_terminal_to_the_arbiter(service: StartService) -> None:
    site = start(service())
    pid = watcher(site)
    assert pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    site.deploy("2")
    site.wait_serving(1, version="2")
    assert "watcher died" not in site.log


def test_no_watcher_outlives_a_killed_arbiter(service: StartService) -> None:
    site = start(service(), "--pid", "service.pid")
    site.kill_arbiter()
    site.wait_until(site.is_gone, "everything is gone")


def test_hup_switches_it_on_and_off(service: StartService) -> None:
    site = service()
    site.write("gunicorn.conf.py", "")
    site.start("--workers", "1").wait_serving(1)
    assert not watcher(site)
    site.write("gunicorn.conf.py", "reload = True\nreload_engine = 'poll'\n")
    site.hup()
    site.wait_log("Watching .* by looking at them each second")
    first = watcher(site)
    assert first
    site.wait_log("Reloaded: generation 2")
    site.hup()
    site.wait_log("Reloaded: generation 3")
    assert watcher(site) == first, "nothing about it has changed"
    site.write("gunicorn.conf.py", "")
    site.wait_log("Reloaded: generation 4")
    site.wait_until(lambda: not watcher(site), "the watcher is gone")


def test_without_the_library_files_are_looked_at(service: StartService) -> None:
    site = service()
    site.write("watchfiles.py", "raise ImportError\n")
    start(site)
    assert "by looking at them each second: the package watchfiles is not installed" in site.log
    site.deploy("2")
    site.wait_serving(1, version="2")


def test_an_application_that_writes_a_module_at_each_load(service: StartService) -> None:
    site = service()
    site.write("version_of_tests.py", "")
    writes = "open('version_of_tests.py', 'w').write(f'at = {time.time_ns()}\\n'); import version_of_tests"
    site.deploy("1", at_import=writes)
    site.start("--reload", "--workers", "1", "--preload")
    site.wait_log(r"\[WARNING\] \S+/version_of_tests.py has changed 5 times in a row")
    site.wait_log("Reloaded: generation|Ready:")
    site.deploy("2")
    site.wait_serving(1, version="2")
