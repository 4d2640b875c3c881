"""Who inherits the variables of a service manager."""

from __future__ import annotations

from supervisor.runtime.service_manager import for_successor, forget

GIVEN = {
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "WATCHDOG_USEC": "30000000",
    "WATCHDOG_PID": "7",
    "LISTEN_FDS": "2",
    "LISTEN_FDNAMES": "http:admin",
    "LISTEN_PID": "7",
    "LISTEN_PIDFDID": "4711",
}


def test_workers_inherit_none_of_them() -> None:
    environ = {**GIVEN, "PATH": "/bin"}
    forget(environ)
    assert environ == {"PATH": "/bin"}
    forget(environ)


def test_the_next_arbiter_is_spoken_to_in_its_turn() -> None:
    translated = for_successor(GIVEN, arbiter=7, successor=8)
    assert translated.pop("LISTEN_PID") == translated.pop("WATCHDOG_PID") == "8"
    assert translated == {
        name: GIVEN[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES")
    }


def test_what_was_meant_for_another_process_stays_its_own() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2"}
    assert for_successor(environ, arbiter=7, successor=8) == environ
    assert for_successor({}, arbiter=7, successor=8) == {}
