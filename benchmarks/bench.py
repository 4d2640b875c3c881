"""How fast, how large, how quick to recover: this server and others, measured in turn.

``python -m benchmarks.bench`` from the repository, or ``nox -s bench``, which installs the others. A full run takes
about two hours and writes docs/benchmarks; one that is restricted in any way writes only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import latency, lifetimes, machine, memory, overhead, throughput, wrk
from benchmarks.measure import Measure, Sample, Settings
from benchmarks.peers import BASELINE, OURS, PEERS, Peer
from benchmarks.plots import PLOTS, draw
from benchmarks.report import line, measure_table, page, targets_table
from benchmarks.results import Results

PR_SET_CHILD_SUBREAPER = 36
DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
MEASURES: tuple[Measure, ...] = (
    *throughput.MEASURES,
    *latency.MEASURES,
    *lifetimes.MEASURES,
    *memory.MEASURES,
    *overhead.MEASURES,
)
QUICK = ("hello-log", "close", "websocket", "latency", "hup")
QUICK_SETTINGS = Settings(seconds=1.0, warm_up=1.0, connections=32, rate=500.0)
ROUNDS = 5
QUICK_ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is run."""

    measures: list[Measure]
    peers: list[Peer]
    rounds: int
    settings: Settings

    def steps(self) -> Iterator[tuple[Measure, int, Peer]]:
        """Server after server, then all again: what changes on the machine meanwhile changes for all of them."""
        for measure in self.measures:
            for turn in range(1, min(self.rounds, measure.rounds) + 1):
                for peer in self.peers:
                    if measure.suits(peer):
                        yield measure, turn, peer


def sample(measure: Measure, turn: int, peer: Peer, settings: Settings) -> Sample:
    """One run. A server that does not come up, or hangs, is an error of its own and not the end of the benchmark."""
    made = Sample(measure.name, peer.name, turn)
    try:
        findings = measure.run(peer, settings, turn)
    except Exception as error:  # noqa: BLE001 - whatever it was, the other runs are worth having
        made.errors["failed run"] = 1
        made.remark = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        made.figures, made.errors, made.remark = findings.figures, dict(findings.errors), findings.remark
    return made


def run(plan: Plan, results: Results, out: Path | None) -> None:
    """Measure, tell how it goes on standard error, and write what there is after each measure."""
    steps = list(plan.steps())
    begun = time.monotonic()
    for done, (measure, turn, peer) in enumerate(steps):
        spent = time.monotonic() - begun
        rest = f", {spent / done * (len(steps) - done) / 60:.0f} min left" if done else ""
        say(f"[{done + 1}/{len(steps)}{rest}] {measure.name}, round {turn}, {peer.name} … ", end="")
        results.samples.append(sample(measure, turn, peer, plan.settings))
        say(line(measure, results.samples[-1]))
        if out and (done + 1 == len(steps) or steps[done + 1][0] is not measure):
            write(results, out)


def write(results: Results, out: Path) -> None:
    """Figures, page and plots. Plots of which nothing was measured are left out."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(results.to_json(MEASURES))
    drawn = [(plot, groups) for plot in PLOTS if (groups := plot.groups(results))]
    for plot, groups in drawn:
        (out / f"{plot.name}.svg").write_text(draw(plot.title, groups))
    (out / "results.md").write_text(page(MEASURES, results, [plot for plot, _ in drawn]))


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list measures and servers, and exit")
    parser.add_argument("--quick", action="store_true", help=f"a few measures against {BASELINE}, in two minutes")
    parser.add_argument("--measure", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--server", action="append", metavar="NAME", help="only servers whose name contains this")
    parser.add_argument("--rounds", type=int, help=f"how often each is measured ({ROUNDS}; some less often)")
    parser.add_argument("--seconds", type=float, help=f"how long each load lasts ({Settings().seconds:g})")
    parser.add_argument("--workers", type=int, help=f"workers, where a measure sets none ({Settings().workers})")
    parser.add_argument("--out", type=Path, help="the directory that results are written to")
    parser.add_argument("--render", type=Path, metavar="FILE", help="run nothing: write page and plots of results.json")
    options = parser.parse_args()
    unknown = set(options.measure or ()) - {measure.name for measure in MEASURES}
    if unknown:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}; --list names them")
    if options.render and not options.render.is_file():
        parser.error(f"no such file: {options.render}")
    if options.render and not options.out:
        parser.error("--render needs --out, the directory to write to")
    for name in ("rounds", "seconds", "workers"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} must be 1 or more, not {value:g}")
    return options


def planned(options: argparse.Namespace) -> Plan:
    """What the options ask for. Ends the program where a server is not there."""
    wanted = options.measure or (QUICK if options.quick else [measure.name for measure in MEASURES])
    names = options.server or ([OURS, BASELINE] if options.quick else [""])
    peers = [peer for peer in PEERS if any(name in peer.name for name in names)]
    if not peers:
        sys.exit(f"no server has {' or '.join(names)} in its name; --list names them")
    for peer in peers:
        if missing := peer.missing():
            sys.exit(f"{peer.name} needs {missing}, which is not installed; nox -s bench installs all")
    settings = QUICK_SETTINGS if options.quick else Settings()
    given = {name: getattr(options, name) for name in ("seconds", "workers") if getattr(options, name) is not None}
    return Plan(
        [measure for measure in MEASURES if measure.name in wanted],
        peers,
        options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        dataclasses.replace(settings, **given),
    )


def destination(options: argparse.Namespace) -> Path | None:
    """Where results go: a run that leaves something out must not replace a full one by itself."""
    restricted = options.quick or options.measure or options.server or options.rounds or options.seconds
    if options.out:
        return Path(options.out)
    return None if restricted or options.workers else DOCS


def main() -> int:
    """Measure and show. 1 where this server failed or lost requests; speed never matters to it, nor what others do."""
    options = arguments()
    if options.list:
        print("\n".join(f"{measure.name:20} {measure.title}" for measure in MEASURES))
        print("\nservers: " + ", ".join(peer.name for peer in PEERS))
        return 0
    if options.render:
        write(Results.from_json(options.render.read_text()), options.out)
        return 0
    plan = planned(options)
    try:
        wrk.install()
    except FileNotFoundError as error:
        sys.exit(str(error))
    # Orphans come to this process, which can tell and reap them (prctl(2)); TERM leaves no server behind either.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = Results(
        {
            "Machine": machine.facts(),
            "Versions": machine.versions(),
            "Settings": {"rounds": plan.rounds, **dataclasses.asdict(plan.settings)},
        }
    )
    run(plan, results, destination(options))
    for measure in plan.measures:
        print(f"\n{measure.title} ({measure.name})\n\n{measure_table(measure, results)}")
    print(f"\nTargets\n\n{targets_table(results)}")
    for fault in results.faults():
        say(fault)
    return 1 if results.faults(OURS) else 0


if __name__ == "__main__":
    sys.exit(main())
