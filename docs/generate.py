"""Write the pages that come from the code: ``python docs/generate.py``. A test says when they are out of date."""

from __future__ import annotations

from pathlib import Path

from supervisor.config.differences import OWN, Verdict, difference
from supervisor.config.reference import page as settings_page
from supervisor.config.settings import TABLE
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

Why it decides as it does: [how the arbiter decides](deciding.md).
"""

COMPARISON = """\
# Compared with gunicorn

<!-- Generated from supervisor.config.differences: python docs/generate.py -->

Every setting and hook of gunicorn 27, in comparison with gunicorn and its `UvicornWorker`. What concerns a
configuration of your own is printed by `python -m supervisor migrate gunicorn.conf.py`. `nox -s gunicorn_parity` holds
each line against a gunicorn (default, flags, what is accepted and printed), and names the test that shows what the
setting does.

{summary}

{sections}
## Settings that gunicorn has not

{own}

What they do is in [the reference](settings.md).
"""

VERDICTS = {
    Verdict.SAME: "as with gunicorn",
    Verdict.BETTER: "as with gunicorn, and more than that",
    Verdict.DIFFERS: "behaves differently, on purpose",
    Verdict.NO_EFFECT: "accepted, and said once at the start to have no effect",
    Verdict.REFUSED: "not started with",
}


def comparison_page() -> str:
    """Each setting of gunicorn's with its verdict."""
    names = [name for name in TABLE if name not in OWN]
    counts = {verdict: sum(difference(name).verdict is verdict for name in names) for verdict in Verdict}
    summary = [f"- **{verdict}** ({count}): {VERDICTS[verdict]}" for verdict, count in counts.items() if count]
    sections = []
    groups = dict.fromkeys(TABLE[name].group for name in names)
    for group in groups:
        rows = [_comparison(name) for name in names if TABLE[name].group == group]
        sections.append("\n".join([f"## {group}\n", "| setting | | |", "|---|---|---|", *rows, ""]))
    own = ", ".join(f"`{name}`" for name in sorted(OWN))
    return COMPARISON.format(summary="\n".join(summary), sections="\n".join(sections), own=own)


def _comparison(name: str) -> str:
    found = difference(name)
    return f"| `{name}` | {found.verdict} | {found.text.replace('|', chr(92) + '|')} |"


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
        DOCS / "reference" / "gunicorn.md": comparison_page(),
        DOCS / "explanation" / "lifecycle.md": lifecycle_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
