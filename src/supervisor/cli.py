"""The command line: find the settings, answer what is asked about them, or run the arbiter."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from supervisor.config import flags
from supervisor.config.checks import missing_application
from supervisor.config.load import Inputs, load
from supervisor.config.render import print_config
from supervisor.config.settings import Settings
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
        prog = _program()
        with flags.command(prog).make_context(prog, arguments) as context:
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


def _run(parsed: flags.Parsed) -> int:
    inputs = Inputs(app=parsed.app, values=parsed.values, sources=parsed.sources)
    settings = load(inputs)
    if settings.print_config:
        click.echo(print_config(settings))
    if settings.print_config or settings.check_config:
        return _check(settings)
    from supervisor.runtime import daemon  # the answers above do without it
    from supervisor.runtime.loop import Arbiter

    return daemon.run(Arbiter, settings, inputs)


def _check(settings: Settings) -> int:
    """Say what would be warned of, and raise `ConfigError` if it would not start. Only ``check_config`` imports."""
    for warning in settings.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if settings.check_config:
        from supervisor.runtime.trial import try_out

        try_out(settings)
    elif problem := missing_application(settings):
        raise ConfigError(problem)
    return 0


def _program() -> str:
    name = os.path.basename(sys.argv[0])
    return "python -m supervisor" if name == "__main__.py" else name
