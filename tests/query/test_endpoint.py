"""Who may run: two start at a time, and nobody waits for long behind a slow one."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from peerwatch.query.endpoint import Endpoint
from peerwatch.query.limits import Cancellation, QueryTimeoutError
from peerwatch.query.turns import Turns


class Job:
    """Work that lasts until it is told to end."""

    def __init__(self) -> None:
        self.started, self.end = threading.Event(), threading.Event()

    def __call__(self, cancelled: Cancellation) -> bytes:
        self.started.set()
        assert self.end.wait(10)
        return b"done"


async def _receive() -> Any:
    await anyio.sleep_forever()


REQUEST = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}, _receive)


async def _started(job: Job, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        while not job.started.is_set():  # noqa: ASYNC110 - it starts in a thread
            await anyio.sleep(0.005)
    return job.started.is_set()


def tell(endpoint: Endpoint, jobs: list[Job], story: Callable[[], Awaitable[None]]) -> list[object]:
    """Run the jobs beside each other, in order, while the story goes on; what became of each, in order of ending."""
    ended: list[object] = []

    async def run(job: Job) -> None:
        try:
            ended.append(await endpoint.run(job, REQUEST))
        except QueryTimeoutError as error:
            ended.append(str(error))

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for job in jobs:
                    tasks.start_soon(run, job)
                    await anyio.sleep(0.01)
                try:
                    await story()
                finally:
                    for job in jobs:
                        job.end.set()

    anyio.run(main)
    return ended


def test_two_start_at_a_time() -> None:
    """The third starts when one of them is done."""
    jobs = [Job() for _ in range(3)]

    async def story() -> None:
        assert await _started(jobs[0], 2) and await _started(jobs[1], 2)
        assert not await _started(jobs[2], 0.1)
        jobs[1].end.set()
        assert await _started(jobs[2], 2)

    assert tell(Endpoint(5.0), jobs, story) == [b"done"] * 3


def test_a_slow_one_lets_the_next_one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to as many as may run at all; then the next one waits, and in the end gives up."""
    monkeypatch.setattr("peerwatch.query.endpoint.LONG_S", 0.02)
    jobs = [Job() for _ in range(5)]

    async def story() -> None:
        for job in jobs[:4]:
            assert await _started(job, 2)
        assert not await _started(jobs[4], 0.7)

    ended = tell(Endpoint(0.5, Turns(4)), jobs, story)
    assert ended == ["query timed out in query queue", *[b"done"] * 4]


def test_places_come_back_whatever_happens() -> None:
    """After failures, timeouts and clients that left there is room as before."""
    endpoint = Endpoint(0.05)

    def fail(cancelled: Cancellation) -> bytes:
        raise QueryTimeoutError("as told")

    async def main() -> None:
        for _ in range(30):
            with pytest.raises(QueryTimeoutError, match="as told"):
                await endpoint.run(fail, REQUEST)
            with anyio.move_on_after(0):
                await endpoint.run(lambda cancelled: b"", REQUEST)
        assert await endpoint.run(lambda cancelled: b"room", REQUEST) == b"room"

    anyio.run(main)
