"""The outbox: what people are told of is queued with what happened, and by one process at a time it is sent (SPEC 11)."""

from typing import Any

import pytest
from sqlalchemy import event, insert, select, text, update

from cstp_server.backend import ServerBackend
from cstp_server.domain.callers import Caller, Role
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import (
    LONGEST_DELAY_MS,
    LONGEST_MS,
    MOST_ATTEMPTS,
    QUIET_MS,
    UNREADABLE,
    Delivered,
    GivenUp,
    NotDelivered,
    Parcel,
)
from cstp_server.services.policies import NotePolicy
from cstp_server.services.ports import AlertCounts, OutboxChange
from cstp_server.storage import outbox, tables
from cstp_server.storage.journal import Journal
from cstp_server.storage.outbox import RETRIED_AT_ONCE, letters, retry, write_changes
from tests.services.world import AUDIT_KEY, OPS, World, checking, policy_of, reviewing, tripping
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"
SUBJECT = f"circuit/{TOOLING}"
ADA = Caller("ada", frozenset(Role), "north")


def channel(name: str = "ops", **setup: Any) -> dict[str, Any]:
    return {"name": name, "type": "webhook", "url": "https://a.example.org/", "secret_env": "SECRET", **setup}


def policy(*channels: dict[str, Any], **sections: Any) -> Policy:
    sections = {
        "circuit_breakers": [
            {"scope": TOOLING, "failure_threshold": 2},
            {"scope": "category:writing"},
            {"scope": "agent:*", "notify": False},
        ]
    } | sections
    return policy_of(notifications={"channels": list(channels or (channel(),))}, **sections)


def fail(world: World, *, caller: Caller = OPS) -> None:
    for id in "ab":
        world.run(checking(id, caller=caller))
        world.run(reviewing(id, "failure", caller=caller))


def queued(world: World) -> list[tuple[str, str, str, str]]:
    """Tenant, channel, type and subject of all that is in the outbox."""
    with world.connected() as connection:
        return [(letter.tenant, letter.channel, letter.type, letter.subject) for letter in letters(connection, dead=False, limit=100)]


def parcel(world: World, subject: str = SUBJECT, name: str = "ops", tenant: str = "default") -> Parcel:
    found = world.do(world.store.outbox.parcel(tenant, name, subject))
    assert found is not None
    return found


def dead_ids(world: World) -> list[str]:
    with world.connected() as connection:
        return [letter.id for letter in letters(connection, dead=True, limit=100)]


def again(world: World, id: str | None = None) -> int:
    """What `cstp notifications retry` does."""
    with world.connected() as connection, connection.begin():
        return len(retry(connection, Journal(world.keys), id=id, clock=world.clock))


def due(world: World, name: str = "ops") -> list[tuple[str, str]]:
    return list(world.do(world.store.outbox.due(name, 100)))


def test_what_opens_a_circuit_queues_its_alert(make_world: MakeWorld) -> None:
    """For each channel that hears of it, under the id of the event; nothing else is queued."""
    world = make_world(
        policy(channel(), channel("all"), channel("grave", min_severity="critical"), channel("other", events=["tripwire.*"]))
    )
    fail(world)
    assert queued(world) == [("default", "all", "circuit.opened", TOOLING), ("default", "ops", "circuit.opened", TOOLING)]
    with world.connected() as connection:
        ids = set(connection.execute(select(tables.outbox.c.id)).scalars())
        events = connection.execute(select(tables.events.c.id).where(tables.events.c.type == "circuit.opened")).scalars()
        assert ids == set(events)


def test_without_channels_nothing_is_queued(make_world: MakeWorld) -> None:
    """Nor for a circuit that is to tell nobody."""
    world = make_world(policy_of(circuit_breakers=[{"scope": TOOLING, "failure_threshold": 2}]))
    fail(world)
    assert queued(world) == []
    world = make_world(policy(circuit_breakers=[{"scope": TOOLING, "failure_threshold": 2, "notify": False}]))
    world.run(tripping(TOOLING))
    assert queued(world) == []


