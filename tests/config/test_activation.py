"""Sockets that a service manager passes take the place of ``bind``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.config.load import Inputs, load
from supervisor.config.settings import Settings
from supervisor.errors import ConfigError

OURS = str(os.getpid())


def settings(tmp_path: Path, environ: Mapping[str, str]) -> Settings:
    return load(Inputs(app="shop:app", values={"bind": ["127.0.0.1:1234"]}, environ=environ, cwd=str(tmp_path)))


def test_they_win_over_everything(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("bind = 'unix:web.sock'\n")
    found = settings(tmp_path, {"LISTEN_PID": OURS, "LISTEN_FDS": "2", "SUPERVISOR_BIND": ":80", "PORT": "81"})
    assert found.bind == ["fd://3", "fd://4"]
    assert found.source("bind") == "environment LISTEN_FDS"


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN_PID": "1", "LISTEN_FDS": "2"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "rubbish"},
        {"LISTEN_PID": "rubbish", "LISTEN_FDS": "2"},
        {"LISTEN_FDS": "2"},
        {"LISTEN_PID": OURS, "LISTEN_FDS": "0"},
    ],
    ids=["another process", "another process, rubbish", "rubbish", "nobody", "no sockets"],
)
def test_none_were_passed_to_this_process(tmp_path: Path, environ: Mapping[str, str]) -> None:
    assert settings(tmp_path, environ).bind == ["127.0.0.1:1234"]


@pytest.mark.parametrize("count", ["", "two", "-1"])
def test_a_number_that_is_none(tmp_path: Path, count: str) -> None:
    with pytest.raises(ConfigError, match=rf"bind cannot be taken from LISTEN_FDS: '{count}' is no number"):
        settings(tmp_path, {"LISTEN_PID": OURS, "LISTEN_FDS": count})
