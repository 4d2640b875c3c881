"""Which files of a project a process has imported."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from supervisor.imported import Imported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return tmp_path


def test_files_are_told_once(folder: Path) -> None:
    (folder / "first_of_project.py").touch()
    (folder / "second_of_project.py").touch()
    imported = Imported()
    imported.news()
    importlib.import_module("first_of_project")
    assert imported.news() == [str(folder / "first_of_project.py")]
    assert imported.news() == []
    importlib.import_module("second_of_project")
    assert imported.news() == [str(folder / "second_of_project.py")]


def test_only_the_projects_count(folder: Path) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> str:
            raise RuntimeError(name)

    for name, file in {
        "installed": f"{sysconfig.get_paths()['purelib']}/installed.py",
        "of_another_environment": "/srv/env/lib/python3.11/site-packages/x.py",
        "of_the_library": f"{sysconfig.get_paths()['stdlib']}/json/__init__.py",
        "ours": str(Path(importlib.import_module("supervisor").__file__ or "").parent / "cli.py"),
        "relative": "x.py",
        "in_usr_src": "/usr/src/app/main.py",
    }.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__file__ = file
    sys.modules["lazy"] = Lazy("lazy")
    news = Imported().news()
    assert "/usr/src/app/main.py" in news
    for wrong in ("installed.py", "/x.py", "json/__init__.py", "supervisor/cli.py"):
        assert not [file for file in news if file.endswith(wrong)], wrong
    assert "x.py" not in news


@pytest.mark.parametrize("text", ["x = (", "import nonesuch_of_project", "1 / 0"])
def test_an_import_that_fails_names_its_files(folder: Path, text: str) -> None:
    (folder / "outer_of_project.py").write_text("import inner_of_project")
    (folder / "inner_of_project.py").write_text(text)
    imported = Imported()
    imported.news()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of three kinds
        importlib.import_module("outer_of_project")
    named = imported.news(caught.value)
    assert {str(folder / "outer_of_project.py"), str(folder / "inner_of_project.py")} <= set(named)
