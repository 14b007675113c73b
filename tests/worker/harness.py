"""Drives a function app through `azure_functions_runtime`, the library that the Python 3.13 worker runs.

The library's handlers are called as the worker's dispatcher calls them: initialize (which imports and indexes
`function_app.py`), hand out the metadata, load each function, invoke. Only the wire is missing: instead of gRPC
messages the handlers get, and make, the values of `Wire`, which refuse a field that the protocol does not have.

One harness at a time in a process: settings are environment variables, and the library keeps its state in globals.
Source: azure-functions-runtime 1.3, `handle_event.py`; FunctionRpc.proto of the language worker protocol.
"""

import asyncio
import importlib
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, make_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self, TypeVar
from unittest import mock

T = TypeVar("T")
Body = bytes | str | Mapping[str, Any] | None
ORIGIN = "http://localhost:7071"


class IndexingError(Exception):
    """The worker would refuse the whole app: no function of it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What the host is told of a function."""

    name: str
    function_id: str
    bindings: tuple[Mapping[str, Any], ...]
    retry: object

    @property
    def trigger(self) -> Mapping[str, Any]:
        """The binding that starts it."""
        return next(binding for binding in self.bindings if binding["type"].lower().endswith("trigger"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the host gets back from an invocation, and what was logged meanwhile."""

    ok: bool
    invocation_id: str
    error: str = ""
    stack: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What output bindings got, by the name of the binding."""
    logs: tuple[logging.LogRecord, ...] = ()

    def json(self) -> Any:  # noqa: ANN401 - whatever the function answered
        """Parse the body."""
        return json.loads(self.body)


def _message(name: str, fields: str, **constants: object) -> Any:  # noqa: ANN401 - its fields are made here
    """Make a message class with these fields, all absent until set, as in the protocol."""
    return make_dataclass(
        name,
        [(each, object, field(default=None)) for each in fields.split()],
        namespace={"WhichOneof": _which_one_of, **constants},
    )


def _which_one_of(message: object, _group: str) -> str | None:
    """Name the field that is set. The classes that are asked have no field outside their one group but `name`."""
    return next((key for key, value in vars(message).items() if value is not None and key != "name"), None)


class Wire:
    """The protocol's messages, by the names under which the library looks them up."""

    StatusResult = _message("StatusResult", "status result exception logs", Failure=0, Success=1, Cancelled=2)
    RpcException = _message("RpcException", "source stack_trace message is_user_exception type")
    WorkerInitResponse = _message("WorkerInitResponse", "worker_version capabilities result worker_metadata")
    WorkerMetadata = _message(
        "WorkerMetadata", "runtime_name runtime_version worker_version worker_bitness custom_properties"
    )
    FunctionMetadataResponse = _message(
        "FunctionMetadataResponse", "use_default_metadata_indexing function_metadata_results result"
    )
    FunctionLoadResponse = _message("FunctionLoadResponse", "function_id result is_dependency_downloaded")
    RpcFunctionMetadata = _message(
        "RpcFunctionMetadata",
        "name function_id managed_dependency_enabled directory script_file entry_point is_proxy language bindings "
        "raw_bindings retry_options properties status",
    )
    RpcRetryOptions = _message(
        "RpcRetryOptions", "max_retry_count delay_interval minimum_interval maximum_interval retry_strategy"
    )
    BindingInfo = _message(
        "BindingInfo", "type direction data_type properties", **{"undefined": 0, "in": 0, "out": 1, "inout": 2}
    )
    InvocationResponse = _message("InvocationResponse", "invocation_id output_data return_value result")
    ParameterBinding = _message("ParameterBinding", "name data rpc_shared_memory")
    TypedData = _message("TypedData", "string json bytes stream http int double")
    RpcHttp = _message(
        "RpcHttp", "method url headers body params status_code query enable_content_negotiation cookies"
    )


class _Recorder(logging.Handler):
    """Keeps what reaches the root logger, where the worker's own handler sits."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class WorkerHarness:
    """A worker with one app in it; use it as a context manager.

    `settings` are the app settings; whatever else is in the environment stays, but for the names in `without`.
    """

    def __init__(self, app_dir: Path, settings: Mapping[str, str], *, without: tuple[str, ...] = ()) -> None:
        self.functions: dict[str, Function] = {}
        self._app_dir = app_dir.resolve()
        self._environment = {
            **{key: value for key, value in os.environ.items() if key not in without},
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsScriptRoot": str(self._app_dir),
            **settings,
        }
        self._recorder = _Recorder()
        self._library: Any = None
        self._loop: asyncio.AbstractEventLoop
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            self._prepare(cleanup)
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @property
    def logs(self) -> tuple[logging.LogRecord, ...]:
        """Everything logged so far, indexing included."""
        return tuple(self._recorder.records)

    def timer(self, name: str, *, past_due: bool = False) -> Result:
        """Fire a timer, `past_due` as after a time in which no instance was there."""
        return self.run(self.atimer(name, past_due=past_due))

    async def atimer(self, name: str, *, past_due: bool = False) -> Result:
        """Fire a timer beside other invocations."""
        now = datetime.now(UTC)
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {
                "Last": (now - timedelta(minutes=5)).isoformat(),
                "LastUpdated": now.isoformat(),
                "Next": (now + timedelta(minutes=5)).isoformat(),
            },
            "IsPastDue": past_due,
        }
        return await self._invoke(name, Wire.TypedData(json=json.dumps(info)))

    def http(
        self,
        name: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Result:
        """Call an HTTP function, its key already checked by the host."""
        return self.run(self.ahttp(name, method, path, query=query, headers=headers, body=body))

    async def ahttp(
        self,
        name: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Result:
        """Call an HTTP function beside other invocations."""
        content, kind = _encode(body)
        request = Wire.RpcHttp(
            method=method,
            url=ORIGIN + path,
            # The host hands header names over in lower case.
            headers={
                "host": "localhost:7071",
                **kind,
                **{key.lower(): value for key, value in (headers or {}).items()},
            },
            query=dict(query or {}),
            params={},
            body=Wire.TypedData(bytes=content),
        )
        return await self._invoke(name, Wire.TypedData(http=request))

    def queue(self, name: str, body: str, *, dequeue_count: int = 1) -> Result:
        """Deliver a queue message."""
        now = datetime.now(UTC)
        metadata = {
            "Id": uuid.uuid4().hex,
            "DequeueCount": str(dequeue_count),
            "PopReceipt": "receipt",
            "InsertionTime": json.dumps(now.isoformat()),
            "ExpirationTime": json.dumps((now + timedelta(days=7)).isoformat()),
            "NextVisibleTime": json.dumps((now + timedelta(minutes=10)).isoformat()),
        }
        fields = {key: Wire.TypedData(json=value) for key, value in metadata.items() if value.startswith('"')}
        fields |= {key: Wire.TypedData(string=value) for key, value in metadata.items() if key not in fields}
        return self.run(self._invoke(name, Wire.TypedData(string=body), fields))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the worker's event loop: `host.run(both())` with a gather of `ahttp` calls in `both`."""
        return self._loop.run_until_complete(work)

    def _prepare(self, cleanup: ExitStack) -> None:
        cleanup.enter_context(mock.patch.dict(os.environ, self._environment, clear=True))
        cleanup.enter_context(mock.patch.object(sys, "path", [str(self._app_dir), *sys.path]))
        modules = dict(sys.modules)
        for name in self._app_modules():
            del sys.modules[name]
        cleanup.callback(self._restore_modules, modules)

        root = logging.getLogger()
        cleanup.callback(root.setLevel, root.level)
        root.setLevel(logging.INFO)  # as the worker's dispatcher does
        root.addHandler(self._recorder)
        cleanup.callback(root.removeHandler, self._recorder)

        self._library = importlib.import_module("azure_functions_runtime")
        registry = importlib.import_module("azure_functions_runtime.handle_event")._functions
        cleanup.callback(registry._functions.clear)
        self._library.start_threadpool_executor()
        cleanup.callback(self._library.stop_threadpool_executor)
        self._loop = asyncio.new_event_loop()
        cleanup.callback(self._loop.close)

    def _app_modules(self) -> list[str]:
        """Modules that this app would import from its own folder: its own copies, whatever the process has loaded."""
        own = {path.stem for path in self._app_dir.glob("*.py")}
        own |= {path.parent.name for path in self._app_dir.glob("*/__init__.py")} - {"tests"}
        return [name for name in sys.modules if name.split(".")[0] in own]

    def _restore_modules(self, before: Mapping[str, Any]) -> None:
        for name in self._app_modules():
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name not in sys.modules})

    def _start(self) -> None:
        started = self._send(
            self._library.worker_init_request,
            worker_init_request=SimpleNamespace(
                capabilities={}, function_app_directory=str(self._app_dir), host_version="4.0", worker_directory=""
            ),
        )
        _refuse_failure(started.result)
        answer = self._send(self._library.functions_metadata_request)
        for metadata in answer.function_metadata_results or ():
            loaded = self._send(
                self._library.function_load_request,
                function_load_request=SimpleNamespace(function_id=metadata.function_id, metadata=metadata),
            )
            _refuse_failure(loaded.result)
            self.functions[metadata.name] = Function(
                name=metadata.name,
                function_id=metadata.function_id,
                bindings=tuple(json.loads(binding) for binding in metadata.raw_bindings),
                retry=asdict(metadata.retry_options) if metadata.retry_options else None,
            )

    def _send(self, handler: Callable[[object], Coroutine[Any, Any, Any]], **content: object) -> Any:  # noqa: ANN401
        return self.run(handler(_request(handler.__name__, **content)))

    async def _invoke(self, name: str, data: object, metadata: Mapping[str, object] | None = None) -> Result:
        function = self.functions[name]
        invocation_id = str(uuid.uuid4())
        already_logged = len(self._recorder.records)
        answer = await self._library.invocation_request(
            _request(
                "invocation_request",
                invocation_request=SimpleNamespace(
                    invocation_id=invocation_id,
                    function_id=function.function_id,
                    input_data=[Wire.ParameterBinding(name=function.trigger["name"], data=data)],
                    trigger_metadata=dict(metadata or {}),
                    trace_context=SimpleNamespace(
                        trace_parent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01", trace_state="", attributes={}
                    ),
                    retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
                ),
            )
        )
        logs = tuple(self._recorder.records[already_logged:])
        if answer.result.status != Wire.StatusResult.Success:
            failure = answer.result.exception
            return Result(
                ok=False, invocation_id=invocation_id, error=failure.message, stack=failure.stack_trace, logs=logs
            )
        http = answer.return_value.http if answer.return_value is not None else None
        if http is None:
            outputs = {each.name: json.loads(each.data.json) for each in answer.output_data or ()}
            return Result(ok=True, invocation_id=invocation_id, outputs=outputs, logs=logs)
        content = http.body.bytes if http.body.bytes is not None else (http.body.string or "").encode()
        return Result(
            ok=True,
            invocation_id=invocation_id,
            status=int(http.status_code),
            headers={key.lower(): value for key, value in http.headers.items()},
            body=content,
            logs=logs,
        )


def _request(name: str, **content: object) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, request=SimpleNamespace(**content), properties={"protos": Wire, "host": "127.0.0.1"}
    )


def _refuse_failure(result: Any) -> None:  # noqa: ANN401 - a message of `Wire`
    if result.status != Wire.StatusResult.Success:
        raise IndexingError(f"{result.exception.message}\n{result.exception.stack_trace}")


def _encode(body: Body) -> tuple[bytes, dict[str, str]]:
    match body:
        case None:
            return b"", {}
        case bytes():
            return body, {}
        case str():
            return body.encode(), {}
        case _:
            return json.dumps(dict(body)).encode(), {"content-type": "application/json"}
