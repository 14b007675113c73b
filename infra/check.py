"""Has Microsoft's compiler and Azure's own template engine judge the Bicep files; `make infra` runs it.

The compiler is to say nothing at all (it ends well on warnings, and a property that does not exist is one). Each
deployment of `cases/` is to create what its committed snapshot says; `make infra ARGS=--write` makes the snapshots
anew. Checkov reads what the snapshots create, actionlint the workflows.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

INFRA = Path(__file__).resolve().parent
MAIN = INFRA / "main.bicep"
CASES = tuple(sorted((INFRA / "cases").glob("*.bicepparam")))
PLACE = {
    "subscription-id": "00000000-0000-0000-0000-000000000001",
    "tenant-id": "00000000-0000-0000-0000-000000000002",
    "location": "westeurope",
    # Modules get their names of it; without one, what they answer stays unknown.
    "deployment-name": "refresher",
}
"""Where the deployments of the cases would go."""
MANY = 1000
"""Connections that a deployment has to hold: more than the 800 that a loop of a template may go round."""

TRIALS: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "a name, a secret and a vault that cannot be": (
        {
            "environmentName": "'my refresher!'",
            "connections": "{ Assets: {} }",
            "publishedTargets": "'a, b c'",
            "simpleChatTargets": "'x'",
            "appSubnetId": "'/x/subnets/y'",
        },
        (
            'AZURE_ENV_NAME: "my refresher!"',
            'SERVICENOW_CONNECTIONS: "Assets"',
            '"b c"',
            "SIMPLE_CHAT_VAULT,",
            "APP_SUBNET_ID,",
        ),
    ),
    **{
        f"a witness before {door}": ({"statusKey": "'key'", door: given}, ("STATUS_KEY: ",))
        for door, given in (("appAccess", "'private'"), ("allowedAddresses", "'::1'"), ("signInClientId", "'id'"))
    },
    "no instance": ({"instanceUrl": "''"}, ("SERVICENOW_INSTANCE_URL: ",)),
    "a thousand connections": (
        {"connections": f"toObject(range(0, {MANY}), at => 'c${{at}}', at => {{ publish_to: 't${{at}}' }})"},
        (),
    ),
}
"""Parameters beside those of the plain case, and what the engine is to say of them; nothing: it works them out."""

ACCEPTED = {
    "CKV_AZURE_17": "callers are people and monitors with a function key; the plan has no client certificates",
    "CKV_AZURE_18": "Flex Consumption is given no site configuration that is not proven there (docs/azure.md)",
    "CKV_AZURE_36": "no other service of Microsoft needs a way into the storage account",
    "CKV_AZURE_67": "the same, for function apps",
    "CKV_AZURE_78": "the same: ftpsState ends the deployment; publishing passwords are off instead",
    "CKV_AZURE_206": "replicated over zones; the account holds nothing that another region would need",
    "CKV_AZURE_212": "an instance starts when the timer fires; a tick lost with one is made up five minutes later",
    "CKV_AZURE_213": "the plan has no health check path; the alert RefreshMissing watches what the app is for",
    "CKV_AZURE_222": "people on call must reach it; every function asks for a key",
    "CKV_AZURE_225": "by the parameter zoneRedundant, since not every region has zones",
}
"""Checks of checkov that the project fails on purpose, and why."""
OPEN_BY_DEFAULT = {"CKV_AZURE_35", "CKV_AZURE_59", "CKV_AZURE_109", "CKV_AZURE_189"}
"""What fails only without the private network: vault and storage then have public addresses, and ask for a role."""


def digest(case: Path) -> str:
    """What a snapshot was made of: the case, the Bicep files and what they load."""
    loaded = [INFRA / "abbreviations.json", INFRA / "workbook.json", *(INFRA / "queries").glob("*.kql")]
    found = hashlib.sha256()
    for path in sorted([case, *INFRA.rglob("*.bicep"), *loaded]):
        found.update(f"{path.relative_to(INFRA).as_posix()}\n{path.read_text('utf-8')}\n".encode())
    return found.hexdigest()


def snapshot_of(case: Path) -> Path:
    """Where the snapshot of a case stands."""
    return case.with_suffix(".snapshot.json")


def find_compiler(environ: Mapping[str, str]) -> str | None:
    """BICEP, PATH, or where `az bicep install` puts it."""
    installed = Path(environ.get("HOME", "~"), ".azure", "bin", "bicep")
    return environ.get("BICEP") or shutil.which("bicep") or (str(installed) if installed.is_file() else None)


class Compiler:
    """The program `bicep`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.version = self.run("--version").stdout.strip()

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Its answer; the variable serves a machine without the libraries of other languages."""
        environ = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
        words = [self.path, *map(str, arguments)]
        return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)  # noqa: S603

    def said(self, *arguments: str | Path) -> str:
        """What it says against the files: its words, or the fact that it failed without any."""
        finished = self.run(*arguments)
        words = (finished.stdout + finished.stderr).strip()
        return words or (f"{arguments[0]} ended with {finished.returncode}" if finished.returncode else "")

    def snapshot(self, case: Path, mode: str) -> str:
        """Work a deployment out, and write down or compare what it creates."""
        where = [word for name, value in PLACE.items() for word in (f"--{name}", value)]
        return self.said("snapshot", case, "--mode", mode, *where)


def unformatted(compiler: Compiler) -> Iterator[str]:
    """Files that the compiler would lay out differently: it lays out a copy."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(shutil.copytree(INFRA, Path(directory, "infra")))
        for suffix in ("bicep", "bicepparam"):
            yield compiler.said("format", "--pattern", f"{copy}/**/*.{suffix}")
        for path in sorted(copy.rglob("*.bicep*")):
            ours = INFRA / path.relative_to(copy)
            if path.read_text("utf-8") != ours.read_text("utf-8"):
                yield f"{ours.relative_to(INFRA)}: not laid out as `bicep format` does it"


