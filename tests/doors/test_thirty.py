"""Thirty situations of `thirty`: what is told is so, who is mailed, and what is proposed is the way back, soon.

`test_situations` has what doctor suspects. Here stands what status says at first and in the end, without being asked
for more.
"""

import pytest

from refresher.views.page import status_page
from refresher.views.verdict import verdict
from refresher.web import status_reply
from tests.conftest import CapturedLog
from tests.doors.thirty import SITUATIONS, unnamed, walk
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

MOST_COMMANDS = 4
"""The first look, the examination, what is stored, and its trial."""
LATEST_LINE = 60
"""Minutes from the break to the line that fires an alert: a token lives on for an hour."""
LONGEST_CURE = 10
"""Minutes from what a person does until a token works: the next tick, and one more."""


@pytest.mark.parametrize("name", thinned(list(SITUATIONS), 6))
def test_what_is_told_is_so_and_what_is_proposed_heals(name: str, everything_logged: CapturedLog) -> None:
    situation = SITUATIONS[name]
    walked = walk(situation, everything_logged)
    status, timer, now = walked.late, walked.timer, walked.at
    assert walked.soon.state == situation.soon
    assert (status.state, status.cause) == (situation.late, situation.cause)
    assert walked.mailed.keys() == situation.mails
    assert situation.step in str(status.next_step)
    # Page, monitor and the line above all say the same.
    heading = verdict([status], timer)
    assert heading in status_page([status], timer, now)
    works = "Every connection holds a working token" in heading
    assert works == (status_reply([status], timer, now).status == 200) == (status.working is True)
    assert (walked.healed.state, walked.healed.working) == ("fresh", True), walked.healed
    assert unnamed(situation, walked) == []
    assert walked.commands <= MOST_COMMANDS
    assert max(walked.mailed.values(), default=0) <= LATEST_LINE
    assert walked.minutes <= LONGEST_CURE


def test_there_are_thirty() -> None:
    assert len(SITUATIONS) == 30
