"""Who signed what is stored: proven after flush and compaction, and what somebody with the disk cannot hide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peerwatch.audit.claims import Signer
from peerwatch.audit.report import Reason
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.model import Labels, Matcher, MatchOp, Part, RowsEntry, SampleMatrix, Series
from peerwatch.store.block_writer import BlockFacts
from peerwatch.store.dictionary_log import DictionaryLog, LayoutRecord
from peerwatch.store.disk import Disk
from peerwatch.store.entry import EnvelopeRecord
from peerwatch.store.provenance import RunRoot
from peerwatch.store.reader import StoreReader
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.compression import Codec, Compressor
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.run_root import sign_run
from peerwatch.wire.signed import Domain, sign_message
from tests.audit.kit import START_MS, AuditedHub, reasons, remove, rewrite_log, set_value, tally, without_batch
from tests.collector.kit import EPOCH, Agent, batch, series

ROWS = series(*({"row": str(row)} for row in range(10)))
BATCHES = 130  # two runs of 64, and two batches that no run covers yet; they span two windows
STAGES = ["wal", "flushed", "compacted"]


def _at(number: int) -> int:
    return START_MS + 10_000 * number


def _fill(agent: Agent, count: int = BATCHES) -> list[bytes]:
    random = np.random.default_rng(5)
    requests = []
    for number in range(count):
        values = random.normal(1e6, 1e3, (10, 2)).round(2)
        requests.append(agent.request(agent.seal(batch(values.tolist(), of=ROWS, at_ms=_at(number)))))
    return requests


def _hub(folder: Path, stage: str) -> tuple[AuditedHub, Agent, Agent]:
    hub = AuditedHub(folder)
    hub.clock.advance(BATCHES * 10)
    one, two = hub.hub.agent("one"), hub.hub.agent("two")
    requests = [request for pair in zip(_fill(one), _fill(two), strict=True) for request in pair]
    half = len(requests) // 2
    hub.push(*requests[:half])
    if stage != "wal":
        hub.flush()
    hub.push(*requests[half:])
    if stage != "wal":
        hub.flush()
    if stage == "compacted":
        hub.compact()
    return hub, one, two


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    """How far the samples have come."""
    return str(request.param)


def test_everything_signed_is_proven(tmp_path: Path, stage: str) -> None:
    """In the WAL each batch by its own signature; in blocks by runs, but for what is not in one yet."""
    hub, one, two = _hub(tmp_path, stage)
    report = hub.audit()
    open_samples = 0 if stage == "wal" else 2 * 20
    assert [(one.name, one.sender, one.key) for one in report.tallies] == [
        ("one", one.sender, one.sender),
        ("two", two.sender, two.sender),
    ]
    for found in report.tallies:
        assert (found.samples, found.proven) == (BATCHES * 20, BATCHES * 20 - open_samples)
        assert reasons(found) == ({Reason.OPEN: open_samples} if open_samples else {})
        assert (found.first_ms, found.last_ms) == (_at(0), _at(BATCHES - 1) + 5000)
    assert not report.broken and not report.damage


def test_time_agent_and_selector_narrow_what_is_counted(tmp_path: Path) -> None:
    """Whole batches are compared, what was asked for is counted; a part is proved without the rest."""
    hub, _, _ = _hub(tmp_path, "compacted")
    rows = (Matcher("row", MatchOp.REGEX, "1|2"),)
    report = hub.audit(agent="two", matchers=rows, start_ms=_at(10) + 1, end_ms=_at(90))
    (found,) = report.tallies
    assert (found.name, found.proven, found.samples, reasons(found)) == ("two", 2 * 160, 2 * 160, {})
    assert (found.first_ms, found.last_ms) == (_at(10), _at(90) + 5000)
    assert hub.audit(start_ms=_at(20), end_ms=_at(20)).tallies[0].proven == 10
    assert hub.audit(start_ms=_at(1000)).tallies == []


@pytest.mark.parametrize("stage", STAGES[1:])
def test_one_changed_value_is_found(tmp_path: Path, stage: str) -> None:
    """A sample in a block with right checksums: the batch is named, all others stay proven."""
    hub, _, _ = _hub(tmp_path, stage)
    hub.tamper(set_value(_at(40), 7.0))
    report = hub.audit()
    (bad,) = [one for one in report.tallies if one.broken]
    assert reasons(bad) == {Reason.CHANGED: 20, Reason.OPEN: 40}
    assert bad.first_offence is not None
    assert (bad.first_offence.number, bad.first_offence.first_ms) == ((EPOCH, 40), _at(40))
    assert ".blk" in bad.first_offence.detail
    assert bad.proven == 127 * 20
    assert report.broken


def test_the_least_bit_counts(tmp_path: Path) -> None:
    """Also where a comparison of numbers would not tell: the sign of a zero."""
    hub = AuditedHub(tmp_path)
    hub.clock.advance(1000)
    agent = hub.hub.agent("one")
    hub.push(*[agent.request(agent.seal(batch([[0.0]], at_ms=_at(number)))) for number in range(64)])
    hub.flush()
    assert reasons(tally(hub.audit(), "one")) == {}
    hub.tamper(set_value(_at(3), -0.0))
    assert reasons(tally(hub.audit(), "one")) == {Reason.CHANGED: 1}


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_removed_sample_is_found(tmp_path: Path, stage: str) -> None:
    """One hole in one series."""
    hub, _, _ = _hub(tmp_path, stage)
    ids = hub.store._dictionary.find((Matcher("row", MatchOp.EQUAL, "4"),), _at(0), _at(200))[0].tolist()
    hub.tamper(remove(_at(33), _at(33), ids[:1]))
    report = hub.audit()
    (bad,) = [one for one in report.tallies if one.broken]
    assert reasons(bad) == {Reason.CHANGED: 19, Reason.OPEN: 40}
    assert bad.first_offence is not None and bad.first_offence.number == (EPOCH, 33)


@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize("marks", [False, True])
def test_a_removed_batch_is_found(tmp_path: Path, stage: str, marks: bool) -> None:
    """Samples and all that blocks say of it: the run still has its leaf. Whether its number was left tells more."""
    hub, one, _ = _hub(tmp_path, stage)
    hub.tamper(remove(_at(50), _at(50) + 5000), without_batch(one.sender, 50, marks=marks))
    if marks:  # who is thorough takes them out of the checkpoint, too
        (hub.folder / "checkpoint").unlink()
    report = hub.audit()
    gone = Reason.MISSING if marks else Reason.GONE
    assert reasons(tally(report, "one")) == {gone: 1, Reason.OPEN: 40}
    assert reasons(tally(report, "two")) == {Reason.CHANGED: 0, Reason.OPEN: 40}
    offence = tally(report, "one").first_offence
    assert offence is not None and offence.number == (EPOCH, 50)
    assert report.broken


def test_a_removed_run_is_found(tmp_path: Path) -> None:
    """64 batches with their signatures and numbers: the run after it names the end of the one before."""
    hub = AuditedHub(tmp_path)
    hub.clock.advance(3000)
    agent = hub.hub.agent("one")
    hub.push(*_fill(agent, 192))
    hub.flush()

    def facts(told: BlockFacts) -> BlockFacts:
        for seq in range(64, 128):
            told = without_batch(agent.sender, seq, marks=True)(told)
        return replace(told, run_roots=[one for one in told.run_roots if one.seq != 127])

    hub.tamper(remove(_at(64), _at(127) + 5000), facts)
    (hub.folder / "checkpoint").unlink()
    found = tally(hub.audit(), "one")
    assert reasons(found) == {Reason.MISSING: 1} and found.proven == 128 * 20
    assert found.first_offence is not None and "after 1700000000000/63 up to 1700000000000/127" in (
        found.first_offence.detail
    )


def test_samples_that_nobody_sent_are_found(tmp_path: Path) -> None:
    """Where the agent was silent, and where it was not."""
    hub = AuditedHub(tmp_path)
    hub.clock.advance(3000)
    agent = hub.hub.agent("one")
    requests = _fill(agent, 64)
    hub.push(*requests)
    layout = hub.store._dictionary.series_ids_of(1)
    assert layout is not None
    kept = Series(ROWS[0].labels.with_({"instance": "one", "job": "node"}))
    hub.write(RowsEntry((Part(hub.store.layout((kept,)), SampleMatrix(np.array([_at(100)]), np.array([[1.0]]))),)))
    assert reasons(tally(hub.audit(), "one")) == {Reason.ADDED: 1}
    hub.flush()
    found = tally(hub.audit(), "one")
    assert reasons(found) == {Reason.ADDED: 1} and found.proven == 64 * 20
    assert found.first_offence is not None and found.first_offence.first_ms == _at(100)
    between = SampleMatrix(np.array([_at(20) + 2500]), np.array([[1.0]]))
    again = hub._open() if False else hub.store
    again.append([RowsEntry((Part(again.layout((kept,)), between),))])
    again.flush()
    assert reasons(tally(hub.audit(), "one")) == {Reason.ADDED: 1, Reason.CHANGED: 21}


def test_what_the_hub_itself_writes_is_told_apart(tmp_path: Path) -> None:
    """`up` bears the agent's name and is signed by nobody: it is counted as that, and breaks nothing."""
    hub, _, _ = _hub(tmp_path, "flushed")
    up = Series(Labels.of({"__name__": "up", "instance": "one", "job": "node"}))
    hub.write(RowsEntry((Part(hub.store.layout((up,)), SampleMatrix(np.array([_at(3)]), np.array([[1.0]]))),)))
    for _ in range(2):
        report = hub.audit()
        found = tally(report, "one")
        assert (found.unsigned, found.proven, report.broken) == (1, 128 * 20, False)
        hub.flush()


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_batch_under_another_agents_name_is_found(tmp_path: Path, stage: str) -> None:
    """What one agent signed is said to be another's: it is missed here, and not signed there."""
    hub, one, two = _hub(tmp_path, stage)

    def facts(told: BlockFacts) -> BlockFacts:
        provenance = told.provenance
        if one.sender not in provenance.senders:
            return told
        table = provenance.table.copy()
        from_one, to_two = provenance.senders.index(one.sender), provenance.senders.index(two.sender)
        rows = (table[0] == from_one) & (table[2] == 30)
        table[0, rows], table[2, rows] = to_two, 5_000
        return replace(told, provenance=replace(provenance, table=table[:, np.lexsort(table[::-1])]))

    hub.tamper(facts=facts)
    report = hub.audit()
    assert reasons(tally(report, "one")) == {Reason.GONE: 1, Reason.ADDED: 20, Reason.OPEN: 40}
    assert reasons(tally(report, "two")) == {Reason.MISATTRIBUTED: 20, Reason.OPEN: 40}


