"""``python -m supervisor check`` and ``--check-config``: everything that can be known before a start, in one report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from supervisor.config import certificates
from supervisor.config.load import Examined
from supervisor.config.settings import Settings
from supervisor.config.validators import shown
from supervisor.config.worker_class import described
from supervisor.runtime.preflight import Weight, look
from supervisor.runtime.trial import try_out

_NOT_SHOWN = ("check_config", "print_config", "default_proc_name")
"""Two ask, and the third follows from the application."""

_FIRST = {"chdir", "user", "group"}
"""Where the application is loaded, and as whom: with another one it is not loaded at all."""


@dataclass
class Report:
    """What was found. ``problems`` would keep it from starting; each has a line and a detail, which may be empty."""

    settings: Settings
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if it would not start, else 0."""
        return 1 if self.problems else 0

    def __str__(self) -> str:
        return "\n".join(_sections(self))


def check(examined: Examined) -> Report:
    """Look at the machine and try the application out, and return all that is wrong, together with what is known.

    A service that runs with the same settings is not disturbed. The application is imported in a process that is
    thrown away.
    """
    settings = examined.settings
    report = Report(settings, list(examined.problems), list(settings.warnings))
    if examined.unnamed is not None:
        report.problems.append((str(examined.unnamed), ""))
    for finding in look(settings):
        if finding.weight is Weight.PROBLEM:
            report.problems.append((f"{finding.text}.", ""))
        else:
            (report.notes if finding.weight is Weight.NOTE else report.warnings).append(finding.text)
    report.warnings += _certificate(settings)
    _try_application(report, examined)
    return report


def _certificate(settings: Settings) -> Iterator[str]:
    if settings.certfile and settings.settings["ssl_context"].is_default():
        files = settings.path(settings.certfile), settings.keyfile and settings.path(settings.keyfile)
        for name, problem in certificates.validity(*files, now=time.time()):
            yield f"{name} {problem} ({settings.source(name)})."


def _try_application(report: Report, examined: Examined) -> None:
    settings = report.settings
    if settings.app is None:
        return
    if wrong := sorted(examined.invalid & _FIRST):
        report.notes.append(f"the application was not loaded: {' and '.join(wrong)} must be right first")
        return
    trial = try_out(settings, examined.invalid)
    report.problems += [
        (f"{summary.rstrip('.')}.", "\n".join(filter(None, (detail, trial.output))))
        for summary, detail in trial.problems
    ]
    report.warnings += [
        f"preload_app: importing the application leaves {hazard} behind, which does not survive a fork: start it in "
        "the lifespan or in post_fork."
        for hazard in trial.hazards
    ]
    if not trial.problems:
        name = settings.app if isinstance(settings.app, str) else shown(settings.app)
        worker = "" if "worker_class" in examined.invalid else f"; worker {described(settings.worker_class)}"
        report.notes.append(f"application {name}: loads in {trial.seconds:.2f} s{worker}")


def _sections(report: Report) -> Iterator[str]:
    settings = report.settings
    yield f"Configuration: {settings.config_path or 'no file'}"
    yield from _table(settings)
    for heading, lines in (("Found", report.notes), ("Warnings", report.warnings)):
        if lines:
            yield f"\n{heading}"
            yield from (f"  {line}" for line in lines)
    if report.problems:
        yield "\nProblems"
        for line, detail in report.problems:
            yield f"  {line}"
            yield from (f"      {part}" for part in detail.splitlines())
    yield ""
    warnings = _counted(len(report.warnings), "warning")
    if report.problems:
        yield f"It would not start: {_counted(len(report.problems), 'problem')}, {warnings}."
    else:
        yield f"It would start: {warnings}."


def _table(settings: Settings) -> Sequence[str]:
    """Each value that somebody has set, with its place."""
    values = (value for name, value in settings.settings.items() if name not in _NOT_SHOWN)
    given = [value for value in values if value.source != "default"]
    names = max((len(value.name) for value in given), default=0)
    texts = [" ".join(shown(value.value).split()) for value in given]
    width = max(map(len, texts), default=0)
    return [
        f"  {value.name:{names}} = {text:{width}}  # {value.source}" for value, text in zip(given, texts, strict=True)
    ]


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
