"""Short ways to declare the common kinds of setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisor.config import validators
from supervisor.config.hooks import hook
from supervisor.config.schema import Applies, Kind, Setting


def integer(
    name: str,
    group: str,
    doc: str,
    default: int,
    *flags: str,
    minimum: int = 0,
    maximum: int | None = None,
    octal: bool = False,
    auto: Callable[[], int] | None = None,
    **more: Any,
) -> Setting:
    return Setting(
        name=name,
        group=group,
        doc=doc,
        kind=Kind.OCTAL if octal else Kind.INTEGER,
        validate=validators.integer(minimum, maximum, octal=octal, auto=auto),
        default=default,
        flags=flags,
        metavar="INT",
        minimum=minimum,
        maximum=maximum,
        **more,
    )


def switch(name: str, group: str, doc: str, *flags: str, default: bool | None = False, **more: Any) -> Setting:
    """A boolean whose flag alone means true, unless ``flag_value`` says otherwise."""
    more.setdefault("flag_value", True)
    return Setting(
        name=name,
        group=group,
        doc=doc,
        kind=Kind.BOOLEAN,
        validate=validators.boolean,
        default=default,
        flags=flags,
        **more,
    )


def string(name: str, group: str, doc: str, default: str | None, *flags: str, **more: Any) -> Setting:
    more.setdefault("validate", validators.string)
    more.setdefault("metavar", "STRING")
    return Setting(name=name, group=group, doc=doc, kind=Kind.STRING, default=default, flags=flags, **more)


def strings(name: str, group: str, doc: str, default: list[str], *flags: str, **more: Any) -> Setting:
    """A list whose flag may be given several times."""
    more.setdefault("validate", validators.strings)
    return Setting(
        name=name, group=group, doc=doc, kind=Kind.LIST, default=default, flags=flags, repeatable=True, **more
    )


def words(name: str, group: str, doc: str, default: list[str], *flags: str, **more: Any) -> Setting:
    """A list that is one string with commas on the command line."""
    more.setdefault("validate", validators.words)
    more.setdefault("metavar", "STRING")
    return Setting(name=name, group=group, doc=doc, kind=Kind.LIST, default=default, flags=flags, **more)


def choice(
    name: str, group: str, doc: str, default: str, *flags: str, choices: tuple[str, ...], **more: Any
) -> Setting:
    more.setdefault("validate", validators.choice(*choices, empty=default))
    more.setdefault("metavar", "STRING")
    return Setting(
        name=name, group=group, doc=doc, kind=Kind.STRING, default=default, flags=flags, choices=choices, **more
    )


def callback(name: str, group: str, doc: str, *parameters: str, unset: str, **more: Any) -> Setting:
    """A hook that is called with ``parameters``. ``unset`` is the class under which gunicorn prints its default."""
    more.setdefault("validate", hook(*parameters))
    more.setdefault("applies", Applies.LIVE)
    return Setting(
        name=name,
        group=group,
        doc=doc,
        kind=Kind.CALLABLE,
        parameters=parameters,
        unset=f"<{unset}.{name}()>",
        **more,
    )
