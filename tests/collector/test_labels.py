"""No member can speak for another, and none can fill the hub with series."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from peerwatch.agent.seal import Sealed
from peerwatch.model import Labels, Series
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.batch import encode_batch
from peerwatch.wire.push import Refusal, RefusalReason, encode_request
from peerwatch.wire.schema import Schema, encode_delta, encode_schema
from tests.collector.kit import BOX, EPOCH, Agent, Hub, acked, batch, only_refusal, series

MakeHub = Callable[..., Hub]


def _stored(hub: Hub, *labels: dict[str, str], job: str = "", target: str = "") -> list[str]:
    agent = hub.agent()
    rows = [[float(row)] for row in range(len(labels))]
    (reply,) = hub.push(agent.request(agent.seal(batch(rows, of=series(*labels), job=job, target=target))))
    assert acked(reply) == [(EPOCH, 0)]
    return sorted(str(one) for one in hub.store.cells)


def test_every_series_gets_its_members_name(hub: Hub) -> None:
    """`instance` from the roster and `job` from the block, `node` where it says none."""
    assert _stored(hub, {"mode": "idle"}) == ['m{instance="web-1", job="node", mode="idle"}']


def test_a_target_is_named(hub: Hub) -> None:
    """What was scraped is told apart from the host itself."""
    wanted = ['m{instance="web-1", job="mysql", target="db:3306"}']
    assert _stored(hub, {}, job="mysql", target="db:3306") == wanted


def test_a_claimed_identity_is_set_aside(hub: Hub) -> None:
    """The member's own word stays readable under exported_*, and never stands where the hub's belongs."""
    claim = {"instance": "db-1", "job": "postgres", "target": "other"}
    assert _stored(hub, claim, target="t") == [
        'm{exported_instance="db-1", exported_job="postgres", exported_target="other",'
        ' instance="web-1", job="node", target="t"}'
    ]


def test_a_claim_that_was_set_aside_before_is_set_aside_again(hub: Hub) -> None:
    """Nothing is overwritten."""
    assert _stored(hub, {"instance": "a", "exported_instance": "b"}) == [
        'm{exported_exported_instance="a", exported_instance="b", instance="web-1", job="node"}'
    ]


def test_a_member_cannot_say_that_it_is_up(hub: Hub) -> None:
    """`up` of a host is the hub's; that of a scraped target is the agent's to say."""
    assert _stored(hub, {"__name__": "up"}) == ['exported_up{instance="web-1", job="node"}']


def test_up_of_a_target_is_the_agents(hub: Hub) -> None:
    """It bears the target's name, so it cannot be taken for the host's."""
    assert _stored(hub, {"__name__": "up"}, target="t") == ['up{instance="web-1", job="node", target="t"}']


def test_up_moves_past_a_name_that_is_taken(hub: Hub) -> None:
    """Both series are stored."""
    names = _stored(hub, {"__name__": "up"}, {"__name__": "exported_up"})
    assert names == [
        'exported_exported_up{instance="web-1", job="node"}',
        'exported_up{instance="web-1", job="node"}',
    ]


def test_two_series_that_become_one_are_refused(hub: Hub) -> None:
    """Better than storing one's samples under the other's name."""
    agent = hub.agent()
    both = series({"instance": "x"}, {"exported_instance": "x"})
    (reply,) = hub.push(agent.request(agent.seal(batch([[1.0], [2.0]], of=both))))
    words = "web-1: schema names a series twice once the hub's labels are added"
    assert only_refusal(reply) == Refusal(EPOCH, 0, RefusalReason.MALFORMED, words)


def test_equal_hosts_share_a_schema(hub: Hub) -> None:
    """The second host's batch needs no schema, and is stored under its own name."""
    one, two = hub.agent("a"), hub.agent("b")
    replies = hub.push(one.request(one.seal()), two.request(two.seal(), schemas=False))
    assert [acked(reply) for reply in replies] == [[(EPOCH, 0)], [(EPOCH, 0)]]
    assert sorted(labels.get("instance") for labels in hub.store.cells) == ["a", "b"]


def _bomb(hub: Hub, *bad: Series) -> Refusal:
    """A schema that no honest sealer would make."""
    agent = hub.agent()
    schema = Schema.of(bad)
    raw = agent.forged(_body([[1.0]] * len(bad), schema))
    envelope = _envelope(raw)
    refusal = only_refusal(hub.push(encode_request([envelope], [encode_schema(schema)], BOX))[0])
    assert hub.store.layouts_made == 0
    return refusal


