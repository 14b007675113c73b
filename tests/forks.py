"""Python programs without the wait for their imports: a process that has loaded them forks for each one.

A command of the suite is a process of its own, with its environment, folder, standard streams and exit code; what it
does not do is load SDK and product again, which takes longer than most commands. That the product starts in a fresh
interpreter is tried where that is the point (`tests/promises/test_imports.py`, `test_package.py`).

`python -m tests.forks FOLDER` serves until its standard input ends, and leaves in FOLDER a `python` that asks it: with
`-m MODULE` or a script it hands its arguments, environment and streams over, and ends as the fork ended; anything else
it runs as ever.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import refresher

ROOT = Path(__file__).parents[1]
_LARGEST = 1 << 20


_CLIENT = """\
import json, os, signal, socket, sys
if sys.argv[1:2] != ["-m"] and not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
asking = socket.socket(socket.AF_UNIX)
asking.connect({address!r})
request = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}
socket.send_fds(asking, [json.dumps(request).encode()], [0, 1, 2])
answer = asking.makefile()
child = int(answer.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(child, number))
code = int(answer.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def python() -> str:
    """The path of a `python` whose modules and scripts are forks of a process that has loaded what they import."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    command = [sys.executable, "-m", "tests.forks", folder.name]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def end() -> None:
        server.communicate()
        folder.cleanup()

    atexit.register(end)
    client = Path(folder.name, "python")
    # Where nothing in the temporary folder may be executed, the interpreter itself does it, and takes its time.
    return str(client) if os.access(client, os.X_OK) else sys.executable


def serve(folder: Path) -> None:
    """Fork for each request, until this process's standard input ends."""
    for name in ("azure.storage.blob", "requests", *_modules_of(refresher)):
        importlib.import_module(name)
    # A fork then shares their memory, and its collector does not look at them.
    gc.freeze()
    address = str(folder / "forks")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    asking = folder / "client.py"
    asking.write_text(_CLIENT.format(python=sys.executable, address=address), "utf-8")
    client = folder / "python"
    # By a shell: an interpreter's path with a space in it cannot stand behind "#!".
    words = shlex.join([sys.executable, "-ISs", str(asking)])
    client.write_text(f'#!/bin/sh\nexec {words} "$@"\n', "utf-8")
    client.chmod(0o700)
    print("ready", flush=True)  # noqa: T201 - the protocol
    # Nobody waits for the forks that serve a request: without this they would stay as zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
        connection.close()


def _modules_of(package: ModuleType) -> Iterator[str]:
    """Every module of a package but the one that is run as a program."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield found.name


def _answer(connection: socket.socket) -> None:
    message, streams, _, _ = socket.recv_fds(connection, _LARGEST, 3)
    request = json.loads(message)
    child = os.fork()
    if child == 0:
        connection.close()
        _run(request["arguments"], request["environment"], request["folder"], streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _run(arguments: Sequence[str], environment: dict[str, str], folder: str, streams: Sequence[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # As a new interpreter would open them, by this environment and these streams.
    sys.stdin, sys.stdout, sys.stderr = (
        open(0, encoding="utf-8", closefd=False),  # noqa: SIM115 - for the rest of the process
        open(1, "w", encoding="utf-8", closefd=False, buffering=1 if os.isatty(1) else -1),  # noqa: SIM115
        open(2, "w", encoding="utf-8", closefd=False, buffering=1, errors="backslashreplace"),  # noqa: SIM115
    )
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            sys.path.insert(0, str(Path(arguments[0]).parent))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:  # noqa: BLE001 - the end of a process
        sys.excepthook(*sys.exc_info())
        code = 1
    # As the interpreter does at its end: the threads of pools come to theirs.
    threading._shutdown()  # type: ignore[attr-defined]
    try:
        sys.stdout.flush()
    except OSError:
        code = code or 120
    os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
