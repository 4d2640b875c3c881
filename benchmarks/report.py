"""The results as text: Markdown for the documentation, and one line for each run while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.measure import Figure, Measure, Sample
from benchmarks.peers import BASELINE
from benchmarks.plots import Plot
from benchmarks.results import Results, Where
from benchmarks.targets import TARGETS, Target

HEAD = """\
# Benchmark results

<!-- Written by python -m benchmarks.bench -->

Each figure is the median of all rounds, with the least and the largest. "×" is the ratio to {baseline}, the
median of the ratios round by round. How it is measured, and how to run it: [Benchmarks](../explanation/benchmarks.md).
All samples: [results.json](results.json).
"""


def number(value: float) -> str:
    """With as many digits as can be meant."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if 0 < abs(value) < 0.1 else f"{value:.2f}".removesuffix(".00")


def ratio(value: float) -> str:
    return f"{value:.2f}"


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join([row(headings), row(["---"] * len(headings)), *(row(cells) for cells in rows)])


def measure_table(measure: Measure, results: Results) -> str:
    """A row for each server, two columns for each figure, and a last one where there is something to say."""
    servers = results.servers(measure.name)
    compared = BASELINE in servers
    notes = {server: note(measure, server, results) for server in servers}
    headings = ["server"]
    for figure in measure.figures:
        headings += [figure.heading, "×"] if compared else [figure.heading]
    if any(notes.values()):
        headings.append("notes")
    rows = []
    for server in servers:
        cells = [server]
        for figure in measure.figures:
            cells += figure_cells(measure, figure, server, results, compared)
        if any(notes.values()):
            cells.append(notes[server])
        rows.append(cells)
    return table(headings, rows)


def figure_cells(measure: Measure, figure: Figure, server: str, results: Results, compared: bool) -> list[str]:
    where = Where(measure.name, figure.name, server)
    spread = results.spread(where)
    cells = [spread.text(number) if spread else "–"]
    if compared:
        times = results.ratio(where, Where(measure.name, figure.name, BASELINE))
        cells.append(times.text(ratio) if times and server != BASELINE else "")
    return cells


def note(measure: Measure, server: str, results: Results) -> str:
    errors = [f"{count:,} {kind}" for kind, count in results.errors(measure.name, server).items()]
    return "; ".join([*errors, *results.remarks(measure.name, server)])


def targets_table(results: Results, targets: Iterable[Target] = TARGETS) -> str:
    """What is aimed at. The bound and the figure are ours."""
    rows = []
    for target in targets:
        value = target.value(results)
        reached = {None: "not measured", True: "yes", False: "no"}[target.reached(results)]
        shown = ratio if target.over or target.over_figure else number
        rows.append([target.text, value.text(shown) if value else "–", target.wanted, reached])
    return table(["measure", "figure", "target", "reached"], rows)


def page(measures: Iterable[Measure], results: Results, plots: Iterable[Plot]) -> str:
    """The whole page."""
    parts = [HEAD.format(baseline=BASELINE)]
    for name, facts in results.about.items():
        parts.append(f"**{name}**: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    parts += [f"![{plot.title}]({plot.name}.svg)" for plot in plots]
    parts.append("## Targets\n\n" + targets_table(results))
    parts += [
        f"## {measure.title}\n\n`{measure.name}`\n\n{measure_table(measure, results)}"
        for measure in measures
        if results.servers(measure.name)
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def line(measure: Measure, sample: Sample) -> str:
    """What one run came to."""
    parts = [
        f"{figure.name} {number(sample.figures[figure.name])}{' ' + figure.unit if figure.unit else ''}"
        for figure in measure.figures
        if figure.name in sample.figures
    ]
    parts += [f"{count} × {kind}!" for kind, count in sample.errors.items()]
    return ", ".join(parts + ([sample.remark] if sample.remark else []))
