"""What is stored beside the tokens, there and back; and what a person's edit or a careless copy does to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from refresher.keyvault.tags import (
    ACCESS_TOKEN_CONTENT_TYPE,
    access_token_tags,
    parse_access_token,
    parse_record,
    parse_refresh_token,
    probe_tags,
    publisher,
    record_expiry,
    record_tags,
    refresh_token_tags,
    revoked_tags,
)
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.moments import format_instant
from refresher.model.report import Outcome, Trigger
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import ATTEMPT_STARTED, RefreshRecord
from tests.factories import HOUR, MINUTE, NOON, SECOND, access_token, stored_access_token

DAYS = timedelta(days=100)


def secret(**fields: Any) -> StoredSecret:  # noqa: ANN401
    """A secret as the vault returns it."""
    return StoredSecret(**{"name": "n", "version": "v1", "value": Secret("CANARY-value"), **fields})


def tagged(**changes: Any) -> StoredSecret:  # noqa: ANN401
    """An access token with its metadata, with changes to its tags; None takes a tag away."""
    tags = access_token_tags(
        access_token(), connection="c", vault_url="https://v", run_id="r" * 32, trigger=Trigger.TIMER
    )
    expires_on = changes.pop("expires_on", NOON + HOUR)
    edited = {**tags, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return secret(tags={name: value for name, value in edited.items() if value is not None}, expires_on=expires_on)


class TestAccessToken:
    """Its dates are those of its tags, where they agree with each other."""

    def test_it_comes_back_as_it_was_written(self) -> None:
        tags = access_token_tags(
            access_token(),
            connection="c",
            vault_url="https://v",
            run_id="r1",
            trigger=Trigger.HTTP,
            reason="x" * 300,
            confirmed_at=NOON + SECOND,
            recent="50/60",
        )
        assert tags == {
            "connection": "c",
            "vault": "https://v",
            "issued-at": "2026-03-01T12:00:00+00:00",
            "expires-at": "2026-03-01T13:00:00+00:00",
            "grant": "refresh_token",
            "run-id": "r1",
            "trigger": "http",
            "confirmed-at": "2026-03-01T12:00:01+00:00",
            "recent": "50/60",
            "reason": "x" * 256,
        }
        assert parse_access_token(secret(tags=tags, expires_on=NOON + HOUR)) == stored_access_token(
            "CANARY-value",
            confirmed_at=NOON + SECOND,
            grant=Grant.REFRESH_TOKEN,
            trigger="http",
            run_id="r1",
            recent="50/60",
            publisher="c of https://v",
        )

    def test_what_is_not_known_has_no_tag(self) -> None:
        assert set(tagged().tags) == {"connection", "vault", "issued-at", "expires-at", "grant", "run-id", "trigger"}

    @pytest.mark.parametrize(
        "edit",
        [
            {"issued_at": None},
            {"expires_at": None},
            {"issued_at": "yesterday"},
            {"issued_at": "2026-03-01T12:00:00"},
            {"issued_at": "2026-03-01T13:00:00+00:00"},
            {"expires_at": "9999-12-31T23:59:59-23:59"},
            {"expires_at": "9999-12-31T23:59:59+00:00"},
            {"issued_at": "2026-03-01T14:00:00+00:00"},
        ],
    )
    def test_dates_that_are_not_there_or_contradict_each_other_count_as_absent(self, edit: dict[str, Any]) -> None:
        token = parse_access_token(tagged(confirmed_at=format_instant(NOON), recent="50/60", **edit))
        assert (token.issued_at, token.expires_at, token.confirmed_at, token.recent) == (None, None, None, None)
        assert token.life is None
        assert not token.lives_at(NOON)
        assert (token.grant, token.run_id) == (Grant.REFRESH_TOKEN, "r" * 32)

    @pytest.mark.parametrize("attribute", [NOON + HOUR, NOON + DAYS, NOON - HOUR, None])
    def test_the_attribute_does_not_count(self, attribute: datetime | None) -> None:
        """A policy of the vault may have had another date written, or none."""
        assert parse_access_token(tagged(expires_on=attribute)).expires_at == NOON + HOUR

    @pytest.mark.parametrize(
        ("fields", "life"),
        [
            ({}, (NOON, NOON + 30 * MINUTE)),
            ({"expires_on": NOON + HOUR}, (NOON, NOON + HOUR)),
            ({"expires_on": NOON - HOUR}, None),
            ({"created_on": None, "expires_on": NOON + HOUR}, None),
            ({"content_type": None}, None),  # a person's: its dates are where a person puts them
            ({"tags": {"issued-at": format_instant(NOON)}}, None),
            ({"tags": {"expires-at": format_instant(NOON)}}, None),
        ],
    )
    def test_where_something_took_the_tags_it_lives_from_when_it_was_stored(
        self, fields: dict[str, Any], life: tuple[datetime, datetime] | None
    ) -> None:
        stored = secret(**{"content_type": ACCESS_TOKEN_CONTENT_TYPE, "created_on": NOON, **fields})
        assert parse_access_token(stored).life == life
        assert parse_access_token(stored).described is (bool(stored.tags) or stored.content_type is None)

    def test_what_the_product_wrote_is_described(self) -> None:
        stored = tagged()._replace(content_type=ACCESS_TOKEN_CONTENT_TYPE, created_on=NOON - HOUR)
        assert parse_access_token(stored).described
        assert parse_access_token(stored).issued_at == NOON

    @pytest.mark.parametrize("unread", [True, False])
    def test_whether_its_value_could_be_read_goes_with_it(self, *, unread: bool) -> None:
        assert parse_access_token(tagged()._replace(unread=unread)).unread is unread

    def test_who_published_it_is_a_connection_of_a_vault(self) -> None:
        assert parse_access_token(tagged()).publisher == publisher("c", "https://v") == "c of https://v"
        assert parse_access_token(tagged(vault=None)).publisher == "c of version 1.0, which does not name its vault"
        assert parse_access_token(tagged(vault=None, connection=None)).publisher is None
        assert parse_access_token(tagged(connection=None)).publisher == " of https://v"

    def test_what_the_probe_told_comes_back(self) -> None:
        told = probe_tags("a mark", "a.user", "b.user")
        assert told == {"accepted-by": "a mark", "user-name": "a.user", "user-before": "b.user"}
        assert probe_tags(None, "", None) == {}
        token = parse_access_token(secret(tags=told))
        assert (token.accepted_by, token.user_name, token.user_before) == ("a mark", "a.user", "b.user")

    def test_another_time_zone_and_spaces_are_read(self) -> None:
        token = parse_access_token(tagged(issued_at=" 2026-03-01T13:00:00+01:00 "))
        assert token.issued_at == NOON
        assert token.issued_at.tzinfo is UTC

    def test_one_that_was_revoked_says_so(self) -> None:
        assert parse_access_token(tagged(revoked_at=format_instant(NOON))).revoked
        assert not parse_access_token(tagged()).revoked

    @pytest.mark.parametrize("end", [NOON - HOUR, NOON, NOON + MINUTE])
    def test_one_that_was_revoked_lives_no_more_whatever_clock_its_end_was_told_by(self, end: datetime) -> None:
        token = parse_access_token(tagged(**{name.replace("-", "_"): tag for name, tag in revoked_tags(end).items()}))
        assert not token.lives_at(NOON)
        assert (token.issued_at, token.expires_at) == (NOON, max(end, NOON + SECOND))

    def test_a_grant_that_nobody_knows_is_none(self) -> None:
        assert parse_access_token(tagged(grant="carrier_pigeon")).grant is None

    def test_it_lives_from_its_issue_or_confirmation_to_its_end(self) -> None:
        token = stored_access_token()
        assert token.life == (NOON, NOON + HOUR)
        assert token._replace(confirmed_at=NOON + SECOND).life == (NOON + SECOND, NOON + HOUR)
        assert token._replace(issued_at=None).life is None
        assert token._replace(expires_at=None).life is None
        assert token.lives_at(NOON + HOUR - SECOND)
        assert not token.lives_at(NOON + HOUR)


class TestRefreshToken:
    """The start of its life is its tag, else its creation; the end follows from the setting."""

    @pytest.mark.parametrize(
        ("tags", "created_on", "issued_at"),
        [
            ({"issued-at": format_instant(NOON - HOUR)}, NOON, NOON - HOUR),
            ({"issued-at": format_instant(NOON)}, NOON - HOUR, NOON),
            ({"issued-at": format_instant(NOON + SECOND)}, NOON - HOUR, NOON - HOUR),
            ({"issued-at": "soon"}, NOON - HOUR, NOON - HOUR),
            ({}, NOON - HOUR, NOON - HOUR),
            ({}, None, NOON),
        ],
    )
    def test_its_start(self, tags: dict[str, str], created_on: datetime | None, issued_at: datetime) -> None:
        held = parse_refresh_token(secret(tags=tags, created_on=created_on), lifetime=DAYS, now=NOON)
        assert (held.issued_at, held.expires_at) == (issued_at, issued_at + DAYS)
        assert not held.described

    @pytest.mark.parametrize(
        ("changes", "expires_on", "described"),
        [
            ({}, NOON + DAYS, True),
            ({}, NOON + 30 * DAYS, True),
            ({}, None, True),
            ({"expires-at": format_instant(NOON + HOUR)}, NOON + DAYS, False),
            ({"issued-at": format_instant(NOON - HOUR)}, NOON + DAYS, False),
        ],
    )
    def test_it_is_described_where_tags_say_so(
        self, changes: dict[str, str], expires_on: datetime | None, described: bool
    ) -> None:
        tags = {**refresh_token_tags("c", NOON, NOON + DAYS), **changes}
        held = parse_refresh_token(secret(tags=tags, expires_on=expires_on), lifetime=DAYS, now=NOON)
        assert held.described is described

    def test_its_tags(self) -> None:
        assert refresh_token_tags("c", NOON, NOON + HOUR) == {
            "connection": "c",
            "issued-at": "2026-03-01T12:00:00+00:00",
            "expires-at": "2026-03-01T13:00:00+00:00",
        }
        assert revoked_tags(NOON) == {
            "expires-at": "2026-03-01T12:00:00+00:00",
            "revoked-at": "2026-03-01T12:00:00+00:00",
        }

    def test_white_space_around_it_is_none_of_it(self) -> None:
        held = parse_refresh_token(secret(value=Secret(" CANARY-value\n")), lifetime=DAYS, now=NOON)
        assert (held.value, held.version) == (Secret("CANARY-value"), "v1")


FULL = RefreshRecord(
    last_attempt_at=NOON,
    last_outcome="kept",
    last_cause="access_denied",
    consecutive_failures=2,
    password=PasswordRefusals(version="p1", count=2, unclear=1, tried_at=NOON),
    refused_refresh_token_version="r1",
    refresh_token_refusals=2,
    spent_refresh_token_version="r3",
    rotates=True,
)


def fullest() -> RefreshRecord:
    """Every field at the longest that can come of it."""
    version, moment = "f" * 32, datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    return RefreshRecord(
        last_attempt_at=moment,
        last_outcome=max(Outcome, key=len),
        last_cause=max(Cause, key=len),
        consecutive_failures=999_999_999,
        password=PasswordRefusals(
            version=".".join([version] * 3), count=999_999_999, unclear=999_999_999, tried_at=moment, user="deadbeef"
        ),
        refused_refresh_token_version=version,
        refresh_token_refusals=999_999_999,
        spent_refresh_token_version=version,
        rotates=True,
        access_token_refused_at=moment,
    )


def refused(version: str, count: int, *, tried_at: datetime | None = None) -> RefreshRecord:
    """The record after so many refusals of a password."""
    return RefreshRecord(password=PasswordRefusals(version=version, count=count, tried_at=tried_at))


@pytest.mark.parametrize(
    ("stored", "renewed"),
    [
        (None, True),
        (secret(), True),
        (secret(expires_on=NOON - DAYS), True),
        (secret(expires_on=NOON + timedelta(days=2)), True),
        (secret(expires_on=NOON + timedelta(days=2, seconds=1)), False),
    ],
)
def test_the_record_is_given_another_year_before_it_ends(stored: StoredSecret | None, *, renewed: bool) -> None:
    assert record_expiry(stored, NOON) == (NOON + timedelta(days=364) if renewed else None)


class TestRecord:
    """Failures and refusals, in tags that a person can read and edit."""

    def test_it_comes_back_as_it_was_written(self) -> None:
        assert record_tags("c", FULL) == {
            "connection": "c",
            "last-attempt-at": "2026-03-01T12:00:00+00:00",
            "last-outcome": "kept",
            "last-cause": "access_denied",
            "consecutive-failures": "2",
            "password": "version=p1 refusals=2 unclear=1 tried-at=2026-03-01T12:00:00+00:00",
            "refresh-token": "refused=r1 refusals=2 spent=r3 rotates=true",
        }
        assert parse_record(secret(tags=record_tags("c", FULL))) == FULL

    def test_one_that_had_a_tag_for_each_field_is_still_read(self) -> None:
        old = {
            "connection": "c",
            "last-attempt-at": "2026-03-01T12:00:00+00:00",
            "last-outcome": "kept",
            "last-cause": "access_denied",
            "consecutive-failures": "2",
            "refused-password-version": "p1",
            "password-refusals": "2",
            "password-tried-at": "2026-03-01T12:00:00+00:00",
            "refused-refresh-token-version": "r1",
            "refresh-token-refusals": "2",
            "spent-refresh-token-version": "r3",
            "rotates": "true",
        }
        assert parse_record(secret(tags=old)) == replace(FULL, password=replace(FULL.password, unclear=0))
        newer = {**old, "password": "version=p2 refusals=1", "refresh-token": "rotates=true"}
        assert parse_record(secret(tags=newer)).password == PasswordRefusals(version="p2", count=1)
        assert parse_record(secret(tags=newer)).refused_refresh_token_version is None

    def test_what_says_nothing_is_left_out(self) -> None:
        assert record_tags("c", RefreshRecord()) == {"connection": "c", "consecutive-failures": "0"}
        assert parse_record(None) == parse_record(secret()) == RefreshRecord()

    def test_the_fullest_one_leaves_room_among_the_tags_that_key_vault_holds(self) -> None:
        """15 tags of 256 characters; one too many, or too long, and nothing of the record would be stored."""
        tags = record_tags("a" * 41, fullest())
        assert parse_record(secret(tags=tags)) == fullest()
        assert len(tags) <= 10
        assert max(map(len, tags.values())) < 256

    def test_what_is_held_against_no_version_is_nothing(self) -> None:
        assert parse_record(secret(tags={"password": "refusals=2"})).password == PasswordRefusals()

    def test_a_tag_holds_256_characters(self) -> None:
        assert record_tags("c", replace(FULL, last_cause="x" * 300))["last-cause"] == "x" * 256

    @pytest.mark.parametrize(
        ("text", "count"),
        [("3", 3), ("007", 7), ("999999999", 999_999_999), ("1000000000", 0), ("-1", 0), ("x", 0), ("\u0663", 0)],
    )
    def test_a_count_that_cannot_be_read_is_none(self, text: str, count: int) -> None:
        assert parse_record(secret(tags={"consecutive-failures": text})).consecutive_failures == count

    @given(
        st.dictionaries(
            st.sampled_from(sorted(record_tags("c", FULL))),
            st.text(max_size=30) | st.text("=  version refusals 0123", max_size=40),
        )
    )
    def test_any_edit_is_read(self, tags: dict[str, str]) -> None:
        """And what was read can be written."""
        record_tags("c", parse_record(secret(tags=tags)))

    def test_the_last_six_failures_are_told_in_one_tag_and_are_no_reason_to_write(self) -> None:
        record = fullest()
        for minute in range(8):
            record = record.after_failure(NOON + timedelta(minutes=minute), "failed", max(Cause, key=len))
        tags = record_tags("a" * 41, record)
        read = parse_record(secret(tags=tags))
        assert read.failures == record.failures
        assert [(each.at, each.code) for each in read.failures] == [
            (NOON + timedelta(minutes=minute), max(Cause, key=len)) for minute in (7, 6, 5, 4, 3, 2)
        ]
        assert len(tags) <= 10
        assert max(map(len, tags.values())) < 256
        assert replace(record, failures=()) == record
        assert record.after_success(NOON + HOUR, "refreshed").failures == record.failures

    @pytest.mark.parametrize(
        ("issued_at", "changes", "over"),
        [
            (NOON + SECOND, {}, True),
            (NOON, {}, False),
            (NOON + HOUR, {}, False),  # by a clock that is ahead
            (NOON + SECOND, {"last_cause": "publish_failed"}, False),
            (NOON + SECOND, {"last_attempt_at": None}, False),
        ],
    )
    def test_a_token_that_was_issued_since_ends_a_failure_for_people(
        self, issued_at: datetime, changes: dict[str, Any], over: bool
    ) -> None:
        failed = {"last_attempt_at": NOON, "last_cause": "access_denied", "consecutive_failures": 3}
        record = replace(FULL, **{**failed, **changes})
        token = stored_access_token(issued_at=issued_at, expires_at=NOON + 2 * HOUR)
        read = record.read_beside(token, NOON + MINUTE)
        assert read == (record.after_success(issued_at, "refreshed") if over else record)
        assert record.read_beside(None, NOON + MINUTE) == record

    def test_a_failure_of_the_same_tick_stands_in_the_place_of_the_one_before(self) -> None:
        first = FULL.after_failure(NOON, "failed", "instance_error")
        again = first.after_failure(NOON + timedelta(minutes=1), "failed", "access_denied", counts=False)
        assert [each.code for each in again.failures] == ["access_denied"]

    @pytest.mark.parametrize(
        ("text", "codes"),
        [
            ("20260301T1200/a,20260301T1155/b", ["a", "b"]),
            ("20260301T1200/a,20261301T1155/b,20260301T1150/c", ["a"]),
            ("20260301T1200/a; 20260301T1155/b", []),
            ("2026-03-01T12:00Z/a", []),
            ("20260301T1200/\x1b[2J", []),
            ("", []),
        ],
    )
    def test_what_cannot_be_read_of_them_ends_the_tale(self, text: str, codes: list[str]) -> None:
        assert [each.code for each in parse_record(secret(tags={"failures": text})).failures] == codes

    def test_a_failure_counts(self) -> None:
        after = FULL.after_failure(NOON + HOUR, "failed", "instance_error")
        assert after == replace(
            FULL,
            last_attempt_at=NOON + HOUR,
            last_outcome="failed",
            last_cause="instance_error",
            consecutive_failures=3,
        )

    def test_a_success_ends_the_failures_and_forgets_no_refusal(self) -> None:
        after = FULL.after_success(NOON + HOUR, "refreshed")
        assert after == replace(
            FULL, last_attempt_at=NOON + HOUR, last_outcome="refreshed", last_cause=None, consecutive_failures=0
        )

    def test_an_attempt_is_noted_before_it_is_made(self) -> None:
        started = FULL.before_attempt(NOON + HOUR)
        assert started == replace(FULL, last_attempt_at=NOON + HOUR, last_outcome=ATTEMPT_STARTED)
        assert ATTEMPT_STARTED == "started"

    def test_refusals_count_for_the_version_that_was_refused(self) -> None:
        record = RefreshRecord().with_refresh_token_refusals("r1", 1)
        assert [record.refresh_token_refusals_of(version) for version in ("r1", "r2", None)] == [1, 0, 0]
        assert [FULL.with_refresh_token_refusals("r1", 0).refused_refresh_token_version] == [None]
        assert replace(RefreshRecord(), refresh_token_refusals=3).refresh_token_refusals_of(None) == 0

    def test_a_spent_refresh_token_is_known_by_its_version(self) -> None:
        record = RefreshRecord().with_spent_refresh_token("r1")
        assert [record.may_be_spent(version) for version in ("r1", "r2", None)] == [True, False, False]
        assert not RefreshRecord().may_be_spent(None)
        assert not record.with_spent_refresh_token(None).may_be_spent("r1")

    @pytest.mark.parametrize(
        ("record", "stored", "settled"),
        [
            (RefreshRecord(), RefreshRecord(), True),
            (RefreshRecord(last_outcome="refreshed"), RefreshRecord(last_outcome="kept"), True),
            (RefreshRecord(consecutive_failures=1), RefreshRecord(consecutive_failures=1), False),
            (RefreshRecord(), RefreshRecord(consecutive_failures=1), False),
            (RefreshRecord(), RefreshRecord(last_outcome=ATTEMPT_STARTED), False),
            (RefreshRecord(last_outcome=ATTEMPT_STARTED), RefreshRecord(), False),
            (RefreshRecord(rotates=True), RefreshRecord(), False),
            (RefreshRecord(), RefreshRecord().with_spent_refresh_token("r1"), False),
            (RefreshRecord(), refused("p1", 1), False),
            (refused("p1", 1), refused("p1", 2), False),
            (refused("p1", 1), refused("p2", 1), False),
            (
                refused("p1", 1, tried_at=NOON),
                refused("p1", 1),
                False,
            ),
            (RefreshRecord().with_refresh_token_refusals("r1", 1), RefreshRecord(), False),
            (
                RefreshRecord().with_refresh_token_refusals("r1", 1),
                RefreshRecord().with_refresh_token_refusals("r2", 1),
                False,
            ),
            (refused("p1", 3), refused("p1", 3), True),
        ],
    )
    def test_a_success_is_written_only_where_it_puts_something_right(
        self, record: RefreshRecord, stored: RefreshRecord, settled: bool
    ) -> None:
        assert record.is_settled(stored) is settled


def test_an_attempt_at_the_end_of_the_calendar_is_none() -> None:
    """Half an hour after it there is no time at which a password could be sent again."""
    tags = {"password": "version=p1 refusals=2 tried-at=9999-12-31T23:59:59+00:00"}
    held = parse_record(secret(tags=tags)).password
    assert held.count == 2
    assert held.is_open(NOON)


def test_instants_are_written_in_utc() -> None:
    assert format_instant(NOON.astimezone(timezone(HOUR))) == "2026-03-01T12:00:00+00:00"