def test_every_alert_reaches_the_outbox(make_world: MakeWorld) -> None:
    """A forced circuit, a severe tripwire and the agent it halts, an approval, a bypass, a budget, a bad policy."""
    sections = {
        "guardrails": [{"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask first"}],
        "tripwires": {"budget_limit": 100},
    }
    world = make_world(policy(**sections))
    world.run(tripping(TOOLING))
    world.check("pending", category="calm", context={"ask": True})
    world.run(reviewing("pending", "success"))
    world.check("pay", category="calm", type="pay", parameters={"amount": 100})
    world.check("out", agent="thief", category="calm", context={"data_exfiltration": True})
    world.run(NotePolicy("sha256:1", ("policy.yaml:1: unknown key",)))
    assert sorted(kind for _, _, kind, _ in queued(world)) == [
        "budget.reached",
        "circuit.forced",
        "decision.pending",
        "enforcement.bypassed",
        "policy.rejected",
        "posture.downgraded",
        "tripwire.hit",
    ]


def test_each_tenant_has_its_own(make_world: MakeWorld) -> None:
    """The same circuit of two tenants is two subjects; a channel may be one tenant's."""
    world = make_world(policy(channel(), channel("north", tenants=["north"])))
    fail(world)
    fail(world, caller=ADA)
    assert sorted(queued(world)) == [
        ("default", "ops", "circuit.opened", TOOLING),
        ("north", "north", "circuit.opened", TOOLING),
        ("north", "ops", "circuit.opened", TOOLING),
    ]
    assert sorted(due(world)) == [("default", SUBJECT), ("north", SUBJECT)]
    world.run(Delivered(parcel(world, tenant="north")))
    assert due(world) == [("default", SUBJECT)]


def test_what_was_sent_is_gone_and_on_record(make_world: MakeWorld) -> None:
    """One event says which alerts a person was told of, on which channel."""
    world = make_world(policy(channel(), channel("all")))
    fail(world)
    sent = parcel(world)
    world.run(Delivered(sent))
    assert queued(world) == [("default", "all", "circuit.opened", TOOLING)]
    (event,) = world.events("notification.sent")
    assert (event.subject, event.actor) == ("ops", "system")
    assert event.data == {
        "type": "circuit.opened",
        "about": TOOLING,
        "count": 1,
        "events": [sent.waiting[0].id],
        "message_id": sent.id,
    }


def test_a_subject_is_told_of_once_a_minute_and_what_comes_meanwhile_is_gathered(sqlite_world: MakeWorld) -> None:
    """The rest waits until the minute is over, and is one message then; other subjects need not wait."""
    world = sqlite_world(policy())
    fail(world)
    world.run(Delivered(parcel(world)))
    for _ in range(3):
        world.hand.advance(1_000)
        world.reset(TOOLING)
        world.trip(TOOLING)
    world.run(NotePolicy("sha256:1", ("wrong",)))
    assert due(world) == [("default", "policy/policy")]
    world.hand.advance(QUIET_MS - 3_001)
    assert due(world) == [("default", "policy/policy")]
    world.hand.advance(1)
    assert due(world) == [("default", SUBJECT), ("default", "policy/policy")]
    gathered = parcel(world)
    assert [event.type.value for _, event in gathered.newest] == ["circuit.closed", "circuit.forced"] * 3
    assert len(gathered.waiting) == 6
    world.run(Delivered(gathered))
    assert due(world) == [("default", "policy/policy")]


def test_what_comes_while_a_message_is_on_its_way_is_not_lost(make_world: MakeWorld) -> None:
    """It was not in that message, so it waits for the next one."""
    world = make_world(policy())
    fail(world)
    sent = parcel(world)
    world.reset(TOOLING)
    world.run(Delivered(sent))
    assert queued(world) == [("default", "ops", "circuit.closed", TOOLING)]


def test_what_failed_is_tried_again_when_its_time_has_come(sqlite_world: MakeWorld) -> None:
    """Not before; together with what has come since."""
    world = sqlite_world(policy())
    fail(world)
    world.run(NotDelivered(parcel(world), "the receiver answered 500", 5_000))
    world.reset(TOOLING)
    assert due(world) == []
    world.hand.advance(5_000)
    assert due(world) == [("default", SUBJECT)]
    again = parcel(world)
    assert [waiting.attempts for waiting in again.waiting] == [1, 0]
    assert again.attempts == 1
    with world.connected() as connection:
        assert letters(connection, dead=False, limit=1)[0].error == "the receiver answered 500"


