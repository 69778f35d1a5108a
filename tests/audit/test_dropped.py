"""What an agent's spool dropped is told from what somebody took out of the store: the agent signs what it gave up."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.agent.seal import Sealer
from peerwatch.audit.report import Reason, Tally
from peerwatch.spool import Spool
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.identity import peer_id
from tests.audit.kit import START_MS, AuditedHub, reasons, remove, tally, without_batch
from tests.collector.kit import batch, series
from tests.spool.kit import BIG, small

ROWS = series(*({"row": str(row)} for row in range(10)))
ROOMY, TIGHT = 1 << 24, 1 << 15  # of the spool: all fits, or some 60 batches do


def _at(number: int) -> int:
    return START_MS + 10_000 * number


class _Machine:
    """An agent with a spool for two hubs, put together as in life. The one hub is here, of the other only a cursor."""

    def __init__(self, folder: Path) -> None:
        self.hub = AuditedHub(folder / "hub")
        self.hub.clock.advance(20_000)
        self.me = peer_id(self.hub.hub.authority.member)
        self.agent = self.hub.hub.agent("one")
        self._folder = folder
        self._epoch = self.agent.epoch - 1
        self._number = 0
        self.start(ROOMY)

    def start(self, max_bytes: int) -> None:
        """Start, after a kill if it ran: nothing is written by this."""
        self._epoch += 1
        agent, config = self.agent, small(max_bytes=max_bytes, segment_bytes=4096)
        file = self._folder / "open_run"
        agent.sealer = Sealer(agent.fleet, agent.sender, agent.key, self._epoch, run_file=file)
        clock, registry = self.hub.clock, CollectorRegistry()
        self.spool = Spool.open(self._folder / "spool", config, clock=clock, registry=registry)
        self.readers = {name: self.spool.reader(name) for name in (self.me, "other")}

    def kill(self) -> None:
        """End; only the lock of the folder goes."""
        self.spool._disk.close()
        self.agent.sealer.close()

    def take(self, count: int) -> None:
        """Sample and spool."""
        for _ in range(count):
            made = batch([[float(self._number)]] * 10, of=ROWS, at_ms=_at(self._number))
            sealed = self.agent.sealer.seal(made, _at(self._number), self.spool.floor(), self.spool.dropped())
            self.spool.append(sealed.item, sealed.schemas)
            self.agent.sealer.sent()
            if sealed.dropped:
                self.spool.told(sealed.item.position, sealed.dropped)
            self._number += 1

    def deliver(self) -> int:
        """To both hubs; how many batches this one got."""
        items = [*self.readers[self.me].backfill(BIG), *self.readers[self.me].fresh(BIG)]
        requests = []
        for item in items:
            schemas = {name: self.spool.schema(name) for name in item.schema_ids}
            requests.append(_request(item.envelope, [one for one in schemas.values() if one is not None]))
        self.hub.push(*requests)
        self.acknowledge(self.me, items)
        self.acknowledge("other", [*self.readers["other"].backfill(BIG), *self.readers["other"].fresh(BIG)])
        return len(items)

    def acknowledge(self, name: str, items: list) -> None:  # type: ignore[type-arg]
        """A hub has them."""
        for item in items:
            self.readers[name].ack(item.position.epoch, [(item.position.seq, item.position.seq)])

    def audit(self, hub: str | None = None) -> Tally:
        """What is told of the agent."""
        self.hub.flush()
        return tally(self.hub.audit(hub=self.me if hub is None else hub), "one")


def _request(envelope: bytes, records: list[bytes]) -> bytes:
    from peerwatch.wire.push import encode_request
    from tests.collector.kit import BOX

    return encode_request([envelope], records, BOX)


def test_what_a_full_spool_dropped_is_not_missing(tmp_path: Path) -> None:
    """While the hubs were away: whole runs, the end of one and the start of another; each number is accounted for."""
    machine = _Machine(tmp_path)
    machine.take(100)
    assert machine.deliver() == 100
    machine.kill()
    machine.start(TIGHT)
    machine.take(400)
    dropped = machine.spool.stats().dropped_items
    assert dropped > 200
    machine.deliver()
    machine.take(64)
    machine.deliver()
    found = machine.audit()
    assert (found.dropped_batches, dict(found.broken)) == (dropped, {})
    assert found.proven > 10 * (164 - 2 * 64)


@pytest.mark.parametrize("kill", [False, True])
def test_it_is_told_again_until_it_arrived(tmp_path: Path, kill: bool) -> None:
    """What told of a drop may be dropped itself, again and again, and the agent be killed in between."""
    machine = _Machine(tmp_path)
    machine.take(64)
    machine.deliver()
    machine.take(70)
    machine.kill()
    machine.start(TIGHT)
    lost = 0
    for _ in range(6):
        machine.take(150)
        if kill:
            lost += machine.spool.stats().dropped_items
            machine.kill()
            machine.start(TIGHT)
    lost += machine.spool.stats().dropped_items
    machine.deliver()
    machine.take(64)
    machine.deliver()
    found = machine.audit()
    assert (found.dropped_batches, dict(found.broken)) == (lost, {})
    machine.take(10)
    machine.deliver()
    machine.take(64)
    assert machine.spool.dropped() == ()  # and not for ever


def test_what_was_delivered_is_missed_all_the_same(tmp_path: Path) -> None:
    """A drop excuses its own numbers only: a batch beside it that the hub had and somebody removed is missing."""
    machine = _Machine(tmp_path)
    machine.take(100)
    machine.deliver()
    machine.kill()
    machine.start(TIGHT)
    machine.take(200)
    machine.deliver()
    machine.take(64)
    machine.deliver()
    dropped = machine.audit().dropped_batches
    machine.hub.tamper(remove(_at(50), _at(50) + 5000), without_batch(machine.agent.sender, 50, marks=True))
    (machine.hub.folder / "checkpoint").unlink()
    found = tally(machine.hub.audit(hub=machine.me), "one")
    assert found.broken == {Reason.MISSING: 1} and found.dropped_batches == dropped > 0
    assert found.first_offence is not None and found.first_offence.number[1] == 50


def test_what_was_dropped_for_another_hub_is_no_excuse(tmp_path: Path) -> None:
    """The one hub had all, and only the other was away: whoever takes batches out of the one's store is found out."""
    machine = _Machine(tmp_path)
    machine.kill()
    machine.start(TIGHT)
    for _ in range(10):
        machine.take(40)
        items = [*machine.readers[machine.me].backfill(BIG), *machine.readers[machine.me].fresh(BIG)]
        for item in items:
            schemas = [machine.spool.schema(name) for name in item.schema_ids]
            machine.hub.push(_request(item.envelope, [one for one in schemas if one is not None]))
        machine.acknowledge(machine.me, items)
    assert machine.spool.stats().dropped_items > 100
    assert machine.audit().dropped_batches == 0
    machine.hub.tamper(remove(_at(20), _at(20) + 5000), without_batch(machine.agent.sender, 20, marks=True))
    (machine.hub.folder / "checkpoint").unlink()
    assert reasons(tally(machine.hub.audit(hub=machine.me), "one"))[Reason.MISSING] == 1
    unknown = tally(machine.hub.audit(hub=""), "one")  # whose store it is must be known for that
    assert Reason.MISSING not in unknown.broken and unknown.dropped_batches == 1
