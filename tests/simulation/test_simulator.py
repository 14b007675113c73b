"""The simulation measures what it says: its traces, its arithmetic, its figures and its picture."""

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from sandbox import SandboxClock
from sandbox.direct import DirectSandbox, Killed, Process
from sandbox.simulation import scenarios, simulate
from sandbox.simulation.picture import draw_picture
from sandbox.simulation.trace import HAZARDS, Hazard, draw_trace, length, union, without
from tests.sampling import thinned
from tests.simulation.revocations import simulate as simulate_revocations

SPANS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)).map(lambda span: (span[0], span[0] + span[1])))
Spans = list[tuple[int, int]]


class TestSpans:
    """Stretches of time as sets of minutes, which they stand for."""

    @given(SPANS)
    def test_a_union_covers_the_same_minutes_once_and_in_order(self, spans: Spans) -> None:
        joined = union(spans)
        assert minutes(joined) == minutes(spans)
        assert all(ends < begins for (_, ends), (begins, _) in itertools.pairwise(joined))
        assert length(joined) == len(minutes(spans))

    @given(SPANS, SPANS)
    def test_what_is_outside_of_holes_is_all_but_the_holes(self, spans: Spans, holes: Spans) -> None:
        left = without(union(spans), union(holes))
        assert minutes(left) == minutes(spans) - minutes(holes)
        assert length(left) == len(minutes(left))


def minutes(spans: list[tuple[float, float]] | Spans) -> set[int]:
    return {minute for begins, ends in spans for minute in range(int(begins), int(ends))}