def test_what_was_tried_too_often_is_given_up_and_what_came_later_is_not(sqlite_world: MakeWorld) -> None:
    """After so many attempts, each alert by itself; it is on record, and in the list of the dead."""
    world = sqlite_world(policy())
    fail(world)
    for number in range(MOST_ATTEMPTS):
        if number == MOST_ATTEMPTS - 1:
            world.reset(TOOLING)
        given_up = world.run(NotDelivered(parcel(world), "no answer within 10 s", 0))
        assert given_up == (1 if number == MOST_ATTEMPTS - 1 else 0)
    with world.connected() as connection:
        (dead,) = letters(connection, dead=True, limit=10)
    assert (dead.type, dead.attempts, dead.error, dead.dead_at) == (
        "circuit.opened",
        MOST_ATTEMPTS,
        "no answer within 10 s",
        world.hand.time,
    )
    (event,) = world.events("notification.given_up")
    assert (event.subject, event.data["events"], event.data["error"]) == ("ops", [dead.id], "no answer within 10 s")
    assert [event.type.value for _, event in parcel(world).newest] == ["circuit.closed"]


def test_what_was_tried_for_a_day_is_given_up(sqlite_world: MakeWorld) -> None:
    """However seldom."""
    world = sqlite_world(policy())
    fail(world)
    world.hand.advance(LONGEST_MS - 1)
    assert world.run(NotDelivered(parcel(world), "no", 0)) == 0
    world.hand.advance(1)
    assert world.run(NotDelivered(parcel(world), "no", 0)) == 1


def test_what_will_never_arrive_is_given_up_at_once(make_world: MakeWorld) -> None:
    """A receiver that is gone for good."""
    world = make_world(policy())
    fail(world)
    assert world.run(NotDelivered(parcel(world), "gone", 0, lasting=True)) == 1
    assert due(world) == []


def test_what_was_given_up_is_told_by_channel(make_world: MakeWorld) -> None:
    """How many up to a number, and why the last one did not arrive; what still waits, and what is another tenant's, is not among it."""
    scopes = [{"scope": "category:*", "failure_threshold": 2}, {"scope": "agent:*", "notify": False}]
    world = make_world(policy(channel(), channel("all"), circuit_breakers=scopes))
    fail(world)
    assert given_up(world, "ops", "all") == []
    world.run(NotDelivered(parcel(world), "gone", 0, lasting=True))
    world.hand.advance(1)
    world.trip("category:writing")
    world.run(NotDelivered(parcel(world, "circuit/category:writing", "all"), "no answer", 0, lasting=True))
    world.hand.advance(1)
    world.trip(TOOLING)
    world.run(NotDelivered(parcel(world), "gone for good", 0, lasting=True))
    assert given_up(world, "ops", "all") == [GivenUp("ops", 2, "gone for good"), GivenUp("all", 1, "no answer")]
    assert given_up(world, "all", "removed") == [GivenUp("all", 1, "no answer")]
    assert world.do(world.store.catalogue.given_up("north", ["ops", "all"])) == []
    with world.connected() as connection:
        assert outbox.given_up(connection, "default", ["ops"], most=1) == [GivenUp("ops", 1, "gone for good")]


def given_up(world: World, *channels: str) -> list[GivenUp]:
    """What was given up on some channels."""
    return list(world.do(world.store.catalogue.given_up("default", channels)))


def test_the_dead_are_sent_again_when_somebody_says_so(sqlite_world: MakeWorld) -> None:
    """One by its id, or all; at once, and with all their attempts before them."""
    world = sqlite_world(policy(channel(), channel("all")))
    fail(world)
    for name in ("ops", "all"):
        world.run(NotDelivered(parcel(world, name=name), "gone", 3_600_000, lasting=True))
    world.hand.advance(LONGEST_MS)
    id = dead_ids(world)[0]
    assert again(world, "evt_unknown") == 0
    assert again(world, id) == 2
    assert (due(world), due(world, "all")) == ([("default", SUBJECT)], [("default", SUBJECT)])
    assert world.run(NotDelivered(parcel(world), "no", 0)) == 0
    assert again(world) == 0


