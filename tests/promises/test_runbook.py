"""Every command of the runbook, typed into the shell that `make serve` tells of."""

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.drills import DRILLS
from sandbox.trial.serve import Standing, explain, is_stopped, standing
from tests.names import CLIENT_SECRET
from tests.needs import need_curl
from tests.promises.places import place_of
from tests.sampling import sampled
from tests.shell import ROOT, type_in

RUNBOOK = ROOT / "docs" / "runbook"
CONSUMERS = ROOT / "docs" / "consumers.md"
FIRST_NIGHT = ROOT / "docs" / "first-night.md"
NEED_AZURE = ("az keyvault recover",)


def command_lines() -> list[str]:
    """The lines of the console blocks of the runbook, the first night and the page for readers, each once."""
    pages = [RUNBOOK / "README.md", *sorted(RUNBOOK.glob("*.md")), CONSUMERS, FIRST_NIGHT]
    texts = [page.read_text("utf-8").replace(" \\\n", "") for page in pages]
    blocks = [block for text in texts for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)]
    return list(dict.fromkeys(line for block in blocks for line in block.splitlines()))


def where_is(line: str) -> str:
    """The page and line that shows a command."""
    pages = [RUNBOOK / "README.md", *sorted(RUNBOOK.glob("*.md"))]
    return next(place_of(page, line) for page in pages if line in page.read_text("utf-8"))


def needs_azure(line: str) -> bool:
    return line.startswith(NEED_AZURE)


def without_reason(line: str) -> str:
    return re.sub(r'--reason "[^"]*"', "", line)


def until_nobody_is_served() -> None:
    """A function that is called by hand is answered first and runs then: its tick must not meet the next test."""
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(timeout=300)


RUN = [line for line in command_lines() if not needs_azure(line) and not line.startswith("make ")]
COMMANDS = list({without_reason(line): line for line in RUN}.values())
"""What differs in its reason only is run once."""
OF_EACH_KIND = list(
    {" ".join(line.split()[: 4 if line.startswith("python") else 2]): line for line in COMMANDS}.values()
)


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    with standing(None, 0) as place:
        yield place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laptop")


def prepare(place: Standing, folder: Path, line: str) -> str:
    """Put everything in order, but for what the command is to mend; the command with the reader's words filled in."""
    sandbox, secrets = place.sandbox, place.secrets
    application = secrets.application
    values = {
        "servicenow-client-id": application.client_id,
        "servicenow-client-secret": application.client_secret,
        "servicenow-username": secrets.user_name,
        "servicenow-password": application.user.password,
        "servicenow-refresh-token": sandbox.instance.authorize(application),
    }
    for name, value in values.items():
        if name in sandbox.vault.deleted_names():
            sandbox.vault.purge(name)
        sandbox.vault.put(name, value)
    place.functions.fire_timer()
    line = re.sub(r"\bSECRET\b", CLIENT_SECRET, line).replace("SETTING=VALUE", "REFRESH_INTERVAL_MINUTES=50")
    line = line.replace("https://INSTANCE.service-now.com", sandbox.instance.url)
    named = re.search(r"--name (\S+)", line)
    name = named[1].replace('"', "").replace("$NAME", "servicenow") if named else ""
    if " recover " in line:
        sandbox.vault.delete(name)
    if " set-attributes " in line:
        sandbox.vault.versions(name)[-1].enabled = False
    if line.startswith("curl") and "force" in line:
        place.sandbox.clock.advance(seconds=31)  # the pause after a forced refresh over HTTP
    for file in ("FILE", "ID_FILE"):
        (folder / file).write_text(values.get(name, ""), "utf-8")
    return line


@pytest.mark.parametrize("line", sampled(COMMANDS, OF_EACH_KIND))
def test_the_command_does_what_its_page_says(place: Standing, folder: Path, line: str) -> None:
    if line.startswith("curl"):
        need_curl()
    typed = prepare(place, folder, line)
    if line.startswith("curl"):
        # Over HTTP one refresh may not be forced right after the other.
        place.sandbox.clock.advance(seconds=31)
    user = place.secrets.application.user
    done = type_in(place, folder, typed, stdin=f"{user.name}\n{user.password}\n")
    until_nobody_is_served()
    assert done.returncode == 0, f"{where_is(line)}\n{done.stdout}{done.stderr}"
    assert '"cause"' not in done.stdout
    if "$URL" in line:
        assert re.match(r"HTTP/\S+ 200 ", done.stdout), where_is(line)
    expected = 503 if " revoke " in line else 200
    assert place.functions.http("status", "GET", "/api/status").status_code == expected


def test_the_five_commands_after_a_disaster_fill_an_empty_vault(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"```console\n(az keyvault secret set.*?)```", (RUNBOOK / "disaster.md").read_text("utf-8"), re.DOTALL
    )
    lines = block.splitlines()
    assert len(lines) == 5
    with standing(None, 0) as place:
        for name in place.sandbox.vault.names():
            place.sandbox.vault.delete(name)
            place.sandbox.vault.purge(name)
        application = place.secrets.application
        (tmp_path / "ID_FILE").write_text(application.client_id, "utf-8")
        (tmp_path / "FILE").write_text(application.client_secret, "utf-8")
        stored = type_in(place, tmp_path, "\n".join(lines[:2]))
        examined = type_in(place, tmp_path, lines[2])
        known = f"{application.user.name}\n{application.user.password}\n"
        authorized = type_in(place, tmp_path, "\n".join(lines[3:]), stdin=known)
    assert (stored.returncode, examined.returncode, authorized.returncode) == (0, 1, 0)
    failed = [line for line in examined.stdout.splitlines() if line.startswith("fail  ")]
    assert [re.split(r"  +", line)[2] for line in failed] == ["token", "refresh token's life", "Simple Chat"]


