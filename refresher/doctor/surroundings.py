"""As whom and from where an examination looks: what is let in there need not be let in where the app runs.

Who signs in is the SDK's choice (DefaultAzureCredential): a service principal that variables name comes before the
managed identity, and AZURE_TOKEN_CREDENTIALS leaves only one kind of credential.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from refresher.doctor.remedies import remedy_of
from refresher.entra.claims import document_of
from refresher.keyvault.clients import expected_scope
from refresher.keyvault.errors import no_identity
from refresher.keyvault.listing import runs_in_app
from refresher.model import steps
from refresher.model.check import Check, failed, passed, warned
from refresher.model.errors import RefresherError
from refresher.model.steps import Step
from refresher.model.tokens import Secret

IDENTITY = "identity"
_CLAIMS = {"upn": "user", "unique_name": "user", "appid": "application (client) id", "oid": "object id"}
_PRINCIPAL = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE")
"""Variables with any of which the SDK signs in as somebody else before it asks for the managed identity."""
_SHOWN = re.compile(r"[A-Za-z]{1,60}")
OF_THE_TEMPLATE = "ManagedIdentityCredential"
"""What infra/ sets AZURE_TOKEN_CREDENTIALS to."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an Entra access token was issued to, by those of its claims that are nobody's secret."""

    claims: Mapping[str, str]

    @classmethod
    def of(cls, token: str) -> "Identity":
        """Read the claims; none of them where it is not a token with claims."""
        claims = document_of(Secret(token)) or {}
        texts = {name: text for name in (*_CLAIMS, "scp") if isinstance(text := claims.get(name), str)}
        return cls({name: text for name, text in texts.items() if text.isprintable()})

    def __str__(self) -> str:
        named = ", ".join(f"{_CLAIMS[name]} {value}" for name, value in self.claims.items() if name in _CLAIMS)
        return named or "an identity that it does not name"

    @property
    def is_person(self) -> bool:
        """Whether it is somebody who signed in: a workload's token has no delegated permissions and no user's name."""
        return bool(self.claims.keys() & {"upn", "unique_name", "scp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where an examination runs, by the variables there, and who signs in there."""

    environ: Mapping[str, str]
    credential: Callable[[], TokenCredential]

    @property
    def app(self) -> str | None:
        """The app's name; None elsewhere."""
        return self.environ.get("WEBSITE_SITE_NAME") or None

    def sign_in(self, vault_url: str) -> "Identity | Check":
        """Whoever gets a token for that vault; or the check that fails since nobody does."""
        try:
            return Identity.of(self.credential().get_token(expected_scope(vault_url)).token)
        except RefresherError as error:
            return failed(None, IDENTITY, error.message, remedy_of(error, None))
        except (AzureError, ValueError) as error:
            nobody, problem = no_identity(error), self._chooses_another()
        # What stands in the variables is the first suspicion.
        if problem is not None:
            return failed(None, IDENTITY, f"no token for Key Vault could be had; {problem[0]}", problem[1])
        return failed(None, IDENTITY, nobody.message, remedy_of(nobody, None))

    def is_the_apps(self, identity: Identity) -> bool:
        """Whether it is the app's own identity: where the settings name that, by its name."""
        named, found = self.environ.get("AZURE_CLIENT_ID"), identity.claims.get("appid")
        if identity.is_person or (named and found and named.casefold() != found.casefold()):
            return False
        return runs_in_app(self.environ)

    def identity_check(self, identity: Identity) -> Check:
        """Who looks, and from where."""
        place = f"asked from the app {self.app}" if self.app else "asked from this machine, which is not the app"
        whose = "" if self.is_the_apps(identity) else ", which is not the app's identity"
        detail = f"a token for Key Vault was issued to {identity}{whose}; {place}"
        problem = self._chooses_another()
        if problem is None:
            return passed(None, IDENTITY, detail)
        return warned(None, IDENTITY, f"{detail}; {problem[0]}", problem[1])

    def _chooses_another(self) -> tuple[str, Step] | None:
        """Variables that make the SDK sign in as another than the app's identity, or the person here."""
        chosen = self.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip()
        principal = next((name for name in _PRINCIPAL if self.environ.get(name)), None)
        if principal is not None and chosen.casefold() in {"", "prod", "environmentcredential"}:
            what = (
                f"{principal} is set, so that the SDK signs in as the application or user that the variables beside "
            )
            what += "it name (AZURE_CLIENT_ID), before it asks for the app's own identity"
            return what, self._take_out(principal)
        if chosen and chosen.casefold() != OF_THE_TEMPLATE.casefold():
            shown = chosen if _SHOWN.fullmatch(chosen) else "set"
            what = f"AZURE_TOKEN_CREDENTIALS is {shown}, so that the SDK tries no other way to sign in "
            what += f"(in Azure it has to be {OF_THE_TEMPLATE}, on a laptop nothing)"
            return what, self._take_out("AZURE_TOKEN_CREDENTIALS")
        return None

    def _take_out(self, name: str) -> Step:
        delete = steps.delete_app_setting(name)
        if self.app is not None:
            return Step("Take it out of the app settings: ", delete)
        return Step(f"Take it out of this shell: unset {name}. Is it an app setting? Then there: ", delete)


def addressed(step: Step | None, identity: Identity, surroundings: Surroundings, vault: str) -> Step | None:
    """A step that gives the app's identity something, with that identity named, or kept apart from whoever looks."""
    if step is None or not any(steps.APP_IDENTITY in each.words for each in step.commands):
        return step
    if surroundings.is_the_apps(identity):
        return steps.of_identity(step, identity.claims["oid"]) if "oid" in identity.claims else step
    known = surroundings.environ.get("AZURE_CLIENT_ID")
    apps = step.naming(steps.APP_IDENTITY, known) if known else step
    lead = f"This was refused to {identity}, which is not the app's identity: what that may do, only the app can see. "
    if "oid" not in identity.claims:
        return Step(f"{lead}Is the app refused as well? ", apps)
    lead += "To look from here, names and dates are enough, without values (docs/azure.md, 'Who may do what'): "
    return Step(lead, steps.let_read_dates(vault, identity.claims["oid"]), ". Is the app refused as well? ", apps)
