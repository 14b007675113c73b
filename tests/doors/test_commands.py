"""The command line as a user runs it: processes, exit codes, what goes to stdout and to stderr."""

import ast
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refresher.cli.main import read_environment
from sandbox import Fault, Sandbox
from sandbox.faults import Interrupt, Respond
from sandbox.trial.host import environment, load_functions
from tests.forks import python
from tests.sampling import thinned
from tests.shell import ROOT


def run(
    sandbox: Sandbox | None, *arguments: str, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`python -m refresher …` with a sandbox's environment."""
    environment = {**os.environ, **(sandbox.environ() if sandbox else {}), **settings}
    return subprocess.run(
        [python(), "-m", "refresher", *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start(sandbox: Sandbox, *arguments: str) -> subprocess.Popen[str]:
    """The same, while it runs."""
    return subprocess.Popen(
        [python(), "-m", "refresher", *arguments],
        env={**os.environ, **sandbox.environ()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tick_status_and_refresh_in_good_order(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    before = run(real_time, "status")
    assert before.returncode == 3
    ticked = run(real_time, "tick")
    assert (ticked.returncode, ticked.stderr) == (0, "")
    assert "servicenow: refreshed" in ticked.stdout
    status = run(real_time, "status", "--json")
    assert status.returncode == 0
    (connection,) = json.loads(status.stdout)["connections"]
    assert (connection["state"], connection["working"]) == ("fresh", True)
    forced = run(real_time, "refresh", "servicenow", "--force", "--reason", "ticket 4711", "--json")
    assert forced.returncode == 0
    assert json.loads(forced.stdout)["connections"][0]["outcome"] == "refreshed"
    token = real_time.vault.get("servicenow-oauth-token")
    assert token is not None
    assert (token.tags["reason"], token.tags["trigger"]) == ("ticket 4711", "cli")


@pytest.mark.exhaustive
def test_a_person_is_told_what_it_may_be_and_what_to_check(real_time: Sandbox) -> None:
    """In ServiceNow's own terms, for people and for machines, in the run that fails and in `status`."""
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    real_time.vault.put("servicenow-client-secret", "CANARY-wrong")
    failed = run(real_time, "refresh", "--force")
    for words in (
        "servicenow: kept (access_denied): ServiceNow refused the token request with its generic 401",
        "  check: System Logs > System Log > All: 'Exception on token flow'",
        "the application is active, the secret equals servicenow-client-secret",
        "the integration user is active, not locked out, and its password is right",
        "  next: ",
        "  ServiceNow transaction: 0000",
    ):
        assert words in failed.stdout
    status, machine = run(real_time, "status"), run(real_time, "status", "--json")
    assert "  check: System OAuth > Application Registry: the application is active" in status.stdout
    (connection,) = json.loads(machine.stdout)["connections"]
    assert len(connection["checks"]) == 4
    (report,) = json.loads(run(real_time, "refresh", "--force", "--json").stdout)["connections"]
    assert (report["cause"], len(report["checks"])) == ("refresh_token_refused", 4)
    assert any("servicenow-client-secret" in check for check in report["checks"])


def test_a_kept_token_is_success_for_tick_and_failure_for_refresh(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    real_time.faults.add(Fault(path="/oauth_token.do", times=None, action=Respond(404, {}, b"")))
    assert run(real_time, "tick").returncode == 0
    kept = run(real_time, "refresh", "--force")
    assert kept.returncode == 1
    assert "servicenow: kept" in kept.stdout
    assert "next: " in kept.stdout


def test_bad_settings_are_all_named_at_once_and_exit_2() -> None:
    result = run(None, "tick", KEY_VAULT_URL="", SERVICENOW_INSTANCE_URL="nonsense")
    assert (result.returncode, result.stdout) == (2, "")
    assert "KEY_VAULT_URL" in result.stderr
    assert "SERVICENOW_INSTANCE_URL" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_connection_exits_2_and_names_the_known_ones(real_time: Sandbox) -> None:
    result = run(real_time, "refresh", "nobody")
    assert result.returncode == 2
    assert "servicenow" in result.stderr


def test_settings_can_come_from_a_file(real_time: Sandbox, tmp_path: Path) -> None:
    real_time.add_connection("servicenow")
    values = {name: value for name, value in real_time.environ().items() if name.isupper()}
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"Values": {"KEY_VAULT_URL": values["KEY_VAULT_URL"]}}), "utf-8")
    result = run(real_time, "status", "--settings", str(file), KEY_VAULT_URL="")
    assert result.returncode == 3


def test_settings_can_come_from_the_list_that_az_prints(real_time: Sandbox, tmp_path: Path) -> None:
    """`az functionapp config appsettings list`: what the app goes by, for a laptop."""
    real_time.add_connection("servicenow")
    file = tmp_path / "app.json"
    listed = [{"name": "KEY_VAULT_URL", "slotSetting": False, "value": real_time.environ()["KEY_VAULT_URL"]}]
    file.write_text(json.dumps(listed), "utf-8")
    assert run(real_time, "status", "--settings", str(file), KEY_VAULT_URL="").returncode == 3


def test_a_person_who_has_to_act_is_told_by_the_exit_code_while_the_token_still_works(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    real_time.vault.delete("servicenow-refresh-token")
    status = run(real_time, "status", "--json")
    (connection,) = json.loads(status.stdout)["connections"]
    assert (connection["state"], connection["working"], status.returncode) == ("authorization_required", True, 3)


def test_output_that_nobody_reads_any_more_ends_the_command_without_a_word(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    with start(real_time, "status", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("content", thinned(["", "[]", '{"Values": 1}', None]))
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "local.settings.json"
    if content is not None:
        file.write_text(content, "utf-8")
    result = run(None, "status", "--settings", str(file))
    assert result.returncode == 2
    assert str(file) in result.stderr


def test_status_tells_a_person_how_things_stand(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    status = run(real_time, "status")
    assert status.returncode == 0
    verdict, _, head, row = status.stdout.splitlines()[:4]
    assert verdict == "Every connection holds a working token"
    assert re.split(r"  +", head) == [
        "connection",
        "state",
        "access token",
        "age",
        "next refresh",
        "refresh token",
        "targets",
    ]
    assert re.split(r"  +", row)[:3] == ["servicenow", "fresh", "ends in 60 min"]
    assert re.split(r"  +", row)[4:] == ["in 50 min", "ends in 100 d", "1 of 1"]
    assert "\x1b" not in status.stdout
    assert "Before then: python -m refresher authorize servicenow --grant password" in status.stdout


def test_status_in_a_terminal_has_colour_where_rich_is_installed(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    environment = {**os.environ, **real_time.environ(), "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    terminal, side = pty.openpty()
    with subprocess.Popen([python(), "-m", "refresher", "status"], env=environment, stdout=side) as process:
        process.wait(timeout=300)
    os.close(side)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "\x1b[32mfresh" in shown


def test_status_that_watches_ends_with_ctrl_c(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    with start(real_time, "status", "--watch", "--every", "1", "--json") as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            seen += '"state": "fresh"' in line
            if seen == 2:
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.exhaustive
def test_history_draws_the_day_and_lists_the_tokens(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    assert "no token was ever published" in run(real_time, "history").stdout
    run(real_time, "tick")
    run(real_time, "refresh", "servicenow", "--force", "--reason", "ticket 4711")
    history = run(real_time, "history", "servicenow")
    assert history.returncode == 0
    assert "servicenow: 2 tokens since" in history.stdout
    newest, oldest = history.stdout.splitlines()[-2:]
    assert "ticket 4711" in newest
    assert "ticket 4711" not in oldest
    document = json.loads(run(real_time, "history", "--json").stdout)
    assert [issue["trigger"] for issue in document["connections"][0]["issues"]] == ["cli", "cli"]


def test_doctor_exits_1_where_anything_fails_and_says_what_to_do(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    assert run(real_time, "doctor").returncode == 0
    real_time.vault.delete("servicenow-client-secret")
    found = run(real_time, "doctor")
    assert found.returncode == 1
    remedies = found.stdout.split("fail: servicenow: servicenow-client-secret\n")[1].splitlines()
    assert remedies[0] == "  Was it deleted? Then recover it:"
    assert remedies[1].startswith("      az keyvault secret recover --vault-name 127.0.0.1:")
    checks = json.loads(run(real_time, "doctor", "--json").stdout)["checks"]
    assert {check["verdict"] for check in checks} >= {"pass", "fail"}


def test_doctor_lists_every_bad_setting_as_a_check_that_fails() -> None:
    examined = run(None, "doctor", "--json", KEY_VAULT_URL="", SERVICENOW_INSTANCE_URL="nonsense")
    assert examined.returncode == 2
    checks = json.loads(examined.stdout)["checks"]
    assert [(check["name"], check["verdict"], check["detail"].split()[0]) for check in checks] == [
        ("settings", "fail", "KEY_VAULT_URL"),
        ("settings", "fail", "SERVICENOW_INSTANCE_URL"),
    ]


def test_a_terminal_sees_what_a_refresh_waits_for_and_which_try_it_is(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    real_time.faults.add(Fault(path="/oauth_token.do", action=Respond(503, {}, b"")))
    terminal, side = pty.openpty()
    environment = {**os.environ, **real_time.environ()}
    arguments = [python(), "-m", "refresher", "refresh", "servicenow"]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=side, text=True) as process:
        result, _ = process.communicate(timeout=300)
    os.close(side)
    seen = os.read(terminal, 65536).decode().splitlines()
    os.close(terminal)
    assert seen[0] == "  ... reading the vault"
    assert seen[1] == f"  ... asking {real_time.instance.url} for a token (grant refresh_token)"
    assert re.fullmatch(r"  \.\.\. ServiceNow failed with status 503; try 2 in \d\.\d s", seen[2])
    assert seen[3:] == ["  ... trying the new token", "  ... publishing"]
    assert result.startswith(
        "servicenow: refreshed; the token lives 60 min\n"
        "  if ServiceNow is away: 10 min in hand; with a lifespan of 7200 s: 70 min"
    )


def test_help_loads_no_sdk() -> None:
    code = (
        "import sys\nfrom refresher.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'azure', 'httpx', 'requests', 'jwt', 'rich'}\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in heavy))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert finished.stdout.splitlines()[-1] == "[]"


def test_an_error_is_one_paragraph_and_debug_adds_where_it_arose_but_no_words(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    real_time.vault.deny("list")
    plain = run(real_time, "history")
    assert plain.returncode == 1
    assert len(plain.stderr.strip().splitlines()) == 1
    assert "Traceback" not in plain.stderr
    detailed = run(real_time, "history", "--debug")
    assert "VaultError, raised at" in detailed.stderr
    assert "vault.py" in detailed.stderr
    assert plain.stderr.strip() in detailed.stderr


def test_who_has_not_signed_in_reads_what_to_do_and_nothing_else(tmp_path: Path) -> None:
    settings = {"KEY_VAULT_URL": "https://127.0.0.1:9", "SERVICENOW_INSTANCE_URL": "https://127.0.0.1:9"}
    alone = {"SERVICENOW_ALLOW_CUSTOM_HOST": "true", "PATH": str(tmp_path), "HOME": str(tmp_path)}
    found = run(None, "doctor", **settings, **alone)
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines()[-1] == "      az login"


@pytest.mark.parametrize("arguments", thinned([["refresh", "servicenow", "--force"], ["tick"]]))
@pytest.mark.parametrize("path", thinned(["/oauth_token.do", "/api/now/table", "/secrets/servicenow-oauth-token"], 2))
def test_ctrl_c_in_the_middle_of_a_run_leaves_a_sound_vault_and_a_free_lease(
    real_time: Sandbox, arguments: list[str], path: str
) -> None:
    secrets = real_time.add_connection("servicenow")
    started: list[subprocess.Popen[str]] = []
    real_time.faults.add(Fault(path=path, action=Interrupt(do=lambda: started[0].send_signal(signal.SIGINT))))
    process = start(real_time, *arguments)
    started.append(process)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    stored = real_time.vault.get("servicenow-refresh-token")
    assert stored is not None
    assert stored.value == secrets.refresh_token
    assert run(real_time, "tick").returncode == 0


def test_a_python_without_the_packages_is_told_where_they_are() -> None:
    """What a plain clone and the system's own Python come to."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "refresher", "status"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is not installed for" in done.stderr
    assert "make .venv" in done.stderr


@pytest.mark.parametrize("version", [(3, 9, 6), (3, 10, 13)])
def test_an_older_python_is_told_what_is_needed(version: tuple[int, int, int]) -> None:
    """In its place: this interpreter, which says that it is one."""
    older = f"import runpy, sys; sys.version_info = {(*version, 'final', 0)}; "
    older += "runpy.run_module('refresher', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", older], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "make .venv" in done.stderr
    for name in ("__init__", "__main__"):
        ast.parse((ROOT / "refresher" / f"{name}.py").read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("in_azure", [False, True])
def test_how_the_app_signs_in_is_no_setting_of_a_laptop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_azure: bool,
) -> None:
    """The app's settings say that only a managed identity is to be tried; who signed in here would not be asked."""
    file = tmp_path / "app.json"
    chosen = {"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential", "AZURE_CLIENT_ID": "an-id"}
    file.write_text(json.dumps([{"name": name, "value": value} for name, value in chosen.items()]), "utf-8")
    for name in ("IDENTITY_ENDPOINT", *chosen):
        monkeypatch.delenv(name, raising=False)
    if in_azure:
        monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9")
    environ = read_environment(file)
    found = {name: environ.get(name) for name in chosen}
    for name in chosen:
        os.environ.pop(name, None)
    assert found == (chosen if in_azure else {**chosen, "AZURE_TOKEN_CREDENTIALS": None})


def test_whoever_signs_in_by_variables_is_not_mistaken_for_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline with a service principal, and the app's settings: the SDK would send its secret as the app's."""
    own = {"AZURE_CLIENT_ID": "pipeline", "AZURE_CLIENT_SECRET": "CANARY-s", "AZURE_TENANT_ID": "tenant"}
    for name, value in {**own, "HTTPS_PROXY": "http://here:1", "AZURE_AUTHORITY_HOST": "for a while"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_AUTHORITY_HOST")
    apps = {"AZURE_CLIENT_ID": "app", "HTTPS_PROXY": "http://there:1", "AZURE_AUTHORITY_HOST": "login.microsoft.cn"}
    file = tmp_path / "app.json"
    file.write_text(json.dumps([{"name": name, "value": value} for name, value in apps.items()]), "utf-8")
    environ = read_environment(file)
    assert {name: environ[name] for name in apps} == apps
    assert {name: os.environ[name] for name in own} == own
    assert os.environ["HTTPS_PROXY"] == "http://here:1"
    assert os.environ["AZURE_AUTHORITY_HOST"] == "login.microsoft.cn"


def test_the_reference_names_what_stands_beside_the_connections(sandbox: Sandbox) -> None:
    """Of the JSON of each command, and of `GET /api/status`, which carries the same and more."""
    sandbox.add_connection()
    names = ("tick", "refresh", "status", "history", "doctor", "probe")
    keys = {name: set(json.loads(run(sandbox, name, "--json").stdout)) for name in names}
    with environment(sandbox.environ()):
        keys["status"] |= load_functions(sandbox.clock).status().keys()
    reference = (ROOT / "docs" / "cli.md").read_text("utf-8").split("## JSON")[1]
    assert "Each has a list `connections`, save `doctor`" in reference
    assert [name for name in names if "connections" not in keys[name]] == ["doctor"]
    for name in names:
        (paragraph,) = re.findall(
            rf"^\*\*[^*]*{name}[^*]*\*\*: (.+?)\n\n", f"{reference}\n\n", re.MULTILINE | re.DOTALL
        )
        told = set(re.findall(r"[`\"](\w+)[`\"]", paragraph))
        assert keys[name] - {"connections"} <= told, name
