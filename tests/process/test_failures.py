"""What cannot start says why, with its exit code; after HUP it says why, and what served goes on serving."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.conftest import StartService
from tests.process.connection import Target
from tests.process.harness import Service
from tests.process.load import Load, Traffic

PRELOAD = pytest.mark.parametrize("preload", [True, False], ids=["preload", "no preload"])


def broken_import(site: Service) -> None:
    site.deploy("broken", at_import="raise RuntimeError('no such table: users')")


def syntax_error(site: Service) -> None:
    site.write("app.py", "def app(:\n")


def missing_dependency(site: Service) -> None:
    site.deploy("broken", at_import="import no_such_dependency")


def exit_at_import(site: Service) -> None:
    site.deploy("broken", at_import="sys.exit('no database url')")


def server_in_the_module(site: Service) -> None:
    site.deploy("broken", at_import="import supervisor\nsupervisor.run('app:app')")


def missing_attribute(site: Service) -> None:
    site.write("app.py", "application = None\n")


def missing_module(site: Service) -> None:
    (site.directory / "app.py").rename(site.directory / "application.py")


def failing_lifespan(site: Service) -> None:
    site.deploy("broken", startup="raise RuntimeError('no such table: users')")


def crash_in_startup(site: Service) -> None:
    site.deploy("broken", startup="os._exit(9)")


BROKEN_APPLICATIONS = [
    pytest.param(broken_import, 3, r"RuntimeError: no such table: users", id="import error"),
    pytest.param(syntax_error, 3, r"SyntaxError", id="syntax error"),
    pytest.param(missing_dependency, 3, r"ModuleNotFoundError.*no_such_dependency", id="missing dependency"),
    pytest.param(exit_at_import, 3, r"exit.*no database url", id="exit at import"),
    pytest.param(server_in_the_module, 3, r"starts a server itself, at \S+app\.py:\d+,", id="server in the module"),
    pytest.param(missing_attribute, 4, r"'app'.*(not in|no) .*app|app:app", id="missing attribute"),
    pytest.param(missing_module, 4, r"no module named 'app'", id="missing module"),
    pytest.param(failing_lifespan, 3, r"RuntimeError: no such table: users", id="lifespan failure"),
    pytest.param(crash_in_startup, 3, r"exit code 9", id="crash in startup"),
]

ANY_FAILURE = r"fail|dropped|died|not found|giving up|could not|waits"


WHERE = r'File "\S+/app\.py", line \d+'


def restore(site: Service, version: str) -> None:
    site.deploy(version)


@PRELOAD
@pytest.mark.parametrize(("break_it", "code", "message"), BROKEN_APPLICATIONS)
def test_at_start(
    service: StartService, break_it: Callable[[Service], None], code: int, message: str, preload: bool
) -> None:
    site = service()
    break_it(site)
    site.expect_error(ANY_FAILURE)
    site.start("--workers", "2", "--pid", "service.pid", *(["--preload"] if preload else []))
    assert site.wait_exit() == code, site.report()
    assert re.search(message, site.log, re.IGNORECASE), site.log
    assert site.log.count("Traceback (most recent call last)") <= 1, f"one traceback, once\n{site.log}"
    if break_it in (broken_import, missing_dependency, failing_lifespan):
        assert site.log.count("Traceback (most recent call last)") == 1, site.log
        assert "app.py" in site.log, "the traceback leads to the application"


def test_after_hup_log_and_pidfile_go_back_too(service: StartService) -> None:
    site = service()
    text = "pidfile = '{0}.pid'\nerrorlog = '{0}.log'\n"
    site.write("gunicorn.conf.py", text.format("a"))
    site.start("--preload")
    before = site.wait_serving(1)
    broken_import(site)
    site.write("gunicorn.conf.py", text.format("b"))
    site.hup()
    log = site.directory / "a.log"
    site.wait_until(lambda: "no such table" in log.read_text(), "the failure is told in the log that stays")
    assert "Reload failed: generation 2 was dropped" in log.read_text()
    assert (site.directory / "a.pid").read_text() == f"{site.pid}\n"
    assert not (site.directory / "b.pid").exists()
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    assert site.serving() != before
    assert (site.directory / "b.pid").read_text() == f"{site.pid}\n"
    assert not (site.directory / "a.pid").exists()


def test_a_lifespan_that_must_be_spoken(service: StartService) -> None:
    """An application that raises without a word may not know the protocol (ASGI, lifespan); with ``on`` it has to."""
    site = service()
    site.write("app.py", "async def app(scope, receive, send):\n    raise RuntimeError('what is a lifespan?')\n")
    site.expect_error(ANY_FAILURE)
    site.start("--asgi-lifespan", "on")
    assert site.wait_exit() == 3
    assert "what is a lifespan?" in site.log


@PRELOAD
@pytest.mark.parametrize(("break_it", "code", "message"), BROKEN_APPLICATIONS)
def test_after_hup(
    service: StartService, break_it: Callable[[Service], None], code: int, message: str, preload: bool
) -> None:
    """The old workers keep their pids and answer; the next good HUP succeeds."""
    site = service().start("--workers", "2", *(["--preload"] if preload else []))
    before = site.wait_serving(2)
    site.expect_error(ANY_FAILURE)
    break_it(site)
    site.hup()
    site.wait_log(r"reload failed")
    assert re.search(message, site.log, re.IGNORECASE), site.log
    assert site.wait_serving(2) == before
    assert site.get().json()["version"] == "1"
    assert site.log.count("Traceback (most recent call last)") <= 1, f"one traceback, once\n{site.log}"
    restore(site, "2")
    site.hup()
    after = site.wait_serving(2, version="2")
    assert not set(before) & set(after)


@PRELOAD
@pytest.mark.parametrize("where", ["import", "startup"])
def test_a_hang_after_hup_ends_with_boot_timeout(service: StartService, where: str, preload: bool) -> None:
    site = service()
    site.write("gunicorn.conf.py", f"workers = 2\npreload_app = {preload}\n")
    site.start()
    before = site.wait_serving(2)
    site.expect_error(ANY_FAILURE + "|boot_timeout|abort|kill|where the loader")
    if where == "import":
        site.deploy("2", at_import="time.sleep(3600)")
    else:
        site.deploy("2", startup="await asyncio.sleep(3600)")
    site.write("gunicorn.conf.py", f"workers = 2\npreload_app = {preload}\nboot_timeout = 1\n")
    site.hup()
    site.wait_log(r"reload failed.*boot_timeout")
    if where == "import":
        site.wait_log(WHERE)
    assert site.wait_serving(2, version="1") == before
    site.write("gunicorn.conf.py", f"workers = 2\npreload_app = {preload}\n")
    restore(site, "3")
    site.hup()
    site.wait_serving(2, version="3")


@PRELOAD
@pytest.mark.parametrize("where", ["import", "startup"])
def test_a_hang_at_start_ends_with_boot_timeout(service: StartService, where: str, preload: bool) -> None:
    site = service()
    if where == "import":
        site.deploy("1", at_import="time.sleep(3600)")
    else:
        site.deploy("1", startup="await asyncio.sleep(3600)")
    site.expect_error(ANY_FAILURE + "|boot_timeout|abort|kill|where the loader")
    site.start("--boot-timeout", "1", *(["--preload"] if preload else []))
    assert site.wait_exit() == 3
    assert "boot_timeout" in site.log
    if where == "import":
        assert re.search(WHERE, site.log), site.log
        assert site.log.count("app.py") == 1, f"the place is told once\n{site.log}"
        assert "loop.py" not in site.log, "the arbiter's own frames are left out"


def test_a_hang_in_c_at_import_is_located(service: StartService) -> None:
    """No Python handler would ever run there."""
    site = service()
    site.deploy("1", at_import="import ctypes\nctypes.PyDLL(None).pause()")
    site.expect_error(ANY_FAILURE + "|where the loader")
    site.start("--boot-timeout", "1", "--preload")
    assert site.wait_exit() == 3
    assert re.search(WHERE, site.log), site.log


def test_a_crash_in_c_at_import_is_located(service: StartService) -> None:
    site = service().start("--preload")
    before = site.wait_serving(1)
    site.expect_error(ANY_FAILURE + "|where the loader")
    site.deploy("2", at_import="import ctypes\nctypes.string_at(0)")
    site.hup()
    site.wait_log(r"reload failed.*signal 11")
    assert re.search(WHERE, site.log), site.log
    assert site.wait_serving(1) == before


def test_a_reload_that_gets_stuck_half_way_says_so(service: StartService) -> None:
    """The first new worker takes the only place there is: the others cannot start until it is free."""
    site = service().start("--workers", "3", "--preload")
    before = site.wait_serving(3)
    site.expect_error(r"reload incomplete|died \(exit code 3\)")
    site.deploy("2", startup="os.close(os.open('place', os.O_CREAT | os.O_EXCL))")
    site.hup()
    site.wait_log(r"\[ERROR\] Reload incomplete: generation 2 has 1 of 3 workers after \d.*: FileExistsError")
    site.wait_event("starting", count=7)
    assert len(set(before) & site.workers()) == 2, "older ones serve on"
    assert site.get().status == 200
    assert site.log.count("Reload incomplete") == 1
    assert site.log.count("Traceback (most recent call last)") == 1, site.log
    restore(site, "3")
    site.hup()
    site.wait_serving(3, version="3")
    site.wait_log("Reloaded: generation 3, 3 workers")


BROKEN_FILES = [
    pytest.param("workers = = 2\n", r"SyntaxError|invalid syntax", id="syntax error"),
    pytest.param("raise RuntimeError('vault is sealed')\n", r"vault is sealed", id="raises"),
    pytest.param("import sys\nsys.exit(0)\n", r"exit", id="exits"),
    pytest.param("workers = 'many'\n", r"workers.*many", id="wrong value"),
    pytest.param("import no_such_helper\n", r"no_such_helper", id="missing import"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN_FILES)
def test_a_broken_configuration_at_start(service: StartService, text: str, message: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", text)
    site.expect_error(".", sure=False)
    site.start()
    assert site.wait_exit() == 1, site.report()
    assert re.search(message, site.log), site.log
    assert "gunicorn.conf.py" in site.log, "it says where"


@pytest.mark.parametrize(("text", "message"), BROKEN_FILES)
def test_a_broken_configuration_after_hup(service: StartService, text: str, message: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", "workers = 2\n")
    before = site.start().wait_serving(2)
    site.expect_error(r"gunicorn\.conf\.py|configuration|reload")
    site.write("gunicorn.conf.py", text)
    site.hup()
    site.wait_log(message)
    assert site.wait_serving(2) == before
    assert site.get().status == 200
    site.write("gunicorn.conf.py", "workers = 1\n")
    restore(site, "2")
    site.hup()
    site.wait_serving(1, version="2")


def test_a_vanished_configuration(service: StartService) -> None:
    site = service()
    path = site.write("site.conf.py", "workers = 2\n")
    before = site.start("--config", "site.conf.py").wait_serving(2)
    site.expect_error(r"site\.conf\.py|configuration|reload")
    path.unlink()
    site.hup()
    site.wait_log(r"\[ERROR\].*(site\.conf\.py|configuration)")
    assert site.wait_serving(2) == before


def test_a_start_in_a_directory_that_was_removed(service: StartService) -> None:
    site = service().start(prefix=["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"])
    assert site.wait_exit() == 1
    assert "Traceback" not in site.log
    assert re.search(r"^Error: .*working directory.*No such file", site.log, re.MULTILINE), site.log


def release(site: Service) -> Path:
    """A folder that the application is moved to."""
    folder = site.directory / "release"
    folder.mkdir()
    shutil.copy(site.directory / "probe.py", folder)
    (site.directory / "app.py").rename(folder / "app.py")
    return folder


@PRELOAD
@pytest.mark.parametrize("chdir", ["the start", "chdir"])
def test_a_directory_that_is_removed_while_it_serves(service: StartService, chdir: str, preload: bool) -> None:
    """HUP is refused, a crash finds no code, unless it was preloaded; and all is well when the directory is back."""
    site = service()
    folder = release(site)
    options = ["--workers", "2", *(["--preload"] if preload else [])]
    if chdir == "chdir":
        site.start(*options, "--chdir", "release")
    else:
        site.directory = folder
        site.start(*options)
    before = site.wait_serving(2)
    site.expect_error("reload refused")
    shutil.rmtree(folder)
    site.hup()
    site.wait_log(r"reload refused.*release.*No such file|reload refused.*does not exist: 'release'")
    site.signal(signal.SIGUSR2)
    site.expect_error("upgrade failed|cannot be started")
    site.wait_log("upgrade failed")
    assert site.wait_serving(2) == before
    assert site.get().status == 200
    assert "Traceback" not in site.log
    victim, survivor = sorted(before)
    site.expect_error(r"killed by signal 9|died \(exit code 4\)")
    os.kill(victim, signal.SIGKILL)
    if preload:
        assert survivor in site.wait_serving(2, version="1")
    else:
        site.wait_log(r"no module named 'app'")
    site.directory = folder.parent
    site.deploy("2")
    release(site)
    site.hup()
    site.wait_serving(2, version="2")


MORTAL = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: without them permissions hold for root too
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, in force from the next execve on
os.execv(sys.executable, [sys.executable, "-m", "supervisor", *sys.argv[1:]])
"""


