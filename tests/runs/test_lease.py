"""Leases: one refresher at a time, and none that outlives its holder."""

import errno
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

from refresher.lease.blob import BlobLease
from refresher.lease.container import CONNECT_TIMEOUT, READ_TIMEOUT
from refresher.lease.file import FileLease
from refresher.model.causes import Cause
from refresher.model.clock import Clock, system_clock
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError
from sandbox.direct import InOrder
from tests.azurite import ACCOUNT, Azurite, StubCredential
from tests.sampling import thinned

ROOT = Path(__file__).parents[2]
ROLE = "Storage Blob Data Contributor"
VAULT = "https://v.vault.azure.net"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLOCK: Clock = system_clock()._replace(now=lambda: NOW, sleep=lambda _: None)

HOLDER = """
import sys, time
from pathlib import Path
from refresher.model.clock import system_clock
from refresher.lease.file import FileLease
with FileLease(Path(sys.argv[1]), system_clock(), sys.argv[2]).acquire("servicenow", int):
    print("held", flush=True)
    time.sleep(60)
"""


def nothing() -> None:
    """What is read where it is the lease that counts."""


def held(lease: FileLease | BlobLease, connection: str = "servicenow") -> LeaseHeldError:
    with pytest.raises(LeaseHeldError) as caught, lease.acquire(connection, nothing):
        pass
    error = caught.value
    assert (error.cause, error.transient, error.retry_after) == (Cause.LEASE_HELD, True, 10.0)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def unavailable(lease: FileLease | BlobLease) -> LeaseUnavailableError:
    with pytest.raises(LeaseUnavailableError) as caught, lease.acquire("servicenow", nothing):
        pass
    error = caught.value
    assert error.cause is Cause.LEASE_UNAVAILABLE
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


