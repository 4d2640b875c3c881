"""The parts of the benchmark that compute: what is read, counted, compared and drawn. Nothing is measured here."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import accounting, bench, floor, latency, machine, websocket, wrk
from benchmarks.measure import Figure, Findings, Sample, Settings
from benchmarks.peers import BASELINE, FLOOR, OURS, PEERS, Peer, by_name
from benchmarks.plots import PLOTS, Plot, draw
from benchmarks.report import line, measure_table, number, page, targets_table
from benchmarks.results import Results, Spread, Where
from benchmarks.targets import TARGETS, Target
from benchmarks.throughput import START_UP_LINES, Throughput, log_errors
from tests.process.connection import Target as Address

CLEAN = """\
Running 2s test @ http://127.0.0.1:15000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.95ms  310.22us  11.02ms   91.20%
    Req/Sec    64.02k     3.10k   68.11k    85.00%
  127410 requests in 2.00s, 19.20MB read
Requests/sec:  63620.51
Transfer/sec:      9.59MB
"""
TROUBLED = CLEAN.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 14789, write 0, timeout 3\n  Non-2xx or 3xx responses: 12\nRequests/sec",
)


class Steady:
    """A measure that needs no server."""

    name = "steady"
    title = "Steady"
    figures = (Figure("requests/s", more=True), Figure("CPU per request", "µs"))
    rounds = 100

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        if peer.name == BASELINE:
            raise TimeoutError("does not serve:\nits log")
        return Findings({"requests/s": 100.0 * turn}, Counter({"read": turn}))


def sampled(server: str, *values: float, measure: str = "steady", figure: str = "requests/s") -> list[Sample]:
    return [Sample(measure, server, turn, {figure: value}) for turn, value in enumerate(values, 1)]


def run_python(text: str) -> int:
    """The pid of a process that has run it, and has been waited for."""
    with subprocess.Popen([sys.executable, "-S", "-c", text]) as process:
        assert process.wait() == 0
    return process.pid


def make_peers(*names: str) -> list[Peer]:
    return [by_name(name) for name in names]


# What wrk prints


def test_a_clean_run_of_wrk_is_read() -> None:
    assert wrk.parse(CLEAN) == wrk.Result(127410, 63620.51)


def test_every_kind_of_error_is_read_and_none_that_did_not_happen() -> None:
    assert wrk.parse(TROUBLED).errors == {"connect": 1, "read": 14789, "timeout": 3, "status": 12}


def test_answers_are_summed_over_threads() -> None:
    assert wrk.parse(CLEAN + "answers 17 5\nanswers 18 2\nanswers 17 1\n").answers == {"17": 6, "18": 2}


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n"])
def test_output_without_a_result_is_an_error(output: str) -> None:
    with pytest.raises(ValueError, match="no result"):
        wrk.parse(output)


# CPU time, memory, wake-ups


def test_the_clock_of_a_process_is_its_cpu_time() -> None:
    before = time.process_time()
    used = accounting.clock(os.getpid())
    assert before <= used <= time.process_time()


def test_children_that_were_waited_for_count() -> None:
    own = os.getpid()
    before = accounting.cpu([own]) - accounting.clock(own)
    run_python("import time\nwhile time.process_time() < 0.1: pass")
    # The kernel counts children in whole ticks.
    assert accounting.cpu([own]) - accounting.clock(own) - before >= 0.1 - 3 / accounting.TICKS


def test_the_name_of_a_process_may_look_like_fields() -> None:
    stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 2 3 4 50 60 700 80 20 0 1 0 99 0 0"
    assert accounting.reaped(stat) == (700 + 80) / accounting.TICKS


def test_memory_and_sleeps_are_read_from_their_lines() -> None:
    rollup = "5580-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    9000 kB\nPss:    1234 kB\nPss_Dirty:   99 kB\n"
    assert accounting.pss_kib(rollup) == 1234
    status = "Name:\tx\nThreads:\t1\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n"
    assert accounting.sleeps(status) == 42


def test_a_process_that_has_gone_uses_nothing() -> None:
    child = run_python("pass")
    assert (accounting.cpu([child]), accounting.pss([child]), accounting.wakeups([child])) == (0, 0, 0)


# Statistics


def test_the_median_has_its_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)
    assert Spread.of([]) is None


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.001, 1.0), (0.501, 51.0)]
)
def test_quantiles_are_values_that_were_measured(share: float, expected: float) -> None:
    assert latency.quantile([float(value) for value in range(100, 0, -1)], share) == expected


def test_variation_is_the_deviation_in_parts_of_the_mean() -> None:
    assert latency.variation([10, 10, 10]) == 0
    assert latency.variation([20, 0]) == 1
    assert latency.variation([0, 0]) == 0


def test_ratios_are_taken_round_by_round() -> None:
    results = Results({}, [*sampled(OURS, 10, 20, 90), *sampled(BASELINE, 10, 10, 30)])
    ratio = results.ratio(Where("steady", "requests/s", OURS), Where("steady", "requests/s", BASELINE))
    assert ratio == Spread(2, 1, 3)


def test_a_round_without_its_counterpart_has_no_ratio() -> None:
    results = Results({}, [*sampled(OURS, 10, 20, 30), *sampled(BASELINE, 5, 0)])
    ones, others = Where("steady", "requests/s", OURS), Where("steady", "requests/s", BASELINE)
    assert results.ratio(ones, others) == Spread(2, 2, 2)
    assert results.ratio(ones, Where("steady", "requests/s", FLOOR)) is None


def test_results_survive_their_file() -> None:
    results = Results({"Machine": {"cores": "2"}}, sampled(OURS, 1, 2))
    results.samples[0].errors["read"] = 3
    text = results.to_json([Steady()])
    assert Results.from_json(text) == results
    summary = json.loads(text)["summary"]["steady"][OURS]
    assert summary == {"requests/s": {"median": 1.5, "low": 1, "high": 2}, "CPU per request, µs": None}


# Tables, targets, plots


@pytest.mark.parametrize(
    ("value", "text"),
    [(63620.51, "63,621"), (123.4, "123"), (21.35, "21.4"), (1.256, "1.26"), (0.0732, "0.073"), (0, "0"), (2, "2")],
)
def test_numbers_have_the_digits_that_can_be_meant(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_has_ratios_and_says_what_went_wrong() -> None:
    results = Results({}, [*sampled(OURS, 150, 300), *sampled(BASELINE, 100, 150)])
    results.samples[1].errors["read"] = 1200
    assert measure_table(Steady(), results).splitlines() == [
        "| server | requests/s | × | CPU per request, µs | × | notes |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| {OURS} | 225 (150–300) | 1.75 (1.50–2.00) | – |  | 1,200 read |",
        f"| {BASELINE} | 125 (100–150) |  | – |  |  |",
    ]


def test_without_the_baseline_there_are_no_ratios() -> None:
    assert measure_table(Steady(), Results({}, sampled(OURS, 7))).splitlines()[0] == (
        "| server | requests/s | CPU per request, µs |"
    )


def test_targets_are_judged_by_the_median_or_by_the_worst() -> None:
    results = Results({}, [*sampled(OURS, 1, 2, 9), *sampled(BASELINE, 1, 1, 1)])
    kept = Target("steady", "requests/s", 2)
    assert kept.reached(results)
    assert not Target("steady", "requests/s", 1.9).reached(results)
    assert not Target("steady", "requests/s", 2, always=True).reached(results)
    assert Target("steady", "requests/s", 2, at_least=True, over=BASELINE).reached(results)
    assert not Target("steady", "requests/s", 2, at_least=True, always=True, over=BASELINE).reached(results)
    assert Target("steady", "other", 2).reached(results) is None


def test_a_figure_can_be_measured_by_another_of_the_same_server() -> None:
    samples = [Sample("boot", OURS, 1, {"1 worker": 2.0, "16 workers": 3.0})]
    target = Target("boot", "16 workers", 1.5, over_figure="1 worker")
    assert target.value(Results({}, samples)) == Spread(1.5, 1.5, 1.5)
    assert targets_table(Results({}, samples), [target]).splitlines()[-1] == (
        "| boot: 16 workers, ratio to 1 worker | 1.50 | ≤ 1.5 × | yes |"
    )


def test_targets_and_plots_speak_of_figures_that_exist() -> None:
    figures = {(measure.name, figure.name) for measure in bench.MEASURES for figure in measure.figures}
    servers = {peer.name for peer in PEERS} | {""}
    for target in TARGETS:
        assert (target.measure, target.figure) in figures
        assert (target.measure, target.over_figure or target.figure) in figures
        assert target.over in servers
    assert {(measure, figure) for plot in PLOTS for _, measure, figure in plot.what} <= figures
    assert set(bench.QUICK) <= {measure.name for measure in bench.MEASURES}


def test_names_are_unique() -> None:
    names = [measure.name for measure in bench.MEASURES]
    assert len(set(names)) == len(names)


def test_bars_are_as_long_as_what_they_show() -> None:
    plot = Plot("p", "More & more", (("one", "steady", "requests/s"), ("none", "idle", "CPU")), relative=True)
    results = Results({}, [*sampled(OURS, 30, 30), *sampled(BASELINE, 10, 20)])
    groups = plot.groups(results)
    assert [group.label for group in groups] == ["one"]
    root = ET.fromstring(draw(plot.title, groups))
    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "11"]
    ours, baseline = (float(each.get("width", "0")) for each in bars)
    assert ours / baseline == pytest.approx(2.25, abs=0.01)
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"More & more", "one", OURS, "2.25", "1.00"} <= set(texts)


def test_the_page_shows_what_was_measured_and_on_what() -> None:
    results = Results({"Machine": {"cores": "2"}}, sampled(OURS, 1))
    text = page([Steady(), Throughput("hello", "Hello")], results, [PLOTS[0]])
    assert "**Machine**: cores 2" in text
    assert f"![{PLOTS[0].title}](throughput.svg)" in text
    assert "## Steady" in text
    assert "## Hello" not in text


def test_the_line_of_a_run_names_its_errors() -> None:
    findings = Sample("steady", OURS, 1, {"CPU per request": 21.3}, {"read": 2}, "a remark")
    assert line(Steady(), findings) == "CPU per request 21.3 µs, 2 × read!, a remark"


def test_the_processor_is_named() -> None:
    assert machine.cpu_model("processor : 0\nmodel name\t: Some CPU @ 3 GHz\nflags : a\n") == "Some CPU @ 3 GHz"


# The run


def test_servers_take_turns() -> None:
    plan = bench.Plan([Steady()], make_peers(OURS, BASELINE, FLOOR), 2, Settings())
    steps = [(turn, peer.name) for _, turn, peer in plan.steps()]
    assert steps == [(1, OURS), (1, BASELINE), (2, OURS), (2, BASELINE)]


def test_a_server_that_fails_does_not_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results()
    bench.run(bench.Plan([Steady()], make_peers(OURS, BASELINE), 1, Settings()), results, tmp_path / "out")
    assert results.faults() == [
        f"steady, {OURS}, round 1: 1 × read",
        f"steady, {BASELINE}, round 1: 1 × failed run",
    ]
    assert results.faults(OURS) == [f"steady, {OURS}, round 1: 1 × read"]
    assert results.samples[1].remark == "TimeoutError: does not serve:"
    assert "[2/2" in capsys.readouterr().err
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["results.json", "results.md"]


@pytest.mark.parametrize("given", ["quick", "measure", "server", "rounds", "seconds", "workers"])
def test_a_restricted_run_never_replaces_a_full_one(given: str) -> None:
    options = dict.fromkeys(["quick", "measure", "server", "rounds", "seconds", "workers", "out"])
    assert bench.destination(argparse.Namespace(**options)) == bench.DOCS
    assert bench.destination(argparse.Namespace(**{**options, given: 1})) is None
    assert bench.destination(argparse.Namespace(**{**options, given: 1, "out": "there"})) == Path("there")


def test_an_unknown_measure_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--measure", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "no such measure: speed; --list names them" in capsys.readouterr().err


def test_a_log_has_a_line_for_each_request_or_is_off(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    assert log_errors(log, 10, wanted=True) == {"lines missing in the access log": 10}
    assert not log_errors(log, 10, wanted=False)
    log.write_text("line\n" * (START_UP_LINES + 1))
    assert not log_errors(log, START_UP_LINES, wanted=True)
    assert log_errors(log, 1000, wanted=False) == {"lines in an access log that is off": START_UP_LINES + 1}


# The floor and the WebSocket client


def test_the_floor_answers_whole_responses() -> None:
    head, _, body = floor.answer(b"/", 0).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert floor.answer(b"/upload/1024", 1024) == floor.HELLO
    assert floor.answer(b"/upload/1024", 1000).startswith(b"HTTP/1.1 400 ")
    assert floor.answer(b"/stream", 0).endswith(b"\r\n0\r\n\r\n")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True


async def test_a_message_goes_out_when_the_last_one_has_come_back() -> None:
    client, wire = websocket.Client(), Wire()
    client.connection_made(wire)
    client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert not client.opened.done()
    client.data_received(b"Upgrade: websocket\r\n\r\n")
    assert client.opened.done()
    client.begin()
    client.data_received(websocket.ECHO[:5])
    assert client.messages == 0
    client.data_received(websocket.ECHO[5:])
    assert (client.messages, client.error) == (1, "")
    assert wire.written == [websocket.HANDSHAKE, websocket.MESSAGE, websocket.MESSAGE]


@pytest.mark.parametrize(
    ("received", "error"),
    [
        ([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], "handshake"),
        ([b"HTTP/1.1 101 \r\n\r\n", b"\x88\x02\x03\xf4"], "wrong frame"),
    ],
)
async def test_what_is_no_echo_is_an_error(received: list[bytes], error: str) -> None:
    client, wire = websocket.Client(), Wire()
    client.connection_made(wire)
    for data in received:
        client.data_received(data)
    assert (client.error, wire.closed, client.opened.done()) == (error, True, True)


def test_messages_are_masked_as_the_protocol_wants() -> None:
    head, mask, payload = websocket.MESSAGE[:2], websocket.MESSAGE[2:6], websocket.MESSAGE[6:]
    assert head == bytes([0x81, 0x80 | len(websocket.TEXT)])
    assert bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)) == websocket.TEXT


def test_wrk_is_told_whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Done:
        returncode, stdout, stderr = 0, CLEAN, ""

    def remember(command: list[str], **_: object) -> Done:
        told.extend(command)
        return Done()

    monkeypatch.setattr("subprocess.run", remember)
    address = Address(("127.0.0.1", 8000))
    wrk.run(address, "/x", connections=3, seconds=1.2, script="upload.lua", arguments=("5",), headers=("A: b",))
    assert told == [
        *("wrk", "--threads", "1", "--connections", "3", "--duration", "2s", "--header", "A: b"),
        *("--script", str(wrk.SCRIPTS / "upload.lua"), "http://127.0.0.1:8000/x", "--", "5"),
    ]
    assert wrk.SCRIPTS.joinpath("upload.lua").exists()
