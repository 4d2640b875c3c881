"""The command line: find the settings, answer what is asked about them, or run the arbiter."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from supervisor.config import flags
from supervisor.config.checks import missing_application
from supervisor.config.load import Inputs, examine
from supervisor.config.render import print_config
from supervisor.errors import ConfigError, SupervisorError
from supervisor.runtime.signals import heed_before_start
from supervisor.version import __version__

DISTRIBUTION = "asgi-supervisor"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 fine, 1 configuration, 2 usage, 3 boot failed, 4 no app."""
    if argv is None:
        heed_before_start()  # the process is ours: reading the configuration may take its time
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        refuse_namesake(Path(__file__).parent)
        with _context(arguments) as context:
            if context.params["version"]:
                click.echo(f"{DISTRIBUTION} (version {__version__})")
                return 0
            return _run(flags.read(context))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SupervisorError as error:
        report(error)
        return error.exit_code


def report(error: SupervisorError) -> None:
    """Say what is wrong on standard error: one line, then the detail."""
    click.echo(f"Error: {error}", err=True)
    if error.detail:
        click.echo(error.detail.rstrip("\n"), err=True)


def refuse_namesake(package: Path) -> None:
    """Raise `ConfigError` where the process manager of the same import name is installed into our package."""
    if (package / "supervisord.py").exists():
        raise ConfigError(
            "supervisord, another program whose package is called supervisor too, is installed in the same place: "
            f"give {DISTRIBUTION} a virtual environment of its own."
        )


def _context(arguments: list[str]) -> click.Context:
    """The parsed command line. The first word may be a command, unless it must be meant for an application.

    That is so where a module of this name lies in the working directory and no other application is named: as with
    gunicorn, ``check`` is then the module. It is said, since the other may have been meant.
    """
    prog = _program()
    if arguments and (word := arguments[0]) in flags.COMMANDS:
        found = importlib.machinery.PathFinder.find_spec(word, [os.getcwd()])
        namesake = found is not None and found.loader is not None
        if not (namesake and _names_nothing_else(prog, arguments[1:])):
            return flags.command(prog, word).make_context(f"{prog} {word}", arguments[1:])
        click.echo(
            f"Warning: {word} is taken for the application, since there is a module of this name here; "
            f"write {word} {word}:ATTRIBUTE for the command.",
            err=True,
        )
    return flags.command(prog).make_context(prog, arguments)


def _names_nothing_else(prog: str, rest: list[str]) -> bool:
    """Whether the rest of the command line are options only."""
    try:
        with flags.command(prog).make_context(prog, list(rest), resilient_parsing=True) as context:
            return context.params["app"] is None
    except click.ClickException:
        return False


def _run(parsed: flags.Parsed) -> int:
    inputs = Inputs(app=parsed.app, values=parsed.values, sources=parsed.sources, factory=parsed.factory)
    examined = examine(inputs)
    settings = examined.settings
    if parsed.command == "migrate":
        from supervisor.migrate import migration

        answer = migration(examined)
        click.echo(str(answer))
        return answer.exit_code
    checks = settings.check_config or parsed.command == "check"
    if settings.print_config and examined.failure is None:
        click.echo(print_config(settings))
    if checks:
        from supervisor.check import check  # and the process that it needs: only who asks pays for them

        report = check(examined)
        click.echo(str(report), err=bool(settings.print_config))
        return report.exit_code
    if settings.print_config:
        for warning in settings.warnings:
            click.echo(f"Warning: {warning}", err=True)
    if examined.failure is not None:
        raise examined.failure
    if settings.print_config:
        if problem := missing_application(settings):
            raise ConfigError(problem)
        return 0
    from supervisor.runtime import daemon  # the answers above do without it
    from supervisor.runtime.loop import Arbiter

    return daemon.run(Arbiter, settings, inputs)


def _program() -> str:
    name = os.path.basename(sys.argv[0])
    return "python -m supervisor" if name == "__main__.py" else name
