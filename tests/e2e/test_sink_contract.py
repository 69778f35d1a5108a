"""What an engine behind `delivery.mode = "shard"` must do, so that nothing is lost and nothing counts twice.

Another engine is one more line in SINKS: a class that opens a handle at a place (here a path in a folder), of which
each hub has one, with `append`, `folded` and `close` as `RecordingSink` has them. Why so: docs/decisions/0016.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pytest

from peerwatch.errors import StoreError
from peerwatch.model import EnvelopeEntry, RowsEntry
from peerwatch.testing.sample_store import MemorySampleStore
from tests.collector.kit import Agent, Hub, acked
from tests.e2e.recording_hub import Number, RecordingSink


class Sink(Protocol):
    """One hub's handle on the engine that all share."""

    def append(self, entries: Sequence[EnvelopeEntry]) -> None: ...

    def folded(self) -> dict[Number, str]: ...

    def close(self) -> None: ...


SINKS: dict[str, Callable[[Path], Sink]] = {
    "recording file": RecordingSink,
}


@pytest.fixture(params=SINKS.values(), ids=SINKS.keys())
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Sink]]:
    """Opens one more handle on the same engine, as another hub would."""
    make: Callable[[Path], Sink] = request.param
    handles: list[Sink] = []

    def one_more() -> Sink:
        handles.append(make(tmp_path / "engine"))
        return handles[-1]

    yield one_more
    for one in handles:
        one.close()


class _Store(MemorySampleStore):
    """A hub's own store, behind the sink: the engine has it first."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        self._sink.append([one for one in entries if isinstance(one, EnvelopeEntry)])
        super().append(entries)


class _Hub(Hub):
    """A hub that hands what it takes to the sink."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self.own = _Store(sink)
        super().__init__(folder, self.own)


def _requests(agent: Agent, count: int) -> tuple[list[bytes], dict[Number, str]]:
    """Pushes of one batch each, and what the engine must have of them."""
    sealed = [agent.seal() for _ in range(count)]
    wanted = {
        (agent.sender.hex(), one.item.position.epoch, one.item.position.seq): sha256(one.item.envelope).hexdigest()
        for one in sealed
    }
    return [agent.request(one) for one in sealed], wanted


def test_what_is_acknowledged_is_there_for_all(opened: Callable[[], Sink], tmp_path: Path) -> None:
    """Whoever reads by another handle sees it, and what the hub did not acknowledge is no more than that."""
    hub = _Hub(tmp_path / "hub", opened())
    requests, wanted = _requests(hub.agent(), 3)
    assert all(acked(reply) for reply in hub.push(*requests))
    assert opened().folded() == wanted


def test_what_two_hubs_hand_over_is_there_once(opened: Callable[[], Sink], tmp_path: Path) -> None:
    """The first one's store fails once the engine has it, so it acknowledges nothing; the agent goes to the second."""
    first = _Hub(tmp_path / "hub", opened())
    requests, wanted = _requests(first.agent(), 2)
    first.own.fail(StoreError("killed"), times=100)
    assert not any(acked(reply) for reply in first.push(*requests))
    second = _Hub(tmp_path / "hub", opened())
    assert all(acked(reply) for reply in second.push(*reversed(requests)))
    assert opened().folded() == wanted


def test_what_the_engine_refuses_is_not_acknowledged(
    opened: Callable[[], Sink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is full or away: StoreError, a refusal, and the next try brings it."""
    sink = opened()
    hub = _Hub(tmp_path / "hub", sink)
    requests, wanted = _requests(hub.agent(), 1)

    def full(entries: Sequence[EnvelopeEntry]) -> None:
        raise StoreError("the engine is full")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "append", full)
        assert not acked(hub.push(*requests)[0])
    hub.restart()
    assert acked(hub.push(*requests)[0])
    assert opened().folded() == wanted


def test_what_was_appended_outlives_the_hub(opened: Callable[[], Sink]) -> None:
    """Its process is killed as soon as `append` has returned."""
    entry = EnvelopeEntry(b"s" * 32, 1, 2, b"raw", ())

    def die() -> None:
        opened().append([entry])
        os.kill(os.getpid(), signal.SIGKILL)

    hub = multiprocessing.get_context("fork").Process(target=die)
    hub.start()
    hub.join(10)
    assert hub.exitcode == -signal.SIGKILL
    assert opened().folded() == {((b"s" * 32).hex(), 1, 2): sha256(b"raw").hexdigest()}