def test_a_directory_that_is_forbidden_while_it_serves(service: StartService) -> None:
    site = service()
    site.write("mortal.py", MORTAL)
    site.write("gunicorn.conf.py", "workers = 2\nchdir = 'release'\n")
    release(site)
    before = site.start("app:app", "--bind", site.address, script="mortal.py").wait_serving(2)
    site.expect_error("reload refused.*permission denied")
    os.chmod(site.directory / "release", 0)
    try:
        site.hup()
        site.wait_log("reload refused.*release.*permission denied")
        assert site.wait_serving(2) == before
        assert "Traceback" not in site.log
        site.deploy("2")
        site.write("gunicorn.conf.py", "workers = 2\nchdir = '.'\n")
        site.hup()
        site.wait_serving(2, version="2")
    finally:
        os.chmod(site.directory / "release", 0o755)


def test_a_configuration_that_cannot_be_read_at_start(service: StartService) -> None:
    site = service().start("--config", "no-such-file.py")
    assert site.wait_exit() == 1
    assert "no-such-file.py" in site.log


def test_usage(service: StartService) -> None:
    site = service().start("--no-such-option")
    assert site.wait_exit() == 2
    assert "--no-such-option" in site.log


def test_no_application_named(service: StartService) -> None:
    site = service().start(app=None)
    assert site.wait_exit() in (1, 2)
    assert re.search(r"application", site.log, re.IGNORECASE), site.log


