"""The stored tokens of one tick, tried at their instances once the runs that were due are over.

A report of a run that left its token in place waits for the trial of that token, which all of them share five
seconds for. Refused twice, two seconds apart, on fresh connections: the connection runs once more, and asks for a
new token; what may follow is decided by `policy.verify`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from refresher.keyvault.found import ConsumerSide
from refresher.model.causes import Cause, diagnose
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.report import Outcome, RunReport, Trigger, WarningCode
from refresher.model.stored import StoredAccessToken
from refresher.model.timing import Timing
from refresher.model.tokens import Secret
from refresher.policy.due import Reason
from refresher.policy.verify import (
    Consequence,
    after_refusals,
    goes_first,
    is_proven,
    is_to_be_tried,
    refused_without_proof,
    user_changed,
)
from refresher.servicenow.answers import REFUSALS_APART, TRIAL_TAKES, Probe, Verdict
from refresher.servicenow.instances import TRYING_TAKES, ServiceNow

_REFUSED = "ServiceNow refuses the stored token"
_LEFT_IN_PLACE = frozenset({Outcome.NOT_DUE, Outcome.PUBLISHED, Outcome.KEPT})
"""How runs end after which consumers read on what was stored before."""

Rerun = Callable[[Sequence[Connection], Mapping[str, Secret]], Iterator[RunReport]]


class Found(NamedTuple):
    """What was tried of one connection's stored token."""

    connection: Connection
    token: StoredAccessToken
    side: ConsumerSide
    probe: Probe


