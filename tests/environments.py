"""`python -m tests.environments`: what a user's machine may be, times what a newcomer types, as a matrix.

Each environment is a set of variables and, where that is not enough, shell commands that change the machine for the
command alone (a mount namespace, which needs root: elsewhere such a row says so). The commands are those of the
README, by make, in the checkout whose environment is made already. `make test` runs the rows together, by
`tests/promises/test_environments.py`.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOWHERE = "http://127.0.0.1:9"
"""Where nobody listens: what is sent there fails at once."""
SUITE = "tests/unit/settings tests/doors/test_commands.py -k 'not watch' -n 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Variables, and what a root shell does before the command; `{here}` in it is the checkout."""

    variables: Mapping[str, str] = field(default_factory=dict)
    prepare: str = ""


def _each(names: str, value: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), value)


PROXIES = {
    **_each("HTTPS_PROXY HTTP_PROXY https_proxy http_proxy", NOWHERE),
    **_each("ALL_PROXY all_proxy", "socks5://127.0.0.1:9"),
    **_each("NO_PROXY no_proxy", "corp.example"),
}
PRODUCTION = {
    "KEY_VAULT_URL": "https://production.vault.azure.net",
    "LEASE_CONTAINER_URL": "https://production.blob.core.windows.net/leases",
    "SERVICENOW_INSTANCE_URL": "https://production.service-now.com",
    "SERVICENOW_CONNECTIONS": '{"production": {"instance_url": "https://production.service-now.com"}}',
    "SERVICENOW_GRANT": "jwt_bearer",
    "PUBLISH_TO": "https://production.vault.azure.net/secrets/other",
    "PROBE_PATH": "/api/production",
    "REFRESH_INTERVAL_MINUTES": "1",
    "REFRESH_SCHEDULE": "never",
    "REFRESH_QUEUE": "production",
    "REFRESHER_SETTINGS": "/nonexistent/app.json",
    "VERIFY_INTERVAL_MINUTES": "0",
}
AZURE = {
    **_each("AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_CLIENT_SECRET", "11111111-1111-1111-1111-111111111111"),
    **_each("AZURE_AUTHORITY_HOST IDENTITY_ENDPOINT MSI_ENDPOINT IMDS_ENDPOINT", NOWHERE),
    **_each("IDENTITY_HEADER MSI_SECRET IDENTITY_SERVER_THUMBPRINT", "production"),
    "AZURE_TOKEN_CREDENTIALS": "prod",
    "AZURE_FEDERATED_TOKEN_FILE": "/nonexistent",
}
AUTHORITIES = _each("SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSLKEYLOGFILE", "/nonexistent")
HOST = {
    **_each("FUNCTIONS_WORKER_RUNTIME WEBSITE_INSTANCE_ID WEBSITE_SITE_NAME", "production"),
    "AzureWebJobs.refresh_tokens.Disabled": "true",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey=1;IngestionEndpoint={NOWHERE}",
    "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE,
}
AUTOMATION = {
    **_each("CI GITHUB_ACTIONS TF_BUILD FORCE_COLOR", "true"),
    **_each("GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE", "/nonexistent"),
}
TOGETHER = {**PROXIES, **PRODUCTION, **AZURE, **AUTHORITIES, **HOST, **AUTOMATION}
PYTHONS = {
    **_each("PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONPLATLIBDIR", "/nonexistent"),
    **_each("PYTHONSAFEPATH PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE PYTHONINSPECT PYTHONVERBOSE", "1"),
    **_each("PYTHONWARNINGS", "error"),
    "PYTHONOPTIMIZE": "2",
    "PYTHONIOENCODING": "ascii",
    "PYTEST_ADDOPTS": "--collect-only",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "VIRTUAL_ENV": "/nonexistent",
}
SETTINGS_FILE = '{"Values": {"KEY_VAULT_URL": "https://production.vault.azure.net"}}'
MACHINES: Mapping[str, Machine] = {
    "nothing set": Machine(),
    "proxies of every kind": Machine(variables=PROXIES),
    "settings of production": Machine(variables=PRODUCTION),
    "settings that are empty": Machine(variables=dict.fromkeys(PRODUCTION, "")),
    "a sign-in to Azure": Machine(variables=AZURE),
    "other authorities": Machine(variables=AUTHORITIES),
    "a Functions host": Machine(variables=HOST),
    "a build server": Machine(variables=AUTOMATION),
    "Python's variables": Machine(variables=PYTHONS),
    "all of these": Machine(variables={**TOGETHER, **PYTHONS}),
    "local.settings.json": Machine(
        prepare=f"mount -t tmpfs none /mnt; echo '{SETTINGS_FILE}' > /mnt/x; "
        "touch local.settings.json; mount --bind /mnt/x local.settings.json"
    ),
    "an ASCII locale": Machine(variables={"LC_ALL": "C", "LANG": "C"}),
    "a locale that is not there": Machine(variables={"LC_ALL": "tlh_KX.UTF-8"}),
    "a dumb narrow terminal": Machine(variables={"TERM": "dumb", "COLUMNS": "20"}),
    "an odd time zone": Machine(variables={"TZ": "Pacific/Chatham"}),
    "no home": Machine(variables={"HOME": "/nonexistent"}),
    "TMPDIR with spaces": Machine(
        variables={"TMPDIR": "/mnt/a b ü"}, prepare="mount -t tmpfs none /mnt; mkdir '/mnt/a b ü'"
    ),
    "TMPDIR that is not there": Machine(variables={"TMPDIR": "/nonexistent"}),
    "TMPDIR of 8 MB": Machine(variables={"TMPDIR": "/mnt"}, prepare="mount -t tmpfs -o size=8m none /mnt"),
    "TMPDIR where nothing is executed": Machine(
        variables={"TMPDIR": "/mnt"}, prepare="mount -t tmpfs -o noexec none /mnt"
    ),
    "shared memory that is full": Machine(
        prepare="mount -t tmpfs -o size=4k none /dev/shm; yes > /dev/shm/x 2>/dev/null || :"
    ),
    "shared memory that is locked": Machine(prepare="mount -t tmpfs -o ro none /dev/shm"),
    "a checkout that is read-only": Machine(prepare="mount --bind . .; mount -o remount,ro,bind ."),
    "somebody else's checkout, umask 077": Machine(prepare="umask 077; as='setpriv --reuid 65534 --clear-groups'"),
    "64 open files": Machine(prepare="ulimit -n 64"),
}
COMMANDS: Mapping[str, str] = {
    "run": "make run",
    "simulate": "make simulate ARGS='--days 0.25 --scenarios 100d'",
    "serve": f"'{sys.executable}' -I tests/environments.py --serve make serve",
    "test": f'make test ARGS="{SUITE}"',
}


