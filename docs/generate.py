"""Write the pages that come from the code: ``python docs/generate.py``. A test says when they are out of date."""

from __future__ import annotations

from pathlib import Path

from supervisor.config.reference import page as settings_page
from supervisor.core.lifecycle import TRANSITIONS, State

DOCS = Path(__file__).parent

LIFECYCLE = """\
# The life of a worker

<!-- Generated from supervisor.core.lifecycle: python docs/generate.py -->

Every step that a worker can take, drawn from the table in `supervisor.core.lifecycle`. What is not in it cannot happen:
a missing step raises. What the arbiter does at each step is told in [the architecture](architecture.md).

```mermaid
stateDiagram-v2
{diagram}
```

| from | because it | to |
|---|---|---|
{rows}

## How the arbiter decides

Nothing in the core is a procedure. Each event changes what is known, and then one function, `_settle`, compares what there
is with what there should be: who is surplus, which slots are vacant, whose worker is to be replaced. So a TERM in the middle
of a reload, or a crash in the middle of both, needs no code of its own.

**A reload** puts a *candidate* generation beside the one that serves. Its loader loads, and forks one worker on trial, on
top of those that are wanted. When this one is ready, the candidate takes over: from now on every vacancy is filled from it,
and each older worker is told to drain when a new one serves in its slot. Up to that moment any failure throws the candidate
away; from then on a failure concerns only its slot, which backs off while its older worker serves on. The reload is
finished when no older worker is left, not even one that drains, because a draining worker still answers on the connections
that it has. Another HUP takes the place of the candidate, and of replacements that still boot: otherwise one that hangs
would hold the next attempt up for all of `boot_timeout`.

**`surge`** bounds how many workers live above the wanted number: those that are being forked, boot, or serve. Workers that
drain are not counted. A drain may last for `graceful_timeout`, and if it held a place, every slot would wait for the slowest
stream of the one before: with four workers and thirty seconds, two minutes for a reload that needs seconds. A draining
worker costs memory, but it takes no new work, and its time is bounded.

**Back-off** belongs to the slot, so that a worker that cannot boot harms no other. A worker that had served is replaced at
once the first time; after that, and for one that never got ready, the slot waits 0.5 s, and 1.8 times longer each time, up
to 30 s, spread by a quarter to both sides. Ten seconds of service make the slot begin anew, and so does new code. Before
anything has served there is nothing to protect: a failure that explains itself ends the start at once, one without a word
at the third time.

**Time** comes in as an argument. `next_deadline()` says when the arbiter has to be woken, and the tick that comes then
always consumes that deadline. A tick that comes more than a second late says that the arbiter was stopped or the machine
suspended: everybody gets the lost time back, and every heartbeat counts as fresh.

Scenario by scenario, with what goes in and what comes out, this is written down in `tests/core/transcripts`.
"""


def lifecycle_page() -> str:
    """The state diagram and the table of the worker lifecycle."""
    steps: dict[tuple[State, State], list[str]] = {}
    for (state, cause), target in TRANSITIONS.items():
        if state is not target:
            steps.setdefault((state, target), []).append(cause.value)
    diagram = [f"    [*] --> {State.SPAWNING.value}: slot is vacant"]
    diagram += [
        f"    {state.value} --> {target.value}: {', '.join(causes)}" for (state, target), causes in steps.items()
    ]
    diagram += [f"    {State.GONE.value} --> [*]"]
    rows = [f"| {state.value} | {cause.value} | {target.value} |" for (state, cause), target in TRANSITIONS.items()]
    return LIFECYCLE.format(diagram="\n".join(diagram), rows="\n".join(rows))


def pages() -> dict[Path, str]:
    """Each generated page with its text."""
    return {
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "explanation" / "lifecycle.md": lifecycle_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