def _body(rows: list[list[float]], schema: Schema) -> bytes:
    return encode_batch(batch(rows, of=schema.series), lambda _: schema)


def _envelope(request: bytes) -> bytes:
    return pb.PushRequest.FromString(request).envelopes[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({f"l{row:02}": "x" for row in range(64)}, "series with 65 labels, limit 64"),
        ({"path": "x" * 5000}, "value of label 'path' of 5000 bytes, limit 4096"),
        ({"n" * 300: "x"}, "label name of 300 bytes, limit 256"),
        ({"path": "\u00e9" * 2049}, "value of label 'path' of 4098 bytes, limit 4096"),
    ],
)
def test_a_label_bomb_is_refused(hub: Hub, labels: dict[str, str], words: str) -> None:
    """Number and length of labels, each with value and limit; before the store learns of them."""
    refusal = _bomb(hub, Series(Labels.of({"__name__": "m", **labels})))
    assert refusal == Refusal(EPOCH, 0, RefusalReason.MALFORMED, words)


def test_help_is_bounded(hub: Hub) -> None:
    """It is stored too."""
    refusal = _bomb(hub, Series(Labels.of(__name__="m"), help="x" * 3000))
    assert refusal.message == "help of 3000 bytes, limit 2048"


def test_a_series_twice_is_malformed(hub: Hub) -> None:
    """A schema is a list of distinct series."""
    assert _bomb(hub, *(series({}) * 2)).message == "schema names a series twice"


def _wide(count: int, name: str) -> tuple[Series, ...]:
    return series(*({"id": f"{name}{row}"} for row in range(count)))


def test_one_sender_has_so_many_series(make_hub: MakeHub) -> None:
    """Past the quota its batches wait at the sender, and the store has learnt nothing of the surplus."""
    hub = make_hub(max_series_per_sender=100, max_new_series_per_hour=1000)
    agent = hub.agent()
    first = agent.request(agent.seal(batch([[1.0]] * 80, of=_wide(80, "a"))))
    second = agent.request(agent.seal(batch([[1.0]] * 30, of=_wide(30, "b"))))
    huge = agent.request(agent.seal(batch([[1.0]] * 101, of=_wide(101, "c"))))
    replies = hub.push(first, second, huge)
    assert acked(replies[0]) == [(EPOCH, 0)]
    assert [only_refusal(reply) for reply in replies[1:]] == [
        Refusal(EPOCH, 1, RefusalReason.SERIES_LIMIT, "web-1: 110 series in use, limit 100 per sender", 60.0),
        Refusal(EPOCH, 2, RefusalReason.SERIES_LIMIT, "web-1: schema of 101 series, limit 100 per sender", 60.0),
    ]
    assert hub.store.layouts_made == 1


def test_one_sender_makes_new_series_so_fast(make_hub: MakeHub) -> None:
    """Its first schema is its size; what changes after that is churn, and is forgiven by the hour."""
    hub = make_hub(max_series_per_sender=1000, max_new_series_per_hour=50)
    agent = hub.agent()
    sealed = [agent.seal(batch([[1.0]] * count, of=_wide(count, str(count)))) for count in (200, 40, 20)]

    async def story() -> list[str]:
        told = []
        for one in (*sealed, sealed[2]):
            reply = hub.read(await hub.collector.push(agent.request(one)))
            told.append(reply.refusals[0].message if reply.refusals else "")
            if told[-1]:
                hub.clock.advance(3600)
        return told

    assert hub.run(story) == ["", "", "web-1: 60 new series within an hour, limit 50 per sender", ""]


def test_one_sender_has_so_many_schemas(make_hub: MakeHub) -> None:
    """The same series under ever new help texts cost the hub a layout each."""
    hub = make_hub(max_layouts_per_sender=3)
    agent = hub.agent()
    texts = [(Series(Labels.of(__name__="m"), help=str(number)),) for number in range(4)]
    replies = hub.push(*(agent.request(agent.seal(batch([[1.0]], of=one))) for one in texts))
    assert [len(acked(reply)) for reply in replies] == [1, 1, 1, 0]
    assert only_refusal(replies[3]).message == "web-1: 4 schemas and targets within an hour, limit 3 per sender"
    assert hub.store.layouts_made == 3


def test_an_unknown_schema_is_asked_for(hub: Hub) -> None:
    """Nothing is stored until it is there, and then everything is."""
    agent = hub.agent()
    sealed = agent.seal()
    first, second = hub.push(agent.request(sealed, schemas=False), agent.request(sealed))
    assert (acked(first), first.refusals, first.need_schemas) == ([], (), tuple(sealed.schemas))
    assert acked(second) == [(EPOCH, 0)]