class TestTrace:
    """Drawn from the documented distribution."""

    def test_a_seed_says_all_of_it(self) -> None:
        assert draw_trace(30, 7) == draw_trace(30, 7)
        assert draw_trace(30, 7) != draw_trace(30, 8)

    @pytest.mark.parametrize("hazard", thinned(HAZARDS, 5), ids=lambda hazard: hazard.kind)
    def test_incidents_begin_as_often_and_last_as_long_as_the_document_says(self, hazard: Hazard) -> None:
        years = draw_trace(4000, 1)
        found = [each for each in years.incidents if each.hazard is hazard]
        expected = 4000 / hazard.mean_days
        assert abs(len(found) - expected) < 5 * math.sqrt(expected)
        spans = [each.ends - each.begins for each in found]
        assert hazard.shortest <= min(spans)
        assert max(spans) <= hazard.longest
        assert sorted(spans)[len(spans) // 2] == pytest.approx(math.sqrt(hazard.shortest * hazard.longest), rel=0.6)

    def test_harshness_multiplies_the_rates(self) -> None:
        assert len(draw_trace(1000, 1, 2.0).incidents) == pytest.approx(
            2 * len(draw_trace(1000, 1).incidents), rel=0.1
        )


class TestSchedule:
    """When the timer fires: on its grid, and once for all that it missed when the host is there again."""

    @pytest.mark.parametrize(
        ("silent", "fired"),
        [
            ([], [0, 5, 10, 15, 20, 25]),
            ([(6, 9)], [0, 5, 10, 15, 20, 25]),
            ([(4, 7)], [0, 7.25, 10, 15, 20, 25]),
            ([(5, 10)], [0, 10.25, 10, 15, 20, 25]),
            ([(4, 17)], [0, 17.25, 20, 25]),
            ([(4, 7), (9, 12)], [0, 7.25, 12.25, 15, 20, 25]),
            ([(12, 40)], [0, 5, 10]),
        ],
    )
    def test_a_missed_tick_is_made_up_for(self, silent: list[tuple[float, float]], fired: list[float]) -> None:
        assert list(scenarios.firings(silent, 30, scenarios.EVERY_FIVE)) == fired

    @pytest.mark.parametrize(("interrupted", "fired"), [(False, [0, 5, 10]), (True, [0, 5, 9.25, 10])])
    def test_a_tick_that_was_cut_short_is_made_up_for(self, interrupted: bool, fired: list[float]) -> None:
        ticks = scenarios.firings([(6, 9)], 15, scenarios.EVERY_FIVE, interrupted=lambda _: interrupted)
        assert list(ticks) == fired

    def test_a_process_that_waits_ends_with_its_host(self) -> None:
        process, clock = self.doomed()
        with pytest.raises(Killed):
            process.sleep(5)
        assert (clock.now(), process.alive) == (process.dies_at, False)

    def test_a_process_that_asks_ends_with_its_host(self) -> None:
        process, clock = self.doomed()
        client = process.make_secret_client("https://main.vault.azure.net")
        clock.advance(seconds=2)
        with pytest.raises(Killed):
            client.get_secret("servicenow-oauth-token")

    @staticmethod
    def doomed() -> tuple[Process, SandboxClock]:
        """A process whose host goes away in a second."""
        sandbox = DirectSandbox()
        process = Process(sandbox)
        process.dies_at = sandbox.clock.now() + timedelta(seconds=10)
        process.sleep(9)
        return process, sandbox.clock

    def test_the_straight_line_has_the_same_host(self) -> None:
        assert list(scenarios.firings([(45, 53)], 120, scenarios.GUIDE)) == [0, 53.25, 60, 110]
        assert list(scenarios.firings([(51, 58)], 120, scenarios.GUIDE)) == [0, 50, 60, 110]


@pytest.fixture(scope="module")
def results() -> list[scenarios.Result]:
    """Two harsh days, in which the refresh token ends once."""
    return list(scenarios.run_job(scenarios.Job(days=2, seed=3, harshness=2.0, scenario="24h")))


@pytest.mark.exhaustive
class TestResults:
    """What both lived through."""

    def test_the_product_serves_where_the_straight_line_dies_with_its_refresh_token(
        self, results: list[scenarios.Result]
    ) -> None:
        product, straight_line = results
        assert product.refresher == "product"
        assert product.availability > 0.995
        assert product.healthy_at_the_end
        assert straight_line.availability < 0.7
        assert not straight_line.healthy_at_the_end

    def test_both_ran_and_met_faults(self, results: list[scenarios.Result]) -> None:
        product, straight_line = results
        assert product.runs > 5 * straight_line.runs > 400
        assert product.outcomes["refreshed"] > 50
        assert product.kills > 0
        assert product.outcomes.total() + product.kills == product.runs
        assert straight_line.outcomes["failed"] > 0
        assert product.down == straight_line.down

    def test_a_gap_is_neither_in_the_downtime_nor_beyond_the_trace(self, results: list[scenarios.Result]) -> None:
        for result in results:
            assert without(result.gaps, result.down) == result.gaps
            assert all(0 <= begins < ends <= 2 * 24 * 60 for begins, ends in result.gaps)

    def test_the_picture_shows_each_timeline_with_its_figure(self, results: list[scenarios.Result]) -> None:
        picture = ET.fromstring(draw_picture(draw_trace(2, 3, 2.0), *results))  # noqa: S314 - drawn a moment ago
        words = {each.text for each in picture.iter() if each.text}
        assert {"this product", "straight line", "refresh token: 24h"} <= words
        assert {f"{result.availability:.3%}" for result in results} <= words


class TestCommand:
    """What `make simulate` prints, and how it ends."""

    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
        """Run jobs in this process, and count them."""
        counted: Counter[str] = Counter()

        def here(job: scenarios.Job) -> tuple[scenarios.Result, scenarios.Result]:
            counted[job.scenario] += 1
            return scenarios.run_job(job)

        monkeypatch.setattr(simulate, "_in_a_process", here)
        return counted

    @pytest.mark.exhaustive
    def test_json_has_all_figures(self, made: Counter[str], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        picture = tmp_path / "picture.svg"
        options = ["--days", "0.25", "--scenarios", "100d", "--json", "--picture", str(picture)]
        assert simulate.main(options) in {0, 1}
        document = json.loads(capfd.readouterr().out)
        assert made == {"100d": 1}
        assert [each["refresher"] for each in document["results"]] == ["product", "straight line"]
        assert {"availability", "longest_gap_minutes", "gaps", "instance_down_minutes", "seed", "scenario"} <= set(
            document["results"][0]
        )
        assert picture.read_text("utf-8").startswith("<svg")

    @pytest.mark.parametrize(("gap", "code"), [(0.0, 0), (10.0, 1)])
    def test_it_fails_where_the_promise_was_broken(
        self, made: Counter[str], monkeypatch: pytest.MonkeyPatch, gap: float, code: int
    ) -> None:
        result = scenarios.Result(
            refresher="product",
            scenario="100d",
            seed=1,
            days=10,
            down=[],
            gaps=[(100.0, 100.0 + gap)] if gap else [],
            platform_away=[],
            healthy_at_the_end=True,
        )
        monkeypatch.setattr(scenarios, "run_job", lambda _: (result, replace(result, refresher="straight line")))
        assert simulate.main(["--days", "10", "--scenarios", "100d"]) == code
        assert made == {"100d": 1}


WAYS = [("100d", (28, 30)), ("same-token", (24, 25)), ("same-token-extended", (28, 30))]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("scenario", "a_day"), WAYS)
def test_a_refresh_within_a_tokens_life_in_each_of_the_known_ways(scenario: str, a_day: tuple[int, int]) -> None:
    """A new token, the same one with what remains, the same one with a later end: in fair weather, for a day.

    Where the same one is returned until it ends, consumers are without one for some seconds then; in minutes.
    """
    fair = replace(draw_trace(1, 1), incidents=())
    result = scenarios.simulate_product(fair, scenarios.SCENARIOS[scenario])
    refreshed = result.outcomes["refreshed"]
    assert a_day[0] <= refreshed <= a_day[1], result.outcomes
    assert result.healthy_at_the_end
    worst = 0.1 if scenario == "same-token" else 0.0
    assert result.longest_gap <= worst


@pytest.mark.exhaustive
def test_a_revoked_token_is_replaced_within_a_tick_and_untried_only_when_it_ends() -> None:
    """The fleeting second is for the trials themselves; without them, the token's age is all that replaces it."""
    tried = simulate_revocations(0.4, 3, mean_hours=0.5)
    untried = simulate_revocations(0.4, 3, mean_hours=0.5, VERIFY_INTERVAL_MINUTES="0")
    assert len(tried.minutes) >= 4
    assert max(tried.minutes) < 5.3
    assert max(untried.minutes) > 10
    assert tried.requests > 2 * untried.requests