class Verification:
    """What one tick knows of its stored tokens."""

    def __init__(self, servicenow: ServiceNow, clock: Clock, timing: Timing, trigger: Trigger) -> None:
        self._servicenow = servicenow
        self._clock = clock
        self._timing = timing
        self._by_timer = trigger is Trigger.TIMER
        self._looks: dict[str, tuple[Connection, ConsumerSide]] = {}

    def look(self, connection: Connection, side: ConsumerSide) -> None:
        """Note what a run read. Safe between threads: each connection has one run at a time."""
        self._looks[connection.name] = (connection, side)

    def verified(self, ran: Iterable[RunReport], rerun: Rerun) -> Iterator[RunReport]:
        """The reports, those of stored tokens once these were tried; `rerun` runs connections that are refused."""
        waiting: dict[str, RunReport] = {}
        for report in ran:
            if self._left_in_place(report) and self.is_to_be_tried(report.connection):
                waiting[report.connection] = report
            else:
                yield report
        refused: dict[str, Found] = {}
        for name, found in self.try_stored(waiting).items():
            report = _told(waiting[name], found)
            if found.probe.verdict is not Verdict.REJECTED:
                yield report
                continue
            consequence, why = self.consequence(found)
            if consequence is Consequence.WARN:
                yield report._replace(warnings=(*report.warnings, refused_without_proof(found.connection)))
            elif report.attempts:
                yield report._replace(outcome=Outcome.FAILED, message=f"{report.message}; {_REFUSED}", working=False)
            elif consequence is Consequence.WAIT:
                yield refused_report(report, why, found)
            else:
                waiting[name], refused[name] = report, found
        yield from self._refreshed(refused, waiting, rerun)

    def try_stored(self, names: Iterable[str]) -> dict[str, Found]:
        """Try the stored tokens of these connections; rejected are those that were refused twice."""
        wanted = [self._looks[name] for name in names]
        deadline = Deadline(self._clock, TRYING_TAKES)
        first = self._try(wanted, deadline)
        again = [name for name, found in first.items() if found.probe.verdict is Verdict.REJECTED]
        if not again:
            return first
        if deadline.remaining() > REFUSALS_APART + TRIAL_TAKES:
            self._clock.sleep(REFUSALS_APART)
            return first | self._try([self._looks[name] for name in again], deadline)
        unsure = Probe(verdict=Verdict.UNKNOWN, remark="refused once, and there was no time to ask again")
        return first | {name: first[name]._replace(probe=unsure) for name in again}

    def consequence(self, found: Found) -> tuple[Consequence, str]:
        """What follows its refusal, and why nothing does."""
        record = found.side.record if found.side.record_error is None else None
        return after_refusals(found.connection, found.token, record, self._timing, self._clock.now())

    def waiting(self, refused: Mapping[str, Found]) -> Mapping[str, str]:
        """Of refused connections that may be refreshed: those that wait, and for which one."""
        instances = {name: found.connection.instance_url for name, found in refused.items()}
        return goes_first(instances, self._healed())

    def _healed(self) -> frozenset[str]:
        """Instances at which a refresh for this reason, in this tick or the last, brought a token that is accepted."""
        since = self._clock.now() - 2 * self._timing.tick
        return frozenset(
            connection.instance_url
            for connection, side in self._looks.values()
            if (at := side.record.access_token_refused_at) is not None
            and (token := side.access_token) is not None
            and token.issued_at is not None
            and since <= at <= token.issued_at
            and is_proven(connection, token)
        )

    def _left_in_place(self, report: RunReport) -> bool:
        """Whether consumers read on what the run read; one that published may still have failed at a copy."""
        _, side = self._looks.get(report.connection, (None, None))
        token = side.access_token if side is not None else None
        same = token is not None and token.expires_at == report.access_token_expires_at
        return report.outcome in _LEFT_IN_PLACE and same

    def is_to_be_tried(self, name: str) -> bool:
        """Whether what was read of that connection is to be tried now."""
        if name not in self._looks:
            return False
        connection, side = self._looks[name]
        now = self._clock.now()
        return is_to_be_tried(connection, side.access_token, self._timing, now, by_timer=self._by_timer)

    def _try(self, looks: Sequence[tuple[Connection, ConsumerSide]], deadline: Deadline) -> dict[str, Found]:
        stored = [(connection, side, side.access_token) for connection, side in looks if side.access_token is not None]
        for connection, _, token in stored:
            if token.user_name is not None:
                # A user who was told to wait waits with all connections, also in a process that has seen none of them.
                self._servicenow.turns(connection).acts_as(connection.name, token.user_name)
        wanted = [(connection, token.value) for connection, _, token in stored]
        probes = self._servicenow.try_side_by_side(wanted, deadline)
        return {
            connection.name: Found(connection=connection, token=token, side=side, probe=probe)
            for (connection, side, token), probe in zip(stored, probes, strict=True)
        }

    def _refreshed(
        self, refused: Mapping[str, Found], reports: Mapping[str, RunReport], rerun: Rerun
    ) -> Iterator[RunReport]:
        waiting = self.waiting(refused)
        tokens = {name: found.token.value for name, found in refused.items()}
        accepted = set()
        for wave in ([name for name in refused if name not in waiting], list(waiting)):
            going = [name for name in wave if name not in waiting or waiting[name] in accepted]
            for name in wave:
                if name not in going:
                    why = f"first {waiting[name]} has to get one that is accepted"
                    yield refused_report(reports[name], why, refused[name])
            if not going:
                continue
            for report in rerun([refused[name].connection for name in going], tokens):
                unsure = any(warning.code is WarningCode.PROBE_INCONCLUSIVE for warning in report.warnings)
                if report.outcome is Outcome.REFRESHED and not unsure:
                    accepted.add(report.connection)
                yield self._rerun_told(report, reports[report.connection], refused[report.connection])

    def _rerun_told(self, report: RunReport, before: RunReport, refused: Found) -> RunReport:
        """The report of the run that was to replace a refused token."""
        token = self._looks[report.connection][1].access_token
        unchanged = token is not None and token.value == refused.token.value
        if report.outcome is Outcome.PUT_OFF or (report.outcome in _LEFT_IN_PLACE and unchanged):
            return refused_report(before, "no time was left to replace it, or another run has just tried", refused)
        return report._replace(tried=Verdict.REJECTED.value)


def _told(report: RunReport, found: Found) -> RunReport:
    """The report, with what the trial said."""
    probe = found.probe
    said = {
        Verdict.ACCEPTED: "; ServiceNow accepts it",
        Verdict.REJECTED: "",
        Verdict.UNKNOWN: f"; by its dates, since it could not be tried: {probe.remark or 'no answer'}",
    }
    return report._replace(
        message=f"{report.message}{said[probe.verdict]}",
        tried=probe.verdict.value,
        user_name=probe.user_name,
        transaction_id=probe.transaction_id or report.transaction_id,
        warnings=(*report.warnings, *user_changed(found.token, probe.user_name)),
    )


def refused_report(report: RunReport, why: str, found: Found) -> RunReport:
    """The report of a run that leaves a refused token in place; where refreshing fails as well, with the cause."""
    record = found.side.record
    failing = Cause.of(record.last_cause) if record.consecutive_failures else None
    cause = failing or Cause.ACCESS_TOKEN_REFUSED
    return report._replace(
        outcome=Outcome.FAILED,
        reason=Reason.ACCESS_TOKEN_REFUSED,
        cause=cause,
        message=f"{_REFUSED}, whatever its dates say; {why}",
        hint=diagnose(cause, report.connection).next_step,
        consecutive_failures=record.consecutive_failures,
        working=False,
    )