def test_deploying_as_the_readme_says_ends_with_a_token_where_the_app_publishes_and_nowhere_else(
    tmp_path: Path,
) -> None:
    (block,) = re.findall(r"^azd up && (.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    typed = block.replace("make .venv && .venv/bin/python", "python")
    assert typed != block
    with standing(None, 0) as place:
        application = place.secrets.application
        for name in place.sandbox.vault.names():
            place.sandbox.vault.delete(name)
            place.sandbox.vault.purge(name)
        (tmp_path / "CLIENT_ID_FILE").write_text(application.client_id, "utf-8")
        (tmp_path / "CLIENT_SECRET_FILE").write_text(application.client_secret, "utf-8")
        chosen = "--settings PUBLISH_TO=servicenow--action--group--token"
        type_in(
            place, tmp_path, f'az functionapp config appsettings set --name "$APP" --resource-group "$GROUP" {chosen}'
        )
        done = type_in(place, tmp_path, typed, stdin=f"{application.user.name}\n{application.user.password}\n")
        assert done.returncode == 0, done.stderr
        made = {name for name in place.sandbox.vault.names() if "--" in name}
    assert made == {"servicenow--action--group--token"}


def test_stopping_is_what_the_timer_goes_by(place: Standing, folder: Path) -> None:
    """The stand-in of `az` changes the app settings that `make serve` looks at before each tick."""
    stop, resume = (line for line in COMMANDS if "Disabled=" in line)
    assert type_in(place, folder, stop).returncode == 0
    assert is_stopped()
    assert type_in(place, folder, resume).returncode == 0
    assert not is_stopped()


def test_what_make_serve_says_of_authorizing_works_as_it_stands(
    place: Standing, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain(place)
    told = capsys.readouterr().out
    by_browser, by_password = re.findall(r"^  (python -m refresher authorize \S+ --grant \w+)$", told, re.MULTILINE)
    (user,) = re.findall(r"asks for the user, (\S+),", told)
    (read_it,) = re.findall(r"^  (az keyvault secret show .+)$", told, re.MULTILINE)
    for typed in (by_browser, f"{{ echo {user}; {read_it}; }} > typed && {by_password} < typed"):
        prepare(place, folder, typed)
        done = type_in(place, folder, typed)
        assert done.returncode == 0, done.stdout + done.stderr
    need_curl()
    asked = re.findall(r"^  (curl .+/api/.+)$", told, re.MULTILINE)
    assert len(asked) == 2
    for typed in asked:
        prepare(place, folder, typed)
        assert type_in(place, folder, f"{typed} --fail --output answer").returncode == 0, typed


def status_code(url: str, key: str | None = None) -> int:
    request = urllib.request.Request(url, headers={"x-functions-key": key} if key else {})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_functions_of_the_sandbox_are_guarded_as_those_in_azure(place: Standing) -> None:
    place.functions.fire_timer()
    assert status_code(f"{place.url}/api/status") == 401
    assert status_code(f"{place.url}/api/status", key="wrong") == 401
    # With the key it answers, whatever state the tests before this one have left the connection in.
    assert status_code(f"{place.url}/api/status", key="sandbox-key") in {200, 503}
    assert status_code(f"{place.url}/api/status?code=sandbox-key") in {200, 503}
    assert status_code(f"{place.url}/api/other", key="sandbox-key") == 404
    assert status_code(f"{place.url}/sandbox/other") == 404


@pytest.mark.exhaustive
def test_make_serve_says_how_to_talk_to_it_until_it_is_interrupted() -> None:
    def serve(port: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", "sandbox.trial.serve", "--port", port]
        return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with serve("0") as first:
        assert first.stdout is not None
        told = "".join(iter(first.stdout.readline, "Ctrl-C ends it.\n"))
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)\. In another", told)
        (shell,) = re.findall(r"^  \. (/.+)$", told, re.MULTILINE)
        assert Path(shell).stat().st_mode & 0o077 == 0
        with serve(port) as second:
            _, complaint = second.communicate(timeout=300)
        assert (second.returncode, complaint.count("\n")) == (1, 1)
        assert f"port {port} is taken" in complaint
        # The first tick is reported right away.
        assert '"outcome": "refreshed"' in first.stdout.readline() + first.stdout.readline()
        # As from a group that ends: it itself is sent the signal, and make passes its own on.
        for _ in range(10):
            first.send_signal(signal.SIGTERM)
            time.sleep(0.001)
        out, err = first.communicate(timeout=300)
    assert (first.returncode, out.splitlines()[-1], err) == (0, "stopped", "")
    assert not Path(shell).exists()


def test_what_needs_azure_is_named_as_not_run() -> None:
    (sentence,) = re.findall(r"types every command .+", (RUNBOOK / "README.md").read_text("utf-8"))
    assert set(re.findall(r"`(az \w[^`]*)`", sentence)) == set(NEED_AZURE)
    assert {each for each in NEED_AZURE if any(line.startswith(each) for line in command_lines())} == set(NEED_AZURE)


def test_the_drills_of_the_runbook_are_those_of_the_sandbox() -> None:
    drills = (RUNBOOK / "README.md").read_text("utf-8").split("## Drills")[1]
    assert set(re.findall(r"^- `([a-z-]+)`: ", drills, re.MULTILINE)) == set(DRILLS)
