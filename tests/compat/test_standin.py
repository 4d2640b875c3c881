"""The stand-ins for gunicorn's modules: what public files import is there, and anything else says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import supervisor

WITHOUT = Path(__file__).parents[1] / "without_gunicorn"
SOURCE = Path(supervisor.__file__).parent.parent


def run(code: str, *, hidden: bool = True) -> subprocess.CompletedProcess[str]:
    """Code in an interpreter without gunicorn, in which a configuration is being read."""
    path = [str(WITHOUT), str(SOURCE)] if hidden else [str(SOURCE)]
    head = "import sys, warnings\nwarnings.simplefilter('ignore')\nfrom supervisor.compat.standin import *\n"
    return subprocess.run(
        [sys.executable, "-c", head + code],
        env={"PYTHONPATH": ":".join(path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


NAMES = """
from supervisor.compat.standin import MODULES
import importlib
with standing_in():
    for module, names in MODULES.items():
        found = importlib.import_module(module)
        for name in names:
            assert getattr(found, name) is not None, (module, name)
    from gunicorn import glogging, util
    from gunicorn.config import WhenReady, KNOWN_SETTINGS
    assert WhenReady.when_ready(None) is None and WhenReady.name == "when_ready"
    assert len(KNOWN_SETTINGS) > 120
    from gunicorn.config import AccessLogFormat
    assert "%(h)s" in AccessLogFormat.default
    import gunicorn
    assert gunicorn.version_info >= (27,) and gunicorn.glogging is glogging
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("gunicorn", "uvicorn_worker")))
"""


def test_every_name_is_there_and_no_module_stays() -> None:
    result = run(NAMES)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


def test_a_module_of_gunicorns_that_stays_was_there_before() -> None:
    code = "import gunicorn.util as theirs\nwith standing_in():\n    import gunicorn.util as found\n"
    assert run(f"{code}assert found is theirs\n", hidden=False).returncode == 0


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("import gunicorn.sock", "there is no module gunicorn.sock here: gunicorn is not installed"),
        ("from gunicorn import reloader", "cannot import name 'reloader' from 'gunicorn'"),
        (
            "import gunicorn.util; gunicorn.util.daemonize()",
            "gunicorn.util.daemonize is not there: gunicorn is not inst",
        ),
        ("import gunicorn_something", "No module named 'gunicorn_something'"),
    ],
)
def test_what_is_not_there(statement: str, says: str) -> None:
    result = run(f"with standing_in():\n    {statement}\n")
    assert says in result.stderr.splitlines()[-1]


def test_outside_there_is_no_gunicorn() -> None:
    result = run("with standing_in():\n    import gunicorn\nimport gunicorn\n")
    assert "No module named 'gunicorn'" in result.stderr


def test_the_error_of_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("from gunicorn.util import daemonize\n")
    code = (
        f"from supervisor.config.load import Inputs, load\nload(Inputs('a:b', cwd={str(tmp_path)!r}, environ={{}}))\n"
    )
    last = run(code).stderr.splitlines()
    assert any("take it out, or install gunicorn beside this package" in line for line in last), last


def test_standing_in_for_the_arbiter_stays_small() -> None:
    """A file that derives from gunicorn's classes costs the arbiter no event loop."""
    code = (
        "with standing_in():\n"
        "    from gunicorn.workers.base import Worker\n    from uvicorn_worker import UvicornWorker\n"
        "    from gunicorn.glogging import Logger\n    from gunicorn.app.base import BaseApplication\n"
        "print({'asyncio', 'uvicorn'} & set(sys.modules))"
    )
    assert run(code).stdout.strip() == "set()"


HEADER = """
from supervisor.config.load import Inputs, load
settings = load(Inputs('a:b', cwd={folder!r}, environ={{}}))
print(repr(settings.server_name), repr(settings.server_software))
"""


HIDES_IT = """
from gunicorn.http import wsgi
class R(wsgi.Response):
    def default_headers(self):
        return [line for line in super().default_headers() if "Server" not in line]
wsgi.Response = R
"""

RENAMES_IT = """
from gunicorn.http.wsgi import Response
old = Response.default_headers
def mine(self):
    return [line.replace("gunicorn", "Apache") for line in old(self)]
Response.default_headers = mine
"""


@pytest.mark.parametrize("hidden", [True, False], ids=["without", "with gunicorn"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import gunicorn\n", "None None"),
        ("import gunicorn\ngunicorn.SERVER = 'x'\n", "'x' None"),
        ("import gunicorn\ngunicorn.SERVER_SOFTWARE = 'x/1'\n", "None 'x/1'"),
        (HIDES_IT, "'' None"),
        (RENAMES_IT, "'Apache' None"),
        ("from gunicorn.http.wsgi import Response\nResponse.default_headers = lambda self: 1 / 0\n", "None None"),
    ],
)
def test_the_name_of_the_server(tmp_path: Path, text: str, found: str, hidden: bool) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(text)
    result = run(HEADER.format(folder=str(tmp_path)), hidden=hidden)
    assert result.stdout.strip() == found, result.stderr