def test_a_port_in_use(service: StartService) -> None:
    site = service()
    site.expect_error(".", sure=False)
    with socket.create_server(("127.0.0.1", site.port)):
        site.start("--pid", "service.pid")
        assert site.wait_exit() == 1, site.report()
    assert str(site.port) in site.log
    assert "Traceback" not in site.log
    assert re.search(rf"\b{os.getpid()}\b", site.log), f"it says who holds the port\n{site.log}"


def test_an_address_that_is_not_ours(service: StartService) -> None:
    site = service(bind=None)
    site.expect_error(".", sure=False)
    site.start("--bind", f"192.0.2.1:{site.port}")
    assert site.wait_exit() == 1, site.report()
    assert "192.0.2.1" in site.log


def test_a_stale_pidfile_is_replaced(service: StartService) -> None:
    site = service()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    site.pidfile.write_text(f"{gone.pid}\n")
    site.start("--pid", "service.pid").wait_serving(1)
    assert site.pidfile.read_text().strip() == str(site.pid)


def test_a_pidfile_that_names_a_stranger_is_replaced(service: StartService) -> None:
    """Numbers of processes are used again; a live process of that number is not yet a live arbiter."""
    site = service()
    site.pidfile.write_text(f"{os.getpid()}\n")
    site.start("--pid", "service.pid").wait_serving(1)
    assert site.pidfile.read_text().strip() == str(site.pid)


