"""HUP: from the order to settings that are in force, or to a refusal that leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from supervisor.application import explain
from supervisor.config.load import Inputs, load
from supervisor.config.settings import Settings
from supervisor.errors import SupervisorError
from supervisor.logs import lookup
from supervisor.logs.setup import try_out as try_out_logs
from supervisor.runtime.holdings import Holdings
from supervisor.runtime.system import Plan, Rehearsed, System

CHANGES = 10
"""So often a configuration file that changes while it is tried is tried again."""


class Renewal:
    """Reads the configuration again: first for trial, so that one that hangs or crashes harms nobody, then in earnest.

    ``settings`` tells those in force. ``accept`` takes the plan of the new generation, ``refuse`` the reason why there
    is none.
    """

    def __init__(
        self,
        system: System,
        holdings: Holdings,
        inputs: Inputs | None,
        *,
        settings: Callable[[], Settings],
        accept: Callable[[Plan], None],
        refuse: Callable[[SupervisorError], None],
    ) -> None:
        self._system = system
        self._holdings = holdings
        self._inputs = inputs
        self._settings = settings
        self._accept = accept
        self._refuse = refuse
        self._until: float | None = None
        self._trial = 0
        self._tried: bytes | None = None
        self._changes = 0

    @property
    def next_deadline(self) -> float | None:
        """When the rehearsal has taken too long."""
        return self._until

    @property
    def under_way(self) -> bool:
        """Whether the configuration is being read for trial."""
        return self._trial != 0

    def begin(self) -> None:
        """Begin, in place of one that is under way."""
        self._changes = 0
        if self._inputs is None:
            self._renew()
        else:
            self._rehearse()

    def _rehearse(self) -> None:
        self._tried = _content(self._settings().config_path)
        try:
            self._trial = self._system.rehearse(lambda: try_out_logs(self._read()))
        except OSError as error:
            self._fail(SupervisorError(f"no process can be forked to read the configuration: {error.strerror}"))
        else:
            self._until = self._system.now() + self._settings().boot_timeout

    def rehearsed(self, rehearsed: Rehearsed) -> None:
        """A rehearsal is over. It counts unless another one, or a stop, has taken its place."""
        if rehearsed.number != self._trial:
            return
        self._trial, self._until = 0, None
        failure = rehearsed.failure
        if failure is not None:
            self._fail(SupervisorError(failure.summary, detail=failure.detail))
        elif self._tried == _content(self._settings().config_path):
            lookup.learn(rehearsed.answer)  # the arbiter itself must not wait for a name server
            self._renew()
        elif self._changes < CHANGES:
            # What the arbiter would read now was not tried.
            self._changes += 1
            self._rehearse()
        else:
            self._fail(SupervisorError("the configuration file changes each time it is read; let it stand still"))

    def give_up(self) -> None:
        """Forget about it: the arbiter stops."""
        self._trial, self._until = 0, None
        self._system.stop_rehearsal()

    def tick(self, now: float) -> None:
        """Refuse a configuration that takes too long to be read."""
        if self._until is not None and self._until <= now:
            self.give_up()
            limit = self._settings().boot_timeout
            self._fail(SupervisorError(f"the configuration was not read within boot_timeout ({limit:g} s)"))

    def _renew(self) -> None:
        try:
            plan = self._holdings.renew(self._read())
        except SupervisorError as error:
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - the configuration is a program, and names others
            summary, detail, _ = explain(error)
            self._fail(SupervisorError(summary, detail=detail))
        else:
            self._accept(plan)

    def _fail(self, error: SupervisorError) -> None:
        self._holdings.environment.go_back(self._settings())
        detail = f"\n{error.detail.rstrip()}" if error.detail else ""
        self._holdings.logs.error.error("Reload refused, nothing has changed: %s%s", error, detail)
        self._refuse(error)

    def _read(self) -> Settings:
        if self._inputs is None:
            return self._settings()
        self._holdings.environment.restore()
        with self._system.around_hooks():
            return load(self._inputs)


def _content(path: str | None) -> bytes | None:
    """What is in the configuration file; None where there is none."""
    try:
        return Path(path).read_bytes() if path else None
    except (OSError, ValueError):
        return None
