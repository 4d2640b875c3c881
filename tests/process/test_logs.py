"""Error log and access log: files, formats, and new files after USR1."""

from __future__ import annotations

import re
import signal

import pytest

from tests.process.conftest import StartService


def test_usr1_reopens_every_log_in_every_process(service: StartService) -> None:
    site = service()
    arguments = ("--error-logfile", "error.log", "--access-logfile", "access.log")
    site.start("--workers", "2", "--preload", *arguments).wait_serving(2)
    error, access = site.directory / "error.log", site.access_log
    site.get("/before")
    site.wait_until(lambda: "/before" in access.read_text(), "the first request is logged")
    old_error, old_access = error.rename(site.directory / "error.1"), access.rename(site.directory / "access.1")
    site.signal(signal.SIGUSR1)
    site.wait_until(lambda: error.exists() and access.exists(), "new files")

    # A worker may still be on its way to the new file; once all have arrived, the old one grows no more.
    answered: set[int] = set()

    def arrived() -> bool:
        size = old_access.stat().st_size
        answer = site.get("/after").json()
        site.wait_until(lambda: access.read_text() or old_access.stat().st_size > size, "the request is logged")
        if old_access.stat().st_size == size:
            answered.add(answer["pid"])
        return answered == site.workers()

    site.wait_until(arrived, "both workers write to the new file")
    size = old_error.stat().st_size
    site.hup()
    site.wait_until(lambda: "eload" in error.read_text(), "the arbiter writes to the new error log")
    assert old_error.stat().st_size == size, "and no longer to the old one"
    assert not re.search(r"\[ERROR\]", error.read_text() + old_error.read_text())


def test_every_atom_of_the_access_log(service: StartService) -> None:
    site = service()
    atoms = ["h", "l", "u", "m", "U", "q", "H", "s", "B", "b", "f", "a", "T", "D", "M", "L", "p"]
    braced = ["{x-request}i", "{content-type}o", "{no-such}i", "{no-such}o", "{no-such}e"]
    layout = "|".join(f"{name}=%({name})s" for name in [*atoms, *braced, "t", "r"])
    site.write("gunicorn.conf.py", f"accesslog = 'access.log'\naccess_log_format = {layout!r}\n")
    site.start().wait_serving(1)
    connection = site.connect()
    request = (
        "GET /some/path?a=1&b=2 HTTP/1.1\r\nHost: x\r\nUser-Agent: probe/1\r\nReferer: http://r/\r\n"
        "X-Request: seven\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode())
    while connection.recv(65536):
        pass
    connection.close()
    site.wait_until(lambda: site.access_log.read_text().endswith("\n"), "a line in the access log")
    line = site.access_log.read_text().strip()
    seen = dict(part.split("=", 1) for part in line.split("|"))
    (worker,) = site.workers()
    exact = {
        "h": "127.0.0.1",
        "l": "-",
        "u": "-",
        "m": "GET",
        "U": "/some/path",
        "q": "a=1&b=2",
        "H": "HTTP/1.1",
        "s": "200",
        "f": "http://r/",
        "a": "probe/1",
        "p": f"<{worker}>",
        "{x-request}i": "seven",
        "{content-type}o": "application/json",
        "{no-such}i": "-",
        "{no-such}o": "-",
        "{no-such}e": "-",
        "r": "GET /some/path?a=1&b=2 HTTP/1.1",
    }
    assert {name: seen[name] for name in exact} == exact
    for name, pattern in {"B": r"\d+", "b": r"\d+", "T": r"\d+", "D": r"\d+", "M": r"\d+", "L": r"\d+\.\d+"}.items():
        assert re.fullmatch(pattern, seen[name]), (name, seen[name])
    assert re.fullmatch(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", seen["t"]), seen["t"]


def test_the_access_log_on_standard_output(service: StartService) -> None:
    site = service().start("--access-logfile", "-")
    site.wait_serving(1)
    site.get("/hello")
    site.wait_log(r'127\.0\.0\.1 - - \[.*\] "GET /hello HTTP/1\.1" 200 ')


@pytest.mark.parametrize(("level", "info"), [("debug", True), ("info", True), ("warning", False)])
def test_loglevel(service: StartService, level: str, info: bool) -> None:
    site = service().start("--log-level", level)
    site.wait_serving(1)
    site.stop()
    assert ("[INFO]" in site.log) is info


def test_the_access_log_is_complete_when_a_worker_has_drained(service: StartService) -> None:
    site = service().start("--workers", "2", "--access-logfile", "access.log")
    site.wait_serving(2)
    for number in range(50):
        assert site.get(f"/number/{number}").status == 200
    site.stop()
    logged = re.findall(r"/number/(\d+)", site.access_log.read_text())
    assert sorted(map(int, logged)) == list(range(50))
