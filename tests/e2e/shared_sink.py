"""What is in the sink that several hubs share, beside what the agents themselves wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.e2e.ledger import Ledger
from tests.e2e.processes import eventually
from tests.e2e.recording_hub import Recorded, read_sink

_CATCH_UP_S = 90.0  # an away hub is asked again after half a minute at most; the machine may be busy


def judge(sink: Path, folders: Mapping[str, Path]) -> tuple[int, int]:
    """(envelopes, repeats). Waits until each that an agent has spooled is there; what came again is the same bytes.

    `folders` is where each sender has its ledger.
    """
    ledgers = {sender: Ledger.read(folder) for sender, folder in folders.items()}
    wanted = {(sender, *position) for sender, ledger in ledgers.items() for position in ledger.spooled}

    def all_there() -> list[Recorded] | None:
        found = read_sink(sink)
        return found if wanted <= {one.number for one in found} else None

    found = eventually(all_there, "everything is in the sink", _CATCH_UP_S, 0.5)
    contents = {(one.number, one.content) for one in found}
    numbers = {number for number, _ in contents}
    assert len(contents) == len(numbers), "what comes again is the same bytes"
    assert numbers <= {(sender, *at) for sender, folder in folders.items() for at in Ledger.read(folder).sealed}
    return len(contents), len(found) - len(contents)