def test_the_dictionary_cannot_rename_an_agent(tmp_path: Path) -> None:
    """The roster says who `one` is: with the names exchanged, everything is under the wrong one."""
    hub, one, two = _hub(tmp_path, "compacted")
    exchanged = [Signer("two", one.sender, one.sender), Signer("one", two.sender, two.sender)]
    report = hub.audit(exchanged)
    for found in report.tallies:
        assert found.proven == 0 and found.broken[Reason.MISATTRIBUTED] == BATCHES * 20


def test_a_forged_run_is_found(tmp_path: Path) -> None:
    """Signed by another key, or another agent's: it proves nothing, and the batches then are open."""
    hub, one, _ = _hub(tmp_path, "compacted")
    thief = PrivateKey.generate()
    forged = sign_run(thief, one.fleet, one.sender, (EPOCH, 0), [bytes(16)] * 64, (0, 0))

    def facts(told: BlockFacts) -> BlockFacts:
        roots = [
            RunRoot(one.sender, root.epoch, root.seq, forged) if root.sender == one.sender and root.seq == 63 else root
            for root in told.run_roots
        ]
        return replace(told, run_roots=roots)

    hub.tamper(facts=facts)
    report = hub.audit()
    found = tally(report, "one")
    assert found.broken == {Reason.FORGED_RUN: 0}
    assert found.unproven == {Reason.OPEN: 66 * 20} and found.proven == 64 * 20
    assert report.broken and found.first_offence is not None
    assert "does not verify" in found.first_offence.detail


