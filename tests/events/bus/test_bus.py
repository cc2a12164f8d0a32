"""Promises of every event bus, held against real servers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from atelier.database import Database
from atelier.errors import Unavailable
from atelier.events import outbox
from atelier.events.bus import Seen, matches
from atelier.events.messages import Event
from atelier.observe import requester
from tests.events.bus.support import event, take
from tests.roles.relay_support import relaying
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atelier.events.bus import Bus, Delivery
    from tests.events.bus.conftest import Lab, Proxy


async def test_events_arrive_whole_and_in_order(lab: Lab) -> None:
    """Published events come out equal and in order, over several batches."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    events = [event(number=number) for number in range(1, 701)]
    await bus.publish(events[:600])
    await bus.publish(events[600:])
    await bus.publish([])
    assert await take(bus, 700) == events


async def test_who_did_it_and_where_arrives(lab: Lab, fresh_database_url: str) -> None:
    """An event says its actor and space on the bus, where it has them."""
    database = Database(fresh_database_url)
    token = requester.begin()
    async with database.session() as session:
        outbox.record(session, "user.created", "users/7", 1, {}, actor="users/7")
        requester.identify(7, "key.3")
        outbox.record(session, "task.taken", "tasks/1", 1, {}, space_id=9)
        requester.end(token)
        outbox.record(session, "image.processed", "images/1", 1, {}, space_id=9)
        await session.commit()
    bus = lab.bus()
    await bus.declare("one", ["#"])
    async with relaying(fresh_database_url, bus):
        taken = await take(bus, 3)
    await database.close()
    assert {each.type: (each.actor, each.space) for each in taken} == {
        "user.created": ("users/7", None),
        "task.taken": ("keys/3", 9),
        "image.processed": (None, 9),
    }


def test_extensions_are_left_out_where_there_are_none() -> None:
    """An event of a release without them is read, and one without them is written as then."""
    known = msgspec.structs.replace(event(), actor=None, space=None)
    document = known.to_json()
    assert not {"actor", "space", "traceparent"} & msgspec.json.decode(document).keys()
    assert Event.from_json(document) == known


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["image.*"], ["image.created", "image.deleted"]),
        (["book.created"], ["book.created"]),
        (["*.created", "image.deleted"], ["image.created", "book.created", "image.deleted"]),
        (["#"], ["image.created", "book.created", "image.deleted", "tick"]),
    ],
)
async def test_a_service_gets_what_its_patterns_cover(
    lab: Lab, patterns: list[str], expected: list[str]
) -> None:
    """Only events whose type matches a pattern are delivered, once even if two patterns match."""
    bus = lab.bus()
    await bus.declare("one", patterns)
    await bus.publish(
        [event(kind) for kind in ("image.created", "book.created", "image.deleted", "tick")]
    )
    taken = await take(bus, len(expected), patterns=patterns)
    assert [each.type for each in taken] == expected


async def test_services_are_independent_and_processes_share(lab: Lab) -> None:
    """Every service gets every event; two processes of one service share them without doubles."""
    bus, other = lab.bus(), lab.bus()
    for service in ("one", "two"):
        await bus.declare(service, ["#"])
    events = [event(number=number) for number in range(1, 101)]
    stop = asyncio.Event()
    taken: list[str] = []

    async def process(bus: Bus) -> None:
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            taken.append(delivery.event.id)
            await delivery.ack()
            if len(taken) == 100:
                stop.set()

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(process(bus))
        tasks.create_task(process(other))
        await bus.publish(events)
    assert sorted(taken) == sorted(each.id for each in events)
    assert await take(bus, 100, "two") == events


async def test_nothing_is_missed_before_the_first_subscription(lab: Lab) -> None:
    """A declared service finds the events that were published while no process of it ran."""
    bus = lab.bus()
    await bus.declare("one", ["image.*"])
    await bus.declare("one", ["image.*"])
    sent = event()
    await bus.publish([sent])
    assert await take(lab.bus(), 1, patterns=["image.*"]) == [sent]