def try_serve(command: Sequence[str]) -> int:
    """Start `make serve`, read its file in a shell of the same environment, and use the token as a consumer does."""
    typed = """\
python -m refresher tick >/dev/null
python -m refresher status
az functionapp config appsettings list --name "$APP" --resource-group "$GROUP" --output json > app.json
REFRESHER_SETTINGS=app.json python -m refresher doctor
az keyvault secret show --vault-name "$VAULT" --name servicenow-oauth-token --query tags
curl --silent --fail --output status.json --header "x-functions-key: $KEY" "$URL/api/status"
"""
    process = subprocess.Popen(
        [*command, "ARGS=--port 0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    told = ""
    while "Ctrl-C ends it" not in told and (line := process.stdout.readline()):
        told += line
    found = re.search(r"^  \. (/.+)$", told, re.MULTILINE)
    code = 1
    if found:
        with tempfile.TemporaryDirectory() as folder:
            shell = ["/bin/sh", "-ec", f". '{found[1]}'\n{typed}"]
            code = subprocess.run(shell, cwd=folder, check=False).returncode
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    if code or "stopped" not in out:
        print(told, out, err, file=sys.stderr)
    return code or int("stopped" not in out)


def run(machine: Machine, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README on a machine."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VENV", "PYTHON") if name in os.environ}
    shell = ["sh", "-c", f"set -e\nas=\n{machine.prepare}\n$as {command}"]
    return subprocess.run(
        ["unshare", "-m", *shell] if machine.prepare else shell,
        cwd=ROOT,
        env={**kept, **machine.variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def main() -> int:
    """Print the matrix; 0 where every cell came out well."""
    parser = argparse.ArgumentParser(prog="python -m tests.environments", description=__doc__)
    parser.add_argument("--only", default=".", help="a pattern of environments")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--serve", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return try_serve(options.serve)
    names = options.commands.split(",")
    print(f"{'':<36}" + "".join(f"{name:<10}" for name in names))
    sound = True
    for title, machine in MACHINES.items():
        if re.search(options.only, title) is None:
            continue
        print(f"{title:<36}", end="", flush=True)
        for name in names:
            done = run(machine, COMMANDS[name])
            sound = sound and done.returncode == 0
            print(f"{'ok' if done.returncode == 0 else done.returncode:<10}", end="", flush=True)
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-30:]
                print("\n    " + "\n    ".join(last))
        print()
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