def test_an_unknown_sender_proves_nothing(tmp_path: Path) -> None:
    """Its samples are counted under its peer id."""
    hub, one, _ = _hub(tmp_path, "flushed")
    report = hub.audit([signer for signer in hub.signers() if signer.sender != one.sender])
    (stranger,) = [found for found in report.tallies if found.sender == one.sender]
    assert stranger.name.startswith("12D3") and reasons(stranger) == {Reason.STRANGER: BATCHES * 20}


def test_a_damaged_tile_is_told(tmp_path: Path) -> None:
    """A flipped bit is no proof of anything, and what other tiles hold is."""
    hub, _, _ = _hub(tmp_path, "flushed")
    hub.store.close()
    block = next((hub.folder / "blocks").glob("*.blk"))
    data = bytearray(block.read_bytes())
    data[60] ^= 1
    block.write_bytes(data)
    report = hub.audit()
    assert report.broken and report.damage
    assert all(set(one.broken) <= {Reason.DAMAGED} for one in report.tallies)
    assert any(one.broken for one in report.tallies)


def test_a_restart_of_the_agent_leaves_nothing_unsigned(tmp_path: Path) -> None:
    """Its next start signs what the last one had not; what was lost before the spool is signed as that."""
    hub = AuditedHub(tmp_path / "hub")
    hub.clock.advance(3000)
    agent = hub.hub.agent("one")
    file = tmp_path / "open_run"
    requests = []
    number = 0
    for epoch, count in ((EPOCH, 5), (EPOCH + 1, 70), (EPOCH + 2, 3), (EPOCH + 3, 64)):
        from peerwatch.agent.seal import Sealer

        agent.sealer = Sealer(agent.fleet, agent.sender, agent.key, epoch, run_file=file)
        for _ in range(count):
            requests.append(agent.request(agent.seal(batch([[float(number)]], at_ms=_at(number)))))
            number += 1
        agent.sealer.seal(batch([[1.0]], at_ms=_at(number)), 0, None)  # lost: the spool never had it
        agent.sealer.close()
    hub.push(*requests)
    hub.flush()
    found = tally(hub.audit(), "one")
    assert (found.proven, reasons(found)) == (number, {})


