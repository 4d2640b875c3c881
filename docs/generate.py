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

Why it decides as it does: [how the arbiter decides](deciding.md).
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
