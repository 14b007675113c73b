"""What a ServiceNow instance answers to the questions that no public source settles, and whose habits those are.

The questions are put with an OAuth application and a user of their own: one password, once and with the right secret;
then only refresh tokens that this password brought. No value of an answer is printed: codes, kinds and counts are.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

from sandbox.conformance.wire import Reply, Wire, require_https
from sandbox.personality import PERSONALITIES, Personality

_OK = 200
_PAUSE = 5.0
"""Seconds between two tokens, by which the same one with a later end is told from the same one with what remains."""
_PROBE = (
    "/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()"
    "&sysparm_fields=user_name&sysparm_limit=1"
)
_RATE_LIMIT = re.compile(r"x-ratelimit-[a-z]{1,20}|retry-after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An OAuth application and an integration user of which nothing else depends."""

    client_id: str
    client_secret: str
    username: str
    password: str


def parse_account(content: object) -> Account:
    """Read the four values. Raises ValueError, which says what is missing, and nothing of what is there."""
    names = [field.name for field in fields(Account)]
    if not isinstance(content, dict):
        content = {}
    values = {name: content.get(name) for name in names}
    missing = [name for name, value in values.items() if not isinstance(value, str) or not value.strip()]
    if missing:
        message = f"the file lacks {', '.join(missing)}: a JSON object with the texts {', '.join(names)} is expected"
        raise ValueError(message)
    return Account(**{name: str(value).strip() for name, value in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The answer to one question, in words that hold no secret."""

    question: str
    answer: str

    def __str__(self) -> str:
        return f"{self.question:<24}  {self.answer}"


class InstanceClient:
    """One instance with the account that asks it. Raises ValueError for an address that is not https."""

    def __init__(self, url: str, account: Account, *, sleep: Callable[[float], None]) -> None:
        self.url = require_https(url)
        self.left: list[str] = []
        """What may live on at the instance: kinds of tokens, no values."""
        self._account = account
        self._sleep = sleep
        self._wire = Wire()
        self._refresh_tokens: dict[str, None] = {}
        self._access_tokens: dict[str, None] = {}

    def questions(self) -> Iterator[Seen]:
        """Ask, in an order in which one answer serves the next. Ends early where the first token is refused."""
        first = self._request(grant_type="password", username=self._account.username, password=self._account.password)
        yield Seen(question="password", answer=_told(first))
        yield Seen(question="its-refresh_token", answer=_kind(first.json.get("refresh_token"), with_value=False))
        if not self._access_tokens or not self._refresh_tokens:
            yield Seen(question="everything-else", answer="not asked: no access token with a refresh token came")
            return
        yield Seen(question="expires_in", answer=_kind(first.json.get("expires_in")))
        yield Seen(question="scope", answer=_kind(first.json.get("scope"), with_value=False))
        yield Seen(question="probe", answer=self._probe(_newest(self._access_tokens)))
        self._sleep(_PAUSE)
        second = self._refresh()
        yield Seen(question="refresh", answer=_told(second))
        if second.status == _OK:
            yield from self._about_refresh(first, second)
        yield from self._refusals()
        yield from self._farewell()

    def _about_refresh(self, first: Reply, second: Reply) -> Iterator[Seen]:
        yield Seen(question="refresh-within-life", answer=_within_life(first, second))
        yield Seen(question="refresh_token", answer=_refresh_token(first, second))
        yield Seen(question="old-access-token", answer=self._probe(_text(first, "access_token")))
        if _refresh_token(first, second) == "rotated":
            again = self._refresh(refresh_token=_text(first, "refresh_token"))
            yield Seen(question="old-refresh-token", answer=_told(again))

    def _refusals(self) -> Iterator[Seen]:
        wrong_scope = self._refresh(scope=f"no_such_scope_{secrets.token_hex(4)}")
        yield Seen(question="wrong-scope", answer=_told(wrong_scope))
        wrong_secret = self._refresh(client_secret=secrets.token_hex(16))
        yield Seen(question="wrong-secret", answer=_told(wrong_secret))
        wrong_token = self._refresh(refresh_token=secrets.token_hex(32))
        yield Seen(question="wrong-refresh-token", answer=_told(wrong_token))
        yield Seen(question="unknown-grant", answer=_told(self._request(grant_type="no_such_grant")))
        page = self._wire.send("GET", f"{self.url}/oauth_token.do")
        yield Seen(question="page", answer=_told(page))
        yield Seen(question="wrong-access-token", answer=self._probe(secrets.token_hex(32)))

    def _farewell(self) -> Iterator[Seen]:
        """Revoke what was issued, by a form: a token has no business in an address."""
        refresh_token, access_token = _newest(self._refresh_tokens), _newest(self._access_tokens)
        revoked = [
            self._wire.send("POST", f"{self.url}/oauth_revoke_token.do", form={"token": token})
            for token in (*self._refresh_tokens, *self._access_tokens)
        ]
        yield Seen(question="revoke-by-form", answer=_told(revoked[0]))
        if self._refresh(refresh_token=refresh_token).status == _OK:
            self.left.append("a refresh token")
        if not self._probe(access_token).startswith("401"):
            self.left.append("an access token")
        yield Seen(question="after-revoking", answer=" and ".join(self.left) or "nothing works any more")

    def _refresh(self, **form: str) -> Reply:
        """Ask with the newest refresh token, or as the form says."""
        return self._request(**{"grant_type": "refresh_token", "refresh_token": _newest(self._refresh_tokens), **form})

    def _request(self, **form: str) -> Reply:
        client = {"client_id": self._account.client_id, "client_secret": self._account.client_secret}
        reply = self._wire.send("POST", f"{self.url}/oauth_token.do", form={**client, **form})
        for known, member in ((self._refresh_tokens, "refresh_token"), (self._access_tokens, "access_token")):
            token = _text(reply, member) if reply.status == _OK else ""
            if token:
                # What was issued last comes last, however often it was issued.
                known.pop(token, None)
                known[token] = None
        return reply

    def _probe(self, access_token: str) -> str:
        reply = self._wire.send(
            "GET",
            f"{self.url}{_PROBE}",
            headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
        )
        return _told(reply)


def guess_personalities(seen: Mapping[str, str]) -> list[str]:
    """The sandbox's personalities with the same habits, as far as the questions tell; none where a refresh failed."""
    if not seen.get("refresh", "").startswith("200"):
        return []
    within, token = seen["refresh-within-life"], seen["refresh_token"]
    wanted = Personality(
        same_token=within.startswith("same"),
        extends=within == "same, later end",
        rotates=token == "rotated",
        refresh_token_in_answer=token if token in {"absent", "null"} else "present",
        expires_in_as_text=seen["expires_in"].startswith("text"),
        precise_errors="invalid" in seen["wrong-refresh-token"],
    )
    return [name for name, each in PERSONALITIES.items() if each == wanted]


def line(seen: list[Seen]) -> str:
    """What is made to be sent to the project."""
    return " | ".join(f"{each.question}: {each.answer}" for each in seen)


def _newest(tokens: Mapping[str, None]) -> str:
    return next(reversed(list(tokens)))


def _told(reply: Reply) -> str:
    """Status, kind of body and codes."""
    kind = reply.headers.get("content-type", "").partition(";")[0]
    shown = kind if re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", kind) else "no content type"
    limits = sorted(name for name in reply.headers if _RATE_LIMIT.fullmatch(name))
    return " ".join([reply.error.replace(str(reply.status), f"{reply.status} {shown}", 1), *limits])


def _within_life(first: Reply, second: Reply) -> str:
    if _text(first, "access_token") != _text(second, "access_token"):
        return "new"
    before, after = _seconds(first), _seconds(second)
    if before is None or after is None:
        return "same"
    return "same, later end" if after > before - _PAUSE + 1 else "same, what remains"


def _refresh_token(first: Reply, second: Reply) -> str:
    if "refresh_token" not in second.json:
        return "absent"
    if second.json["refresh_token"] is None:
        return "null"
    return "same" if second.json["refresh_token"] == first.json["refresh_token"] else "rotated"


def _kind(value: object, *, with_value: bool = True) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    kind = "absent or null" if value is None else kinds.get(type(value), "something else")
    shown = str(value)
    return f"{kind} {shown}" if with_value and re.fullmatch(r"\d{1,9}", shown) else kind


def _seconds(reply: Reply) -> int | None:
    shown = str(reply.json.get("expires_in"))
    return int(shown) if re.fullmatch(r"\d{1,9}", shown) else None


def _text(reply: Reply, member: str) -> str:
    value = reply.json.get(member)
    return value if isinstance(value, str) else ""
