"""The reference page of the settings: ``python -m supervisor.config.reference > docs/reference/settings.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from supervisor.config.schema import Kind, Setting
from supervisor.config.settings import TABLE

_HEAD = """\
# Settings

<!-- Generated from the table of settings: python -m supervisor.config.reference > docs/reference/settings.md -->

Every setting, with gunicorn's names, flags and defaults. A value comes from the strongest of these sources, weakest
first: the default, the configuration file, `GUNICORN_CMD_ARGS`, the environment variable of the setting, the command
line. `--print-config` shows each value with its source.

*Applies* says when a changed value takes hold after HUP: *live* at once, with *new workers* as they replace the old
ones, or only after a *restart*. A setting without effect says so at the start, if it is given a value of its own.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    groups: dict[str, list[Setting]] = {}
    for setting in TABLE.values():
        groups.setdefault(setting.group, []).append(setting)
    for group, settings in groups.items():
        yield f"## {group}\n"
        for setting in settings:
            yield f"### {setting.name}\n"
            yield f"{setting.doc}\n"
            yield "\n".join(f"- {name}: {text}" for name, text in _facts(setting)) + "\n"


def _facts(setting: Setting) -> Iterator[tuple[str, str]]:
    if setting.no_effect:
        yield "**Effect**", f"none; accepted: {setting.no_effect}"
    if setting.flags:
        yield "Flags", ", ".join(f"`{flag}`" for flag in setting.flags) + _operand(setting)
    if setting.variable:
        yield "Environment", f"`{setting.variable}`" + _fallbacks(setting)
    yield "Value", _value(setting)
    yield "Default", _default(setting)
    yield "Applies", str(setting.applies)


def _operand(setting: Setting) -> str:
    if setting.kind is Kind.BOOLEAN:
        return "" if setting.flag_value else " (sets it to False)"
    return f" `{setting.metavar}`" + (", several times" if setting.repeatable else "")


def _fallbacks(setting: Setting) -> str:
    return "".join(f", and `{name}` for the default" for name in setting.environment)


def _value(setting: Setting) -> str:
    if setting.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.kind is Kind.CALLABLE:
        return f"{setting.kind}, called with ({', '.join(setting.parameters)})"
    bounds = []
    if setting.minimum:
        bounds.append(f"at least {setting.minimum}")
    if setting.maximum is not None:
        bounds.append(f"at most {setting.maximum}")
    return ", ".join([str(setting.kind), *bounds])


def _default(setting: Setting) -> str:
    if setting.default_text:
        return setting.default_text
    if setting.kind is Kind.OCTAL:
        return f"`{setting.default:#o}`"
    return f"`{setting.default!r}`"


if __name__ == "__main__":
    sys.stdout.write(page())
