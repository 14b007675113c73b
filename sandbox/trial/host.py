"""The product's functions, as a host would call them, wired to a sandbox's environment and clock.

This is one of the few modules of the sandbox that know the product; the servers do not.
"""

import functools
import json
import os
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import azure.functions as func
from azure.functions.timer import TimerRequest

from refresher.app import App
from refresher.entra.identity import ManagedIdentity
from refresher.lease.blob import BlobLease
from refresher.lease.file import LOCK_DIRECTORY, lock_path
from refresher.lease.lease import LAST_TICK
from refresher.model.clock import Clock
from sandbox.clock import SandboxClock
from sandbox.direct import AzureTransport, DirectSandbox, InOrder, Process
from sandbox.running import LEFT_BEHIND


def forget_last_tick(vault_url: str) -> None:
    """Remove the mark of a tick that another sandbox's timer left."""
    with suppress(PermissionError):
        lock_path(LOCK_DIRECTORY, vault_url, LAST_TICK).unlink(missing_ok=True)


LEFT_BEHIND.append(forget_last_tick)


def product_clock(clock: SandboxClock, seed: int = 0) -> Clock:
    """The product's view of the sandbox's clock; waiting moves it instead of taking time."""
    return Clock(
        now=clock.now,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        random=random.Random(seed).random,
        new_id=lambda: uuid.uuid4().hex,
    )


def direct_app(sandbox: DirectSandbox, process: Process, seed: int = 0, **settings: str) -> App:
    """The product in a sandbox without sockets; one thread, so that every run repeats itself to the request."""
    clock = product_clock(sandbox.clock, seed)._replace(now=process.now, sleep=process.sleep)
    return app_in_memory(process, {"LEASE_CONTAINER_URL": sandbox.leases.url, **sandbox.environ(), **settings}, clock)


def app_in_memory(process: Process, environ: Mapping[str, str], clock: Clock) -> App:
    """The product on transports of a sandbox without sockets, one request after the other."""
    executor = InOrder()
    transport = AzureTransport(process)
    container = environ.get("LEASE_CONTAINER_URL")
    lease = container and BlobLease(container, process.credential, clock, executor, transport=transport)
    return App(
        environ,
        clock,
        make_secret_client=process.make_secret_client,
        instance_transport=process.instance_transport(),
        credential=process.credential,
        executor=executor,
        lease=lease or None,
        identity=ManagedIdentity(environ, clock, lambda: AzureTransport(process)),
    )


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while: the SDKs read the identity endpoint and the trusted CA from there."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """The functions by name."""

    by_name: Mapping[str, Callable[..., object]]

    def fire_timer(self) -> None:
        """What the schedule does."""
        self.by_name["refresh_tokens"](TimerRequest(past_due=False))

    def http(
        self,
        name: str,
        method: str,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> func.HttpResponse:
        """What an HTTP request does."""
        request = func.HttpRequest(
            method=method,
            url=url,
            params=dict(params or {}),
            headers=dict(headers or {}),
            body=body,
        )
        response = self.by_name[name](request)
        if not isinstance(response, func.HttpResponse):
            message = f"{name} returned no response"
            raise TypeError(message)
        return response

    def status(self) -> Mapping[str, object]:
        """The JSON of `GET /api/status`."""
        answer = self.http("status", "GET", "/api/status")
        status: Mapping[str, object] = json.loads(answer.get_body())
        return status


def load_functions(clock: SandboxClock, app: App | None = None) -> Functions:
    """Index the app as the host does, with the clock of the sandbox, or with an app made before."""
    import function_app  # noqa: PLC0415 - which functions there are is decided by the environment at this moment

    function_app.refresher_app = app or App(os.environ, product_clock(clock))
    return Functions(by_name=_index(function_app.app))


@contextmanager
def functions_of(clock: SandboxClock) -> Iterator[Functions]:
    """The functions over an app of their own; at its end it is closed, and the one before it back in its place."""
    import function_app  # noqa: PLC0415 - as above

    before = function_app.refresher_app
    try:
        yield load_functions(clock)
    finally:
        function_app.refresher_app.close()
        function_app.refresher_app = before


def restart_functions(clock: SandboxClock) -> None:
    """Let the app read its settings anew; which functions there are stays."""
    import function_app  # noqa: PLC0415 - as above

    function_app.refresher_app.close()
    function_app.refresher_app = App(os.environ, product_clock(clock))


@functools.cache
def _index(app: func.FunctionApp) -> Mapping[str, Callable[..., object]]:
    """Index the app; the SDK allows that once in a process."""
    return {str(each.get_function_name()): each.get_user_function() for each in app.get_functions()}
