"""What can be named as the application, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.application import load_application
from supervisor.errors import AppNotFound

MODULE = """
VERSION = "1"
NUMBER = 3
NOTHING = None

async def app(scope, receive, send): ...

def create(name="shop"):
    return app

def broken():
    return {}.missing

def typing():
    return len(3)

def forgetful():
    "Builds an application and forgets to return it."

class Site:
    app = staticmethod(app)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"shop_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("expression", ["", ":app", ":create()", ":create('x')", ":create(name='x')", ":Site.app"])
def test_loads(shop: str, expression: str) -> None:
    assert load_application(shop + expression).__name__ == "app"


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (
            ":VERSION",
            "application '{}:VERSION' is a str, not callable; name the ASGI application, or a factory as {}:c",
        ),
        (":NUMBER", "is an int, not callable"),
        (":NOTHING", "is None, not callable"),
        (":forgetful()", "application '{}:forgetful()': the factory returned None, not an ASGI application"),
        (
            ":app()",
            "app cannot be called like this: missing a required argument: 'scope'; if it is the application itself, wr",
        ),
        (":create(size=1)", "create cannot be called like this: got an unexpected keyword argument 'size'"),
        (":NUMBER()", "NUMBER cannot be called like this: it is an int"),
        (":missing", "'missing' is not in module {}"),
    ],
)
def test_refuses(shop: str, expression: str, says: str) -> None:
    with pytest.raises(AppNotFound) as caught:
        load_application(shop + expression)
    assert says.replace("{}", shop) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_an_object_must_be_callable() -> None:
    with pytest.raises(AppNotFound, match="the application is an int, not callable"):
        load_application(3)
    assert load_application(print) is print


@pytest.mark.parametrize(("expression", "error"), [(":broken()", AttributeError), (":typing()", TypeError)])
def test_what_a_factory_raises_is_its_own(shop: str, expression: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        load_application(shop + expression)
