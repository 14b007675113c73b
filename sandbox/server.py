"""Serves the services over HTTPS on loopback: aiohttp in a thread of its own."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from email.utils import format_datetime

from aiohttp import web

from sandbox.clock import SandboxClock
from sandbox.faults import (
    Action,
    Drop,
    DropAfter,
    Faults,
    Garbage,
    Hold,
    Interrupt,
    Refuse,
    Respond,
    Rewrite,
    Stall,
    Throttle,
    Truncate,
    throttled,
)
from sandbox.http import Request, Response
from sandbox.log import RequestLog

_BEGINS, _ENDS = False, True
_HELD_AT_ONCE = 32
"""Requests that faults may hold up side by side; the loop's own pool has one thread for each core and a few more."""
_PATIENCE = 30.0
"""Seconds after which a stalled connection is closed; clients give up before."""

Handle = Callable[[Request], Response]


class Server:
    """An event loop in a thread, with one listener for each service."""

    def __init__(self, faults: Faults, log: RequestLog, clock: SandboxClock, latency: float) -> None:
        self.latency = latency
        self._faults = faults
        self._log = log
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._runners: list[web.ServerRunner] = []
        self._transports: set[asyncio.Transport] = set()

    def start(self) -> None:
        """Start the thread."""
        self._loop.set_default_executor(ThreadPoolExecutor(_HELD_AT_ONCE, thread_name_prefix="sandbox"))
        self._thread.start()

    def serve(
        self,
        service: str,
        handle: Handle,
        tls: ssl.SSLContext | None,
        observe: Callable[[Request, bool], None] | None = None,
    ) -> int:
        """Serve a service on a free port; returns the port. `observe` sees each request begin and end."""
        return self._run(self._serve(service, handle, tls, observe or (lambda *_: None)))

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._run_all_cleanups()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run_all_cleanups(self) -> None:
        async def cleanup() -> int:
            # A polite end of TLS would wait for clients that keep their connections.
            for transport in self._transports:
                # One that is gone already has no protocol left to abort in early releases of Python 3.11.
                with suppress(AttributeError):
                    transport.abort()
            for runner in self._runners:
                await runner.cleanup()
            await self._loop.shutdown_default_executor()
            # TLS connections close in a few turns of the loop.
            await asyncio.sleep(0.002)
            return 0

        self._run(cleanup())

    def _run(self, coroutine: Coroutine[None, None, int]) -> int:
        future: Future[int] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(10)

    async def _serve(
        self, service: str, handle: Handle, tls: ssl.SSLContext | None, observe: Callable[[Request, bool], None]
    ) -> int:
        async def answer(incoming: web.BaseRequest) -> web.StreamResponse:
            request = Request(
                method=incoming.method,
                path=incoming.path,
                query=incoming.query_string,
                headers={name.lower(): value for name, value in incoming.headers.items()},
                body=await incoming.read(),
            )
            if incoming.transport is not None:
                self._transports.add(incoming.transport)
            observe(request, _BEGINS)
            try:
                if self.latency:
                    await asyncio.sleep(self.latency)
                response = await self._with_faults(service, handle, request)
            finally:
                observe(request, _ENDS)
            self._log.add(service, request, response.status if response else 0, self._clock.now())
            if response is None or response.cut_short:
                return await _hang_up(incoming, response)
            # Else the library tells the real time, which is none of the sandbox's.
            headers = {"Date": format_datetime(self._clock.now(), usegmt=True), **response.headers}
            return web.Response(status=response.status, headers=headers, body=response.body)

        runner = web.ServerRunner(web.Server(answer, access_log=None, keepalive_timeout=300), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self._runners.append(runner)
        port: int = runner.addresses[0][1]
        return port

    async def _with_faults(self, service: str, handle: Handle, request: Request) -> Response | None:
        """The answer; None where the connection is to be closed without one."""
        action = self._faults.find(service, request)
        if isinstance(action, Respond):
            if action.effect:
                handle(request)
            return Response(status=action.status, headers=action.headers, body=action.body)
        if isinstance(action, Throttle):
            return throttled(action)
        if isinstance(action, Drop | Refuse):
            return None
        if isinstance(action, Stall):
            if action.effect:
                handle(request)
            await asyncio.sleep(_PATIENCE)
            return None
        interrupted = interruption(action)
        if interrupted is not None and interrupted.before:
            await self._loop.run_in_executor(None, interrupted.do)
            if isinstance(action, Hold) and action.abandoned:
                return None
        response = handle(request)
        if interrupted is not None and not interrupted.before:
            await self._loop.run_in_executor(None, interrupted.do)
        return spoiled(response, action)


def interruption(action: Action | None) -> Interrupt | None:
    """What happens at the request, where that is all that the action is."""
    if isinstance(action, Hold):
        return Interrupt(do=action.wait, before=action.before)
    return action if isinstance(action, Interrupt) else None


def spoiled(response: Response, action: Action | None) -> Response | None:
    """What is left of an answer after the request had its effect."""
    match action:
        case DropAfter():
            return None
        case Truncate():
            return replace(response, cut_short=True)
        case Garbage():
            return Response(status=200, headers={"Content-Type": "application/json"}, body=action.body)
        case Rewrite():
            return replace(response, body=action.change(response.body), cut_short=action.cut_short)
        case _:
            return response


async def _hang_up(incoming: web.BaseRequest, response: Response | None) -> web.StreamResponse:
    if incoming.transport is None:
        return web.Response(status=500)
    if response is not None:
        half = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
        half.content_length = len(response.body)
        await half.prepare(incoming)
        await half.write(response.body[: len(response.body) // 2])
    incoming.transport.abort()
    return web.Response(status=500)
