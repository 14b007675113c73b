"""`make conformance`: compare a vault, a lease's container or an instance with what is known of the real ones.

Says first what it will do, and asks. Prints no secret: neither one that it was given, nor one that it was answered.
Exit codes: 0 asked, 1 something differs from what is known, 2 usage, or not confirmed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from sandbox.conformance.blob_client import BlobClient
from sandbox.conformance.blobs import CHECKS as BLOB_CHECKS
from sandbox.conformance.findings import Answer, Finding, ask_all, summary
from sandbox.conformance.instance import InstanceClient, guess_personalities, line, parse_account
from sandbox.conformance.vault import CHECKS as VAULT_CHECKS
from sandbox.conformance.vault_client import VaultClient
from sandbox.conformance.wire import require_https

_DONE, _DIFFERS, _USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Run it."""
    options = _parser().parse_args(arguments)
    try:
        if options.vault:
            return _vault(options.vault, sleep, yes=options.yes)
        if options.container:
            return _container(options.container, sleep, yes=options.yes)
        return _instance(options.instance, options.client, sleep, yes=options.yes)
    except ValueError as error:
        problem = str(error)
    except (httpx.HTTPError, AzureError) as error:
        # Their own text may hold an address with a token.
        problem = f"no answer that could be used came ({type(error).__name__}); what was made until then may be left"
    print(f"conformance: {problem}", file=sys.stderr)
    return _USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vault", metavar="URL", help="https://NAME.vault.azure.net")
    what.add_argument("--container", metavar="URL", help="https://NAME.blob.core.windows.net/CONTAINER")
    what.add_argument("--instance", metavar="URL", help="https://NAME.service-now.com")
    parser.add_argument(
        "--client", metavar="FILE", help="with --instance: client_id, client_secret, username, password"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before it begins")
    return parser


def _vault(url: str, sleep: Callable[[float], None], *, yes: bool) -> int:
    vault = VaultClient(url, _credential(), sleep=sleep, now=lambda: datetime.now(UTC))
    plan = f"""{vault.url} will be asked {len(VAULT_CHECKS)} questions in a minute or two:
  - some twenty secrets are stored, all under names that begin with {vault.prefix}, none with a secret value;
  - one is deleted and recovered, and in the end all are deleted; nothing else in the vault is changed or read, but for
    one entry of its list, which is not shown;
  - a vault keeps deleted names for up to 90 days, and nothing is purged.
  Needed: `az login`, and the role Key Vault Secrets Officer."""
    if not _confirmed(plan, yes=yes):
        return _USAGE
    try:
        findings = _print_all(ask_all(VAULT_CHECKS, vault))
    finally:
        stay = vault.leave()
        _print_left("deleted, and kept by the vault for up to 90 days", sorted(vault.stored - set(stay)))
        _print_left("NOT deleted; delete them by hand", stay)
    took = " ".join(f"{what}={seconds}s" for what, seconds in vault.seconds.items())
    return _conclude("vault", findings, f"{took} service={vault.service or 'unknown'}")


def _container(url: str, sleep: Callable[[float], None], *, yes: bool) -> int:
    require_https(url)
    blobs = BlobClient(url, _credential(), sleep=sleep)
    plan = f"""{blobs.url} will be asked {len(BLOB_CHECKS)} questions in half a minute:
  - some twenty empty blobs are made, all under names that begin with {blobs.prefix}, and deleted in the end;
  - nothing else in the container is read or changed.
  Needed: `az login`, and the role Storage Blob Data Contributor on the container."""
    if not _confirmed(plan, yes=yes):
        return _USAGE
    try:
        findings = _print_all(ask_all(BLOB_CHECKS, blobs))
    finally:
        _print_left("NOT deleted; delete them by hand", blobs.leave())
    return _conclude("container", findings, "")


def _instance(url: str, file: str | None, sleep: Callable[[float], None], *, yes: bool) -> int:
    if not file:
        message = "--instance needs --client FILE with an OAuth application and a user of their own"
        raise ValueError(message)
    instance = InstanceClient(url, parse_account(_read(file)), sleep=sleep)
    plan = f"""{instance.url} will be asked some twenty questions with the OAuth application and the user of {file}:
  - use an application and a user of their own: tokens that others hold of the same two may end;
  - the password is sent once, with the right secret; after that only refresh tokens that it brought;
  - five requests are refused on purpose, none of them with the password; each request is a row of the transaction log;
  - in the end the tokens are revoked, and it says which are not."""
    if not _confirmed(plan, yes=yes):
        return _USAGE
    seen = []
    for each in instance.questions():
        print(each)
        seen.append(each)
    _print_left("at the instance, until it ends", instance.left)
    names = guess_personalities({each.question: each.answer for each in seen})
    print(f"\nThe sandbox's personality with these habits: {', '.join(names) or 'none has them all'}")
    print(f"To the project, as one line:\n\nconformance instance | {line(seen)}")
    return _DONE


def _confirmed(plan: str, *, yes: bool) -> bool:
    print(plan)
    if yes:
        return True
    if not sys.stdin.isatty():
        print("conformance: nobody is there to ask; --yes says that you have read this", file=sys.stderr)
        return False
    return input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


def _print_all(findings: Iterable[Finding]) -> list[Finding]:
    found = []
    for finding in findings:
        print(finding)
        found.append(finding)
    return found


def _print_left(how: str, names: Sequence[str]) -> None:
    if names:
        print(f"\nLeft behind ({how}):", *names, sep="\n  ")


def _conclude(service: str, findings: Sequence[Finding], notes: str) -> int:
    differs = [finding for finding in findings if finding.answer is Answer.DIFFERS]
    for finding in differs:
        print(f"\n{finding.rule.name}: known from {finding.rule.source}")
    print(f"\nTo the project, as one line:\n\nconformance {service} | {summary(findings)} {notes}".rstrip())
    return _DIFFERS if differs else _DONE


def _credential() -> TokenCredential:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - loads every credential there is

    return DefaultAzureCredential()


def _read(file: str) -> object:
    try:
        return json.loads(Path(file).read_text("utf-8"))
    except OSError:
        message = f"{file} cannot be read"
    except ValueError:
        message = f"{file} is not JSON"
    raise ValueError(message)


if __name__ == "__main__":
    sys.exit(main())