def test_a_delta_needs_its_base(hub: Hub) -> None:
    """Without the base the whole schema is asked for; with it the change is enough."""
    agent = hub.agent()
    base, changed = series({"c": "1"}), series({"c": "1"}, {"c": "2"})
    first = agent.seal(batch([[1.0]], of=base))
    second = agent.seal(batch([[1.0], [2.0]], of=changed))
    delta = encode_delta(Schema.of(base), Schema.of(changed))
    assert delta is not None
    request = encode_request([second.item.envelope], [delta], BOX)
    lacking, _, told = hub.push(request, agent.request(first), request)
    assert lacking.need_schemas == (Schema.of(changed).id,)
    assert acked(told) == [(EPOCH, 1)]


def test_a_schema_must_hash_to_its_name(hub: Hub) -> None:
    """Schemas are not signed; the signed batch names the content."""
    agent = hub.agent()
    sealed = agent.seal()
    (record,) = sealed.schemas.values()
    forged = record.replace(b"row", b"col")
    (reply,) = hub.push(encode_request([sealed.item.envelope], [forged], BOX))
    assert only_refusal(reply).message.startswith("schema claims the name")
    assert hub.store.layouts_made == 0


def _with_baseline(agent: Agent) -> tuple[Sealed, Sealed]:
    """A batch that is told in full, and one that is relative to a baseline."""
    rows = series(*({"row": str(row)} for row in range(40)))
    first, second = (agent.seal(batch([[float(row)] for row in range(40)], of=rows)) for _ in range(2))
    return first, second


def test_an_unknown_baseline_is_asked_for(hub: Hub) -> None:
    """Nothing is stored until it is there; then the store is given what it needs to read the batch again."""
    agent = hub.agent()
    first, second = _with_baseline(agent)
    (name,) = second.schemas.keys() - first.schemas.keys()
    replies = hub.push(agent.request(first), agent.request(second, schemas=False), agent.request(second))
    assert (acked(replies[1]), replies[1].refusals, replies[1].need_schemas) == ([], (), (name,))
    assert acked(replies[2]) == [(EPOCH, 1)]
    assert hub.store.contexts == {name: second.schemas[name]}


def test_a_baseline_must_hash_to_its_name(hub: Hub) -> None:
    """It is not signed; the signed batch names the content. Nor can a schema stand in for it."""
    agent = hub.agent()
    first, second = _with_baseline(agent)
    (name,) = second.schemas.keys() - first.schemas.keys()
    forged = pb.SchemaRecord.FromString(second.schemas[name])
    forged.baseline.columns = forged.baseline.columns[:-1] + b"\x07"
    other = pb.SchemaRecord.FromString(first.schemas[next(iter(first.schemas))])
    other.id = name
    replies = hub.push(
        agent.request(first),
        encode_request([second.item.envelope], [forged.SerializeToString()], BOX),
        encode_request([second.item.envelope], [other.SerializeToString()], BOX),
        agent.request(second),
    )
    assert only_refusal(replies[1]).message.startswith("baseline claims the name")
    assert only_refusal(replies[2]).message.endswith("is wanted as a baseline and holds none")
    assert acked(replies[3]) == [(EPOCH, 1)]


def test_schemas_that_nobody_needs_are_not_opened(hub: Hub) -> None:
    """A stranger's megabytes of schema cost nothing; neither does junk beside what is known already."""
    agent, stranger = hub.agent(), Agent(hub.authority.fleet)
    sealed, next_one = agent.seal(), agent.seal()
    junk = b"\xff" * 10_000
    replies = hub.push(
        encode_request([stranger.seal().item.envelope], [junk], BOX),
        agent.request(sealed),
        encode_request([next_one.item.envelope], [junk], BOX),
    )
    assert only_refusal(replies[0]).reason is RefusalReason.NOT_A_MEMBER
    assert acked(replies[2]) == [(EPOCH, 1)]


def test_nan_payloads_are_stored_bit_for_bit(hub: Hub) -> None:
    """The stale marker is data, and so is every other NaN, -0.0 and the infinities."""
    bits = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8DEADBEEF0001, 0x8000000000000000, 0x7FF0000000000000]
    values = [list(np.array(bits, np.uint64).view(np.float64))]
    agent = hub.agent()
    (reply,) = hub.push(agent.request(agent.seal(batch(values))))
    assert acked(reply) == [(EPOCH, 0)]
    (times,) = hub.store.cells.values()
    assert list(times.values()) == bits
    assert struct.pack("<Q", times[EPOCH]) == struct.pack("<Q", bits[0])