def test_that_somebody_has_them_sent_again_is_on_record(make_world: MakeWorld) -> None:
    """One event for each channel of a tenant, with what it is about; nothing where there was nothing, and the record stays whole."""
    world = make_world(policy(channel(), channel("all")))
    fail(world)
    fail(world, caller=ADA)
    for name, tenant in (("ops", "default"), ("ops", "north"), ("all", "north")):
        world.run(NotDelivered(parcel(world, name=name, tenant=tenant), "gone", 0, lasting=True))
    dead = dead_ids(world)
    assert again(world) == 3
    told = [(event.tenant, event.subject, event.actor, event.data["count"]) for event in world.events("notification.retried")]
    assert told == [("default", "ops", "cli", 1), ("north", "all", "cli", 1), ("north", "ops", "cli", 1)]
    assert {id for event in world.events("notification.retried") for id in event.data["events"]} == set(dead)
    assert again(world) == 0
    assert len(world.events("notification.retried")) == 3
    world.restart()
    assert world.audit().is_whole


def many(world: World, number: int, *, dead: bool) -> list[str]:
    """So many alerts of an agent's halts, given up or not, each of an event of its own; their ids, in order."""
    fail(world)
    ids = [f"evt_many.{place:04}" for place in range(number)]
    with world.connected() as connection, connection.begin():
        row = connection.execute(select(tables.outbox)).one()._asdict()
        rows = [row | {"id": id, "dead_at": row["at"] if dead else None} for id in ids]
        connection.execute(insert(tables.outbox), rows)
    return ids