def test_two_batches_of_one_time_are_told(tmp_path: Path) -> None:
    """A clock that was set back: the store keeps one value per time, so one of both cannot be made again.

    That looks like somebody who widens what is said of a batch to hide what he changed in it, so it is not passed over.
    """
    hub = AuditedHub(tmp_path)
    hub.clock.advance(3000)
    agent = hub.hub.agent("one")
    times = [_at(number) for number in range(64)]
    times[40] = times[39]
    hub.push(*[agent.request(agent.seal(batch([[float(n)]], at_ms=at))) for n, at in enumerate(times)])
    hub.flush()
    found = tally(hub.audit(), "one")
    assert reasons(found) == {Reason.CLASH: 1} and found.proven == 63


def test_late_batches_are_proven_and_missing_ones_are_named(tmp_path: Path) -> None:
    """Back-fill in any order and in a later window is as good; what never came is missing between what did."""
    hub = AuditedHub(tmp_path)
    hub.clock.advance(3000)
    agent = hub.hub.agent("one")
    requests = _fill(agent, 128)
    hub.push(*requests[100:])
    hub.flush()
    hub.clock.advance(7200 * 2)
    hub.push(*reversed(requests[10:100]), requests[0])
    hub.flush()
    report = hub.audit()
    found = tally(report, "one")
    assert found.proven == 119 * 20
    assert reasons(found) == {Reason.MISSING: 9}
    assert found.first_offence is not None and found.first_offence.number == (EPOCH, 1)
    assert hub.audit(start_ms=_at(20), end_ms=_at(60)).broken is False


def test_a_changed_batch_in_the_wal_is_found(tmp_path: Path) -> None:
    """With right checksums: another value, another number, another agent's name."""
    hub, one, two = _hub(tmp_path, "wal")
    hub.store.close()
    (path,) = (hub.folder / "wal").glob("*.wal")
    seen: list[int] = []

    def change(told: EnvelopeRecord) -> EnvelopeRecord:
        seen.append(told.seq)
        if told.sender == one.sender and told.seq == 128:
            return replace(told, raw=_other_value(told.raw))
        if told.sender == two.sender and told.seq == 128:
            return replace(told, seq=900)
        if told.sender == two.sender and told.seq == 129:
            return replace(told, sender=one.sender, seq=901)
        return told

    rewrite_log(path, change)
    report = hub.audit()
    assert tally(report, "one").broken == {Reason.FORGED_BATCH: 40}
    assert tally(report, "two").broken == {Reason.FORGED_BATCH: 20}
    assert report.broken and len(seen) == 2 * BATCHES


def _other_value(raw: bytes) -> bytes:
    """The same envelope around one other byte of samples, so that it can still be read."""
    message = pb.SignedMessage.FromString(raw)
    signed = pb.Signed.FromString(message.payload)
    box = Compressor()
    body = pb.Batch.FromString(box.decompress(signed.body, Codec(signed.codec), signed.body_bytes))
    columns = bytearray(body.blocks[0].columns)
    columns[-1] ^= 1
    body.blocks[0].columns = bytes(columns)
    plain = body.SerializeToString()
    signed.body, signed.body_bytes = box.compress(plain, Codec(signed.codec)), len(plain)
    message.payload = signed.SerializeToString()
    return message.SerializeToString()


