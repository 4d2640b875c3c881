"""What a reload depends on, and when it counts as changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.config.load import Inputs, load
from supervisor.runtime import watched
from supervisor.runtime.watched import Watch, changes, is_half_done, latest, look, open_places, watch_of


def write(path: Path, text: str = "x = 1\n", *, at: float = 1_000_000.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "app.py")
    write(tmp_path / "package" / "__init__.py")
    write(tmp_path / "package" / "views.py")
    return tmp_path


def test_code_is_found_and_what_is_not_the_projects_is_left_out(project: Path) -> None:
    for name in (
        "node_modules/tool/setup.py",
        "__pycache__/app.cpython-311.pyc",
        ".git/hooks/hook.py",
        "env/pyvenv.cfg",
        "env/lib/python3.11/site-packages/library.py",
        "package/.#views.py",
        "package/.views.py.swp",
        "package/views.py~",
        "server.log",
        "db.sqlite3-wal",
    ):
        write(project / name)
    (project / "dangling.py").symlink_to("nowhere")
    found = look(Watch("poll", (str(project),)), [])
    assert sorted(found.code) == [str(project / name) for name in ("app.py", "package/__init__.py", "package/views.py")]
    assert found.directories == {str(project), str(project / "package")}


def test_a_root_that_is_gone_or_closed_is_no_error(project: Path) -> None:
    found = look(
        Watch("poll", (str(project / "nowhere"),), (str(project / "no.yaml"),), ("/nowhere/*.html",)), ["/no.py"]
    )
    assert not found.code
    assert not found.asked


def test_a_root_that_is_too_large_is_cut(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "MOST_DIRECTORIES", 1)
    found = look(Watch("poll", (str(project),)), [])
    assert list(found.code) == [str(project / "app.py")]
    assert found.cut == [str(project)]


def rename(path: Path) -> None:
    write(path.with_name(".new"), "changed by a rename\n", at=1_000_001.0).rename(path)


def in_place(path: Path) -> None:
    write(path, "changed in place\n", at=1_000_001.0)


def anew(path: Path) -> None:
    path.unlink()
    write(path, "written anew\n", at=1_000_001.0)


def touch(path: Path) -> None:
    os.utime(path, (1_000_001.0, 1_000_001.0))


def older(path: Path) -> None:
    os.utime(path, (900_000.0, 900_000.0))  # a checkout that restores times


WAYS = [rename, in_place, anew, touch, older, Path.unlink]


@pytest.mark.parametrize("change", WAYS)
@pytest.mark.parametrize("place", ["imported", "extra", "pattern", "directory"])
def test_however_a_file_is_changed(project: Path, change: Callable[[Path], None], place: str) -> None:
    target = project / "package" / "views.py" if place == "imported" else write(project / "templates" / "a.html")
    watch = {
        "imported": Watch("poll", (str(project),)),
        "extra": Watch("poll", named=(str(target),)),
        "pattern": Watch("poll", patterns=(str(project / "**" / "*.html"),)),
        "directory": Watch("poll", named=(str(target.parent),)),
    }[place]
    imported = [str(target)] if place == "imported" else []
    before = look(watch, imported)
    assert changes(before, look(watch, imported), all_code=False) == []
    change(target)
    after = look(watch, imported)
    assert changes(before, after, all_code=False) == [str(target)]
    assert is_half_done(after, [str(target)]) is (change is Path.unlink)


def test_code_that_nobody_has_imported_counts_when_it_is_new_or_nothing_runs(project: Path) -> None:
    watch, imported = Watch("poll", (str(project),)), [str(project / "app.py")]
    before = look(watch, imported)
    in_place(project / "package" / "views.py")
    new = write(project / "package" / "new.py", at=1_000_005.0)
    after = look(watch, imported)
    assert changes(before, after, all_code=False) == [str(new)]
    assert changes(before, after, all_code=True) == [str(new), str(project / "package" / "views.py")]
    assert latest(after, [str(new)]) == 1_000_005.0


def test_an_imported_file_counts_wherever_it_is(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = write(tmp_path_factory.mktemp("editable") / "library.py")
    watch = Watch("poll", (str(project),))
    before = look(watch, [str(elsewhere)])
    assert str(elsewhere.parent) in before.directories
    in_place(elsewhere)
    assert changes(before, look(watch, [str(elsewhere)]), all_code=False) == [str(elsewhere)]


def test_new_files_of_patterns_and_directories_count(project: Path) -> None:
    watch = Watch("poll", patterns=(str(project / "templates" / "*.html"),), named=(str(project / "package"),))
    before = look(watch, [])
    new = [write(project / "templates" / "b.html"), write(project / "package" / "data.json")]
    assert sorted(changes(before, look(watch, []), all_code=False)) == sorted(map(str, new))
    assert list(open_places(watch)) == [f"{project}/package/", f"{project}/templates/"]


def test_an_empty_file_may_be_half_done(project: Path) -> None:
    write(project / "app.py", "")
    assert is_half_done(look(Watch("poll", (str(project),)), []), [str(project / "app.py")])


def test_what_settings_want_watched(project: Path) -> None:
    write(project / "gunicorn.conf.py", "reload = True\nchdir = 'package'\npythonpath = 'lib'\n")
    write(project / "data.yaml")
    values = {"reload_extra_files": ["data.yaml", "templates/*.html"], "reload_engine": "poll"}
    settings = load(Inputs(app="app:app", values=values, environ={}, cwd=str(project)))
    assert watch_of(settings, str(project)) == Watch(
        engine="poll",
        roots=(str(project / "package" / "lib"), str(project / "package")),
        named=(str(project / "data.yaml"), str(project / "gunicorn.conf.py")),
        patterns=(str(project / "templates" / "*.html"),),
    )
