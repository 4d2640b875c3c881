"""The life of a worker's event loop: startup, serving, drain, shutdown. Driven by events; idle, it wakes once a second.

Order at TERM: listeners are closed, after what waited in their queues was taken; the arbiter is told; connections are
answered with ``Connection: close``; idle ones go after a grace. WebSockets are told at once (``WEBSOCKET_GRACE``),
streams shortly before ``graceful_timeout``; then whatever is left is cancelled. The lifespan's shutdown has until two
seconds after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from supervisor.workers import engine
from supervisor.workers.acceptor import Acceptor
from supervisor.workers.base import Stop
from supervisor.workers.connection import DRAIN_HEAD
from supervisor.workers.dispatch import Dispatch
from supervisor.workers.lifespan import Lifespan
from supervisor.workers.reception import Reception
from supervisor.workers.recycling import Recycling
from supervisor.workers.state import Shared
from supervisor.workers.tls import Tls, build_tls

if TYPE_CHECKING:
    from supervisor.workers.uvicorn import UvicornWorker

TICK: Final = 1.0
DRAIN_SWEEP: Final = 0.05
# What may follow `graceful_timeout` before the process is killed is 2 s; some of it is for the end of the process.
AFTER_GRACE: Final = 1.8
AFTER_SHUTDOWN: Final = 0.1
CANCELLATION: Final = 0.5
FLUSH: Final = 0.3
ORDER_PATIENCE: Final = 0.3
SIGNAL_PATIENCE: Final = 0.1


class Server:
    """Serves ``config.loaded_app`` on the worker's listeners until the worker is told to stop."""

    def __init__(self, worker: UvicornWorker, config: engine.Config, shared: Shared, http: str) -> None:
        self.worker = worker
        self.config = config
        self.shared = shared
        self.http = http
        self.log = shared.log
        self.loop = asyncio.get_running_loop()
        self.state = engine.Server(config).server_state
        self.lifespan = Lifespan(shared.app, config.lifespan, self.log)
        self._acceptor: Acceptor | None = None
        self._told: weakref.WeakSet[Any] = weakref.WeakSet()
        self.stopped = asyncio.Event()
        self.stop_time = 0.0
        self._told_at = 0.0
        self._patience = DRAIN_HEAD
        self._recycling = Recycling(worker.cfg, self.log)
        self._timer: asyncio.TimerHandle | None = None
        self._next_sweep = 0.0
        self._headers_are_old = False
        self._arbiter_gone = False
        timeout = worker.cfg.timeout
        self._interval = min(TICK, timeout / 4) if timeout else TICK

    # -- the tick

    def _tick(self) -> None:
        if not self.worker.is_stuck(2 * self._interval):
            self.shared.row.beat()
        now = self.loop.time()
        if now >= self._next_sweep:
            self._next_sweep = now + TICK
            self.shared.complaints.review()
            if self.shared.connections or self.state.connections:
                self._refresh_headers()
                self._sweep(now)
            else:
                self._headers_are_old = True
            self._recycle(now)
            self.worker.tell_imported()
            if self._acceptor is not None:
                # Protocol classes that are not ours do not tell when a connection is lost.
                self.shared.connection_count_changed()
                self._acceptor.review()
        self._timer = self.loop.call_later(self._interval, self._tick)

    def _refresh_headers(self) -> None:
        self._headers_are_old = False
        self.shared.refresh_date()
        self.state.default_headers = self.shared.default_headers

    def _sweep(self, now: float) -> None:
        self.shared.sweep(now)
        if self.state.connections:
            for connection in self._foreign_connections("sweep"):
                connection.sweep(now)

    def _recycle(self, now: float) -> None:
        if not self.worker.booted or self.worker.stop or self.shared.retiring:
            return
        if reason := self._recycling.reason(now):
            self.shared.retire(reason)

    def _recount(self) -> None:
        """A connection was made, or has failed, whose protocol class does not tell."""
        self.shared.connection_count_changed()
        self.shared.changed.set()

    def _foreign_connections(self, method: str) -> list[Any]:
        return [connection for connection in self.state.connections if hasattr(connection, method)]

    # -- being told to stop

    def stop_changed(self) -> None:
        """The worker's ``stop`` has changed. Called by a signal handler."""
        # Now, and not when a blocked loop comes to it: the arbiter counts `graceful_timeout` from its order on. The
        # loop's own clock stands still meanwhile.
        self._told_at = self._told_at or monotonic()
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._note_stop)

    def _note_stop(self) -> None:
        self.worker.loop_has_answered()
        if not self.stop_time:
            late = monotonic() - self._told_at if self._told_at else 0.0
            self.stop_time = self.loop.time() - late
        self.stopped.set()
        self.shared.changed.set()

    def _link_readable(self) -> None:
        link = self.shared.link
        self.shared.changed.set()
        if link.arbiter_is_gone():
            self.loop.remove_reader(link.fileno())
            self._arbiter_gone = True
            self.log.warning("the arbiter is gone: draining, then exiting")
            self.worker.request_stop(Stop.GRACEFUL)
        else:
            self._heed_orders()

    def _heed_orders(self) -> Stop:
        """What the arbiter itself has ordered; where signals may not be heard, it is done without one.

        That is where the application keeps the main thread. The signal comes first where it can: a worker class may
        have made a handler of its own.
        """
        link = self.shared.link
        ordered = Stop.QUICK if link.ordered_to_quit() else Stop.GRACEFUL if link.ordered_to_go() else Stop.NO
        if ordered and self.worker.is_beside and (self.worker.stop < ordered or not self.stopped.is_set()):
            self.loop.call_later(SIGNAL_PATIENCE, self._go_without_signal, ordered)
        return ordered

    def _go_without_signal(self, ordered: Stop) -> None:
        worker = self.worker
        if worker.handling:
            # It has been heard, and takes its time: `worker_int` may.
            self.loop.call_later(SIGNAL_PATIENCE, self._go_without_signal, ordered)
            return
        if ordered == Stop.QUICK:
            worker.interrupt()
        worker.request_stop(ordered)
        if not self.stopped.is_set():
            # Something has thrown the handler out before it could tell.
            self._note_stop()

    # -- the life

    async def serve(self) -> int:
        """Start, serve, drain, shut down; return the exit code. Raises `BootError` if the application cannot start."""
        link = self.shared.link
        self._tick()
        self.loop.add_reader(link.fileno(), self._link_readable)
        try:
            if self.worker.stop:
                self._note_stop()
            if not await self._startup():
                return 0
            await self.stopped.wait()
            await self._until_ordered()
            if self.worker.stop == Stop.GRACEFUL:
                await self._drain()
            else:
                link.say_draining()
            await self._drop()
            await self._shutdown()
            return 0
        finally:
            if not self._arbiter_gone:
                self.loop.remove_reader(link.fileno())
            await self._cancel_rest()
            if self._timer is not None:
                self._timer.cancel()

    async def _until_ordered(self) -> None:
        """Serve on for a moment, if the TERM was not the arbiter's.

        A service manager sends it to all processes of the service at once. If all workers left before the arbiter had
        sealed its listeners, nobody would take the connections that came between. Its own order follows soon; or
        the TERM was meant for this worker alone.
        """
        end = self.loop.time() + ORDER_PATIENCE
        while self.worker.stop == Stop.GRACEFUL and not (self._heed_orders() or self._arbiter_gone):
            left = end - self.loop.time()
            if left <= 0:
                return
            await self._changed(left)

    async def _startup(self) -> bool:
        """Start the application and accept connections; return False if the worker was told to stop meanwhile."""
        tls = build_tls(self.worker.cfg, self.config.ssl, self.worker.context.credentials)
        startup = self.loop.create_task(self.lifespan.startup())
        stopped = self.loop.create_task(self.stopped.wait())
        await asyncio.wait((startup, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not startup.done():
            startup.cancel()
            await self.lifespan.cancel()
            return False
        await startup
        self.shared.app_state = self.lifespan.state
        dispatch = Dispatch(self.config, self.shared, self.state, http=self.http, tls=tls, cfg=self.worker.cfg)
        self._new_protocol = dispatch.new_protocol
        self._refresh_headers()
        self._acceptor = acceptor = self._make_acceptor(dispatch, tls)
        self.shared.count_changed = acceptor.count_changed
        acceptor.start(self.worker.context.listeners)
        self.worker.booted = True
        self._recycling.started(self.loop.time())
        self.shared.link.say_ready()
        return True

    def _make_acceptor(self, dispatch: Dispatch, tls: Tls | None) -> Acceptor:
        gateway = self.worker.gateway
        capacity = gateway.capacity() if gateway is not None else None
        make = self._make_protocol if capacity is None else capacity.watching(self._make_protocol)
        context = tls.context if tls is not None else None
        reception = Reception(make, tls=context, handshake=self.shared.limits.head, greet=dispatch.greeting(make))
        arguments: dict[str, Any] = {
            "backlog": self.config.backlog,
            "log": self.log,
            "siblings": self.worker.context.siblings,
            "changed": self._recount if self.http == "custom" else self.shared.changed.set,
        }
        if gateway is None or capacity is None:
            return Acceptor(reception, **arguments)
        from supervisor.workers.bounded import BoundedAcceptor  # only who serves WSGI pays for it

        acceptor = BoundedAcceptor(reception, capacity=capacity, **arguments)
        gateway.freed = acceptor.room
        gateway.complaints = self.shared.complaints
        return acceptor

    async def _shutdown(self) -> None:
        """The lifespan's shutdown, bounded."""
        limit = max(self._end() - self.loop.time(), 0.2)
        try:
            await asyncio.wait_for(self.lifespan.shutdown(), limit)
        except TimeoutError:
            self.log.warning("the application's lifespan shutdown did not end in time and was cancelled")

    def _deadline(self) -> float:
        return self.stop_time + float(self.worker.cfg.graceful_timeout)

    def _end(self) -> float:
        """When the process has to be gone."""
        start = self.loop.time() if self.worker.stop == Stop.QUICK else self._deadline()
        return start + AFTER_GRACE

    async def _cancel_rest(self) -> None:
        """Cancel what the application has left running, and close its asynchronous generators; both bounded."""
        rest = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=self._moment(CANCELLATION))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.loop.shutdown_asyncgens(), self._moment(CANCELLATION))

    def _moment(self, seconds: float) -> float:
        """So long, but not longer than there is until the process is killed."""
        return max(0.02, min(seconds, self._end() + AFTER_SHUTDOWN - self.loop.time()))

    # -- connections

    def _make_protocol(self) -> Any:
        if self._headers_are_old:
            self._refresh_headers()
        return self._new_protocol()

    # -- drain

    async def _drain(self) -> None:
        """Let everything that is under way come to its end, until `graceful_timeout` or a more urgent signal."""
        shared, graceful = self.shared, float(self.worker.cfg.graceful_timeout)
        shared.draining = True
        if self._acceptor is not None:
            await self._acceptor.stop()
        # Only now: the arbiter closes its listeners when all workers have taken what had queued up.
        shared.link.say_draining()
        for connection in [*shared.connections, *self._foreign_connections("drain")]:
            connection.drain()
        for connection in self._unknown_connections():
            connection.shutdown()
        deadline = self._deadline()
        soft = deadline - min(1.0, graceful / 10)
        grace = self.worker.WEBSOCKET_GRACE
        sockets_at = soft if grace is None else min(self.stop_time + grace, soft)
        told = False
        sweep_at = 0.0
        looked = self.loop.time()
        while not self._quiet() and self.worker.stop != Stop.QUICK:
            now = self.loop.time()
            # What clients sent while the application blocked the loop has not been read yet: they are not late.
            self._patience -= min(now - looked, 2 * DRAIN_SWEEP)
            looked = now
            if now >= deadline:
                return
            if now >= sockets_at:
                self._close_websockets(undecided=now >= soft)
            if now >= soft and not told:
                told = True
                shared.tell_streams()
            if now >= sweep_at:
                sweep_at = now + DRAIN_SWEEP
                self._sweep(now)
            await self._changed(min(DRAIN_SWEEP, deadline - now))

    async def _changed(self, seconds: float) -> None:
        """Wait until a connection or request has ended, or for so many seconds."""
        changed = self.shared.changed
        changed.clear()
        timer = self.loop.call_later(seconds, changed.set)
        await changed.wait()
        timer.cancel()

    def _quiet(self) -> bool:
        shared, state = self.shared, self.state
        if shared.connections or shared.tasks or state.connections or state.tasks:
            return False
        # A client that is silent before its handshake gets as long as one that is silent before its request.
        return not self._pending() or self._patience <= 0

    def _pending(self) -> set[asyncio.Task[Any]]:
        """Connections that were accepted and have not been made: in their TLS handshake, most likely."""
        return self._acceptor.pending if self._acceptor is not None else set()

    def _unknown_connections(self) -> list[Any]:
        """Connections of a protocol class that is not ours, and knows nothing but uvicorn's ``shutdown``."""
        sockets = self._websockets()
        return [item for item in self.state.connections if not hasattr(item, "drain") and item not in sockets]

    def _websockets(self) -> list[Any]:
        return [connection for connection in self.state.connections if hasattr(connection, "lingering")]

    def _close_websockets(self, *, undecided: bool = True) -> None:
        """Tell those that were not told yet; with ``undecided``, those too that the application has not accepted yet.

        What uvicorn's classes raise then must not keep others from being told.
        """
        for connection in self._websockets():
            if connection not in self._told and (undecided or engine.is_open(connection)):
                self._told.add(connection)
                try:
                    connection.shutdown()
                except Exception:
                    self.log.exception("a WebSocket could not be closed in order")
                    connection.transport.close()

    async def _drop(self) -> None:
        """Cancel what is left, tell its clients as far as possible, and close all connections; bounded."""
        shared, state = self.shared, self.state
        shared.draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        self._close_websockets()
        # Applications that listen for the disconnect end by themselves.
        for _ in range(3):
            await asyncio.sleep(0)
        requests = {*shared.tasks, *state.tasks}
        if requests and self.worker.stop != Stop.QUICK:
            self._report_cancelled()
        tasks = requests | self._pending()
        for exchange in shared.live:
            exchange.cancelled = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCELLATION)
        for connection in [*shared.connections, *state.connections]:
            connection.transport.close()
        end = self.loop.time() + FLUSH
        while (shared.connections or state.connections) and self.loop.time() < end:
            await self._changed(min(0.02, FLUSH))
        for connection in [*shared.connections, *state.connections]:
            connection.transport.abort()
        if shared.access is not None:
            shared.access.flush()
        await asyncio.sleep(0)

    def _report_cancelled(self) -> None:
        live = sorted(self.shared.live, key=lambda exchange: exchange.started)
        shown = ", ".join(f"{exchange.method} {exchange.path} ({exchange.age():.1f} s)" for exchange in live[:10])
        more = f" and {len(live) - 10} more" if len(live) > 10 else ""
        self.log.warning(
            "graceful_timeout of %s s is over: cancelling %d requests: %s%s",
            self.worker.cfg.graceful_timeout,
            len(live),
            shown,
            more,
        )