@pytest.mark.parametrize("column", range(1, 7))
@pytest.mark.parametrize("value", [-1, 0, 1 << 40, (1 << 63) - 1, -(1 << 63)])
def test_hostile_words_about_batches_prove_nothing(tmp_path: Path, column: int, value: int) -> None:
    """Any number, layout or time in the provenance of a block: never an exception, never more proven than is true."""
    hub, _, _ = _hub(tmp_path, "flushed")

    def facts(told: BlockFacts) -> BlockFacts:
        table = told.provenance.table.copy()
        table[column, ::7] = value
        return replace(told, provenance=replace(told.provenance, table=table[:, np.lexsort(table[::-1])]))

    hub.tamper(facts=facts)
    report = hub.audit()
    harmless = column == 6  # how many ticks a part had: nothing is believed that follows from it
    assert report.broken is not harmless
    assert all(found.proven <= 128 * 20 for found in report.tallies)
    if not harmless:
        assert sum(found.proven for found in report.tallies) < 2 * 128 * 20


@pytest.mark.parametrize("blob", [b"", b"\xff" * 40, bytes(5000)])
def test_hostile_runs_prove_nothing(tmp_path: Path, blob: bytes) -> None:
    """Junk in place of every signed run."""
    hub, _, _ = _hub(tmp_path, "flushed")
    hub.tamper(facts=lambda told: replace(told, run_roots=[one._replace(blob=blob) for one in told.run_roots]))
    report = hub.audit()
    assert report.broken
    for found in report.tallies:
        assert (found.proven, reasons(found)) == (0, {Reason.FORGED_RUN: 0, Reason.OPEN: BATCHES * 20})


def test_what_retention_took_is_said_to_be_gone_by_it(tmp_path: Path) -> None:
    """Batches before the horizon are not asked for; of one that lies across it a part is left, which proves nothing."""
    hub = AuditedHub(tmp_path, retention_ms=7_200_000)
    agent = hub.hub.agent("one")
    times = [_at(number) - 2_000 for number in range(63)] + [START_MS + 300_000 + 7_200_000]
    hub.clock.advance(8000)
    hub.push(*[agent.request(agent.seal(batch([[1.0, 2.0]], at_ms=at))) for at in times])
    hub.flush()
    assert not hub.audit().broken
    assert hub.store.retain() == 1
    report = hub.audit()
    found = tally(report, "one")
    assert (reasons(found), found.proven, report.broken) == ({Reason.RETENTION: 1}, 33 * 2, False)


def test_a_dictionary_that_lost_a_layout_is_told(tmp_path: Path) -> None:
    """Or somebody took it out, so that nobody can compare: that is no way to hide a change."""
    hub, _, _ = _hub(tmp_path, "compacted")
    hub.store.close()
    log = DictionaryLog(Disk(), hub.folder, StoreReader(hub.folder, envelope_decoder()).damage)
    records = log.load()
    log.rewrite([one for one in records if not isinstance(one, LayoutRecord)])
    log.close()
    for found in hub.audit().tallies:
        assert found.proven == 0 and set(found.broken) == {Reason.LAYOUT}


def test_an_agent_that_was_given_another_name_keeps_its_proofs(tmp_path: Path) -> None:
    """The name is the roster's word and not the agent's: what was stored under the old one is as it was signed."""
    hub, one, two = _hub(tmp_path, "compacted")
    renamed = [Signer("new-name", one.sender, one.sender), Signer("two", two.sender, two.sender)]
    found = tally(hub.audit(renamed), "new-name")
    assert reasons(found) == {Reason.RENAMED: 128 * 20, Reason.OPEN: 40}
    hub.tamper(set_value(_at(40), 7.0))
    changed = hub.audit(renamed)
    assert sum(one.broken[Reason.CHANGED] for one in changed.tallies) == 20


def test_runs_of_the_first_format_are_passed_over(tmp_path: Path) -> None:
    """An upgraded hub still has them: its batches of that time are open, and nobody is accused."""
    hub, one, two = _hub(tmp_path, "flushed")

    def facts(told: BlockFacts) -> BlockFacts:
        keys = {one.sender: one.key, two.sender: two.key}
        roots = [root._replace(blob=sign_message(keys[root.sender], Domain.RUN_ROOT_1, b"")) for root in told.run_roots]
        return replace(told, run_roots=roots)

    hub.tamper(facts=facts)
    report = hub.audit()
    assert not report.broken
    assert [reasons(found) for found in report.tallies] == [{Reason.OPEN: BATCHES * 20}] * 2
