"""The command line that the table of settings describes, as a click command."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from supervisor.config.schema import Kind, Setting
from supervisor.config.settings import TABLE
from supervisor.errors import UsageError

if TYPE_CHECKING:
    _ParamType = click.ParamType[int | str]
else:
    _ParamType = click.ParamType  # older releases of click have no generic one

_IDLE = "Accepted, Without Effect"
_SHORT = 32
"""Characters of a default that is shown."""

_FLAG = re.compile(r"-[^\d\s.]\S*$")
"""Never meant as the operand of the flag before it, as with argparse: ``--access-logfile --reload`` lacks a file."""

_SHORT_WITH_EQUALS = re.compile(r"-[A-Za-z]=.")


SERVE = "Serve the ASGI application APP (MODULE:ATTRIBUTE) with supervised workers."

_CHECK = (
    "Say everything that would be wrong with a start: settings, addresses, files, and the application, which is loaded "
    "in a process that is thrown away. Exit code 1 if it would not start, else 0. --check-config does the same."
)
_MIGRATE = (
    "Say what would be different from gunicorn with the configuration FILE: each setting, each hook. Nothing but the "
    "file is run. Exit code 1 if something in it is refused, else 0."
)

COMMANDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "check": (("app",), _CHECK),
    "migrate": (("file", "app"), _MIGRATE),
}
"""What else can be asked for by the first word: its arguments, and what it does."""


@dataclass(frozen=True)
class Parsed:
    """A parsed command line: the application, the settings that were given, and the flag of each.

    ``command`` is one of `COMMANDS`, or empty for a start.
    ``factory`` is uvicorn's flag: what APP names is called, and returns the application.
    """

    app: str | None
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    command: str = ""
    factory: bool = False


class WholeNumber(_ParamType):
    """A decimal number, or "auto" where a setting takes it. Bounds are the setting's matter, not the parser's."""

    name = "integer"

    def __init__(self, *, auto: bool) -> None:
        self.auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if self.auto and str(value).lower() == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number.", param, ctx)


class SettingsCommand(click.Command):
    """A command whose options are settings: help by group, and long flags by any beginning that is unambiguous."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(self._expanded(args)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            setting = TABLE.get(parameter.name or "")
            groups.setdefault(_heading(setting), []).append(record)
        idle = groups.pop(_IDLE, [])
        for heading, records in [*groups.items(), (_IDLE, idle)]:
            with formatter.section(heading):
                formatter.write_dl(records)

    def _expanded(self, arguments: Sequence[str]) -> Iterator[str]:
        known = [flag for parameter in self.params for flag in parameter.opts if flag.startswith("--")] + ["--help"]
        operand = {flag for parameter in self.params if _takes_operand(parameter) for flag in parameter.opts}
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                yield argument
                yield from rest
                return
            flag, equals, value = argument.partition("=")
            if flag.startswith("--") and flag not in known:
                matches = [name for name in known if name.startswith(flag)]
                flag = matches[0] if len(matches) == 1 else flag
                argument = flag + equals + value  # noqa: PLW2901 - as it should have been written
            elif _SHORT_WITH_EQUALS.match(argument):
                argument = flag + value  # noqa: PLW2901 - as above
            yield argument
            if argument in operand:
                for operand_of_it in itertools.islice(rest, 1):
                    if _FLAG.match(operand_of_it):
                        said = f"Option {argument!r} requires an argument, not {operand_of_it}."
                        raise click.BadOptionUsage(argument, said)
                    yield operand_of_it


def command(prog: str, word: str = "") -> SettingsCommand:
    """The command that ``prog`` names in its usage message. It runs nothing: `parse` reads what it was given.

    ``word`` is one of `COMMANDS`, or empty for a start.
    """
    operands, help_text = COMMANDS[word] if word else (("app",), SERVE)
    return SettingsCommand(
        f"{prog} {word}".rstrip(),
        params=[
            *(
                click.Argument([name], required=name == "file", metavar="[APP]" if name == "app" else name.upper())
                for name in operands
            ),
            click.Option(["-v", "--version"], is_flag=True, help="Show the version and exit."),
            click.Option(["--factory"], is_flag=True, help="APP is a function that returns the application."),
            *(_option(setting) for setting in TABLE.values() if setting.flags),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        help=help_text,
        epilog="Settings also come from a configuration file and from the environment: SUPERVISOR_WORKERS and so on. "
        "Each is described in docs/reference/settings.md; --print-config shows what is in force. "
        f"Instead of APP, the first word may be a command: {', '.join(COMMANDS)}; with --help behind it, it says more.",
    )


def parse(arguments: Sequence[str], prog: str = "supervisor") -> Parsed:
    """The settings that the arguments give. Raises `UsageError`, with the usage line as its detail."""
    try:
        with command(prog).make_context(prog, list(arguments), resilient_parsing=False) as context:
            return read(context)
    except click.exceptions.Exit:
        raise UsageError("--help has no place here.") from None
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None


def read(context: click.Context) -> Parsed:
    """What was given on the command line, as opposed to left out."""
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    names = [name for name in given if name in TABLE]
    values = {name: _plain(context.params[name]) for name in names}
    sources = {name: f"command line {TABLE[name].long_flag}" for name in names}
    if file := context.params.get("file"):
        values["config"], sources["config"] = file, "command line"
    word = (context.info_name or "").rpartition(" ")[2]
    return Parsed(context.params["app"], values, sources, word if word in COMMANDS else "", context.params["factory"])


def _takes_operand(parameter: click.Parameter) -> bool:
    setting = TABLE.get(parameter.name or "")
    return setting is not None and setting.kind is not Kind.BOOLEAN and setting.flag_value is None


def _option(setting: Setting) -> click.Option:
    arguments: dict[str, Any] = {"help": _help(setting)}
    if setting.kind is Kind.BOOLEAN:
        arguments |= {"is_flag": True, "flag_value": setting.flag_value}
    else:
        arguments |= {"metavar": setting.metavar, "type": _type(setting)}
        if setting.flag_value is not None:
            arguments |= {"is_flag": False, "flag_value": setting.flag_value}
        if setting.repeatable:
            arguments["multiple"] = True
    return click.Option([setting.name, *setting.flags], **arguments)


def _type(setting: Setting) -> click.ParamType[Any]:
    return WholeNumber(auto=setting.name == "workers") if setting.kind is Kind.INTEGER else click.STRING


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _help(setting: Setting) -> str:
    if setting.no_effect:
        return f"{setting.doc} (accepted; has no effect)"
    default = _default(setting)
    return f"{setting.doc} [default: {default}]" if default and len(default) <= _SHORT else setting.doc


def _default(setting: Setting) -> str:
    """The default as one would write it; empty where that is nothing, or a matter of the surroundings."""
    if setting.kind in (Kind.BOOLEAN, Kind.CALLABLE, Kind.DICT, Kind.CLASS) or setting.default is None:
        return setting.default_text
    if setting.kind is Kind.OCTAL:
        return f"0{setting.default:o}" if setting.default else "0"
    if setting.kind is Kind.LIST:
        return setting.default_text or ",".join(setting.default)
    return setting.default_text or str(setting.default)


def _heading(setting: Setting | None) -> str:
    if setting is None:
        return "General"
    return _IDLE if setting.no_effect else setting.group
