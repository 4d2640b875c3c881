"""Process titles, where they can be set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.runtime.titles import set_title


@pytest.mark.parametrize(
    ("call", "title"),
    [
        ("'arbiter', 'shop'", "supervisor: arbiter [shop]"),
        ("'loader', 'shop', 'generation 2'", "supervisor: loader [shop] generation 2"),
        ("'worker', 'shop', '3'", "supervisor: worker [shop] 3"),
    ],
)
def test_ps_shows_the_role(call: str, title: str) -> None:
    pytest.importorskip("setproctitle")
    code = f"""
import sys
from supervisor.runtime.titles import set_title
assert "setproctitle" not in sys.modules
set_title({call})
print(open("/proc/self/cmdline").read().rstrip(chr(0)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == title


def test_nothing_happens_without_setproctitle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    before = Path("/proc/self/cmdline").read_bytes()
    set_title("arbiter", "shop")
    assert Path("/proc/self/cmdline").read_bytes() == before
