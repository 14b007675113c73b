"""`make serve`: the sandbox stays up, the timer ticks in real time, the HTTP functions answer on a loopback port."""

import argparse
import logging
import os
import random
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TextIO
from urllib.parse import urlsplit

from refresher.telemetry import LOGGER
from refresher.views.terminal import while_read
from sandbox import Sandbox, SandboxClock
from sandbox.alone import be_alone, shell_lines
from sandbox.drills import DRILLS, TICK, live_through
from sandbox.hands import FUNCTION_KEY, Hands
from sandbox.running import ConnectionSecrets
from sandbox.trial.gateway import Gateway, PortError
from sandbox.trial.host import Functions, environment, functions_of, restart_functions

_DISABLED = "AzureWebJobs.refresh_tokens.Disabled"
_SURPRISE = "surprise"
_LIVED = timedelta(hours=25)
_BROWSE = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"
"""A browser whose user is signed in and allows the access: it follows the redirects, trusting `SSL_CERT_FILE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A sandbox that is up, and how to talk to it. `shell` is a file that a shell reads."""

    sandbox: Sandbox
    secrets: ConnectionSecrets
    functions: Functions
    url: str
    shell: Path


def main() -> int:
    """Serve until interrupted."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end)
    broken: str | None = options.broken
    if broken == _SURPRISE:
        broken = random.choice(sorted(DRILLS))
    LOGGER.propagate = False
    LOGGER.addHandler(logging.NullHandler())
    try:
        with standing(broken, options.port) as place:
            explain(place)
            LOGGER.addHandler(_Told(sys.stdout))
            LOGGER.setLevel(logging.INFO)
            tick_until_interrupted(place.functions, at_once=broken is None)
    except PortError as error:
        print(f"{error}; choose another: make serve ARGS='--port 7072'", file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"the sandbox cannot start here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped")
    return 0


class _Told(logging.StreamHandler[TextIO]):
    """The log, for as long as somebody reads it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """End where nobody does any more; whichever thread notices."""
        if isinstance(sys.exception(), BrokenPipeError):
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            super().handleError(record)


def _end(_: int, __: FrameType | None) -> None:
    """End as by Ctrl-C, and once: make passes on a signal that its whole group was sent already."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def standing(broken: str | None, port: int, lived: timedelta = _LIVED) -> Iterator[Standing]:
    """A sandbox in real time: a new one, or one that worked for a while and then broke. Raises PortError."""
    began = datetime.now(UTC) - (lived + DRILLS[broken].ago if broken else timedelta())
    with (
        Sandbox(clock=SandboxClock(began)) as sandbox,
        environment(sandbox.environ()),
        functions_of(sandbox.clock) as functions,
    ):
        secrets = sandbox.add_connection("servicenow", username=True)
        if broken:
            live_through(DRILLS[broken], sandbox, secrets, functions.fire_timer, lived)
        sandbox.clock.advance(datetime.now(UTC) - sandbox.clock.now())
        sandbox.clock.flow()
        hands = Hands(sandbox, secrets, os.environ, restart=lambda: restart_functions(sandbox.clock))
        with Gateway(functions, hands, port) as gateway:
            shell = shell_file(sandbox, gateway.url)
            yield Standing(sandbox=sandbox, secrets=secrets, functions=functions, url=gateway.url, shell=shell)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make serve", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="port of the HTTP functions (%(default)s)")
    parser.add_argument(
        "--broken",
        choices=[*DRILLS, _SURPRISE],
        help="an installation that worked for a day and then broke, for training (docs/runbook/README.md)",
    )
    return parser


def tick_until_interrupted(functions: Functions, *, at_once: bool) -> None:
    """Fire the timer now and then every five minutes, unless the setting says that the schedule is stopped."""
    if not at_once:
        time.sleep(TICK.total_seconds())
    while True:
        if not is_stopped():
            functions.fire_timer()
        time.sleep(TICK.total_seconds())


def is_stopped() -> bool:
    """Whether the app settings stop the schedule."""
    return os.environ.get(_DISABLED, "").lower() == "true"


def explain(place: Standing) -> None:
    """Print how to talk to it."""
    print(
        f"""The sandbox is up; the functions listen on {place.url}. In another terminal:
  . {place.shell}
  python -m refresher status
  curl -H "x-functions-key: $KEY" $URL/api/status
  curl -d '{{}}' -H "x-functions-key: $KEY" "$URL/api/refresh?connection=$NAME&force=true"
In a browser: {place.url}/api/status?code={FUNCTION_KEY}
What people do elsewhere, in that terminal:
  az keyvault secret set ...                 and what else the runbook does with az, by a stand-in
  python -m refresher authorize "$NAME" --grant authorization_code
                                             signs in by itself: the browser is a stand-in, too
  python -m refresher authorize "$NAME" --grant password
                                             asks for the user, {place.secrets.user_name}, and the password:
  az keyvault secret show --vault-name "$VAULT" --name servicenow-password --query value --output tsv
  curl $URL/sandbox/system-log               read the instance's system log
  curl -o FILE $URL/sandbox/client-secret    copy the secret from the application registry
  curl -X POST $URL/sandbox/wake             wake the instance
Ctrl-C ends it.""",
        flush=True,
    )


def shell_file(sandbox: Sandbox, url: str) -> Path:
    """A file that makes a shell talk to this sandbox: settings, the words of the runbook, an `az` of its own."""
    python = shlex.quote(sys.executable)
    # Modules of the sandbox have names of the standard library's: its folder must not come first.
    az = f"{python} -P {shlex.quote(str(Path(__file__).parents[1] / 'az.py'))}"
    values = {
        **sandbox.environ(),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "BROWSER": f"{python} -c {shlex.quote(_BROWSE)} %s &",
        "URL": url,
        "KEY": FUNCTION_KEY,
        "NAME": "servicenow",
        "VAULT": sandbox.vault.url.removeprefix("https://"),
        "APP": "sandbox",
        "GROUP": "sandbox",
    }
    lines = [
        shell_lines(),
        *(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
        # Functions, not files: nothing can be executed in the temporary folder of a hardened machine.
        f'az() {{ {az} "$@"; }}',
        f'azd() {{ {az} azd "$@"; }}',
    ]
    # The folder is the process's; in a test it may hold the file of another sandbox.
    file = sandbox.ca_file.with_name(f"env-{urlsplit(url).port}")
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, ""]), "utf-8")
    return file


if __name__ == "__main__":
    be_alone()
    sys.exit(while_read(main))
