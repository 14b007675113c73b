"""A ServiceNow instance: the token endpoint by every known habit, the table API, revocation, authorization."""

import base64
import hashlib
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlencode

import jwt

from sandbox.canary import Mint
from sandbox.clock import SandboxClock
from sandbox.entra import OidcEntity
from sandbox.http import Request, Response, json_response
from sandbox.personality import HIBERNATING, Personality
from sandbox.rate_limit import too_many_requests

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GUEST = "guest"
_LOCKED_AFTER = 5
_PAUSE = timedelta(seconds=7)


@dataclass(slots=True, kw_only=True)
class User:
    """An integration user."""

    name: str
    password: str
    locked: bool = False
    failed_logins: int = 0
    attempts: int = 0


@dataclass(slots=True, kw_only=True)
class Application:
    """An entry of the application registry."""

    client_id: str
    client_secret: str
    user: User
    public_key: str | None = None
    verifiers: dict[str, str] = field(default_factory=dict)
    """JWT verifier maps: public keys by their key ids; with these, an assertion must name one."""
    public: bool = False
    """Whether it is a public client, which may leave its secret out."""
    active: bool = True
    open_requests: int = 0
    most_open_requests: int = 0


@dataclass(slots=True, kw_only=True)
class Token:
    """An access token, a refresh token or an authorization code."""

    value: str
    application: Application
    user_name: str
    expires_at: datetime
    details: dict[str, str] = field(default_factory=dict)