async def test_an_unacknowledged_event_comes_again(lab: Lab) -> None:
    """An event whose subscriber went away without acknowledging is given to the next one."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    events = [event(number=number) for number in range(1, 4)]
    await bus.publish(events)
    assert await take(bus, 1, ack=False) == events[:1]
    assert sorted(each.sequence for each in await take(bus, 3)) == [1, 2, 3]


async def test_a_given_back_event_comes_again(lab: Lab) -> None:
    """After nack the same subscription gets the event again, and others are not held up."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    first, second = event(number=1), event(number=2)
    await bus.publish([first, second])
    stop, order = asyncio.Event(), []
    async with patience():
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            order.append(delivery.event.sequence)
            await (delivery.nack() if len(order) == 1 else delivery.ack())
            if len(order) == 3:
                stop.set()
    assert order == [1, 2, 1]


async def test_a_poisonous_event_becomes_a_dead_letter(lab: Lab) -> None:
    """An event that is given back again and again ends with the dead letters.

    The others are delivered.
    """
    bus = lab.bus(deliveries=2)
    await bus.declare("one", ["#"])
    poison, good = event(number=1), event(number=2)
    await bus.publish([poison, good])
    stop, deliveries, handled = asyncio.Event(), [], []

    async def serve() -> None:
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            if delivery.event.id == poison.id:
                deliveries.append(1)
                await delivery.nack()
            else:
                handled.append(delivery.event)
                await delivery.ack()

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        while not (found := await lab.dead("one")):
            await asyncio.sleep(0.05)
        stop.set()
    assert [Event.from_json(body) for body in found] == [poison]
    assert len(deliveries) in {2, 3}  # RabbitMQ counts returns, not deliveries
    assert handled == [good]


async def test_what_is_no_event_becomes_a_dead_letter(lab: Lab) -> None:
    """Foreign bytes on the bus are put aside and do not stop the subscription."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    for body in (b"", b"\xff\x00", b"{}"):
        await lab.inject(body)
    sent = event()
    await bus.publish([sent])
    assert await take(bus, 1) == [sent]
    async with patience():
        found: list[bytes] = []
        while len(found) < 3:
            found += await lab.dead("one")
            await asyncio.sleep(0.05)
    assert set(found) == {b"", b"\xff\x00", b"{}"}


async def test_dead_letters_are_counted(lab: Lab) -> None:
    """None at first, not even of a service that never was.

    Then each one until somebody takes it away.
    """
    bus = lab.bus()
    await bus.declare("one", ["#"])
    assert await bus.dead_letters(["one", "two"]) == 0
    for body in (b"", b"{}"):
        await lab.inject(body)
    stop = asyncio.Event()

    async def serve() -> None:
        async for _ in bus.subscribe("one", ["#"], stop=stop):
            pass

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        while await bus.dead_letters(["one", "two"]) < 2:
            await asyncio.sleep(0.05)
        stop.set()
    await bus.publish([event()])  # the connection that publishes is as it was


async def test_an_event_sent_twice_is_handled_once(lab: Lab) -> None:
    """A subscription drops an event whose id it has acknowledged before."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    twice, last = event(number=1), event(number=2)
    await bus.publish([twice])
    await bus.publish([twice, last])
    assert await take(bus, 2) == [twice, last]


async def test_publishing_without_a_server_is_unavailable(lab: Lab) -> None:
    """Without the server publish, declare and ping raise Unavailable.

    With it again they work, on the same object.
    """
    bus = lab.bus()
    await bus.declare("one", ["#"])
    await bus.ping()
    await lab.proxy.cut()
    for call in (bus.publish([event()]), bus.ping(), bus.declare("one", ["#"])):
        with pytest.raises(Unavailable):
            await call
    await lab.proxy.mend()
    await bus.ping()
    sent = event()
    await bus.publish([sent])
    assert (await take(bus, 1))[-1] == sent


