"""TLS with a key that only root may read, and workers that are not root."""

from __future__ import annotations

import os
import pwd
import signal

import pytest

from tests.process.certificates import Authority
from tests.process.conftest import StartService
from tests.process.harness import Service
from tests.process.test_tls import shown
from tests.process.unprivileged import USER, reachable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")

HOOK = """
import os
from probe import note

def ssl_context(config, default_ssl_context_factory):
    note("hook", uids=os.getresuid())
    return default_ssl_context_factory()
"""


def hidden(authority: Authority) -> Authority:
    """Take the files from everybody but root."""
    for file in (authority.certfile, authority.keyfile):
        os.chown(file, 0, 0)
        file.chmod(0o600)
    return authority


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("hook", [True, False])
def test_a_key_that_only_root_may_read(service: StartService, preload: bool, hook: bool) -> None:
    site = service(public=True)
    site.write("gunicorn.conf.py", HOOK if hook else "")
    authority = hidden(Authority(site.directory))
    arguments = [*authority.options, "--user", USER, *(["--preload"] if preload else [])]
    site.start(*arguments, prefix=reachable()).wait_serving(1)
    first = authority.certificate
    assert shown(site, authority) == first
    assert site.get_tls(authority.client()).status == 200
    # Another worker of the same generation, as after a crash.
    site.signal(signal.SIGTTIN)
    site.wait_serving(2)
    authority.renew()
    hidden(authority)
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    assert shown(site, authority) == authority.certificate != first
    site.stop()
    assert all(event["uids"] == [pwd.getpwnam(USER).pw_uid] * 3 for event in site.events("hook"))
    assert bool(site.events("hook")) == hook


def test_it_is_checked_as_it_is_used(service: StartService) -> None:
    site: Service = service(public=True)
    authority = hidden(Authority(site.directory))
    site.start(*authority.options, "--user", USER, "--check-config", prefix=reachable())
    assert site.wait_exit() == 0, site.log