def test_many_are_sent_again_page_by_page(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is a transaction, with an event of its own: all others can write in between."""
    world = make_world(policy())
    many(world, RETRIED_AT_ONCE + 3, dead=True)
    monkeypatch.setenv("DATABASE_URL", world.url.render_as_string(hide_password=False))
    monkeypatch.setenv("CSTP_AUDIT_KEY", AUDIT_KEY.decode())
    assert ServerBackend().retry_notifications(None) == RETRIED_AT_ONCE + 3
    assert dead_ids(world) == []
    assert [event.data["count"] for event in world.events("notification.retried")] == [RETRIED_AT_ONCE, 3]
    assert due(world) == [("default", SUBJECT)]


def test_a_page_begins_where_the_one_before_has_ended(make_world: MakeWorld) -> None:
    """So that what is given up again meanwhile is not sent for ever."""
    world = make_world(policy())
    ids = many(world, 2, dead=True)
    with world.connected() as connection, connection.begin():
        page = retry(connection, Journal(world.keys), id=None, clock=world.clock, after=("default", "ops", ids[0]))
    assert [id for _, _, id in page] == [ids[1]]
    assert dead_ids(world) == [ids[0]]


def test_what_becomes_of_alerts_is_written_in_one_order(make_world: MakeWorld) -> None:
    """Whether they were sent or not: two who write of the same alerts never wait for one another."""
    world = make_world(policy())
    ids = many(world, 4, dead=False)
    first, second, third, fourth = ids
    mixed = [
        OutboxChange("ops", SUBJECT, 1, 1, sent=(third, first)),
        OutboxChange("ops", SUBJECT, 1, 1, failed=(fourth,), dead=(second,), error="no"),
    ]
    written = list[str]()

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if "outbox " in statement:
            written.extend(ids[[id in str(row) for id in ids].index(True)] for row in (parameters if many else [parameters]))

    with world.connected() as connection, connection.begin():
        event.listen(connection.engine, "before_cursor_execute", listen)
        write_changes(connection, [("default", change) for change in mixed])
    assert written == ids
    with world.connected() as connection:
        left = {letter.id: (letter.attempts, letter.dead_at) for letter in letters(connection, dead=False, limit=10)}
    assert {id: left.get(id) for id in ids} == {first: None, second: (1, 1), third: None, fourth: (1, None)}


def test_a_clock_that_is_put_back_shuts_no_gate_for_longer_than_any_pause(sqlite_world: MakeWorld) -> None:
    """What was to wait until a time that is far off now is due at once."""
    world = sqlite_world(policy())
    fail(world)
    world.run(NotDelivered(parcel(world), "no", LONGEST_DELAY_MS))
    assert due(world) == []
    world.hand.advance(-1)
    assert due(world) == [("default", SUBJECT)]
    world.do(world.store.outbox.tidy(0))
    world.hand.advance(1)
    assert due(world) == [("default", SUBJECT)]


def test_one_process_at_a_time_holds_the_lease(make_world: MakeWorld) -> None:
    """Another one gets it when it is given back, or has run out."""
    world = make_world(policy())
    first, second = world.store.outbox, world.started()
    try:
        assert world.do(first.hold("one", 60_000))
        assert not world.do(second.outbox.hold("two", 60_000))
        assert world.do(first.hold("one", 60_000))
        world.do(second.outbox.release("two"))
        assert not world.do(second.outbox.hold("two", 60_000))
        world.do(first.release("one"))
        assert world.do(second.outbox.hold("two", 0))
        assert world.do(first.hold("one", 60_000))
        assert not world.do(second.outbox.hold("two", 60_000))
    finally:
        second.stop()


def test_nobody_waits_for_whoever_is_just_taking_the_lease(make_world: MakeWorld, server_url: str) -> None:
    """On PostgreSQL the row is passed over while another transaction has it."""
    world = make_world(policy())
    assert world.do(world.store.outbox.hold("one", 0))
    if server_url.startswith("sqlite"):
        return
    with world.connected() as connection, connection.begin():
        connection.execute(text("SELECT * FROM duties FOR UPDATE"))
        assert not world.do(world.store.outbox.hold("two", 60_000))
    assert world.do(world.store.outbox.hold("two", 60_000))


def test_what_is_over_is_forgotten(sqlite_world: MakeWorld) -> None:
    """The dead in time, and the gates that are open; nothing that waits, and no gate that is shut."""
    world = sqlite_world(policy(channel(), channel("gone"), channel("slow")))
    fail(world)
    world.run(Delivered(parcel(world)))
    world.run(NotDelivered(parcel(world, name="gone"), "gone", QUIET_MS, lasting=True))
    tidy = world.store.outbox.tidy
    assert world.do(tidy(world.hand.time - 1)) == 0
    world.hand.advance(QUIET_MS)
    assert world.do(tidy(world.hand.time - QUIET_MS)) == 3
    assert world.do(tidy(world.hand.time)) == 0
    assert [channel for _, channel, _, _ in queued(world)] == ["slow"]
    with world.connected() as connection:
        assert connection.execute(select(tables.outbox_gates)).all() == []


def test_who_tidies_waits_for_nobody(make_world: MakeWorld, server_url: str) -> None:
    """On PostgreSQL what somebody else has locked is left for the next time, so that nobody waits for one another for ever."""
    world = make_world(policy(channel(), channel("all")))
    fail(world)
    for name in ("ops", "all"):
        world.run(NotDelivered(parcel(world, name=name), "gone", 0, lasting=True))
    if server_url.startswith("sqlite"):
        return
    later = world.time() + 1_000
    with world.connected() as connection, connection.begin():
        connection.execute(text("SELECT * FROM outbox_gates WHERE channel = 'ops' FOR UPDATE"))
        connection.execute(text("SELECT * FROM outbox WHERE channel = 'all' FOR UPDATE"))
        assert world.do(world.store.outbox.tidy(later)) == 2
        connection.execute(text("SELECT * FROM outbox WHERE channel = 'ops' FOR UPDATE"))
    assert world.do(world.store.outbox.tidy(later)) == 2


def test_the_channels_that_nobody_has_are_found_as_long_as_anything_waits_for_them(make_world: MakeWorld) -> None:
    """Whatever their names."""
    world = make_world(policy(channel("a"), channel("b"), channel("c")))
    fail(world)
    strays = world.store.outbox.strays
    assert world.do(strays(["b"])) == ["a", "c"]
    assert world.do(strays([])) == ["a", "b", "c"]
    world.run(NotDelivered(parcel(world, name="a"), "gone", 0, lasting=True))
    world.run(Delivered(parcel(world, name="c")))
    assert world.do(strays(["b"])) == []


def test_what_failed_may_be_tried_before_its_time(make_world: MakeWorld) -> None:
    """Where the channel works again; not what is quiet because it was just told of, nor what another channel did not take."""
    world = make_world(policy(channel(), channel("all")))
    fail(world)
    fail(world, caller=ADA)
    world.run(NotDelivered(parcel(world), "no", 3_600_000))
    world.run(NotDelivered(parcel(world, name="all"), "no", 3_600_000))
    world.run(Delivered(parcel(world, tenant="north")))
    world.reset(TOOLING, caller=ADA)
    world.do(world.store.outbox.reopen("ops"))
    assert due(world) == [("default", SUBJECT)]
    assert due(world, "all") == [("north", SUBJECT)]


def test_what_waits_and_what_was_given_up_is_counted_by_channel(make_world: MakeWorld) -> None:
    """With the time since when the first of it waits; what was sent again waits from then on."""
    world = make_world(policy(channel(), channel("all"), channel("idle", events=["budget.reached"])))
    assert world.do(world.store.counts()).alerts == {}
    fail(world)
    world.reset(TOOLING)
    first = parcel(world).queued_at
    world.run(NotDelivered(parcel(world, name="all"), "gone", 0, lasting=True))
    assert world.do(world.store.counts()).alerts == {"ops": AlertCounts(2, first, 0), "all": AlertCounts(0, None, 2)}
    world.hand.advance(LONGEST_MS)
    again(world)
    counted = world.do(world.store.counts()).alerts
    assert counted == {"ops": AlertCounts(2, first, 0), "all": AlertCounts(2, parcel(world, name="all").queued_at, 0)}
    assert (counted["all"].waiting_since or 0) > first


def spoil(world: World, id: str, event: str = '{"type": "circuit.exploded"}') -> None:
    """As a newer version of the service, or somebody's hand, would have written it."""
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.outbox).where(tables.outbox.c.id == id).values(event=event))