class _RefusedError(Exception):
    """A token request is refused; `reason` is for the system log, `code` is the RFC's."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Instance:
    """One instance."""

    def __init__(self, clock: SandboxClock, mint: Mint, personality: Personality | None = None) -> None:
        self.url = ""
        self.personality = personality or Personality()
        self.system_log: list[str] = []
        self.oidc: OidcEntity | None = None
        """Who verifies tokens that are not the instance's own; None: nobody."""
        self._clock = clock
        self._mint = mint
        self._lock = threading.RLock()
        self._applications: dict[str, Application] = {}
        self._users: dict[str, User] = {}
        self._access_tokens: dict[str, Token] = {}
        self._refresh_tokens: dict[str, Token] = {}
        self._codes: dict[str, Token] = {}
        self._used_jtis: set[str] = set()
        self._refused = 0
        self._met = 0
        self._transactions = 0

    # An administrator's hands.

    def register(self, user_name: str, public_key: str | None = None) -> Application:
        """Register an OAuth application with its integration user."""
        with self._lock:
            user = self._users.setdefault(user_name, User(name=user_name, password=self._mint.make("password")))
            application = Application(
                client_id=self._mint.make("client-id"),
                client_secret=self._mint.make("client-secret"),
                user=user,
                public_key=public_key,
            )
            self._applications[application.client_id] = application
            return application

    def application(self, client_id: str) -> Application:
        """The entry of the application registry with that client id."""
        return self._applications[client_id]

    def authorize(self, application: Application, user_name: str | None = None) -> str:
        """Start a refresh token's life, as a person would."""
        with self._lock:
            return self._issue_refresh_token(application, user_name or application.user.name).value

    def kill_refresh_token(self, value: str) -> None:
        """Revoke a refresh token."""
        self._refresh_tokens.pop(value, None)

    def kill_access_token(self, value: str) -> None:
        """Revoke an access token."""
        self._access_tokens.pop(value, None)

    def change_client_secret(self, application: Application) -> str:
        """Give the application a new secret."""
        application.client_secret = self._mint.make("client-secret")
        return application.client_secret

    def change_password(self, user_name: str) -> str:
        """Give the user a new password."""
        self._users[user_name].password = self._mint.make("password")
        return self._users[user_name].password

    def password_attempts(self, user_name: str) -> int:
        """How many times a password was sent for the user."""
        return self._users[user_name].attempts

    def is_living_access_token(self, value: str) -> bool:
        """Whether the API accepts it now."""
        token = self._access_tokens.get(value)
        return token is not None and self._clock.now() < token.expires_at

    def access_token_ends_at(self, value: str) -> datetime | None:
        """Until when the API accepts it; None where it never heard of it, and trusts nobody who did."""
        token = self._access_tokens.get(value)
        if token is None and self.oidc is not None and self.oidc.user_of(value, self._clock, counts=False):
            return self.oidc.ends_at(value)
        return token.expires_at if token is not None else None

    def is_living_refresh_token(self, value: str) -> bool:
        """Whether it can be used now."""
        token = self._refresh_tokens.get(value)
        return token is not None and self._clock.now() < token.expires_at

    # HTTP.

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        with self._lock:
            self._transactions += 1
            transaction = f"{self._transactions:032x}"
        response = self._route(request, transaction)
        return Response(
            status=response.status,
            headers={
                "Date": format_datetime(self._clock.now(), usegmt=True),
                "X-Transaction-ID": transaction,
                "Set-Cookie": "JSESSIONID=CANARY-session; Path=/; HttpOnly",
                **response.headers,
            },
            body=response.body,
        )

    def began(self, request: Request, *, ended: bool = False) -> None:
        """Count token requests that are under way, for those who look for overlaps."""
        application = self._applications.get(request.form.get("client_id", ""))
        if request.path != "/oauth_token.do" or application is None:
            return
        with self._lock:
            application.open_requests += -1 if ended else 1
            application.most_open_requests = max(application.most_open_requests, application.open_requests)

    def _route(self, request: Request, transaction: str) -> Response:
        if self.personality.body == HIBERNATING:
            return self._page()
        if request.path == "/oauth_token.do":
            return self._token_endpoint(request, transaction)
        if request.path == "/oauth_auth.do":
            return self._authorization_endpoint(request)
        if request.path == "/oauth_revoke_token.do":
            return self._revocation_endpoint(request)
        if request.path.startswith("/api/now/table/"):
            return self._table_api(request)
        return Response(status=404, headers={"Content-Type": "text/html"}, body=b"<html>Not found</html>")

    def _page(self) -> Response:
        personality = self.personality
        headers = {"Content-Type": personality.body_content_type}
        if personality.location is not None:
            headers["Location"] = f"{self.url}{personality.location}"
        return Response(status=personality.body_status, headers=headers, body=personality.body or b"")

    def _token_endpoint(self, request: Request, transaction: str) -> Response:
        if self.personality.body is not None:
            return self._page()
        self._clock.advance(self.personality.takes)
        fault = self._passing_fault()
        if fault is not None:
            return fault
        with self._lock:
            try:
                return self._issue(request)
            except _RefusedError as refusal:
                moment = f"{self._clock.now():%Y-%m-%d %H:%M:%S}"
                self.system_log.append(f"{moment} {transaction} Exception on token flow - {refusal.reason}")
                code = refusal.code
        if self.personality.precise_errors:
            return json_response(401, {"error": code, "error_description": code})
        return json_response(401, {"error_description": "access_denied", "error": "server_error"})

    def _passing_fault(self) -> Response | None:
        """What the first token requests meet, and later ones do not."""
        personality = self.personality
        with self._lock:
            self._met += 1
            met = self._met
        if met <= personality.throttle_first:
            now = self._clock.now()
            return too_many_requests(personality.retry_after, now, now + _PAUSE)
        if met <= personality.drop_first:
            return Response(status=200, cut_short=True)
        return None

    def _issue(self, request: Request) -> Response:
        form, personality = request.form, self.personality
        if request.method != "POST" or not form or request.query:
            raise _RefusedError("invalid_request", "no form body")
        if "cookie" in request.headers or "authorization" in request.headers:
            raise _RefusedError("invalid_request", "token request inside a session")
        if self._refused < personality.refuse_first:
            self._refused += 1
            raise _RefusedError("server_error", "passing fault")
        application = self._applications.get(form.get("client_id", ""))
        secret = form.get("client_secret")
        known = application is not None and (
            secret == application.client_secret or (secret is None and application.public)
        )
        if application is None or not known or not application.active:
            raise _RefusedError("invalid_client", "unknown client or wrong secret")
        grant = form.get("grant_type", "")
        match grant:
            case "refresh_token":
                return self._refresh(application, form)
            case "password":
                return self._answer(application, self._log_in(form), new_life=True)
            case "client_credentials":
                name = GUEST if personality.guest else application.user.name
                return self._answer(application, name, new_life=False)
            case "authorization_code":
                return self._answer(application, self._redeem(application, form), new_life=True)
            case _ if grant == JWT_BEARER:
                return self._answer(application, self._verify(application, form), new_life=False)
            case _:
                raise _RefusedError("unsupported_grant_type", f"grant type {grant[:40]}")

    def _refresh(self, application: Application, form: dict[str, str]) -> Response:
        token = self._refresh_tokens.get(form.get("refresh_token", ""))
        if token is None or token.application is not application or self._clock.now() >= token.expires_at:
            raise _RefusedError("invalid_grant", "refresh token unknown, revoked or expired")
        if application.user.locked:
            raise _RefusedError("invalid_grant", "user locked out")
        personality = self.personality
        if personality.slides:
            token.expires_at = self._clock.now() + personality.refresh_token_lifetime
        if personality.rotates:
            del self._refresh_tokens[token.value]
            replacement = self._issue_refresh_token(application, token.user_name)
            if not personality.slides:
                replacement.expires_at = token.expires_at
            token = replacement
        return self._answer(application, token.user_name, refresh_token=token)

    def _log_in(self, form: dict[str, str]) -> str:
        user = self._users.get(form.get("username", ""))
        if user is None:
            raise _RefusedError("invalid_grant", "unknown user")
        user.attempts += 1
        if user.password != form.get("password"):
            user.failed_logins += 1
            user.locked = user.locked or user.failed_logins >= _LOCKED_AFTER
            raise _RefusedError("invalid_grant", "wrong password")
        if user.locked:
            raise _RefusedError("invalid_grant", "user locked out")
        user.failed_logins = 0
        return user.name

    def _redeem(self, application: Application, form: dict[str, str]) -> str:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.application is not application or self._clock.now() >= code.expires_at:
            raise _RefusedError("invalid_grant", "unknown code")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != code.details["code_challenge"] or form.get("redirect_uri") != code.details["redirect_uri"]:
            raise _RefusedError("invalid_grant", "wrong verifier or redirect URI")
        return code.user_name

    def _verify(self, application: Application, form: dict[str, str]) -> str:
        try:
            key = application.public_key
            if application.verifiers:
                key = application.verifiers.get(jwt.get_unverified_header(form.get("assertion", "")).get("kid", ""))
            if key is None:
                raise _RefusedError("invalid_grant", "no JWT verifier")
            claims = jwt.decode(
                form.get("assertion", ""),
                key,
                algorithms=["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
                audience=application.client_id,
                issuer=application.client_id,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "jti"]},
            )
        except jwt.PyJWTError:
            raise _RefusedError("invalid_grant", "assertion not valid") from None
        now = self._clock.now().timestamp()
        if not now < claims["exp"] < now + 3600 or claims["jti"] in self._used_jtis:
            raise _RefusedError("invalid_grant", "assertion expired or used before")
        self._used_jtis.add(claims["jti"])
        if claims.get("sub") != application.user.name or application.user.locked:
            raise _RefusedError("invalid_grant", "unknown or locked subject")
        return application.user.name

    def _answer(
        self,
        application: Application,
        user_name: str,
        *,
        refresh_token: Token | None = None,
        new_life: bool = False,
    ) -> Response:
        personality, now = self.personality, self._clock.now()
        access_token = self._access_token(application, user_name)
        expires_in = int((access_token.expires_at - now).total_seconds())
        answer: dict[str, object] = {
            "access_token": access_token.value,
            "expires_in": str(expires_in) if personality.expires_in_as_text else expires_in,
            "token_type": "Bearer",
            "scope": "useraccount",
        }
        if new_life:
            refresh_token = self._issue_refresh_token(application, user_name)
        if refresh_token is not None and personality.refresh_token_in_answer == "present":
            answer["refresh_token"] = refresh_token.value
        elif personality.refresh_token_in_answer == "null":
            answer["refresh_token"] = None
        return json_response(200, answer)

    def _access_token(self, application: Application, user_name: str) -> Token:
        personality, now = self.personality, self._clock.now()
        lifetime = personality.access_token_lifetime - timedelta(seconds=1)
        if personality.same_token:
            for token in self._access_tokens.values():
                if token.application is application and token.user_name == user_name and now < token.expires_at:
                    if personality.extends:
                        token.expires_at = now + lifetime
                    return token
        token = Token(
            value=self._mint.make("access"), application=application, user_name=user_name, expires_at=now + lifetime
        )
        self._access_tokens[token.value] = token
        return token

    def _issue_refresh_token(self, application: Application, user_name: str) -> Token:
        token = Token(
            value=self._mint.make("refresh"),
            application=application,
            user_name=user_name,
            expires_at=self._clock.now() + self.personality.refresh_token_lifetime,
        )
        self._refresh_tokens[token.value] = token
        return token

    def _authorization_endpoint(self, request: Request) -> Response:
        params = request.params
        application = self._applications.get(params.get("client_id", ""))
        redirect_uri = params.get("redirect_uri", "")
        if application is None or not redirect_uri or params.get("response_type") != "code":
            return Response(status=400, body=b"bad request")
        answer = {"state": params.get("state", "")}
        if params.get("code_challenge_method") != "S256" or not params.get("code_challenge"):
            answer["error"] = "invalid_request"
        else:
            with self._lock:
                code = Token(
                    value=self._mint.make("code"),
                    application=application,
                    user_name=application.user.name,
                    expires_at=self._clock.now() + timedelta(minutes=1),
                    details={"code_challenge": params["code_challenge"], "redirect_uri": redirect_uri},
                )
                self._codes[code.value] = code
            answer["code"] = code.value
        return Response(status=302, headers={"Location": f"{redirect_uri}?{urlencode(answer)}"})

    def _revocation_endpoint(self, request: Request) -> Response:
        value = request.params.get("token") or request.form.get("token", "")
        known = value in self._access_tokens or value in self._refresh_tokens
        self.kill_access_token(value)
        self.kill_refresh_token(value)
        return Response(status=200 if known else 400)

    def _table_api(self, request: Request) -> Response:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        token = self._access_tokens.get(value)
        living = kind == "Bearer" and token is not None and self._clock.now() < token.expires_at
        if kind == "Bearer" and token is None and self.oidc is not None:
            user_name = self.oidc.user_of(value, self._clock)
            user = self._users.get(user_name or "")
            living = user_name is not None and not (user is not None and user.locked)
        else:
            user_name = token.user_name if token is not None else None
        if not living or user_name is None or (self.personality.guest and user_name == GUEST):
            return json_response(401, {"error": {"message": "User Not Authenticated"}, "status": "failure"})
        probing = request.path == "/api/now/table/sys_user"
        if probing and self.personality.probe_body is not None:
            return Response(status=200, headers={"Content-Type": "text/html"}, body=self.personality.probe_body)
        if probing and self.personality.probe_status == 429:
            now = self._clock.now()
            return too_many_requests("rule", now, now + _PAUSE)
        if probing and self.personality.probe_status is not None:
            return json_response(self.personality.probe_status, {"error": {"message": "as told"}})
        if probing:
            return json_response(200, {"result": [{"user_name": user_name}]})
        return json_response(200, {"result": []})
