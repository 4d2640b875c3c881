"""Each setting of gunicorn's beside ours: default, flags, accepted values, the printed line. One row each."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import click

from supervisor.config import flags
from supervisor.config.differences import OWN, Difference, Verdict, difference
from supervisor.config.render import spelled
from supervisor.config.schema import Invalid, Kind, Setting, Surroundings
from supervisor.config.settings import TABLE, Settings, Value
from tests.parity import probes, purposeful
from tests.parity.behaviour import shown_by
from tests.parity.oracle_process import plain

_COMMAND = flags.command("supervisor")

Kept = tuple[str, str] | None
"""A value and how it is printed, or None where it is refused."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is not the same: where, what it was tried with, and what either made of it."""

    name: str
    column: str
    tried: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.name} {self.column} {self.tried}: gunicorn {self.theirs}, ours {self.ours}"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: the verdict, what was compared, the mismatches that nobody has declared, and the test to it."""

    name: str
    said: Difference
    compared: Mapping[str, str]
    mismatches: tuple[Mismatch, ...]
    test: str


COLUMNS = ("default", "flags", "values", "printed")


class Answers(Protocol):
    """What is needed of `Oracle`."""

    def answers(self, what: str, **question: Any) -> Any: ...


def mismatches(oracle: Answers) -> Iterator[Mismatch]:
    """Compare everything. A setting that only one side has is a mismatch too."""
    theirs: dict[str, dict[str, Any]] = oracle.answers("declarations")
    yield from _tables(theirs)
    yield from _declarations(theirs)
    yield from _values(oracle)
    yield from _command_lines(oracle)


def row(name: str, found: Collection[Mismatch]) -> Row:
    """The row of one setting, from all that was found."""
    mine = [mismatch for mismatch in found if mismatch.name == name]
    purposes = [purposeful.reason(each) for each in mine]
    compared = {column: _said(column, mine, purposes) for column in COLUMNS}
    unexplained = tuple(each for each, reason in zip(mine, purposes, strict=True) if reason is None)
    if name not in TABLE:
        return Row(name, Difference(Verdict.REFUSED, "it is not known here"), compared, unexplained, "")
    return Row(name, difference(name), compared, unexplained, shown_by(name))


def _said(column: str, mismatches: list[Mismatch], purposes: list[str | None]) -> str:
    reasons = [reason for each, reason in zip(mismatches, purposes, strict=True) if each.column == column]
    if not reasons:
        return "same"
    return "; ".join(dict.fromkeys(reason or "DIFFERENT" for reason in reasons))


def _tables(theirs: Mapping[str, Any]) -> Iterator[Mismatch]:
    for name in set(theirs) ^ (set(TABLE) - OWN):
        yield Mismatch(name, "flags", "its existence", str(name in theirs), str(name in TABLE))


def _declarations(theirs: Mapping[str, Mapping[str, Any]]) -> Iterator[Mismatch]:
    ours = Settings(Surroundings({}, os.getcwd()))
    for name, their in theirs.items():
        if name not in TABLE:
            continue
        setting, value = TABLE[name], ours.settings[name]
        for what, mine in (("flags", list(setting.flags)), ("section", setting.group)):
            if their[what] != mine:
                yield Mismatch(name, "flags", what, str(their[what]), str(mine))
        if their["metavar"] and their["metavar"] != setting.metavar:
            yield Mismatch(name, "flags", "metavar", str(their["metavar"]), setting.metavar)
        unset = setting.kind is Kind.CALLABLE and value.value is None and their["callable"]
        if not unset and their["default"] != plain(value.value):
            yield Mismatch(name, "default", "", their["default"], plain(value.value))
        if their["line"] != spelled(value):
            yield Mismatch(name, "printed", "its default", their["line"], spelled(value))


def _values(oracle: Answers) -> Iterator[Mismatch]:
    cases = [(name, source) for name, setting in TABLE.items() if name not in OWN for source in probes.values(setting)]
    for (name, source), their in zip(cases, oracle.answers("values", cases=cases), strict=True):
        ours = _kept(TABLE[name], source)
        theirs = None if their is None else (their[0], their[1])
        if (theirs is None) != (ours is None) or (theirs and ours and theirs[0] != ours[0]):
            yield Mismatch(name, "values", source, _shown(theirs), _shown(ours))
        elif theirs and ours and "0x" not in ours[1] and theirs[1] != ours[1]:
            yield Mismatch(name, "printed", source, theirs[1], ours[1])


def _kept(setting: Setting, source: str) -> Kept:
    value = Value(setting, None, "")
    try:
        value.set(eval(source))
    except Invalid:
        return None
    return plain(value.value), spelled(value)


def _shown(kept: Kept) -> str:
    return "refuses it" if kept is None else f"makes {kept[0]} of it"


def _command_lines(oracle: Answers) -> Iterator[Mismatch]:
    cases = [
        (name, line) for name, setting in TABLE.items() if name not in OWN for line in probes.command_lines(setting)
    ]
    for (name, line), their in zip(cases, oracle.answers("flags", cases=cases), strict=True):
        ours = _parsed(TABLE[name], line)
        if their != ours:
            yield Mismatch(name, "flags", json.dumps(line), their or "refuses it", ours or "refuses it")


def _parsed(setting: Setting, line: list[str]) -> str | None:
    value = Value(setting, None, "")
    try:
        with _COMMAND.make_context("supervisor", list(line)) as context:
            value.set(flags.read(context).values[setting.name])
    except (Invalid, click.ClickException, KeyError):
        return None
    return plain(value.value)
