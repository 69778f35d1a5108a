"""What proofs cost: `python -m bench.audit --agents 30 --hours 2`. Bytes beside the samples, and the speed of an audit.

Agents seal as they do in life: two ticks of 5 s per batch, or as many as `--ticks` says (at most 120). The store gets
the envelopes without a collector in between, is flushed every ten minutes of data and compacted. The audit is of a
store that nobody has open.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.machine import machine
from bench.store import START_MS, BenchClock
from bench.table import markdown, mebibytes
from bench.workload import Workload
from peerwatch.agent.seal import Sealer
from peerwatch.audit.audit import Audit, Question
from peerwatch.audit.claims import Signer
from peerwatch.audit.report import Reason
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.model import Batch, BatchBlock, EnvelopeEntry, Part, SampleMatrix
from peerwatch.store.config import StoreConfig
from peerwatch.store.reader import StoreReader
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry, configure_logging
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.identity_labels import with_identity
from peerwatch.wire.leaf import origin_of

FLEET = b"benchmark's name"
FLUSH_TICKS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--ticks", type=int, default=2, help="per batch: 12 is a report a minute")
    given = parser.parse_args()
    configure_logging("error")
    print(machine())
    workload = Workload(given.agents, int(given.hours * 720), START_MS + int(given.hours * 3_600_000) // 5_000 * 5_000)
    keys = [PrivateKey(number.to_bytes(32, "big")) for number in range(workload.agents)]
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as folder:
        filling = get_context("fork").Process(target=fill, args=(Path(folder), workload, keys, given.ticks))
        filling.start()  # in a process of its own, so that the memory shown is the audit's
        filling.join()
        _show_sizes(StoreReader(Path(folder), envelope_decoder()), workload, given.ticks)
        signers = [Signer(workload.name(number), key.public, key.public) for number, key in enumerate(keys)]
        rows = [_timed(Path(folder), signers, name) for name in ("", workload.name(workload.agents // 2))]
    print(
        markdown(["audit of", "samples", "wall s", "M samples/s", "ns CPU per sample", "proven", "peak RSS MiB"], rows)
    )


def fill(folder: Path, workload: Workload, keys: list[PrivateKey], ticks: int) -> None:
    """A compacted store with everything that the agents sent."""
    clock = BenchClock()
    clock.now = workload.end_ms
    config = StoreConfig(min_free_bytes=0, retention_ms=10**12)
    store = Store.open(folder, config, clock=clock, decode_envelope=envelope_decoder(), registry=CollectorRegistry())
    agents = [_entries(store, workload, number, key, ticks) for number, key in enumerate(keys)]
    for start in range(0, workload.ticks // ticks, FLUSH_TICKS // ticks):
        count = min(FLUSH_TICKS // ticks, workload.ticks // ticks - start)
        store.append([next(agent) for agent in agents for _ in range(count)])
        store.flush()
    clock.now += 10 * 7_200_000
    while store.compact():
        pass
    store.close()


def _entries(store: Store, workload: Workload, number: int, key: PrivateKey, ticks: int) -> Iterator[EnvelopeEntry]:
    series = with_identity(workload.series, workload.name(number), "node", "")
    layout = store.layout(series, origin_of("", ""))
    sealer, matrix = Sealer(FLEET, key.public, key, 1), workload.matrix(number)
    for at in range(0, workload.ticks - ticks + 1, ticks):
        part = SampleMatrix(matrix.times_ms[at : at + ticks], np.ascontiguousarray(matrix.values[:, at : at + ticks]))
        sealed = sealer.seal(Batch((BatchBlock(workload.series, part),)), int(part.times_ms[-1]), None)
        sealer.sent()
        raw = sealed.item.envelope
        envelope, place = parse_envelope(raw), sealed.item.position
        yield EnvelopeEntry(key.public, place.epoch, place.seq, raw, (Part(layout, part),), envelope.run_root)


def _show_sizes(reader: StoreReader, workload: Workload, ticks: int) -> None:
    samples = sum(block.footer.samples for block in reader.blocks)
    batches = workload.agents * (workload.ticks // ticks)
    sizes = {"all": sum(block.size_bytes for block in reader.blocks)}
    for name in ("roots", "provenance", "marks"):
        sizes[name] = sum(block.footer.sections.get(name, (0, 0, 0))[1] for block in reader.blocks)
    rows = [[name, f"{size / samples:.4f}", f"{size / batches:.2f}"] for name, size in sizes.items()]
    print(f"{workload.agents} agents, {samples / 1e6:.1f} M samples, {batches} batches, {len(reader.blocks)} blocks")
    print(markdown(["on disk", "B/sample", "B/batch"], rows))


def _timed(folder: Path, signers: list[Signer], name: str) -> list[str]:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    report = Audit(StoreReader(folder, envelope_decoder()), FLEET, signers, Question(name)).run()
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    samples, proven = sum(one.samples for one in report.tallies), sum(one.proven for one in report.tallies)
    if report.broken or proven + sum(one.unproven[Reason.OPEN] for one in report.tallies) < samples:
        raise SystemExit(f"bench audit: {report}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return [
        name or "all",
        f"{samples:,}",
        f"{wall_s:.2f}",
        f"{samples / wall_s / 1e6:.1f}",
        f"{cpu_s / samples * 1e9:.0f}",
        f"{proven / samples:.1%}",
        mebibytes(peak),
    ]


if __name__ == "__main__":
    main()
