"""A hub that is killed while remote writers write: what it answered with 204 is there when it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from peerwatch.model import KEY_BIAS, Labels
from tests.e2e.fleet import ALWAYS_FLUSHING, Fleet
from tests.e2e.processes import Processes, ask
from tests.e2e.remote_read import read
from tests.model.native import Native
from tests.wire.remote_kit import request_v1, request_v2

pytestmark = pytest.mark.e2e
HEADERS = {"content-encoding": "snappy"}
KINDS: dict[str, tuple[Callable[..., bytes], str]] = {
    "1": (request_v1, "application/x-protobuf"),
    "2": (request_v2, "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
}
SERIES, ROUNDS, ROUND_S = 20, 3, 2.0


def _native(at: int) -> Native:
    """A histogram by which its time can be known; its buckets come and go."""
    count = float(at % 10_000)
    return Native(3, 0, count, 1.5, buckets=((KEY_BIAS + at % 40, count),) if count else ())


def _write(url: str, writer: str, stop: threading.Event, acknowledged: list[int]) -> None:
    """Requests until told to stop or the hub is gone; the times of those that were taken."""
    request_of, kind = KINDS[writer]
    with httpx.Client(trust_env=False, headers=HEADERS | {"content-type": kind}) as client:
        while not stop.is_set():
            at = time.time_ns() // 1_000_000
            rows = [
                (Labels.of(__name__="m", row=str(row), writer=writer), [(at, float(at % 10_000))])
                for row in range(SERIES)
            ]
            native = (Labels.of(__name__="h", writer=writer), _native(at), at)
            try:
                answer = client.post(f"{url}/api/v1/write", content=request_of(*rows, natives=[native]))
            except httpx.HTTPError:
                return
            assert answer.status_code == 204, answer.text
            acknowledged.append(at)
            time.sleep(0.002)  # no two requests in one millisecond


def test_what_was_acknowledged_survives_kill_9(processes: Processes) -> None:
    """Three rounds of two writers, one for each version; every acknowledged sample is there, with its value.

    So is every histogram, whole.
    """
    fleet = Fleet(processes, ALWAYS_FLUSHING)
    acknowledged: dict[str, list[int]] = {writer: [] for writer in KINDS}
    for _ in range(ROUNDS):
        hub = fleet.start_hub()
        fleet.wait_alive(hub)
        stop = threading.Event()
        writers = [
            threading.Thread(target=_write, args=(fleet.url, writer, stop, times))
            for writer, times in acknowledged.items()
        ]
        for one in writers:
            one.start()
        time.sleep(ROUND_S)
        hub.kill()
        stop.set()
        for one in writers:
            one.join()
    fleet.wait_alive(fleet.start_hub())
    for writer, times in acknowledged.items():
        assert len(times) > 100
        found = {one["metric"]["row"]: one["values"] for one in ask(fleet.url, f'm{{writer="{writer}"}}[1h]')}
        assert len(found) == SERIES
        for values in found.values():
            stored = {round(float(at) * 1000): float(text) for at, text in values}
            assert [at for at in times if stored.get(at) != at % 10_000] == []
            assert len(stored) <= len(times) + ROUNDS, "only what was under way at a kill may be there besides"
        kept = read(fleet.url, 0, 1 << 42, ("__name__", "h"), ("writer", writer))
        histograms = kept[(("__name__", "h"), ("writer", writer))]
        assert [at for at in times if histograms.get(at) != _native(at)] == []
        assert len(histograms) <= len(times) + ROUNDS
