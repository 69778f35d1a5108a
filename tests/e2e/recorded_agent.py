"""`peerwatch agent` as it is, which also writes down every batch that it numbers and that its spool has taken.

Run as `python -m tests.e2e.recorded_agent FOLDER agent ...`: FOLDER is the ledger's, the rest is peerwatch's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peerwatch.agent import seal
from peerwatch.cli import agent_role, main
from peerwatch.model import Batch
from peerwatch.spool import Spool, SpooledEnvelope
from tests.e2e.ledger import LedgerWriter


def record(ledger: LedgerWriter) -> None:
    """Have the agent's sealer and spool, which are its own in all else, write to this ledger."""

    class NotingSealer(seal.Sealer):
        def seal(self, batch: Batch, *arguments: Any, **options: Any) -> seal.Sealed:
            sealed = super().seal(batch, *arguments, **options)
            ledger.sealed(sealed.item.position, batch)
            return sealed

    class NotingSpool(Spool):
        def append(self, item: SpooledEnvelope, schemas: Mapping[bytes, bytes]) -> None:
            super().append(item, schemas)
            ledger.spooled(item.position)

    agent_role.Sealer = NotingSealer  # type: ignore[misc]
    agent_role.Spool = NotingSpool  # type: ignore[misc]


if __name__ == "__main__":
    with LedgerWriter(Path(sys.argv.pop(1))) as opened:
        record(opened)
        main.run()