def test_a_pidfile_of_a_live_arbiter_is_refused(service: StartService) -> None:
    first, second = service(), service()
    first.start("--pid", "service.pid").wait_serving(1)
    second.expect_error(".", sure=False)
    second.start("--pid", str(first.pidfile))
    assert second.wait_exit() == 1
    assert re.search(rf"\b{first.pid}\b", second.log), f"it says whose it is\n{second.log}"
    assert first.pidfile.read_text().strip() == str(first.pid)
    assert first.get().status == 200


def test_a_pidfile_that_cannot_be_written(service: StartService) -> None:
    site = service()
    site.expect_error(".", sure=False)
    site.start("--pid", "no/such/folder/service.pid")
    assert site.wait_exit() == 1
    assert "no/such/folder" in site.log


def test_a_sibling_that_cannot_boot_harms_nobody(service: StartService) -> None:
    """Without preload a replacement imports what is on the disk: it fails, is tried again, and the others serve."""
    site = service().start("--workers", "2")
    before = site.wait_serving(2)
    site.expect_error(ANY_FAILURE + "|killed")
    failing_lifespan(site)
    victim, survivor = sorted(before)
    os.kill(victim, signal.SIGKILL)
    site.wait_event("starting", count=4)
    assert site.serving() == {survivor: "1"}
    assert site.get().status == 200
    restore(site, "1")
    assert survivor in site.wait_serving(2)


