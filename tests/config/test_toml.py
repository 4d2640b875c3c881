"""Settings in TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start

PYPROJECT = """
[project]
workers = 9

[tool.supervisor]
workers = 3
bind = ["a:1", "b:2"]
preload-app = true
"""


def test_the_table_of_a_pyproject_is_used_where_there_is_no_python_file(start: Start) -> None:
    start.write("pyproject.toml", PYPROJECT)
    settings = start.load()
    assert (settings.workers, settings.bind, settings.preload_app) == (3, ["a:1", "b:2"], True)
    assert settings.source("workers") == "pyproject.toml:6"
    assert settings.source("preload_app") == "pyproject.toml:8"
    start.write("gunicorn.conf.py", "timeout = 5\n")
    settings = start.load()
    assert (settings.workers, settings.timeout) == (1, 5)


def test_a_pyproject_without_our_table_is_no_configuration(start: Start) -> None:
    for text in ("[tool.other]\nworkers = 3\n", "not TOML at all", "[tool.supervisor-x]\n", "[tool]\nsupervisor = 1\n"):
        start.write("pyproject.toml", text)
        settings = start.load()
        assert (settings.workers, settings.config_path) == (1, None)
    start.write("pyproject.toml", "[tool.supervisor]\nworkers =\n")
    with pytest.raises(ConfigError, match=r"The configuration file pyproject\.toml is not valid TOML"):
        start.load()


def test_a_file_of_its_own(start: Start) -> None:
    start.write("web.toml", "workers = 3\nloglevel = 'debug'\n[logconfig_dict]\nversion = 1\n")
    settings = start.load(config="web.toml")
    assert (settings.workers, settings.loglevel, settings.logconfig_dict) == (3, "debug", {"version": 1})
    assert settings.source("loglevel") == "web.toml:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 3\n", r"There is no setting 'worker'; did you mean 'workers'\? \(web\.toml:1\)"),
        ("workers = 3.5\n", r"workers must be a whole number, not 3\.5 \(web\.toml:1\)"),
        ("workers =\n", r"The configuration file web\.toml is not valid TOML"),
    ],
)
def test_mistakes(start: Start, text: str, message: str) -> None:
    start.write("web.toml", text)
    with pytest.raises(ConfigError, match=message):
        start.load(config="web.toml")


def test_a_missing_file(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"web\.toml cannot be read: No such file"):
        start.load(config="web.toml")