def write(compiler: Compiler, case: Path) -> str:
    """Make a snapshot anew, with the digest of what it was made of."""
    problem = compiler.snapshot(case, "overwrite")
    if not problem:
        made = json.loads(snapshot_of(case).read_text("utf-8"))
        text = json.dumps({"digest": digest(case), **made}, indent=2, ensure_ascii=False)
        snapshot_of(case).write_text(f"{text}\n", "utf-8")
    return problem


def validate(compiler: Compiler, case: Path) -> str:
    """What a deployment would create, against the snapshot."""
    problem = compiler.snapshot(case, "validate")
    stale = json.loads(snapshot_of(case).read_text("utf-8")).get("digest") != digest(case)
    return problem or ("its digest is stale" if stale else "")


def attempt(compiler: Compiler, name: str) -> str:
    """A deployment that is no case: what the engine says of it, against what it is to say.

    Of a copy without secrets: what hangs on the value of one, the engine leaves as it is, and says nothing.
    """
    parameters, expected = TRIALS[name]
    given = {"environmentName": "'trial'", "location": "'westeurope'", "instanceUrl": "'https://a'", **parameters}
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(shutil.copytree(INFRA, Path(directory, "infra"), ignore=shutil.ignore_patterns("cases")))
        main = copy / MAIN.name
        main.write_text(main.read_text("utf-8").replace("@secure()\n", ""), "utf-8")
        case = copy / "trial.bicepparam"
        lines = [f"using '{MAIN.name}'", *(f"param {key} = {given[key]}" for key in given)]
        case.write_text("\n".join(lines), "utf-8")
        words = compiler.snapshot(case, "overwrite")
    missing = [each for each in expected if each not in words]
    return f"{name}: {words or 'accepted'}" if missing or (words and not expected) else ""


def scanned(checkov: Path) -> Iterator[str]:
    """What checkov finds in that which the snapshots create, beyond what is accepted."""
    with tempfile.TemporaryDirectory() as directory:
        for case in CASES:
            created = json.loads(snapshot_of(case).read_text("utf-8"))["predictedResources"]
            # App settings are taken for a site there, and each of the site's checks fails on them.
            template = {
                "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
                "contentVersion": "1.0.0.0",
                "resources": [each for each in created if each["type"] != "Microsoft.Web/sites/config"],
            }
            Path(directory, f"{case.stem}.json").write_text(json.dumps(template, indent=1), "utf-8")
        options = ("--framework", "arm", "--skip-download", "--directory", directory, "--output", "json", "--quiet")
        finished = subprocess.run([checkov, *options], capture_output=True, text=True, check=False)  # noqa: S603
    report: dict[str, Any] = json.loads(finished.stdout)
    summary = report["summary"]
    print(f"checkov: {summary['passed']} checks passed, {len(ACCEPTED)} kinds not, each with its reason")
    if summary["parsing_errors"] or not summary["passed"]:
        yield f"checkov: understood little: {summary}"
    failed = {
        (each["check_id"], Path(each["file_path"]).stem, each["check_name"])
        for each in report["results"]["failed_checks"]
    }
    for check, name, meaning in sorted(failed):
        private = "privateNetwork = true" in (INFRA / "cases" / f"{name}.bicepparam").read_text("utf-8")
        if check not in ACCEPTED and (private or check not in OPEN_BY_DEFAULT):
            yield f"checkov: {name}: {check}: {meaning}"
    for check in sorted((ACCEPTED.keys() | OPEN_BY_DEFAULT) - {each[0] for each in failed}):
        yield f"checkov: {check} is passed everywhere: accept it no longer"


def problems(compiler: Compiler, tools: Path, *, anew: bool) -> Iterator[str]:
    """Everything that is wrong."""
    yield compiler.said("lint", MAIN)
    yield from unformatted(compiler)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        answers = threads.map(lambda case: (write if anew else validate)(compiler, case), CASES)
        trials = threads.map(lambda name: attempt(compiler, name), TRIALS)
        for case, answer in zip(CASES, answers, strict=True):
            yield f"cases/{case.stem}: {answer}" if answer else ""
        yield from trials
    print(f"{len(CASES)} deployments {'written' if anew else 'compared with their snapshots'}, {len(TRIALS)} tried")
    yield from scanned(tools / "checkov")
    actionlint = subprocess.run([tools / "actionlint", "-shellcheck=", "-pyflakes="], cwd=INFRA.parent, check=False)  # noqa: S603
    yield "actionlint: a workflow is not well-formed" if actionlint.returncode else ""


def main() -> int:
    """Print which compiler judged and what is wrong; 1 where anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="make the snapshots anew")
    anew = parser.parse_args().write
    path = find_compiler(os.environ)
    if path is None:
        print("make infra: no Bicep compiler: install one (az bicep install), or name it with BICEP=", file=sys.stderr)
        return 1
    compiler = Compiler(path)
    print(f"{compiler.version}: {path}")
    found = [each for each in problems(compiler, Path(sys.executable).parent, anew=anew) if each]
    print("\n".join(found) or "nothing to say against the infrastructure")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
