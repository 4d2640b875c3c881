"""All samples of a run, and what follows from them: medians with their spread, and ratios."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from benchmarks.measure import Figure, Measure, Sample


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the least and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """None where there are no values."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1]) if ordered else None

    def text(self, number: Callable[[float], str]) -> str:
        """``median (low–high)``; the median alone where all values look the same."""
        if number(self.low) == number(self.high):
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


@dataclass(frozen=True)
class Where:
    """One figure of one measure on one server."""

    measure: str
    figure: str
    server: str


@dataclass
class Results:
    """What was measured, in the order that it was, and on what. ``about`` goes into the file as it is."""

    about: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def by_round(self, where: Where) -> dict[int, float]:
        """The figure by round."""
        return {
            sample.round: sample.figures[where.figure]
            for sample in self.samples
            if sample.measure == where.measure and sample.server == where.server and where.figure in sample.figures
        }

    def spread(self, where: Where) -> Spread | None:
        return Spread.of(self.by_round(where).values())

    def ratio(self, one: Where, other: Where) -> Spread | None:
        """How many times the other it is: by round, since what disturbs a round disturbs all servers of it."""
        ones, others = self.by_round(one), self.by_round(other)
        return Spread.of(ones[turn] / others[turn] for turn in ones if others.get(turn))

    def errors(self, measure: str, server: str) -> dict[str, int]:
        """All errors of a server in a measure, by kind."""
        total: dict[str, int] = {}
        for sample in self._of(measure, server):
            for kind, count in sample.errors.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def remarks(self, measure: str, server: str) -> list[str]:
        """Each remark once."""
        return list(dict.fromkeys(sample.remark for sample in self._of(measure, server) if sample.remark))

    def servers(self, measure: str) -> list[str]:
        """Those that were measured, in their order."""
        return list(dict.fromkeys(sample.server for sample in self.samples if sample.measure == measure))

    def faults(self, server: str = "") -> list[str]:
        """A line for each run in which something went wrong, of all servers or of one."""
        return [
            f"{sample.measure}, {sample.server}, round {sample.round}: "
            + ", ".join(f"{count} × {kind}" for kind, count in sample.errors.items())
            for sample in self.samples
            if sample.errors and server in ("", sample.server)
        ]

    def _of(self, measure: str, server: str) -> Iterator[Sample]:
        return (each for each in self.samples if each.measure == measure and each.server == server)

    def to_json(self, measures: Iterable[Measure]) -> str:
        """Samples and their summary, for people and programs."""
        summary = {measure.name: self._summary(measure) for measure in measures if self.servers(measure.name)}
        content = {"about": self.about, "summary": summary, "samples": [asdict(sample) for sample in self.samples]}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def _summary(self, measure: Measure) -> dict[str, Any]:
        return {
            server: {figure.heading: self._plain(measure, figure, server) for figure in measure.figures}
            for server in self.servers(measure.name)
        }

    def _plain(self, measure: Measure, figure: Figure, server: str) -> dict[str, float] | None:
        spread = self.spread(Where(measure.name, figure.name, server))
        return asdict(spread) if spread else None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a file again. Raises `ValueError` or `KeyError` where it is none of ours."""
        content = json.loads(text)
        return cls(content["about"], [Sample(**sample) for sample in content["samples"]])