async def test_a_broken_connection_is_mended_while_publishing(lab: Lab) -> None:
    """A publish over a connection that has died since reconnects and succeeds."""
    bus = lab.bus()
    await bus.declare("one", ["#"])
    first, second = event(number=1), event(number=2)
    await bus.publish([first])
    await lab.proxy.cut(refuse=False)
    await bus.publish([second])
    assert await take(bus, 2) == [first, second]


async def test_a_subscription_outlives_an_outage(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """After an outage the same subscription goes on.

    The outage is logged once, not with each try.
    """
    bus, publisher = lab.bus(), lab.bus()
    await bus.declare("one", ["#"])
    taken: list[int] = []
    stop = asyncio.Event()

    async def serve() -> None:
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            with contextlib.suppress(Unavailable):
                await delivery.ack()
            taken.append(delivery.event.sequence)
            if delivery.event.sequence == 2:
                stop.set()

    def noticed() -> int:
        return sum("is unavailable" in record.getMessage() for record in caplog.records)

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        await publisher.publish([event(number=1)])
        await eventually(lambda: taken)
        await lab.proxy.cut()
        await eventually(noticed)
        await asyncio.sleep(1)  # in which it tries again
        await lab.proxy.mend()
        await publisher.publish([event(number=2)])
    assert set(taken) == {1, 2}
    assert noticed() == 1


async def relay(bus: Bus, events: Sequence[Event]) -> None:
    for start in range(0, len(events), 50):
        sent = False
        while not sent:
            with contextlib.suppress(Unavailable):
                await bus.publish(events[start : start + 50])
                sent = True


async def vandal(proxy: Proxy) -> None:
    for refuse in (False, True, False):
        await asyncio.sleep(0.15)
        await proxy.cut(refuse=refuse)
        if refuse:
            await asyncio.sleep(0.3)
            await proxy.mend()


async def test_no_event_is_lost_over_cut_connections(lab: Lab) -> None:
    """With a publisher that retries and a subscriber that acknowledges, outages lose nothing."""
    bus, publisher = lab.bus(), lab.bus()
    await bus.declare("one", ["#"])
    events = [event(number=number) for number in range(1, 1001)]
    taken: set[str] = set()
    stop = asyncio.Event()

    async def serve() -> None:
        async for delivery in bus.subscribe("one", ["#"], stop=stop):
            taken.add(delivery.event.id)
            with contextlib.suppress(Unavailable):
                await delivery.ack()
            if len(taken) == len(events):
                stop.set()

    async with patience(), asyncio.TaskGroup() as tasks:
        for work in (serve(), relay(publisher, events), vandal(lab.proxy)):
            tasks.create_task(work)
    assert taken == {each.id for each in events}


async def test_stop_ends_an_idle_subscription(lab: Lab) -> None:
    """A subscription that waits for events ends when `stop` is set."""
    bus, stop = lab.bus(), asyncio.Event()
    await bus.declare("one", ["#"])

    async def serve() -> list[Delivery]:
        return [delivery async for delivery in bus.subscribe("one", ["#"], stop=stop)]

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0.2)
    stop.set()
    async with patience():
        assert await serving == []


@pytest.mark.parametrize(
    ("patterns", "kind", "covered"),
    [
        (["image.*"], "image.created", True),
        (["image.*"], "image", False),
        (["image.*"], "image.a.b", False),
        (["image.#"], "image", True),
        (["image.#"], "image.a.b", True),
        (["#.created"], "a.b.created", True),
        (["#"], "", True),
        (["*"], "tick", True),
        (["*.*"], "tick", False),
        ([], "tick", False),
        (["a", "b"], "b", True),
        (["im*"], "image", False),
    ],
)
def test_patterns_are_those_of_amqp(patterns: list[str], kind: str, *, covered: bool) -> None:
    """`*` is one word and `#` any number of words, as in a topic exchange."""
    assert matches(patterns, kind) is covered


def test_seen_forgets_the_oldest() -> None:
    """The memory of handled events is bounded, and an id that was met again is kept longer."""
    seen = Seen(2)
    for name in ("a", "b", "a", "c"):
        seen.add(name)
    assert ("a" in seen, "b" in seen, "c" in seen) == (True, False, True)
