"""A tick's messages on a real queue: what the worker hands over, carried as the host carries it, through Azurite.

The host itself is not here. What it does is done by hand: messages are put in base64 (its default encoding), taken
with a time in which nobody else sees them, deleted once the function is done, and moved to the poison queue when they
were delivered too often.
"""

import json
from collections.abc import Iterator

import pytest
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from sandbox import Fault, Sandbox
from sandbox.faults import Respond
from tests.azurite import Azurite, StubCredential
from tests.worker.harness import WorkerHarness
from tests.worker.product import QUEUE, Host, events, outcomes

NAMES = ("assets", "incidents", "people")
MOST_DELIVERIES = 5
"""The host's default."""


@pytest.fixture
def queues(azurite: Azurite) -> Iterator[tuple[QueueClient, QueueClient]]:
    """The queue, and the one for poison."""
    made = []
    for name in (QUEUE["REFRESH_QUEUE"], f"{QUEUE['REFRESH_QUEUE']}-poison"):
        client = QueueClient(
            azurite.queue_url,
            name,
            credential=StubCredential(),
            connection_verify=azurite.certificates,
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
        )
        client.create_queue()
        made.append(client)
    yield made[0], made[1]
    for client in made:
        client.delete_queue()
        client.close()


@pytest.fixture
def worker(sandbox: Sandbox, host: Host) -> WorkerHarness:
    for name in NAMES:
        sandbox.add_connection(name)
    each = {"instance_url": sandbox.instance.url}
    return host(**QUEUE, SERVICENOW_CONNECTIONS=json.dumps(dict.fromkeys(NAMES, each)))


def tick(worker: WorkerHarness, queue: QueueClient) -> int:
    """Fire the timer, and put what it hands over on the queue."""
    messages = worker.timer("refresh_tokens").outputs.get("messages", [])
    for message in messages:
        queue.send_message(message)
    return len(messages)


def deliver(worker: WorkerHarness, queue: QueueClient, poison: QueueClient) -> list[tuple[str, str]]:
    """Deliver every message that is there, as the host does; returns connections and outcomes."""
    ended = []
    for message in queue.receive_messages(visibility_timeout=1):
        count = message.dequeue_count or 0
        done = worker.queue("refresh_connection", message.content, dequeue_count=count)
        ended += outcomes(done)
        if done.ok or count >= MOST_DELIVERIES:
            queue.delete_message(message)
        if not done.ok and count >= MOST_DELIVERIES:
            poison.send_message(message.content)
        elif not done.ok:
            queue.update_message(message, visibility_timeout=0)
    return ended


def test_a_tick_becomes_messages_and_each_refreshes_its_connection(
    worker: WorkerHarness, queues: tuple[QueueClient, QueueClient]
) -> None:
    queue, poison = queues
    assert tick(worker, queue) == 3
    assert sorted(deliver(worker, queue, poison)) == [(name, "refreshed") for name in NAMES]
    assert tick(worker, queue) == 0
    assert queue.get_queue_properties().approximate_message_count == 0


def test_messages_of_a_second_tick_that_came_before_the_first_were_read_do_no_harm(
    worker: WorkerHarness,
    queues: tuple[QueueClient, QueueClient],
    sandbox: Sandbox,
) -> None:
    queue, poison = queues
    assert tick(worker, queue) + tick(worker, queue) == 6
    ended = deliver(worker, queue, poison)
    assert sorted(ended) == sorted((name, how) for name in NAMES for how in ("not_due", "refreshed"))
    assert sandbox.log.count(path="/oauth_token.do") == 3


def test_a_refresh_that_fails_is_an_event_and_no_poison_the_next_tick_sends_it_again(
    worker: WorkerHarness,
    queues: tuple[QueueClient, QueueClient],
    sandbox: Sandbox,
) -> None:
    queue, poison = queues
    sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=Respond(400)))
    tick(worker, queue)
    assert sorted(deliver(worker, queue, poison)) == [(name, "failed") for name in NAMES]
    assert poison.get_queue_properties().approximate_message_count == 0
    sandbox.faults.clear()
    assert tick(worker, queue) == 3
    assert sorted(deliver(worker, queue, poison)) == [(name, "refreshed") for name in NAMES]


def test_a_message_that_fails_at_every_delivery_ends_in_the_event_that_alerts(
    worker: WorkerHarness, queues: tuple[QueueClient, QueueClient]
) -> None:
    queue, poison = queues
    queue.send_message("gone")
    for _ in range(MOST_DELIVERIES):
        deliver(worker, queue, poison)
    (message,) = poison.receive_messages()
    said = worker.queue("report_poisoned", message.content)
    (event,) = events(said)
    assert (event["event"], event["connection"]) == ("message_poisoned", "gone")
