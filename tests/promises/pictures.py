"""`python -m tests.promises.pictures`: the status page of thirty connections, one of them broken, as the docs show it.

A day passes in a sandbox without sockets, in virtual time; Chromium shows the page, wide and narrow, light and dark.
"""

import html
import logging
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from refresher.model.report import RunRequest, Trigger
from refresher.views.page import status_page
from sandbox.alone import be_alone
from sandbox.direct import DirectSandbox, Process
from sandbox.drills import TICK
from sandbox.running import add_connection
from sandbox.trial.host import direct_app
from tests.factories import TICKING
from tests.needs import BROWSERS
from tests.promises.places import ROOT

IMAGES = ROOT / "docs" / "images"
SIZES = {"desktop": (1000, 860), "phone": (390, 860)}
SCHEMES = {"dark": 0, "light": 1}
"""By the number that Chromium knows them by."""
BROKEN = "hr-cases"
CONNECTIONS = [
    *("assets", "building-access", "catalog", "change-requests", "cloud-costs", "contracts", "desk-booking"),
    *("device-loans", "expenses", "facilities", "fleet", "identity-requests", "incidents", "invoices", "it-news"),
    *("knowledge", "legal-intake", "licences", "mobility", "network-changes", "onboarding", "parking", "payroll"),
    *("procurement", "projects", "security-findings", "service-desk", "travel", "vendor-risk", BROKEN),
]
_LIVED = timedelta(hours=25)
_BROKEN_SINCE = timedelta(minutes=75)


def picture_of(place: str, scheme: str) -> Path:
    """Where a picture is kept."""
    return IMAGES / f"status-{place}-{scheme}.png"


def page() -> str:
    """The page, as an installation shows it that worked for a day until somebody revoked a refresh token."""
    sandbox = DirectSandbox(log=False)
    secrets = {name: add_connection(sandbox.instance, sandbox.vault, name) for name in CONNECTIONS}
    names = ", ".join(f'"{name}": {{"instance_url": "{sandbox.instance.url}"}}' for name in CONNECTIONS)
    app = direct_app(sandbox, Process(sandbox), SERVICENOW_CONNECTIONS=f"{{{names}}}")
    broken_at = sandbox.clock.now() + _LIVED
    while (now := sandbox.clock.now()) < broken_at + _BROKEN_SINCE:
        if now >= broken_at:
            sandbox.instance.kill_refresh_token(secrets[BROKEN].refresh_token or "")
        app.tick(RunRequest(trigger=Trigger.TIMER))
        # The tick has taken time of its own.
        sandbox.clock.advance(now + TICK - sandbox.clock.now())
    return status_page(app.status(), TICKING, sandbox.clock.now(), {"code": "KEY"})


def take(browser: str, shown: str, size: tuple[int, int], scheme: int, picture: Path) -> None:
    """Take a picture of a page; in a frame, since a window of Chromium's is never narrower than 500."""
    width, height = size
    frame = (
        "<!doctype html><style>:root{color-scheme:light dark}body{margin:0}iframe{border:0;display:block}</style>"
        f'<iframe width="{width}" height="{height}" srcdoc="{html.escape(shown)}"></iframe>'
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.html"
        file.write_text(frame, "utf-8")
        subprocess.run(
            [
                browser,
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                f"--user-data-dir={folder}",
                f"--window-size={width},{height}",
                f"--blink-settings=preferredColorScheme={scheme}",
                f"--screenshot={picture}",
                file.as_uri(),
            ],
            capture_output=True,
            check=True,
            timeout=300,
        )


def main() -> None:
    """Take them all."""
    logging.disable(logging.CRITICAL)
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("pictures need Chromium: apt-get install chromium")
    shown = page()
    for place, size in SIZES.items():
        for name, scheme in SCHEMES.items():
            take(browser, shown, size, scheme, picture_of(place, name))


if __name__ == "__main__":
    be_alone()
    main()
