"""Bar charts as SVG (SVG 1.1, W3C): a group of bars for each figure, a bar for each server, a line for its spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.peers import BASELINE, PEERS
from benchmarks.results import Results, Spread, Where

COLOURS = ("#1a7f5a", "#4063a8", "#7d9bd1", "#c77d2b", "#a34242", "#8a6bb0", "#999999")
"""One for each server, in their order."""
WIDTH = 860
LEFT = 210
RIGHT = 120
BAR = 12
GAP = 14
TOP = 64
FONT = "font-family='sans-serif'"


@dataclass(frozen=True)
class Bar:
    """``shown`` is what stands beside it."""

    server: str
    spread: Spread
    shown: str


@dataclass(frozen=True)
class Group:
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Plot:
    """What to draw: figures, as ``(label, measure, figure)``; with ``relative``, as ratios to the baseline."""

    name: str
    title: str
    what: tuple[tuple[str, str, str], ...]
    relative: bool = False

    def groups(self, results: Results) -> list[Group]:
        """Those that were measured."""
        return [group for group in (self._group(results, *each) for each in self.what) if group.bars]

    def _group(self, results: Results, label: str, measure: str, figure: str) -> Group:
        bars = []
        for server in results.servers(measure):
            where = Where(measure, figure, server)
            base = Where(measure, figure, BASELINE)
            spread = results.ratio(where, base) if self.relative else results.spread(where)
            if spread is not None:
                digits = 2 if self.relative or spread.median < 1 else 1 if spread.median < 100 else 0
                bars.append(Bar(server, spread, f"{spread.median:,.{digits}f}"))
        return Group(label, tuple(bars))


def throughput(figure: str) -> tuple[tuple[str, str, str], ...]:
    """The same figure of all measures that send as much as is answered."""
    labels = (
        *(("hello", "hello"), ("hello, log", "hello-log")),
        *(("FastAPI JSON", "fastapi"), ("FastAPI JSON, log", "fastapi-log")),
        *(("POST 1 KiB", "post-1k"), ("POST 64 KiB", "post-64k"), ("chunked upload", "chunked")),
        *(("streaming", "streaming"), ("connection per request", "close")),
    )
    return tuple((label, measure, figure) for label, measure in labels)


MEMORY = ("at boot", "after collections", "after requests and collections")
PLOTS = (
    Plot("throughput", f"Requests/s, ratio to {BASELINE}: more is better", throughput("requests/s"), relative=True),
    Plot("cpu", "CPU time per request of the whole server, µs: less is better", throughput("CPU per request")),
    Plot(
        "latency",
        "Latency in ms at a fixed rate, 2 % of requests block for 20 ms: less is better",
        tuple((name, "latency", name) for name in ("p50", "p99", "p99.9")),
    ),
    Plot(
        "memory",
        "PSS of 4 workers with preload, MiB: less is better",
        (
            *((f"much code, {name}", "memory-code-preload", name) for name in MEMORY),
            *((f"100 MB of data, {name}", "memory-data-preload", name) for name in MEMORY),
        ),
    ),
    Plot(
        "lifetimes",
        "Seconds until all serve: less is better",
        (
            *((f"boot, {name}", "boot", name) for name in ("1 worker", "4 workers", "16 workers")),
            ("HUP until all are new", "hup", "until all are new"),
            ("SIGKILL until replaced", "kill", "until replaced"),
        ),
    ),
)


def draw(title: str, groups: Iterable[Group]) -> str:
    """The text of the file. Bars begin at 0; the thin line goes from the least to the largest value."""
    groups = list(groups)
    scale = (WIDTH - LEFT - RIGHT) / (max((bar.spread.high for group in groups for bar in group.bars), default=0) or 1)
    height = TOP + sum(len(group.bars) * BAR + GAP for group in groups)
    servers = list(dict.fromkeys(bar.server for group in groups for bar in group.bars))
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='10' y='22' {FONT} font-size='15' fill='#222222'>{escape(title)}</text>",
        *legend(servers),
    ]
    y = TOP
    for group in groups:
        middle = y + len(group.bars) * BAR / 2 + 4
        lines.append(
            f"<text x='{LEFT - 8}' y='{middle:.0f}' {FONT} font-size='11' text-anchor='end' fill='#222222'>"
            f"{escape(group.label)}</text>"
        )
        for bar in group.bars:
            lines += bar_lines(bar, y, scale)
            y += BAR
        y += GAP
    return "\n".join([*lines, "</svg>"]) + "\n"


def legend(servers: Iterable[str]) -> Iterator[str]:
    x = 10.0
    for server in servers:
        yield f"<rect x='{x:.0f}' y='34' width='10' height='10' fill='{colour(server)}'/>"
        yield f"<text x='{x + 14:.0f}' y='43' {FONT} font-size='11' fill='#222222'>{escape(server)}</text>"
        x += 32 + 6.2 * len(server)


def bar_lines(bar: Bar, y: int, scale: float) -> Iterator[str]:
    middle = y + BAR / 2 - 0.5
    low, high = LEFT + bar.spread.low * scale, LEFT + bar.spread.high * scale
    yield (
        f"<rect x='{LEFT}' y='{y}' width='{bar.spread.median * scale:.1f}' height='{BAR - 1}' "
        f"fill='{colour(bar.server)}'/>"
    )
    yield f"<line x1='{low:.1f}' y1='{middle}' x2='{high:.1f}' y2='{middle}' stroke='#222222' stroke-width='1'/>"
    yield (f"<text x='{high + 5:.1f}' y='{y + BAR - 3}' {FONT} font-size='9' fill='#444444'>{escape(bar.shown)}</text>")


def colour(server: str) -> str:
    names = [peer.name for peer in PEERS]
    return COLOURS[names.index(server)] if server in names else COLOURS[-1]