def test_a_storm_of_crashes_costs_what_the_crashed_had_in_hand(
    service: StartService, measured: Callable[[str], None]
) -> None:
    """Twenty requests a second crash their worker: slots back off, but not all at once, so that others get through."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.expect_error(r"died \(exit code 1\)")
    target = Target(("127.0.0.1", site.port))
    with Load(target, Traffic(50, timeout=60), Traffic(50, keep_alive=False, timeout=60)) as load:
        with Load(target, Traffic(20, keep_alive=False, path="/exit/1", limit=60, timeout=60)) as storm:
            # Two of them may meet the same worker, so how many workers there were is chance.
            site.wait_until(lambda: len(storm.report.records) == 60, "all crashes have happened", timeout=120)
        site.wait_serving(2)
    report = load.stop()
    measured(str(report))
    assert report.counts["timed out"] == report.counts["refused"] == report.counts["wrong status"] == 0, report
    # Not a share of the requests, whose number depends on how long the slots back off. Each crash takes along what its
    # worker had accepted, one connection in a turn of its loop: mostly two or three. Were the queue accepted with them,
    # it would be all that had come while nobody was there.
    assert len(report.lost) <= 5 * len(storm.report.records), report
    with Load(target, Traffic(100, limit=100)) as load:
        pass
    assert not load.report.lost


def test_a_reload_that_failed_leaves_no_environment_behind(service: StartService) -> None:
    """The loader of the generation that serves is lost afterwards: the next one finds what its own settings say."""
    config = "workers = 2\npreload_app = True\nraw_env = {}\n"
    stage = (
        "import os\nfrom probe import Probe\n\nasync def nothing():\n    pass\n\n"
        "app = Probe(os.environ.get('STAGE', 'none'), nothing, nothing)\n"
    )
    site = service()
    site.write("gunicorn.conf.py", config.format([]))
    site.write("app.py", stage)
    before = site.start().wait_serving(2, version="none")
    site.expect_error("no such table|killed by signal 9|loader of generation 1 is gone")
    site.write("gunicorn.conf.py", config.format(["STAGE=new"]))
    site.write("app.py", f"raise RuntimeError('no such table: users')\n{stage}")
    site.hup()
    site.wait_log("Reload failed")
    site.write("app.py", stage)
    site.wait_until(lambda: len(site.pids().loaders) == 1, "the loader of the failed generation is gone")
    (loader,) = site.pids().loaders
    os.kill(loader, signal.SIGKILL)
    site.wait_until(lambda: site.pids().loaders not in ([], [loader]), "a new loader")
    os.kill(min(before), signal.SIGKILL)
    site.wait_event("starting", count=3)
    assert set(site.wait_serving(2).values()) == {"none"}
