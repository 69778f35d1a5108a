"""A layout may be forgotten between its making and its first use: what is appended with it survives a restart."""

from __future__ import annotations

from pathlib import Path

from peerwatch.model import Labels, Part, RowsEntry
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    BASE_MS,
    EVERYTHING_MS,
    ManualClock,
    bits,
    cells_of,
    decode,
    envelope,
    matrix,
    named,
    series,
    stored_origins,
)


def _open(folder: Path) -> Store:
    config = StoreConfig(min_free_bytes=0)
    return Store.open(folder, config, clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry())


def test_upkeep_between_layout_and_append_loses_nothing(tmp_path: Path) -> None:
    """The log names layouts by the ids that they have when it is written, for envelopes and for rows."""
    store = _open(tmp_path)
    forgotten = [store.layout((series("load", host=host),)) for host in ("a", "b", "c")]
    store.append([envelope(1, (forgotten[0], matrix([BASE_MS], [[1]])))])
    store.maintain()
    store.append(
        [
            envelope(2, (forgotten[1], matrix([BASE_MS], [[2]]))),
            RowsEntry((Part(forgotten[2], matrix([BASE_MS], [[3]])),)),
        ]
    )
    expected = {
        Labels.of(__name__="load", host=host): {BASE_MS: bits(number)} for number, host in enumerate("abc", start=1)
    }
    assert cells_of(store.select(named("load"), *EVERYTHING_MS)) == expected
    store.close()
    again = _open(tmp_path)
    assert cells_of(again.select(named("load"), *EVERYTHING_MS)) == expected
    again.close()


def test_a_forgotten_layout_keeps_its_origin(tmp_path: Path) -> None:
    """Provenance names the agent's schema also when the store had to learn the layout again."""
    store = _open(tmp_path)
    first, forgotten = (store.layout((series("load", host=host),), b"schema of " + host.encode()) for host in "ab")
    store.append([envelope(1, (first, matrix([BASE_MS], [[1]])))])
    store.maintain()
    store.append([envelope(2, (forgotten, matrix([BASE_MS], [[2]])))])
    rows, _ = stored_origins(tmp_path)
    used = {row.seq: row.layout_id for row in rows}
    assert used[2] == store.layout((series("load", host="b"),), b"schema of b").id
    assert used[2] != store.layout((series("load", host="b"),)).id
    store.close()
