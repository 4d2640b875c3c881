"""The application's lifespan (ASGI lifespan protocol, version 2.0)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from supervisor.application import user_traceback
from supervisor.errors import BootError


class Lifespan:
    """Runs the lifespan task of ``app``. ``mode`` is ``auto``, ``on`` or ``off``.

    With ``auto`` an application that raises before it has completed or failed its startup is taken not to support the
    protocol, as the specification has it; with ``on`` that is a failure. To exit is one in either case.
    """

    def __init__(self, app: Any, mode: str, log: logging.Logger) -> None:
        self.app = app
        self.mode = mode
        self.log = log
        self.state: dict[str, Any] = {}
        self.running = False
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = False
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    async def startup(self) -> None:
        """Wait until the application has started. Raises `BootError` if it says that it cannot."""
        if self.mode == "off":
            return
        error, message = await self._exchange("startup")
        if error is None:
            if message.get("type") == "lifespan.startup.failed":
                text = str(message.get("message", ""))
                await self.cancel()
                last = text.strip().splitlines()[-1] if text.strip() else "no reason given"
                raise BootError(f"the application's lifespan startup failed: {last}", detail=text)
            self.running = True
        elif self.mode == "on" or not isinstance(error, Exception):
            detail = user_traceback(error)
            raise BootError(
                f"the application's lifespan startup raised {type(error).__name__}: {error}", detail=detail
            ) from error
        elif self._asked:
            self.log.warning(
                "the application raised %s in its lifespan startup; going on without, as the ASGI specification has it "
                '(asgi_lifespan = "on" makes this an error)',
                type(error).__name__,
                exc_info=error,
            )
        else:
            self.log.debug("the application does not support the lifespan protocol")

    async def shutdown(self) -> None:
        """Wait until the application has shut down. What it raises is logged."""
        if not self.running:
            return
        self.running = False
        error, message = await self._exchange("shutdown")
        if message.get("type") == "lifespan.shutdown.failed":
            self.log.error("the application's lifespan shutdown failed: %s", message.get("message", ""))
        elif error is not None:
            self.log.error("the application raised in its lifespan shutdown", exc_info=error)

    async def cancel(self) -> None:
        """Give the lifespan up, in whatever state it is."""
        self.running = False
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=0.5)

    async def _exchange(self, phase: str) -> tuple[BaseException | None, dict[str, Any]]:
        """Send one event and wait for its answer, or for the end of the task."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        if self._task is None:
            self._task = loop.create_task(self._run())
        await asyncio.wait((self._task, self._answer), return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            return None, self._answer.result()
        return self._outcome, {}

    async def _run(self) -> None:
        self._outcome: BaseException | None = None
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self._receive, self._send)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the loop from inside a task
            self._outcome = error

    async def _receive(self) -> dict[str, Any]:
        self._asked = True
        return await self._inbox.get()

    async def _send(self, message: dict[str, Any]) -> None:
        if self._answer is None or self._answer.done():
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")
        self._answer.set_result(message)
