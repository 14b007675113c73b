"""A fault trace as it meets the requests of one program."""

import random

from sandbox.clock import START
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Drop, DropAfter, Interrupt, Refuse, Respond, Stall, Throttle
from sandbox.http import Request
from sandbox.personality import GENERIC_REFUSAL, HIBERNATING
from sandbox.simulation.trace import NOISE, Incident, Kind, Trace


class TraceWeather:
    """A trace as it meets requests."""

    def __init__(self, trace: Trace, sandbox: DirectSandbox, seed: str) -> None:
        self._clock = sandbox.clock
        self._chance = random.Random(seed)
        self._coming = list(reversed(trace.incidents))
        self._present: list[Incident] = []
        self._kills = 0
        self.kill_after: int | None = None
        self.process: Process | None = None

    def minute(self) -> float:
        """Minutes since the beginning."""
        return (self._clock.now() - START).total_seconds() / 60

    def begin_run(self, process: Process, requests: int) -> None:
        """A run begins that makes about so many requests; the worker may be doomed."""
        self.process = process
        self._update()
        self.kill_after = self._chance.randrange(requests) if self._kills else None

    def find(self, service: str, request: Request) -> Action | None:
        """The action for this request."""
        self._update()
        if self.kill_after is not None and self.process is not None:
            if self.kill_after == 0:
                self._kills -= 1
                self.kill_after = None
                return Interrupt(do=self.process.kill, before=self._chance.random() < 0.5)
            self.kill_after -= 1
        for incident in self._present:
            if (incident.kind is Kind.IDENTITY_FAILING) != (service == "identity"):
                continue
            if self._chance.random() < incident.hazard.share:
                action = self._act(incident.kind, service, request)
                if action is not None:
                    return action
        if self._chance.random() < NOISE:
            return self._chance.choice((Drop(), DropAfter()))
        return None

    def _update(self) -> None:
        now = self.minute()
        while self._coming and self._coming[-1].begins <= now:
            incident = self._coming.pop()
            if incident.kind is Kind.KILL:
                self._kills += 1
            else:
                self._present.append(incident)
        if any(each.ends <= now for each in self._present):
            self._present = [each for each in self._present if each.ends > now]

    def _act(self, kind: Kind, service: str, request: Request) -> Action | None:  # noqa: PLR0911 - one for each kind
        chance = self._chance
        instance, tokens = service == "instance", request.path == "/oauth_token.do"
        vault, leases = service.startswith("vault"), service == "leases"
        unavailable = Respond(503, {}, b"")
        match kind:
            case Kind.INSTANCE_DOWN | Kind.MAINTENANCE if instance:
                return chance.choice((Refuse(), unavailable, Stall()))
            case Kind.HIBERNATION if instance:
                return Respond(200, {"Content-Type": "text/html"}, HIBERNATING)
            case Kind.REFUSALS if tokens:
                return Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL)
            case Kind.RATE_LIMIT if instance:
                return Throttle(chance.choice((None, 1.0, 5.0, 20.0, 60.0)))
            case Kind.SLOWNESS if instance:
                return Stall(effect=chance.random() < 0.5)
            case Kind.VAULT_THROTTLING if vault:
                return Throttle(float(chance.randint(1, 10)))
            case Kind.VAULT_FAILING if vault:
                return chance.choice((unavailable, Stall(), DropAfter()))
            case Kind.LEASES_DOWN if leases:
                return chance.choice((unavailable, Refuse()))
            case Kind.IDENTITY_FAILING:
                return chance.choice((Respond(500), Stall()))
            case _:
                return None
