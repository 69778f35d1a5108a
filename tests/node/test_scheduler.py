"""Streams are served in turn: nobody starves, nothing grows without bound."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peerwatch.node.config import NodeLimits, SocketConfig
from peerwatch.node.scheduler import FairQueue, Full, Queued, QueueLimits, Refused

WIDE = QueueLimits(max_waiting=100_000, max_waiting_per_peer=50_000, max_running=4, max_running_per_peer=4)


def _serve(queue: FairQueue[object], count: int) -> list[str]:
    """Take `count` items one at a time, each finished before the next."""
    order = []
    for _ in range(count):
        found = queue.next()
        if found is None:
            break
        order.append(found[0])
        queue.finish(found[0])
    return order


def test_one_peers_items_keep_their_order() -> None:
    """First in, first out."""
    queue: FairQueue[int] = FairQueue(WIDE)
    for n in range(5):
        assert queue.enqueue("a", n) == Queued()
    found = []
    while (one := queue.next()) is not None:
        found.append(one[1])
        queue.finish("a")
    assert found == [0, 1, 2, 3, 4]


def test_a_flood_does_not_delay_others() -> None:
    """Whoever comes after ten thousand items of another peer is served within two turns."""
    queue: FairQueue[object] = FairQueue(WIDE)
    for n in range(10_000):
        queue.enqueue("flood", n)
    queue.enqueue("honest", 0)
    assert "honest" in _serve(queue, 3)


def test_turns_are_worth_the_same() -> None:
    """A peer with large items gets as much as one with small ones, not more."""
    queue: FairQueue[object] = FairQueue(WIDE)
    for n in range(400):
        queue.enqueue("large", n, 1.0)
        queue.enqueue("small", n, 0.25)
    served = Counter(_serve(queue, 250))
    assert served["large"] * 1.0 == pytest.approx(served["small"] * 0.25, abs=3.0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.1, 0.25, 0.5, 1.0])), max_size=80),
    st.lists(st.sampled_from(["next", "flood", "leave"]), max_size=60),
)
def test_backlogged_peers_are_served_equally(arrivals: list[tuple[str, float]], events: list[str]) -> None:
    """To within three quanta, whatever other peers do meanwhile, and whatever the items cost."""
    queue: FairQueue[float] = FairQueue(WIDE)
    for n in range(200):
        queue.enqueue("x", (0.1, 1.0, 0.3)[n % 3], (0.1, 1.0, 0.3)[n % 3])
        queue.enqueue("y", 0.9, 0.9)
    for peer, cost in arrivals:
        queue.enqueue(peer, cost, cost)
    served = {"x": 0.0, "y": 0.0}
    for number, event in enumerate([*events, *["next"] * 60]):
        if event == "flood":
            for _ in range(5):
                queue.enqueue(f"sybil{number}", 1.0, 1.0)
        elif event == "leave":
            queue.drop("a")
        elif (found := queue.next()) is not None:
            served[found[0]] = served.get(found[0], 0.0) + found[1]
            queue.finish(found[0])
            assert abs(served["x"] - served["y"]) <= 3.0


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_work_is_never_left_lying(arrivals: list[str]) -> None:
    """While a slot is free and something waits that may run, it runs."""
    queue: FairQueue[int] = FairQueue(WIDE)
    for n, peer in enumerate(arrivals):
        queue.enqueue(peer, n)
    assert len(_serve(queue, 1000)) == len(arrivals)
    assert (queue.waiting, queue.running) == (0, 0)


def test_slots_are_limited() -> None:
    """In all, and per peer; a slot that comes free is used by whoever waits."""
    limits = QueueLimits(max_waiting=100, max_waiting_per_peer=50, max_running=3, max_running_per_peer=2)
    queue: FairQueue[int] = FairQueue(limits)
    for n in range(4):
        queue.enqueue("a", n)
    assert [queue.next(), queue.next(), queue.next()] == [("a", 0), ("a", 1), None]
    queue.enqueue("b", 9)
    queue.enqueue("b", 10)
    assert [queue.next(), queue.next()] == [("b", 9), None]
    queue.finish("a")
    assert [queue.next(), queue.next()] == [("a", 2), None]  # b has had its turn
    queue.finish("b")
    assert queue.next() == ("b", 10)


def test_a_peer_that_fills_its_queue_is_refused() -> None:
    """Others are not."""
    queue: FairQueue[int] = FairQueue(QueueLimits(10, 2, 1, 1))
    assert [queue.enqueue("a", n) for n in range(3)] == [Queued(), Queued(), Refused(Full.PEER)]
    assert queue.enqueue("b", 0) == Queued()


def test_when_all_is_full_the_longest_queue_gives() -> None:
    """Its newest item; its own newcomers are refused."""
    queue: FairQueue[str] = FairQueue(QueueLimits(4, 4, 1, 1))
    for n in range(4):
        queue.enqueue("a", f"a{n}")
    assert queue.enqueue("a", "a4") == Refused(Full.PEER)
    assert queue.enqueue("b", "b0") == Queued(("a", "a3"))
    assert queue.enqueue("c", "c0") == Queued(("a", "a2"))
    assert queue.enqueue("d", "d0") == Queued(("a", "a1"))
    assert queue.enqueue("e", "e0") == Refused(Full.ALL)
    assert queue.waiting == 4


def test_a_peer_that_leaves_takes_its_items_along() -> None:
    """They come back for closing; what runs is finished as ever, also after it has left."""
    queue: FairQueue[int] = FairQueue(WIDE)
    for n in range(3):
        queue.enqueue("a", n)
    assert queue.next() == ("a", 0)
    assert queue.drop("a") == [1, 2]
    assert queue.drop("a") == [] and queue.drop("b") == []
    queue.finish("a")
    assert (queue.waiting, queue.running, queue.next()) == (0, 0, None)


def test_misuse_is_a_bug() -> None:
    """Finishing what does not run, and costs that no turn could serve."""
    queue: FairQueue[int] = FairQueue(WIDE)
    with pytest.raises(ValueError, match="finish of a"):
        queue.finish("a")
    for cost in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="cost"):
            queue.enqueue("a", 0, cost)


def test_limits_of_the_presets() -> None:
    """Less than the window to the main process, a twelfth of it for one peer, and there is always one."""
    agent = QueueLimits.requests(NodeLimits.agent(), SocketConfig())
    assert (agent.max_running, agent.max_running_per_peer) == (48, 4)
    assert (agent.max_waiting, agent.max_waiting_per_peer) == (1024, 128)
    tiny = QueueLimits.requests(NodeLimits.agent(), SocketConfig(window_requests=1))
    assert (tiny.max_running, tiny.max_running_per_peer) == (1, 1)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, the counts are right and the bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(QueueLimits(6, 4, 3, 2))
        self.waiting: Counter[str] = Counter()
        self.running: Counter[str] = Counter()

    @rule(peer=st.sampled_from("abcd"), cost=st.sampled_from([0.2, 1.0]))
    def arrives(self, peer: str, cost: float) -> None:
        answer = self.queue.enqueue(peer, 0, cost)
        if isinstance(answer, Queued):
            self.waiting[peer] += 1
            if answer.pushed_out:
                self.waiting[answer.pushed_out[0]] -= 1

    @rule()
    def serves(self) -> None:
        found = self.queue.next()
        if found is None:
            assert self.running.total() == 3 or all(
                not self.waiting[peer] or self.running[peer] == 2 for peer in "abcd"
            )
            return
        self.waiting[found[0]] -= 1
        self.running[found[0]] += 1

    @rule(peer=st.sampled_from("abcd"))
    def finishes(self, peer: str) -> None:
        if self.running[peer]:
            self.queue.finish(peer)
            self.running[peer] -= 1

    @rule(peer=st.sampled_from("abcd"))
    def leaves(self, peer: str) -> None:
        assert len(self.queue.drop(peer)) == self.waiting[peer]
        self.waiting[peer] = 0

    @invariant()
    def counts(self) -> None:
        assert (self.queue.waiting, self.queue.running) == (self.waiting.total(), self.running.total())
        assert self.queue.waiting <= 6 and self.queue.running <= 3
        assert max(self.running.values(), default=0) <= 2 and max(self.waiting.values(), default=0) <= 4


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(deadline=None)
