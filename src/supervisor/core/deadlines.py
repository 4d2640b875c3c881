"""Deadlines of workers and loaders: which is next, what it means that one has passed, and giving time back."""

from __future__ import annotations

from supervisor.core.generations import Generations
from supervisor.core.lifecycle import State
from supervisor.core.workers import Worker, WorkerTable


def earliest(workers: WorkerTable, generations: Generations) -> float | None:
    """When the next of them passes, or a heartbeat is to be looked at, or a lost loader started again."""
    times = [at for worker in workers for at in (worker.deadline, worker.look_at) if at is not None]
    loaders = generations.next_deadline()
    return min(times if loaders is None else [*times, loaders], default=None)


def give_back(workers: WorkerTable, generations: Generations, seconds: float) -> None:
    """The arbiter was held up, and most likely those that it waits for were held up with it."""
    generations.give_time_back(seconds)
    for worker in workers:
        if worker.deadline is not None:
            worker.deadline += seconds


def complaint(worker: Worker) -> str:
    """What a worker whose deadline has passed has failed to do."""
    limits = worker.limits
    match worker.state:
        case State.SPAWNING:
            return f"the loader of generation {worker.generation} did not fork when it was told to"
        case State.BOOTING if worker.failure is not None:
            return "it said that it cannot boot, and did not exit"
        case State.BOOTING:
            return f"not ready within boot_timeout ({limits.boot_timeout:g} s)"
        case State.DRAINING if worker.quit_sent:
            return "did not quit in time"
        case State.DRAINING:
            return f"did not drain within graceful_timeout ({limits.graceful_timeout:g} s)"
        case _:
            return "did not die of the abort"
