"""Loading again in the same process, as HUP does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.config.load import load
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start

FILE = "import shop.limits\nfrom shop import limits\nmax_requests = limits.MOST\n"


def test_changes_of_the_file_and_of_the_modules_that_it_imports_are_seen(start: Start) -> None:
    start.write("shop/__init__.py", "")
    start.write("shop/limits.py", "MOST = 1\n")
    start.write("gunicorn.conf.py", FILE)
    inputs = start.inputs()
    assert load(inputs).max_requests == 1
    old = sys.modules["shop.limits"]
    start.write("shop/limits.py", "MOST = 1 + 1\n")
    start.write("gunicorn.conf.py", FILE + "workers = 3\n")
    settings = load(inputs)
    assert (settings.max_requests, settings.workers) == (2, 3)
    assert sys.modules["shop.limits"] is not old
    start.write("shop/limits.py", "MOST = 1 + 1 + 1\n")
    assert load(inputs).max_requests == 3, "the third load as well as the second"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop/limits.py", "MOST = 1 / 0\n"),
        ("shop/limits.py", "raise SystemExit\n"),
        ("gunicorn.conf.py", "import shop.limits, shop.fresh\nraise OSError\n"),
        ("gunicorn.conf.py", "import shop.limits, shop.fresh\nworkers = 'x'\n"),
    ],
)
def test_after_a_failed_load_the_old_modules_are_back(start: Start, name: str, text: str) -> None:
    start.write("shop/__init__.py", "")
    start.write("shop/limits.py", "MOST = 1\n")
    start.write("shop/fresh.py", "")
    start.write("gunicorn.conf.py", FILE)
    inputs = start.inputs()
    load(inputs)
    names = ("__config__", "shop", "shop.limits")
    before = {name: sys.modules[name] for name in names}
    start.write(name, text)
    with pytest.raises(ConfigError):
        load(inputs)
    assert {name: sys.modules[name] for name in names} == before
    assert "shop.fresh" not in sys.modules
    start.write("shop/limits.py", "MOST = 1 + 1 + 1 + 1\n")
    start.write("gunicorn.conf.py", FILE)
    assert load(inputs).max_requests == 4


def test_the_standard_library_and_installed_packages_are_not_imported_again(start: Start) -> None:
    start.write("gunicorn.conf.py", "import colorsys, hypothesis\n")
    sys.modules.pop("colorsys", None)
    inputs = start.inputs()
    load(inputs)
    before = sys.modules["colorsys"], sys.modules["hypothesis"]
    load(inputs)
    assert (sys.modules["colorsys"], sys.modules["hypothesis"]) == before


def test_modules_that_were_there_before_stay(start: Start) -> None:
    start.write("launcher.py", "")
    start.write("gunicorn.conf.py", "import launcher\n")
    sys.path.insert(0, str(start.directory))
    import launcher  # type: ignore[import-not-found]  # written above

    load(start.inputs())
    load(start.inputs())
    assert sys.modules["launcher"] is launcher


def test_modules_that_a_hook_imported_since_go_with_their_package(start: Start) -> None:
    start.write("shop/__init__.py", "")
    start.write("shop/limits.py", "MOST = 1\n")
    start.write("shop/metrics.py", "")
    start.write("gunicorn.conf.py", FILE + "def on_exit(server):\n    import shop.metrics\n")
    inputs = start.inputs()
    hook = load(inputs).on_exit
    assert hook is not None
    hook(None)
    assert "shop.metrics" in sys.modules
    load(inputs)
    assert "shop.metrics" not in sys.modules


def test_a_module_named_with_python_is_read_again(start: Start) -> None:
    start.write("conf/__init__.py", "")
    start.write("conf/web.py", "workers = 1\n")
    inputs = start.inputs(config="python:conf.web")
    assert load(inputs).workers == 1
    start.write("conf/web.py", "workers = 1 + 1\n")
    assert load(inputs).workers == 2


def test_a_package_that_was_there_before_gets_its_old_module_back(start: Start) -> None:
    start.write("shop/__init__.py", "")
    start.write("shop/limits.py", "MOST = 1\n")
    start.write("gunicorn.conf.py", FILE)
    sys.path.insert(0, str(start.directory))
    import shop  # type: ignore[import-not-found]  # written above

    inputs = start.inputs()
    load(inputs)
    before = shop.limits
    start.write("gunicorn.conf.py", "import shop.limits\n1 / 0\n")
    with pytest.raises(ConfigError):
        load(inputs)
    assert sys.modules["shop"] is shop
    assert shop.limits is sys.modules["shop.limits"] is before
