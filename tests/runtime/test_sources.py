"""What the files of an application are known by."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from supervisor.runtime.sources import DIGEST, changed, digests, packed


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two modules with files, and some without."""
    files = {name: tmp_path / f"{name}.py" for name in ("shop_app", "shop_models")}
    for name, file in files.items():
        file.write_text("x = 1\n")
        module = ModuleType(name)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
    for name, strange in {"shop_zip": "app.zip/x.py", "shop_none": None, "shop_null": "a\0b", "shop_int": 7}.items():
        module = ModuleType(name)
        module.__file__ = strange  # type: ignore[assignment]  # programs put anything there
        monkeypatch.setitem(sys.modules, name, module)
    return files


def test_nothing_has_changed(shop: dict[str, Path]) -> None:
    before = sys.modules.keys() - {*shop, "shop_zip", "shop_none", "shop_null", "shop_int"}
    found = digests(before)
    assert list(found) == [str(file) for file in shop.values()]
    assert changed(found, packed(found.values())) == []


@pytest.mark.parametrize("how", ["longer", "newer", "new"])
def test_a_change_is_found(shop: dict[str, Path], how: str, tmp_path: Path) -> None:
    before = sys.modules.keys() - shop.keys()
    known = packed(digests(before).values())
    file, status = shop["shop_models"], shop["shop_models"].stat()
    if how == "longer":
        file.write_text("x = 100\n")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "newer":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    else:
        file = file.rename(tmp_path / "shop_other.py")
        sys.modules["shop_models"].__file__ = str(file)
    assert changed(digests(before), known) == [str(file)]


def test_of_what_is_not_known_nothing_is_said(shop: dict[str, Path]) -> None:
    found = digests(sys.modules.keys() - shop.keys())
    assert packed(found.values(), 2 * DIGEST - 1) == b""
    assert changed(found, b"") == []
