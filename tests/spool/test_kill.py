"""A process that appends to a real disk and is killed without warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from peerwatch.spool import Position
from tests.spool.kit import BIG, Rig, small

WRITER = """
import sys
from pathlib import Path
from tests.spool.kit import Rig, small
rig = Rig(Path(sys.argv[1]), small(max_bytes=1 << 22))
seq = 0
while True:
    seq += 1
    rig.append(seq, epoch=int(sys.argv[2]))
    print(seq, flush=True)
"""


def test_kill_loses_nothing_that_append_took(tmp_path: Path) -> None:
    """After each kill -9 every envelope whose append had returned is there, once, and the spool goes on."""
    rounds = 3
    taken = []
    for epoch in range(1, rounds + 1):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(epoch)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(100):
                process.stdout.readline()
            process.kill()
            said = 100 + len(process.stdout.read().splitlines())
        taken.append(said)
    rig = Rig(tmp_path, small(max_bytes=1 << 22))
    positions = [item.position for item in rig.spool.reader("hub").backfill(BIG * 100)]
    assert positions == sorted(set(positions))
    for epoch, said in enumerate(taken, start=1):
        assert {Position(epoch, seq) for seq in range(1, said)} <= set(positions)
    rig.spool.close()
