"""Workers: threads in which sources may block, and may be left behind."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Job(Generic[T]):
    """One piece of work given to a thread. `finished` becomes True in the event loop, when its result is there."""

    __slots__ = ("_done", "_error", "_result", "_work", "finished")

    def __init__(self, work: Callable[[], T], done: anyio.Event) -> None:
        self._work = work
        self._done = done
        self._result: T | None = None
        self._error: Exception | None = None
        self.finished = False

    def execute(self) -> None:
        """Do the work, in the thread. Whatever it raises is kept for `result`."""
        try:
            self._result = self._work()
        except Exception as error:  # carried over to whoever asks for the result, which counts and logs it
            self._error = error

    def finish(self) -> None:
        """Note in the event loop that the work is done."""
        self.finished = True
        self._done.set()

    async def result(self, timeout_s: float) -> T:
        """What the work gave. Raises what it raised; TimeoutError when it is not done in time, and goes on."""
        with anyio.move_on_after(timeout_s):
            await self._done.wait()
        if not self.finished:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set whenever there is no error


class Workers:
    """Threads for blocking work; as many as are busy at once, and idle ones are used again, the last one first.

    Daemons, unlike anyio's: a thread that hangs in the kernel (a dead file server) must not keep the process from
    ending. Bounded by its callers, who never give two jobs for one source. Owned by one event loop.
    """

    def __init__(self) -> None:
        self._idle: list[queue.SimpleQueue[Job[object] | None]] = []
        self._closed = False

    def start(self, work: Callable[[], T]) -> Job[T]:
        """Begin `work` in a thread."""
        job = Job(work, anyio.Event())
        inbox = self._idle.pop() if self._idle else self._new_thread()
        inbox.put(job)  # type: ignore[arg-type]  # the thread looks at no result
        return job

    def close(self) -> None:
        """End the idle threads; busy ones end with their work."""
        self._closed = True
        for inbox in self._idle:
            inbox.put(None)
        self._idle.clear()

    def _new_thread(self) -> queue.SimpleQueue[Job[object] | None]:
        inbox: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._serve, args=(inbox, loop), name="peerwatch source", daemon=True).start()
        return inbox

    def _serve(self, inbox: queue.SimpleQueue[Job[object] | None], loop: asyncio.AbstractEventLoop) -> None:
        while (job := inbox.get()) is not None:
            job.execute()
            try:
                loop.call_soon_threadsafe(self._finished, job, inbox)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _finished(self, job: Job[object], inbox: queue.SimpleQueue[Job[object] | None]) -> None:
        job.finish()
        if self._closed:
            inbox.put(None)
        else:
            self._idle.append(inbox)