@contextmanager
def opening_refused(what: Callable[[int], int], why: int = errno.EACCES) -> Iterator[None]:
    """Refuse to open files in ways that another user's file refuses, or a file system that can only be read."""
    really = os.open

    def guarded(path: Path, flags: int, *more: int) -> int:
        if what(flags):
            raise OSError(why, os.strerror(why))
        return really(path, flags, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", guarded)
        yield


def second_name_of_a_victim(path: Path) -> None:
    """A hard link to a file that must not be written."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.hardlink_to(victim)


def no_room(*_: object) -> int:
    """A disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestFileLease:
    """A lock on a file, that the kernel drops with the process."""

    @pytest.fixture
    def lease(self, tmp_path: Path) -> FileLease:
        return FileLease(tmp_path, CLOCK, VAULT)

    @pytest.fixture
    def lock(self, lease: FileLease, tmp_path: Path) -> Path:
        """Where the lock file of the connection will be."""
        with lease.acquire("servicenow", nothing):
            (path,) = tmp_path.iterdir()
        path.unlink()
        return path

    @pytest.fixture
    def holder(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path), VAULT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
            process.kill()

    def test_a_second_lease_of_one_process_is_refused_with_since_and_by_whom(self, lease: FileLease) -> None:
        with lease.acquire("servicenow", nothing):
            told = held(lease).message
        assert told == (
            f"another refresh of servicenow is under way, since 2026-03-01T12:00:00+00:00, by process {os.getpid()}"
        )

    def test_a_system_without_such_locks_is_named(self, lease: FileLease, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on Windows, where the command line takes the lease of the app's settings."""
        monkeypatch.delattr(os, "O_NOFOLLOW")
        error = unavailable(lease)
        assert error.message == "a lock file keeps runs apart on a POSIX system only, which this is not"
        assert "LEASE_CONTAINER_URL" in error.hint

    def test_it_can_be_taken_again_after_its_end(self, lease: FileLease) -> None:
        for _ in range(2):
            with lease.acquire("servicenow", nothing):
                pass

    def test_it_ends_with_an_error_of_the_run(self, lease: FileLease) -> None:
        with suppress(KeyError), lease.acquire("servicenow", nothing):
            raise KeyError
        with lease.acquire("servicenow", nothing):
            pass

    def test_connections_and_vaults_do_not_stand_in_each_others_way(self, lease: FileLease, tmp_path: Path) -> None:
        other_app = FileLease(tmp_path, CLOCK, "https://other.vault.azure.net")
        with (
            lease.acquire("servicenow", nothing),
            lease.acquire("hr", nothing),
            other_app.acquire("servicenow", nothing),
        ):
            pass

    def test_one_of_many_threads_holds_it(self, lease: FileLease) -> None:
        inside, most, refused = [0], [0], [0]
        counting = threading.Lock()
        start = threading.Barrier(8)

        def contend() -> None:
            start.wait()
            for _ in range(50):
                try:
                    with lease.acquire("servicenow", nothing):
                        with counting:
                            inside[0] += 1
                            most[0] = max(most[0], inside[0])
                        with counting:
                            inside[0] -= 1
                except LeaseHeldError:
                    with counting:
                        refused[0] += 1

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1]
        assert refused[0] < 8 * 50

    def test_another_process_is_refused(self, lease: FileLease, holder: subprocess.Popen[str]) -> None:
        assert held(lease).message.endswith(f"by process {holder.pid}")

    def test_a_killed_process_leaves_no_lease(self, lease: FileLease, holder: subprocess.Popen[str]) -> None:
        held(lease)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lease.acquire("servicenow", nothing):
            pass

    def test_what_stands_in_the_file_is_only_told_if_it_is_ours(self, lease: FileLease, tmp_path: Path) -> None:
        with lease.acquire("servicenow", nothing):
            (file,) = tmp_path.iterdir()
            for text in ("", "nonsense", "\x00\x00", "0001-01-01T00:00:00+23:59 x"):
                file.write_text(text)
                assert held(lease).message == "another refresh of servicenow is under way"
            file.write_text("2026-03-01T12:00:00+00:00 <script>")
            assert held(lease).message.endswith("under way, since 2026-03-01T12:00:00+00:00")

    def test_a_directory_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        error = unavailable(FileLease(tmp_path / "absent", CLOCK, VAULT))
        assert str(tmp_path / "absent") in error.message
        assert "LEASE_CONTAINER_URL" in error.hint

    @pytest.mark.parametrize(
        "make",
        [
            os.mkfifo,
            Path.mkdir,
            lambda path: os.mknod(path, stat.S_IFSOCK),
            second_name_of_a_victim,
            lambda path: path.symlink_to(path.with_name("nowhere")),
        ],
        ids=["FIFO", "directory", "socket", "hard link", "link to nothing"],
    )
    def test_what_is_no_plain_file_of_its_own_is_named_and_left_alone(
        self, lease: FileLease, lock: Path, make: Callable[[Path], object]
    ) -> None:
        make(lock)
        assert str(lock) in unavailable(lease).message
        with pytest.raises(LeaseUnavailableError):
            lease.holder("servicenow")
        victim = lock.with_name("victim")
        assert not victim.exists() or victim.read_text() == "precious"

    @pytest.mark.parametrize("why", [errno.EACCES, errno.EROFS])
    def test_a_file_that_can_only_be_read_is_locked_all_the_same(
        self, lease: FileLease, holder: subprocess.Popen[str], why: int
    ) -> None:
        """Another user's, or on a file system that is read only; who holds it is told as long as it can be read."""
        with opening_refused(lambda flags: flags & os.O_RDWR, why):
            assert held(lease).message.endswith(f"by process {holder.pid}")
            holder.kill()
            holder.wait()
            with lease.acquire("servicenow", nothing):
                assert lease.holder("servicenow")

    def test_another_users_file_is_opened_without_making_it(self, lease: FileLease, lock: Path) -> None:
        """Linux forbids even root to open it with O_CREAT in a sticky directory (`fs.protected_regular`)."""
        lock.touch()
        with opening_refused(lambda flags: flags & os.O_CREAT), lease.acquire("servicenow", nothing):
            assert lease.holder("servicenow")

    def test_it_is_everybodys_whatever_the_umask(self, lease: FileLease, lock: Path) -> None:
        before = os.umask(0o077)
        try:
            with lease.acquire("servicenow", nothing):
                pass
        finally:
            os.umask(before)
        assert lock.stat().st_mode & 0o777 == 0o666

    def test_a_full_disk_stops_nothing(self, lease: FileLease, lock: Path) -> None:
        """What is written into the file is for people only; a file that cannot be made is named."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwrite", no_room)
            patch.setattr(os, "ftruncate", no_room)
            with lease.acquire("servicenow", nothing):
                assert held(lease).message == "another refresh of servicenow is under way"
        lock.unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", no_room)
            error = unavailable(lease)
        assert "No space left on device" in error.message

    def test_a_file_that_is_removed_meanwhile_is_not_the_lock(
        self, lease: FileLease, lock: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between opening and locking it: another process would lock a new one of this name."""
        lock.touch()
        first, really = lock.stat(), fcntl.flock

        def flock(file: int, how: int) -> None:
            if os.path.samestat(os.fstat(file), first):
                lock.unlink(missing_ok=True)
            really(file, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        # Open, so that the next file cannot have the same number.
        with lock.open(), lease.acquire("servicenow", nothing):
            assert lock.exists()
            assert FileLease(lock.parent, CLOCK, VAULT).holder("servicenow")

    def test_a_link_in_a_shared_directory_is_not_followed(self, lease: FileLease, tmp_path: Path) -> None:
        with lease.acquire("servicenow", nothing):
            (file,) = tmp_path.iterdir()
        file.unlink()
        victim = tmp_path / "victim"
        victim.write_text("precious")
        file.symlink_to(victim)
        unavailable(lease)
        assert victim.read_text() == "precious"


class BrokenCredential:
    """An identity that yields no token, in the ways in which azure-identity fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:  # noqa: ANN401 - as the SDK declares it
        raise self._error


class Recorder(RequestsTransport):  # type: ignore[misc]
    """The real transport, which also notes what was asked, and can lose a request, its answer, or refuse it."""

    def __init__(self, certificates: str) -> None:
        super().__init__(connection_verify=certificates)
        self.asked: list[str] = []
        self.limits: set[tuple[float, float]] = set()
        self.lease_lengths: set[str] = set()
        self.lose: dict[str, int] = {}
        self.lose_answer: dict[str, int] = {}
        self.refuse: dict[str, int] = {}
        self.before: dict[str, Callable[[], object]] = {}

    def send(self, request: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the SDK declares it
        action = request.headers.get("x-ms-lease-action")
        what = action or (
            "metadata"
            if "comp=metadata" in request.url
            else {"GET": "look", "HEAD": "look", "PUT": "create"}[request.method]
        )
        self.asked.append(what)
        self.limits.add((kwargs["connection_timeout"], kwargs["read_timeout"]))
        self.lease_lengths |= {request.headers["x-ms-lease-duration"]} if action == "acquire" else set()
        self.before.get(what, lambda: None)()
        if what in self.refuse:
            raise HttpResponseError("canary", response=_answer_of_the_service(self.refuse[what]))
        if _take_one(self.lose, what):
            message = "canary: connection lost"
            raise ServiceRequestError(message)
        answer = super().send(request, **kwargs)
        if _take_one(self.lose_answer, what):
            message = "canary: answer lost"
            raise ServiceResponseError(message)
        return answer


def _answer_of_the_service(status: int) -> Any:  # noqa: ANN401 - as the SDK hands it over
    own = {"x-ms-request-id": "1"}
    return SimpleNamespace(status_code=status, reason="", headers=own, content_type="text/plain", text=lambda _: "no")


def _take_one(counts: dict[str, int], what: str) -> bool:
    counts[what] = counts.get(what, 0) - 1
    return counts[what] >= 0


class TestBlobLease:
    """A lease on a blob, against Azurite with the real client over HTTPS."""

    @pytest.fixture
    def service(self, azurite: Azurite) -> Iterator[BlobServiceClient]:
        with BlobServiceClient(
            azurite.blob_url, credential=StubCredential(), connection_verify=azurite.certificates
        ) as client:
            yield client

    @pytest.fixture
    def container(self, service: BlobServiceClient, request: pytest.FixtureRequest) -> Iterator[str]:
        name = f"leases-{abs(hash(request.node.name))}"[:60]
        service.create_container(name)
        yield f"{service.url.rstrip('/')}/{name}"
        service.delete_container(name)

    @pytest.fixture
    def transport(self, azurite: Azurite) -> Iterator[Recorder]:
        with Recorder(azurite.certificates) as recorder:
            yield recorder

    @pytest.fixture
    def lease(self, container: str, transport: Recorder) -> BlobLease:
        return BlobLease(container, StubCredential(), CLOCK, InOrder(), transport=transport)

    def test_the_first_refresh_makes_the_blob_and_the_next_ones_do_not(
        self, lease: BlobLease, transport: Recorder
    ) -> None:
        with lease.acquire("servicenow", nothing):
            pass
        assert transport.asked == ["look", "create", "acquire", "metadata", "release"]
        transport.asked.clear()
        with lease.acquire("servicenow", nothing):
            pass
        # It was the last to hold it, as far as it knows: the blob's ETag will tell.
        assert transport.asked == ["acquire", "metadata", "release"]

    def test_a_held_lease_is_not_tried_for_and_says_since_when_and_by_whom(
        self, lease: BlobLease, transport: Recorder
    ) -> None:
        with lease.acquire("servicenow", nothing):
            transport.asked.clear()
            message = held(lease).message
            assert transport.asked == ["look"]
        begin = "another refresh of servicenow is under way, since 2026-03-01T12:00:00+00:00, by process "
        assert message.startswith(f"{begin}{os.getpid()} on ")

    def test_connections_do_not_stand_in_each_others_way(self, lease: BlobLease) -> None:
        with lease.acquire("servicenow", nothing), lease.acquire("hr", nothing):
            pass

    def test_it_ends_with_an_error_of_the_run(self, lease: BlobLease) -> None:
        with suppress(KeyError), lease.acquire("servicenow", nothing):
            raise KeyError
        with lease.acquire("servicenow", nothing):
            pass

    def test_it_is_taken_for_a_minute_at_most(
        self, lease: BlobLease, service: BlobServiceClient, container: str, transport: Recorder
    ) -> None:
        blob = service.get_blob_client(container.rsplit("/", 1)[1], "servicenow")
        with lease.acquire("servicenow", nothing):
            assert blob.get_blob_properties().lease.duration == "fixed"
        assert transport.lease_lengths == {"60"}
        assert blob.get_blob_properties().lease.state == "available"
        assert blob.get_blob_properties().size == 0

    def test_one_of_many_threads_holds_it(self, container: str, azurite: Azurite) -> None:
        inside, most, done = [0], [0], [0]
        counting = threading.Lock()
        start = threading.Barrier(6)

        def contend() -> None:
            with Recorder(azurite.certificates) as transport:
                lease = BlobLease(container, StubCredential(), CLOCK, InOrder(), transport=transport)
                start.wait()
                for _ in range(5):
                    with suppress(LeaseHeldError), lease.acquire("servicenow", nothing):
                        with counting:
                            inside[0] += 1
                            most[0] = max(most[0], inside[0])
                        time.sleep(0.01)
                        with counting:
                            inside[0] -= 1
                            done[0] += 1

        threads = [threading.Thread(target=contend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1]
        assert done[0] >= 1

    def test_losing_the_race_between_look_and_try_is_busy(
        self, lease: BlobLease, container: str, transport: Recorder, service: BlobServiceClient
    ) -> None:
        blob = service.get_blob_client(container.rsplit("/", 1)[1], "servicenow")
        transport.before["create"] = lambda: blob.upload_blob(b"")
        transport.before["acquire"] = lambda: blob.acquire_lease(60)
        assert held(lease).message == "another refresh of servicenow is under way"

    def test_a_release_that_fails_leaves_the_lease_to_its_own_end(self, lease: BlobLease, transport: Recorder) -> None:
        transport.lose = {"release": 2}
        with lease.acquire("servicenow", nothing):
            pass
        assert "since 2026-03-01T12:00:00+00:00, by process" in held(lease).message

    @pytest.mark.parametrize("what", thinned(["look", "create", "acquire", "metadata", "release"], 3))
    @pytest.mark.parametrize("lost", ["lose", "lose_answer"])
    def test_one_lost_request_or_answer_is_mended_at_once(
        self, what: str, lost: str, lease: BlobLease, transport: Recorder
    ) -> None:
        setattr(transport, lost, {what: 1})
        with lease.acquire("servicenow", nothing):
            held(lease)
        assert transport.asked.count(what) >= 2
        with lease.acquire("servicenow", nothing):
            pass

    @pytest.mark.parametrize("what", thinned(["look", "create", "acquire"]))
    def test_a_service_that_stays_away_is_unavailable(self, what: str, lease: BlobLease, transport: Recorder) -> None:
        transport.lose = {what: 2}
        error = unavailable(lease)
        assert "could not be reached" in error.message
        assert "firewall" in error.hint
        assert "canary" not in error.message + error.hint

    def test_a_service_that_fails_is_unavailable(self, container: str, lease: BlobLease, transport: Recorder) -> None:
        transport.refuse = {"acquire": 503}
        error = unavailable(lease)
        assert error.message == f"the lease container {container} answered 503"

    def test_asking_whether_it_is_held_tries_whether_it_could_be_and_leaves_no_trace(
        self, lease: BlobLease, service: BlobServiceClient, container: str, transport: Recorder
    ) -> None:
        """By a write on a condition that no blob meets."""
        blob = service.get_blob_client(container.rsplit("/", 1)[1], "servicenow")
        assert not lease.holder("servicenow")
        assert not blob.exists()
        with lease.acquire("servicenow", nothing):
            assert lease.holder("servicenow")
        before = blob.get_blob_properties().etag
        assert not lease.holder("servicenow")
        assert blob.get_blob_properties().etag == before
        transport.refuse = {"create": 403}
        with pytest.raises(LeaseUnavailableError, match="refused whoever asked"):
            lease.holder("servicenow")

    def test_metadata_that_cannot_be_written_does_not_matter(self, lease: BlobLease, transport: Recorder) -> None:
        transport.refuse = {"metadata": 503}
        with lease.acquire("servicenow", nothing):
            assert held(lease).message == "another refresh of servicenow is under way"

    def test_a_surprise_while_it_is_written_neither_fails_the_run_nor_keeps_the_lease(
        self, lease: BlobLease, transport: Recorder
    ) -> None:
        """The run has its token by then."""

        def fail() -> None:
            message = "canary: unforeseen"
            raise RuntimeError(message)

        transport.before["metadata"] = fail
        with lease.acquire("servicenow", nothing):
            pass
        assert transport.asked[-1] == "release"

    def test_an_executor_that_takes_nothing_more_leaves_no_lease_behind(
        self, container: str, transport: Recorder
    ) -> None:
        """As in a process that is about to end."""
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        lease = BlobLease(container, StubCredential(), CLOCK, executor, transport=transport)
        with lease.acquire("servicenow", nothing):
            pass
        assert transport.asked == ["look", "create", "acquire", "metadata", "release"]

    def test_what_was_read_meanwhile_stands_where_nobody_held_it_since(self, lease: BlobLease) -> None:
        reads = iter("abcd")
        for expected in "ab":
            with lease.acquire("servicenow", lambda: next(reads)) as (found, _):
                assert found == expected

    @pytest.mark.parametrize("known", thinned([False, True]), ids=["since a look", "since this process held it"])
    def test_and_is_read_again_where_somebody_held_it_since(
        self, lease: BlobLease, transport: Recorder, container: str, azurite: Azurite, known: bool
    ) -> None:
        """Another holder comes and goes between the first read and the lease; its note has changed the ETag."""
        with lease.acquire("servicenow", nothing):
            pass
        if not known:
            lease = BlobLease(container, StubCredential(), CLOCK, InOrder(), transport=transport)

        def another() -> None:
            transport.before.clear()
            with Recorder(azurite.certificates) as wire:
                other = BlobLease(container, StubCredential(), CLOCK, InOrder(), transport=wire)
                with other.acquire("servicenow", nothing):
                    pass

        transport.before["acquire"] = another
        reads = iter("abcd")
        with lease.acquire("servicenow", lambda: next(reads)) as (found, _):
            assert found == "b"

    def test_a_lease_that_came_late_has_everything_read_again(self, container: str, transport: Recorder) -> None:
        """A holder whose note failed may have written until two seconds before its lease ended by itself."""
        seconds = iter((0.0, 2.5))
        clock = CLOCK._replace(monotonic=lambda: next(seconds))
        lease = BlobLease(container, StubCredential(), clock, InOrder(), transport=transport)
        reads = iter("abcd")
        with lease.acquire("servicenow", lambda: next(reads)) as (found, _):
            assert found == "b"

    def test_a_reading_that_fails_leaves_no_lease_behind(self, lease: BlobLease, transport: Recorder) -> None:
        def fail() -> None:
            raise KeyError

        with pytest.raises(KeyError), lease.acquire("servicenow", fail):
            pass
        assert transport.asked[-1] == "release"

    def test_a_run_that_wrote_without_its_note_leaves_the_lease_to_its_own_end(
        self, lease: BlobLease, transport: Recorder
    ) -> None:
        """Others would take what they read for what is there."""
        transport.refuse = {"metadata": 503}
        with lease.acquire("servicenow", nothing) as (_, confirm):
            confirm()
        assert "release" not in transport.asked
        held(lease)

    def test_before_it_writes_it_waits_for_its_note(self, container: str, transport: Recorder) -> None:
        noting = threading.Event()
        transport.before["metadata"] = lambda: noting.wait(60)
        with ThreadPoolExecutor(2) as executor:
            lease = BlobLease(container, StubCredential(), CLOCK, executor, transport=transport)
            with lease.acquire("servicenow", nothing) as (_, confirm):
                threading.Timer(0.2, noting.set).start()
                confirm()
                assert noting.is_set()

    def test_its_own_late_release_keeps_nobody_busy(self, container: str, transport: Recorder) -> None:
        """Nobody waits for it but the same process at its next try."""
        releasing = threading.Event()
        transport.before["release"] = lambda: releasing.wait(5)
        with ThreadPoolExecutor(2) as executor:
            lease = BlobLease(container, StubCredential(), CLOCK, executor, transport=transport)
            with lease.acquire("servicenow", nothing):
                pass
            assert "release" not in transport.asked or not releasing.is_set()
            threading.Timer(0.2, releasing.set).start()
            with lease.acquire("servicenow", nothing):
                pass

    def test_a_blob_that_somebody_removed_is_made_again(
        self, lease: BlobLease, service: BlobServiceClient, container: str
    ) -> None:
        reads = iter("abcd")
        for expected in "ac":
            with lease.acquire("servicenow", lambda: next(reads)) as (found, _):
                assert found == expected
            service.get_blob_client(container.rsplit("/", 1)[1], "servicenow").delete_blob()

    def test_one_conflict_tells_who_held_it_last_to_look_first(
        self, lease: BlobLease, container: str, transport: Recorder, azurite: Azurite
    ) -> None:
        with lease.acquire("servicenow", nothing):
            pass
        with Recorder(azurite.certificates) as wire:
            other = BlobLease(container, StubCredential(), CLOCK, InOrder(), transport=wire)
            with other.acquire("servicenow", nothing):
                for asked in (["acquire", "look"], ["look"]):
                    transport.asked.clear()
                    assert f"by process {os.getpid()} on " in held(lease).message
                    assert transport.asked == asked

    def test_a_look_ahead_is_not_made_again(self, lease: BlobLease, transport: Recorder) -> None:
        for _ in range(2):
            lease.expect("servicenow")
        with lease.acquire("servicenow", nothing):
            pass
        # The first found no blob.
        assert transport.asked == ["look", "look", "create", "acquire", "metadata", "release"]
        transport.asked.clear()
        other = BlobLease(lease._container.url, StubCredential(), CLOCK, InOrder(), transport=transport)
        other.expect("servicenow")
        with other.acquire("servicenow", nothing):
            pass
        assert transport.asked == ["look", "acquire", "metadata", "release"]

    def test_each_request_has_short_limits(self, lease: BlobLease, transport: Recorder) -> None:
        with lease.acquire("servicenow", nothing):
            pass
        assert transport.limits == {(CONNECT_TIMEOUT, READ_TIMEOUT)}

    def test_a_container_that_is_not_there_is_named(self, azurite: Azurite, transport: Recorder) -> None:
        url = f"{azurite.blob_url}/absent"
        error = unavailable(BlobLease(url, StubCredential(), CLOCK, InOrder(), transport=transport))
        assert error.message == f"the lease container {url} does not exist"
        assert ROLE in error.hint

    def test_an_identity_that_is_refused_learns_the_role(self, container: str, transport: Recorder) -> None:
        error = unavailable(
            BlobLease(container, StubCredential("https://other"), CLOCK, InOrder(), transport=transport)
        )
        assert error.message == f"the lease container {container} refused whoever asked"
        assert ROLE in error.hint

    @pytest.mark.parametrize(
        "broken",
        [ClientAuthenticationError("canary"), json.JSONDecodeError("canary", "", 0)],
        ids=["refused", "empty"],
    )
    def test_an_identity_without_a_token_is_told_apart(
        self, broken: Exception, container: str, transport: Recorder
    ) -> None:
        error = unavailable(BlobLease(container, BrokenCredential(broken), CLOCK, InOrder(), transport=transport))
        assert "no token for the lease container" in error.message
        assert "canary" not in error.message + error.hint


def test_a_storage_account_that_is_not_there_is_given_up_soon() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/{ACCOUNT}/leases"
        started = time.monotonic()
        error = unavailable(BlobLease(url, StubCredential(), system_clock(), InOrder()))
    assert (
        error.message == f"the lease container {url} refused the connection: nobody listens at this address and port"
    )
    assert time.monotonic() - started < 2 * (CONNECT_TIMEOUT + READ_TIMEOUT)
