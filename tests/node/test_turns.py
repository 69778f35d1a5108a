"""Requests wait for their turn: one member with many does not delay another's few."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from peerwatch.errors import QuotaError
from peerwatch.node.scheduler import Full, QueueLimits
from peerwatch.node.turns import Turns

LIMITS = QueueLimits(max_waiting=50, max_waiting_per_peer=40, max_running=2, max_running_per_peer=1)


class Story:
    """Turns whose holders do nothing until they are let go; who was served, in order."""

    def __init__(self, limits: QueueLimits = LIMITS) -> None:
        self.refused: list[Full] = []
        self.turns = Turns(limits, self.refused.append)
        self.served: list[str] = []
        self.failed: list[str] = []
        self.step = anyio.Semaphore(0)

    async def ask(self, who: str) -> None:
        try:
            async with self.turns.turn(who):
                self.served.append(who)
                await self.step.acquire()
        except QuotaError as error:
            self.failed.append(who if error.wait_s == 1.0 else "with another wait")


def test_a_member_with_many_does_not_delay_one_with_few() -> None:
    """The second comes last and is served next."""

    async def main() -> None:
        story = Story()
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(story.ask, "greedy")
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                tasks.start_soon(story.ask, "quiet")
            await anyio.wait_all_tasks_blocked()
            assert story.served == ["greedy", "quiet"]
            assert (story.turns.running, story.turns.waiting) == (2, 31)
            for _ in range(4):
                story.step.release()
                await anyio.wait_all_tasks_blocked()
            assert story.served[:6].count("quiet") == 3
            for _ in range(33):
                story.step.release()
        assert story.served.count("greedy") == 30 and not story.failed
        assert (story.turns.running, story.turns.waiting) == (0, 0)

    anyio.run(main)


def test_past_the_limits_it_is_told_to_come_again() -> None:
    """A member past its own; and the greediest, when others come while all is full."""

    async def main() -> None:
        story = Story()
        async with anyio.create_task_group() as tasks:
            for _ in range(45):
                tasks.start_soon(story.ask, "greedy")
            for n in range(14):
                tasks.start_soon(story.ask, f"quiet{n}")
            await anyio.wait_all_tasks_blocked()
            assert set(story.failed) == {"greedy"} and len(story.failed) == 4 + 3
            assert story.turns.waiting == 50
            assert Full.PEER in story.refused
            for _ in range(60):
                story.step.release()
        assert sum(who.startswith("quiet") for who in story.served) == 14

    anyio.run(main)


def test_who_gives_up_waiting_leaves_no_gap() -> None:
    """Its connection ended; those behind it are served."""

    async def main() -> None:
        story = Story()
        async with anyio.create_task_group() as tasks:
            for who in ("a", "b"):
                tasks.start_soon(story.ask, who)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.01):
                await story.ask("gone")
            tasks.start_soon(story.ask, "c")
            await anyio.wait_all_tasks_blocked()
            story.step.release()
            await anyio.wait_all_tasks_blocked()
            assert story.served == ["a", "b", "c"]
            story.step.release()
            story.step.release()
        assert (story.turns.running, story.turns.waiting) == (0, 0)

    anyio.run(main)


def test_who_is_cancelled_in_its_turn_gives_it_back() -> None:
    """Also in the very moment when it comes."""

    async def main() -> None:
        story = Story(QueueLimits(10, 10, 1, 1))
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(story.ask, "a")
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(story.ask, "b")
                await anyio.wait_all_tasks_blocked()
                story.step.release()
                tasks.cancel_scope.cancel()
            assert story.turns.running == 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(story.ask, "c")
            await anyio.wait_all_tasks_blocked()
            assert story.served[-1] == "c"
            story.step.release()
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_a_limit_of_the_queue_is_a_quota() -> None:
    """With words that name it."""

    async def main() -> None:
        turns = Turns(QueueLimits(1, 1, 1, 1), lambda why: None)
        async with anyio.create_task_group() as tasks:
            holding = anyio.Event()

            async def hold() -> None:
                async with turns.turn("a"):
                    holding.set()
                    await anyio.sleep_forever()

            async def wait() -> None:
                async with turns.turn("a"):
                    raise AssertionError("its turn does not come")

            tasks.start_soon(hold)
            await holding.wait()
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(QuotaError, match="1 requests wait, limit 1"):
                async with turns.turn("a"):
                    pass
            tasks.cancel_scope.cancel()

    anyio.run(main)