@pytest.mark.parametrize("text", ['{"type": "circuit.exploded"}', '{"type": "circuit.closed"}', "{", "[]", "7"])
def test_what_cannot_be_read_goes_in_no_message_and_is_kept_for_a_day(sqlite_world: MakeWorld, text: str) -> None:
    """The rest of the subject is sent without it; after a day it is given up, on record, however often it was looked at."""
    world = sqlite_world(policy())
    fail(world)
    bad = parcel(world).waiting[0].id
    world.reset(TOOLING)
    spoil(world, bad, text)
    mixed = parcel(world)
    assert [event.type.value for _, event in mixed.newest] == ["circuit.closed"]
    assert (len(mixed.waiting), [waiting.id for waiting in mixed.unread]) == (1, [bad])
    assert world.run(Delivered(mixed)) == 0
    world.hand.advance(QUIET_MS)
    alone = parcel(world)
    assert (alone.newest, alone.waiting, [(each.id, each.attempts) for each in alone.unread]) == ((), (), [(bad, 1)])
    for _ in range(MOST_ATTEMPTS):
        assert world.run(NotDelivered(alone, UNREADABLE, 0)) == 0
    assert due(world) == [("default", SUBJECT)]
    world.hand.advance(LONGEST_MS)
    assert world.run(NotDelivered(parcel(world), UNREADABLE, 0)) == 1
    assert due(world) == []
    (event,) = world.events("notification.given_up")
    assert (event.data["events"], event.data["about"], event.data["error"]) == ([bad], SUBJECT, UNREADABLE)
    with world.connected() as connection:
        (letter,) = letters(connection, dead=True, limit=10)
    assert (letter.id, letter.error) == (bad, UNREADABLE)


def test_what_cannot_be_read_hides_nothing_that_can(sqlite_world: MakeWorld) -> None:
    """However much of it came later."""
    world = sqlite_world(policy())
    fail(world)
    good = parcel(world).waiting[0].id
    for _ in range(15):
        world.hand.advance(1)
        world.reset(TOOLING)
        world.trip(TOOLING)
    for waiting in parcel(world).waiting[1:]:
        spoil(world, waiting.id)
    mixed = parcel(world)
    assert ([id for id, _ in mixed.newest], [waiting.id for waiting in mixed.waiting], len(mixed.unread)) == ([good], [good], 30)


def test_what_became_visible_late_makes_another_message(sqlite_world: MakeWorld) -> None:
    """An alert of an earlier time that joins what was sent already is not taken for the same by a receiver that remembers ids."""
    world = sqlite_world(policy())
    fail(world)
    first = parcel(world)
    early = first.waiting[0].id
    with world.connected() as connection, connection.begin():
        row = connection.execute(select(tables.outbox)).one()._asdict()
        connection.execute(insert(tables.outbox).values(row | {"id": "evt_0.0000", "at": row["at"] - 5}))
    second = parcel(world)
    assert [waiting.id for waiting in second.waiting] == ["evt_0.0000", early]
    assert second.newest[-1] == first.newest[-1]
    assert second.id != first.id
