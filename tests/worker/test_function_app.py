"""The product's functions in the library that the Python 3.13 worker runs."""

import asyncio
import json
import logging

import pytest

from sandbox import Fault, Sandbox
from sandbox.faults import Hold
from tests.worker.harness import Result
from tests.worker.product import OURS, QUEUE, Host, events, outcomes


class TestIndexing:
    """What the host is told, with every setting and with none."""

    @pytest.mark.parametrize("without", [(), OURS], ids=["all settings", "none"])
    def test_three_functions_whatever_the_settings(self, host: Host, without: tuple[str, ...]) -> None:
        worker = host(without=without)
        assert set(worker.functions) == {"refresh_tokens", "refresh_now", "status"}
        timer = worker.functions["refresh_tokens"].trigger
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", "0 */5 * * * *")
        assert (timer["runOnStartup"], timer["useMonitor"]) == (False, True)

    @pytest.mark.parametrize(
        ("setting", "schedule"),
        [("0 2/15 * * * *", "0 2/15 * * * *"), ("", "0 */5 * * * *"), ("janx", "0 */5 * * * *")],
    )
    def test_the_timer_fires_whatever_the_schedule_says(self, host: Host, setting: str, schedule: str) -> None:
        """A timer whose schedule the host cannot read is disabled, and all else answers as if nothing were wrong."""
        assert host(REFRESH_SCHEDULE=setting).functions["refresh_tokens"].trigger["schedule"] == schedule

    def test_both_http_functions_ask_for_a_key(self, host: Host) -> None:
        functions = host().functions
        found = {
            name: (functions[name].trigger["route"], functions[name].trigger["methods"])
            for name in ("refresh_now", "status")
        }
        assert found == {"refresh_now": ("refresh", ["POST"]), "status": ("status", ["GET", "HEAD"])}
        assert all(str(functions[name].trigger["authLevel"]).lower() == "function" for name in found)

    def test_no_function_is_repeated_by_the_host(self, host: Host) -> None:
        """The next tick is the retry; the run's own retries have a deadline."""
        assert all(function.retry is None for function in host().functions.values())

    def test_the_queue_adds_two_functions_and_an_output(self, host: Host) -> None:
        functions = host(**QUEUE).functions
        assert set(functions) == {"refresh_tokens", "refresh_now", "status", "refresh_connection", "report_poisoned"}
        (output,) = [each for each in functions["refresh_tokens"].bindings if each["type"] == "queue"]
        assert output["queueName"] == functions["refresh_connection"].trigger["queueName"] == "%REFRESH_QUEUE%"
        assert functions["report_poisoned"].trigger["queueName"] == "%REFRESH_QUEUE%-poison"


class TestTimer:
    """A tick, on time and late."""

    @pytest.mark.parametrize("past_due", [False, True])
    def test_it_refreshes_what_is_due_and_leaves_the_rest(
        self, sandbox: Sandbox, host: Host, *, past_due: bool
    ) -> None:
        worker = host()
        first = worker.timer("refresh_tokens", past_due=past_due)
        assert first.ok, first.error
        assert outcomes(first) == [("servicenow", "refreshed")]
        sandbox.log.clear()
        second = worker.timer("refresh_tokens", past_due=past_due)
        assert outcomes(second) == [("servicenow", "not_due")]
        assert sandbox.log.count(service="instance") == 0

    def test_a_missing_setting_is_said_at_the_first_call(self, host: Host) -> None:
        result = host(without=("KEY_VAULT_URL",)).timer("refresh_tokens")
        assert not result.ok
        assert "KEY_VAULT_URL" in result.error
        said = [record for record in result.logs if record.name == "refresher"]
        assert [record.levelno for record in said] == [logging.ERROR]
        assert "KEY_VAULT_URL" in said[0].getMessage()

    def test_a_failing_connection_is_an_event_and_no_failed_invocation(self, sandbox: Sandbox, host: Host) -> None:
        """The host would only repeat what the next tick does anyway."""
        sandbox.vault.delete("servicenow-client-secret")
        result = host().timer("refresh_tokens")
        assert result.ok
        (event,) = [event for event in events(result) if event["event"] == "refresh_outcome"]
        assert (event["outcome"], event["cause"]) == ("failed", "secret_missing")

    def test_events_of_several_connections_belong_to_the_invocation(self, sandbox: Sandbox, host: Host) -> None:
        """The worker attributes what the invocation's own thread logs, and nothing else."""
        for name in ("assets", "incidents"):
            sandbox.add_connection(name)
        each = {"instance_url": sandbox.instance.url}
        worker = host(SERVICENOW_CONNECTIONS=json.dumps({"assets": each, "incidents": each}))
        result = worker.timer("refresh_tokens")
        assert outcomes(result) == [("assets", "refreshed"), ("incidents", "refreshed")]
        threads = {record.threadName for record in result.logs if record.name == "refresher"}
        assert len(threads) == 1
        assert not any(name and name.startswith("connection") for name in threads)


