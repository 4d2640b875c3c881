"""What is aimed at, and whether a run reached it. It is shown; nothing fails by it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers import BASELINE, FLOOR, OURS
from benchmarks.results import Results, Spread, Where


@dataclass(frozen=True)
class Target:
    """A bound for one of our figures: itself, or its ratio to the same figure of ``over`` or to our ``over_figure``.

    The median counts; with ``always``, the worst of all rounds does.
    """

    measure: str
    figure: str
    bound: float
    at_least: bool = False
    over: str = ""
    over_figure: str = ""
    unit: str = ""
    always: bool = False

    @property
    def text(self) -> str:
        """What is compared with what."""
        over = self.over or self.over_figure
        return f"{self.measure}: {self.figure}" + (f", ratio to {over}" if over else "")

    @property
    def wanted(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{unit}{' ×' if self.over or self.over_figure else ''}"

    def value(self, results: Results) -> Spread | None:
        """None where it was not measured."""
        ours = Where(self.measure, self.figure, OURS)
        if self.over:
            return results.ratio(ours, Where(self.measure, self.figure, self.over))
        if self.over_figure:
            return results.ratio(ours, Where(self.measure, self.over_figure, OURS))
        return results.spread(ours)

    def reached(self, results: Results) -> bool | None:
        """None where it was not measured."""
        value = self.value(results)
        if value is None:
            return None
        if self.at_least:
            return (value.low if self.always else value.median) >= self.bound
        return (value.high if self.always else value.median) <= self.bound


def more(measure: str, bound: float, figure: str = "requests/s") -> Target:
    """At least so many times the baseline's."""
    return Target(measure, figure, bound, at_least=True, over=BASELINE)


def less(measure: str, bound: float, figure: str = "CPU per request") -> Target:
    """At most so many times the baseline's."""
    return Target(measure, figure, bound, over=BASELINE)


TARGETS = (
    more("hello", 1.5),
    less("hello", 0.65),
    Target("hello", "CPU per request", 1.7, over=FLOOR),
    more("hello-log", 2.0),
    less("hello-log", 0.45),
    more("fastapi", 1.1),
    more("fastapi-log", 1.3),
    more("post-1k", 1.4),
    more("close", 1.25),
    more("wsgi-sync", 1.0),
    less("wsgi-sync", 1.0),
    more("wsgi-gthread", 1.0),
    less("wsgi-gthread", 1.0),
    less("latency", 0.75, "p99"),
    Target("balance", "64 connections", 0.10),
    Target("balance", "8 connections", 0.25),
    Target("balance", "64 connections, answers wait 50 ms", 0.10),
    Target("balance", "8 connections, answers wait 50 ms", 0.25),
    less("memory-code-preload", 0.68, "after requests and collections"),
    less("memory-data-preload", 0.76, "after collections"),
    Target("kill", "until replaced", 0.1, unit="s"),
    Target("boot", "16 workers", 1.5, over_figure="1 worker"),
    Target("hup", "until all are new", 0.5, unit="s"),
    Target("hup", "requests lost", 0, always=True),
    Target("idle", "CPU", 5, unit="ms"),
)
