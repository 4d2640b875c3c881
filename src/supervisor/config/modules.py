"""The user's modules that the arbiter has imported are imported anew each time the configuration file is run.

HUP re-runs the file in the same process, and its loaders inherit ``sys.modules``. What the file, or a hook, imported
would bring old code with it, into the new generation's application too, so it is set aside first; where the new load
fails, it comes back.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from supervisor.imported import is_projects

_imported: set[str] = set()
_baseline: set[str] = set()
# State of the process, like sys.modules itself: what configuration files have imported, and what was there before.


@contextmanager
def fresh_imports() -> Iterator[None]:
    """Inside, modules that an earlier load imported are imported again. After an exception all is as it was."""
    if not _baseline:
        _baseline.update(sys.modules)
    old = {name: sys.modules.pop(name) for name in sorted(_stale())}
    kept = set(sys.modules)
    configuration = sys.modules.get("__config__")
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        for name in _new_user_modules(kept):
            del sys.modules[name]
        _restore(old, configuration)
        raise
    _imported.clear()
    _imported.update(_new_user_modules(kept))


def add_to_path(folder: str) -> None:
    """Put a directory in front of the module search path, where it is not on it yet."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def is_renewed(name: str) -> bool:
    """Whether the next load sets this module aside, to be imported anew where it is needed."""
    return name in _imported or (name not in _baseline and name in sys.modules and _is_users(name, sys.modules[name]))


def of_the_user() -> list[str]:
    """The user's modules in this process, by name. The program itself is none of them."""
    others = {*sys.stdlib_module_names, "__main__"}
    found = [(name, module) for name, module in sorted(sys.modules.items()) if name.partition(".")[0] not in others]
    return [name for name, module in found if _is_users(name, module)]


def _stale() -> set[str]:
    """The user's modules that were imported since the first load, by the file or by hooks."""
    found = {name for name, module in list(sys.modules.items()) if name not in _baseline and _is_users(name, module)}
    return found | {name for name in _imported if name in sys.modules}


def _new_user_modules(kept: set[str]) -> list[str]:
    return [name for name, module in list(sys.modules.items()) if name not in kept and _is_users(name, module)]


def _restore(old: dict[str, ModuleType], configuration: ModuleType | None) -> None:
    sys.modules.update(old)
    if configuration is not None:
        sys.modules["__config__"] = configuration
    for name, module in old.items():
        package, _, attribute = name.rpartition(".")
        if package and package not in old and package in sys.modules:
            setattr(sys.modules[package], attribute, module)


def _is_users(name: str, module: ModuleType) -> bool:
    """Whether a module is the user's own code. The configuration file itself is run anew in any case."""
    if name == "__config__":
        return False
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(places) and all(is_projects(place) for place in places if place)


def forget() -> None:
    """Start over, as in a process that has loaded no configuration yet."""
    _imported.clear()
    _baseline.clear()