class TestHttp:
    """The two HTTP functions."""

    def test_a_forced_refresh(self, host: Host) -> None:
        worker = host()
        worker.timer("refresh_tokens")
        query = {"connection": "servicenow", "force": "true"}
        answer = worker.http("refresh_now", "POST", "/api/refresh", query=query)
        assert (answer.status, answer.json()["connections"][0]["outcome"]) == (200, "refreshed")

    def test_an_unknown_connection(self, host: Host) -> None:
        answer = host().http("refresh_now", "POST", "/api/refresh", query={"connection": "assets"})
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("application/problem+json")

    def test_status_before_and_after_the_first_refresh(self, host: Host) -> None:
        worker = host()
        assert worker.http("status", "GET", "/api/status").status == 503
        worker.timer("refresh_tokens")
        answer = worker.http("status", "GET", "/api/status")
        assert (answer.status, answer.json()["status"]) == (200, "pass")

    def test_a_browser_gets_a_page(self, host: Host) -> None:
        answer = host().http("status", "GET", "/api/status", headers={"Accept": "text/html,*/*;q=0.8"})
        assert answer.body.startswith(b"<!doctype html>")

    @pytest.mark.parametrize(("name", "method"), [("refresh_now", "POST"), ("status", "GET")])
    def test_a_missing_setting_is_named(self, host: Host, name: str, method: str) -> None:
        answer = host(without=("KEY_VAULT_URL",)).http(name, method, "/api")
        assert answer.status == 500
        assert "KEY_VAULT_URL" in answer.json()["detail"]


class TestOverlap:
    """Invocations that run beside each other, in one worker and in two."""

    def test_a_forced_refresh_during_a_tick_is_told_to_wait(self, sandbox: Sandbox, host: Host) -> None:
        worker = host()
        hold = Hold()
        sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=1, action=hold))

        async def both() -> tuple[Result, Result]:
            running = asyncio.create_task(worker.atimer("refresh_tokens"))
            await asyncio.to_thread(hold.reached.wait, 10)
            query = {"connection": "servicenow", "force": "true"}
            second = await worker.ahttp("refresh_now", "POST", "/api/refresh", query=query)
            hold.release()
            return await running, second

        first, second = worker.run(both())
        assert ("servicenow", "refreshed") in outcomes(first)  # its log is the worker's: the second call is in it
        assert second.status == 409
        assert int(second.headers["retry-after"]) > 0
        assert sandbox.log.count(path="/oauth_token.do") == 1

    def test_two_ticks_at_once_ask_servicenow_once(self, sandbox: Sandbox, host: Host) -> None:
        worker = host()

        async def both() -> tuple[Result, Result]:
            return await asyncio.gather(worker.atimer("refresh_tokens"), worker.atimer("refresh_tokens"))

        results = worker.run(both())
        assert all(result.ok for result in results)
        assert "refreshed" in {outcome for result in results for _, outcome in outcomes(result)}
        assert sandbox.log.count(path="/oauth_token.do") == 1


class TestQueue:
    """One message for each connection that is due."""

    @pytest.fixture
    def settings(self, sandbox: Sandbox) -> dict[str, str]:
        for name in ("assets", "incidents", "people"):
            sandbox.add_connection(name)
        each = {"instance_url": sandbox.instance.url}
        names = ("assets", "incidents", "people")
        return {**QUEUE, "SERVICENOW_CONNECTIONS": json.dumps(dict.fromkeys(names, each))}

    def test_the_tick_sends_what_is_due_and_asks_servicenow_nothing(
        self, sandbox: Sandbox, host: Host, settings: dict[str, str]
    ) -> None:
        worker = host(**settings)
        sent = worker.timer("refresh_tokens")
        assert sorted(sent.outputs["messages"]) == ["assets", "incidents", "people"]
        assert sandbox.log.count(service="instance") == 0

    def test_each_message_refreshes_its_connection_and_the_next_tick_sends_the_rest(
        self, host: Host, settings: dict[str, str]
    ) -> None:
        worker = host(**settings)
        done = worker.queue("refresh_connection", "assets")
        assert outcomes(done) == [("assets", "refreshed")]
        (event,) = [event for event in events(done) if event["event"] == "refresh_outcome"]
        assert event["trigger"] == "queue"
        assert sorted(worker.timer("refresh_tokens").outputs["messages"]) == ["incidents", "people"]

    def test_a_message_that_comes_twice_is_harmless(self, host: Host, settings: dict[str, str]) -> None:
        worker = host(**settings)
        worker.queue("refresh_connection", "assets")
        again = worker.queue("refresh_connection", "assets", dequeue_count=2)
        assert outcomes(again) == [("assets", "not_due")]

    def test_a_message_for_no_connection_fails_until_it_is_poison_and_then_alerts(
        self, host: Host, settings: dict[str, str]
    ) -> None:
        worker = host(**settings)
        assert not worker.queue("refresh_connection", "gone").ok
        said = worker.queue("report_poisoned", "gone", dequeue_count=5)
        assert said.ok
        (event,) = events(said)
        assert (event["event"], event["connection"]) == ("message_poisoned", "gone")
        assert [r.levelno for r in said.logs if r.name == "refresher"] == [logging.ERROR]

    def test_nothing_due_sends_no_message(self, host: Host, settings: dict[str, str]) -> None:
        worker = host(**settings)
        for name in ("assets", "incidents", "people"):
            worker.queue("refresh_connection", name)
        assert worker.timer("refresh_tokens").outputs.get("messages", []) == []
