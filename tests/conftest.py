"""Fixtures for tests against the sandbox, and the leak check that follows every test."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings

from refresher.app import App
from refresher.model.report import RunReport, RunRequest, Trigger
from refresher.status.connection_status import ConnectionStatus
from refresher.telemetry import quiet_third_parties
from sandbox import CANARY_PREFIX, Personality, Sandbox, SandboxClock
from sandbox.direct import DirectSandbox, Process
from sandbox.trial.host import app_in_memory, direct_app, environment, product_clock
from tests.azurite import Azurite, run_azurite

# A suite that was started in the background ignores Ctrl-C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As every process of the product does, whichever module a test happens to load first.
quiet_third_parties()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make test-all` carry over HTTPS what `make test` carries in memory, and try more of what is random."""
    parser.addoption(
        "--wire",
        choices=("memory", "https"),
        default="memory",
        help="what carries the requests of tests that are marked wire('any') (default: memory)",
    )
    parser.addoption("--examples", type=int, default=100, help="of each property (default: 100; make test: 10)")


def pytest_configure(config: pytest.Config) -> None:
    """The same examples in every run, however slow the machine is. `make mutate` has brought a profile of its own."""
    if hypothesis_settings.get_current_profile_name() == "default":
        examples = config.getoption("examples")
        made = hypothesis_settings(derandomize=True, deadline=None, print_blob=True, max_examples=examples)
        hypothesis_settings.register_profile("suite", made)
        hypothesis_settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait, for a peer that is slow or a command that ends."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What thousands of tests are made of lives to the end: to look at it again and again is a tenth of the CPU."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class CapturedLog(logging.Handler):
    """Every record of every logger, DEBUG included, with exceptions and their chains as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the formatted record."""
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def everything_logged() -> Iterator[CapturedLog]:
    """Capture all logging at DEBUG, and fail a test that let a secret into it."""
    captured = CapturedLog()
    root = logging.getLogger()
    level = root.level
    root.addHandler(captured)
    root.setLevel(logging.DEBUG)
    yield captured
    root.removeHandler(captured)
    root.setLevel(level)
    ours = [line for line in captured.lines if CANARY_PREFIX in line]
    assert not ours, f"a secret was logged: {[line[:80].split(CANARY_PREFIX)[0] for line in ours]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that printed a secret, by what pytest captured: a capture of our own takes 1 ms for each test."""
    report = yield
    if report.when == "teardown" and report.passed and CANARY_PREFIX in report.capstdout + report.capstderr:
        report.outcome, report.longrepr, report.sections = "failed", "a secret was printed", []
    return report


@pytest.fixture(autouse=True)
def nothing_of_an_earlier_test() -> None:
    """Forget what the process keeps for itself: ports come back, and with them another test's challenge."""
    for kind in ("keys", "secrets"):
        challenges = sys.modules.get(f"azure.keyvault.{kind}._shared.http_challenge_cache")
        if challenges is not None:
            challenges.clear()


@pytest.fixture
def vaults() -> tuple[str, ...]:
    """The sandbox's vaults; a test that needs more than one says so by its own fixture of this name."""
    return ("main",)


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, vaults: tuple[str, ...]) -> Iterator[Sandbox]:
    """A sandbox whose identity endpoint and CA the process uses; without servers where any wire will do."""
    wire = request.node.get_closest_marker("wire")
    in_memory = wire is not None and wire.args == ("any",) and request.config.getoption("wire") == "memory"
    with _sandbox(vaults, in_memory=in_memory) as running, environment(running.environ()):
        yield running


def _sandbox(vaults: tuple[str, ...], *, in_memory: bool) -> Sandbox:
    if not in_memory:
        return Sandbox(vaults=vaults)
    return DirectSandbox(vaults=vaults, latency=timedelta(), suffix=f"-{os.getpid()}")


@pytest.fixture
def real_time() -> Iterator[Sandbox]:
    """A sandbox whose clock is the real one, since the processes go by it."""
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running:
        yield running


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite, for all tests of a process."""
    with run_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


MakeApp = Callable[..., App]


@pytest.fixture
def make_app(sandbox: Sandbox) -> Iterator[MakeApp]:
    """Make the product with the sandbox's environment and settings of the test's own."""
    made: list[App] = []

    def make(**settings: str) -> App:
        environ, clock = {**os.environ, **settings}, product_clock(sandbox.clock)
        if isinstance(sandbox, DirectSandbox):
            app = app_in_memory(Process(sandbox), environ, clock)
        else:
            app = App(environ, clock)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app: MakeApp) -> App:
    """The product with one connection and no special settings."""
    return make_app()


def tick(app: App, **options: object) -> RunReport:
    """One tick of an app with one connection."""
    reports = app.tick(RunRequest(trigger=Trigger.TIMER, **options))  # type: ignore[arg-type]
    assert len(reports) == 1
    return reports[0]


def direct(
    settings: Mapping[str, str] | None = None,
    personality: Personality | None = None,
    *,
    refresh_token: bool = True,
    username: bool = False,
) -> tuple[DirectSandbox, App]:
    """The sandbox without sockets and the product in it, with one connection: for what takes many ticks."""
    sandbox = DirectSandbox(personality)
    sandbox.add_connection(refresh_token=refresh_token, username=username)
    return sandbox, direct_app(sandbox, Process(sandbox), 0, **(settings or {}))


def status_of(app: App) -> ConnectionStatus:
    """How an app with one connection stands."""
    (status,) = app.status()
    return status
