"""Three hubs that share an engine, agents that deliver to one of them each, and what is told of a hub in trouble.

The engine is a file in which each hub writes what it stores. Each story leaves the fleet whole for the next one, and
the hubs have their turns: a hub that fails again soon after is met by longer rests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from pathlib import Path

from peerwatch.agent.shard import ranked
from peerwatch.fleet.keys import load_key
from tests.e2e.ledger import Ledger
from tests.e2e.processes import Processes, eventually
from tests.e2e.recording_hub import Recorded, read_sink
from tests.e2e.shared_sink import judge
from tests.fabric.fabric import Fabric, Machine
from tests.fabric.network import Network

OF_EACH_ORDER = 4
"""So many agents prefer the hubs in each of the six orders that three have: a hub's own are twice as many."""
INTERVAL_S = 0.5
REPORT_S = 2 * INTERVAL_S
LEFT_S = 5.0
BUSY_S = 1.0  # fifty processes on two cores: what is due now may be done so much later
MOVED_S = 40.0
BACK_S = 120.0


class ShardFleet:
    """Three hubs over one sink, and agents that deliver to one of them each; equally many prefer each order of them."""

    def __init__(self, processes: Processes, network: Network) -> None:
        self.sink = processes.folder / "sink.jsonl"
        self.fabric = Fabric(processes, network, INTERVAL_S, sources=("loadavg",), sink=self.sink)
        for _ in range(3):
            self.fabric.found_hub()
        self.hubs = self.fabric.hubs
        self._names = {_member(hub.folder / "fleet"): name for name, hub in self.hubs.items()}
        self._by_pid: dict[int, str] = {}
        self.orders: dict[str, list[str]] = {}
        """Of each agent: the hubs as it prefers them."""
        self.fabric.place(self._choose())
        self._agents = {_member(one.folder / "agent").hex(): name for name, one in self.fabric.agents.items()}
        self.returns: list[tuple[int, int]] = []
        """Of each story: how many came back in its busiest second, and how many in all."""

    def _choose(self) -> list[Path]:
        """Members join until there are enough for each order; which order it is, a new key decides by chance."""
        chosen: dict[tuple[str, ...], list[Path]] = {order: [] for order in permutations(self.hubs)}
        count = 0
        while any(len(found) < OF_EACH_ORDER for found in chosen.values()):
            names = [f"a{number:03d}" for number in range(count, count + 24)]
            count += len(names)
            for folder in self.fabric.join_more(names):
                order = tuple(self._names[hub] for hub in ranked(_member(folder / "agent"), self._names))
                if len(chosen[order]) < OF_EACH_ORDER:
                    chosen[order].append(folder)
                    self.orders[folder.name] = list(order)
        return [folder for folders in chosen.values() for folder in folders]

    @property
    def folders(self) -> dict[str, Path]:
        """Of each sender the folder of its agent."""
        return {sender: self.fabric.agents[name].folder for sender, name in self._agents.items()}

    def start(self, hub: Machine) -> None:
        """Again, after it was killed."""
        self.fabric.start(hub)

    def own(self, hub: Machine) -> list[str]:
        """The agents that prefer it."""
        return [name for name, order in self.orders.items() if order[0] == hub.name]

    def records(self) -> dict[str, list[tuple[Recorded, str]]]:
        """Of each agent what the sink has, each with the name of its hub, in the order of arrival."""
        self._by_pid |= {hub.pid: name for name, hub in self.hubs.items()}
        found: dict[str, list[tuple[Recorded, str]]] = {name: [] for name in self.orders}
        for one in sorted(read_sink(self.sink), key=lambda one: one.at_s):
            found[self._agents[one.sender]].append((one, self._by_pid[one.hub]))
        return found

    def all_at_home(self) -> None:
        """Until what came last of each agent, by its number, is at the hub that it prefers."""

        def at_home() -> bool:
            newest = {
                name: max(found, key=lambda pair: pair[0].number, default=None)
                for name, found in self.records().items()
            }
            return all(pair is not None and pair[1] == self.orders[name][0] for name, pair in newest.items())

        eventually(at_home, "all agents are at the hubs that they prefer", BACK_S, 0.3)

    def spooled(self, agent: str) -> dict[tuple[int, int], float]:
        """When the agent put each envelope in its spool."""
        return Ledger.read(self.fabric.agents[agent].folder).spooled

    def judge(self) -> None:
        """After all stories: nothing is lost, what came again is the same bytes, and no story ended in a stampede."""
        envelopes, repeats = judge(self.sink, self.folders)
        busiest, count = (sum(column) for column in zip(*self.returns, strict=True))
        say("all stories", f"{envelopes} envelopes, {repeats} repeats; {busiest} of {count} came in busiest seconds")
        assert busiest <= 0.6 * count

    def times_left(self) -> int:
        """How often any agent has left a hub; a hub that rests and does not answer when it is asked counts again."""
        logs = [one.running.log for one in self.fabric.agents.values() if one.running is not None]
        return sum(log.count("hub left") for log in logs)


def _member(folder: Path) -> bytes:
    return load_key(folder / "peer.key").public


def say(story: str, words: str) -> None:
    print(f"{story}: {words}", flush=True)  # noqa: T201


class Story:
    """One hub in trouble: how long its agents waited, where they went, and how they came back."""

    def __init__(self, fleet: ShardFleet, name: str, victim: Machine, *, before_s: float = 0.0) -> None:
        """`before_s`: how long the last send may have taken that was still acknowledged; the next one waits for it."""
        self._fleet = fleet
        self._name = name
        self._victim = victim
        self._own = fleet.own(victim)
        self._left_s = before_s + LEFT_S + BUSY_S

    def tell(self, trouble: Callable[[], object], heal: Callable[[], object], lasts_s: float = 0.0) -> None:
        """Until all is as before: it lasts at least so long, and until each of the hub's own is elsewhere."""
        fleet = self._fleet
        fleet.all_at_home()
        left, repeats, began_s = fleet.times_left(), self._repeats(), time.time()
        trouble()
        first = eventually(lambda: self._elsewhere(began_s), "all of its agents move", MOVED_S)
        self._check_spread({agent: hub for agent, (_, hub) in first.items()})
        time.sleep(max(0.0, began_s + lasts_s - time.time()))
        healed_s = time.time()
        heal()
        fleet.all_at_home()
        self._check_waits(began_s, healed_s, max(at_s for at_s, _ in first.values()) - began_s)
        self._check_return(healed_s)
        left, repeats = fleet.times_left() - left, self._repeats() - repeats
        say(self._name, f"{repeats} repeats, a hub was left {left} times; {time.time() - began_s:.0f} s in all")
        assert repeats <= 2 * left, "where a hub is left, one request of each of the two lanes comes again at most"

    def _repeats(self) -> int:
        found = [one.number for one in read_sink(self._fleet.sink)]
        return len(found) - len(set(found))

    def _elsewhere(self, since_s: float) -> dict[str, tuple[float, str]] | None:
        """When another hub first had something of each of the hub's own agents since then, and which hub."""
        first: dict[str, tuple[float, str]] = {}
        found = self._fleet.records()
        for agent in self._own:
            for one, hub in found[agent]:
                if one.at_s > since_s and hub != self._victim.name:
                    first.setdefault(agent, (one.at_s, hub))
        return first if len(first) == len(self._own) else None

    def _check_spread(self, moved: dict[str, str]) -> None:
        """To both others, each agent to the one that it prefers of them."""
        say(self._name, f"of {self._victim.name}'s {len(moved)} agents went " + _counted(moved.values()))
        assert moved == {agent: self._fleet.orders[agent][1] for agent in self._own}

    def _check_waits(self, began_s: float, healed_s: float, first_s: float) -> None:
        """How long what was spooled meanwhile waited for another hub: the send is at once, or when that before ends."""
        found, waits_s = self._fleet.records(), []
        for agent in self._own:
            taken: dict[tuple[int, int], float] = {}
            for one, hub in found[agent]:
                if hub != self._victim.name or one.at_s > healed_s:
                    taken.setdefault((one.epoch, one.seq), one.at_s)
            for at, spooled_s in self._fleet.spooled(agent).items():
                if began_s < spooled_s < healed_s and at in taken:  # else acknowledged as the trouble began
                    waits_s.append(taken[at] - spooled_s)
        worst_s = max(waits_s)
        say(self._name, f"at another hub {first_s:.1f} s after it began, {worst_s:.1f} s after it was spooled, at most")
        assert worst_s < self._left_s
        assert first_s < REPORT_S + self._left_s

    def _check_return(self, healed_s: float) -> None:
        """When the hub first took of each what had been spooled after it was whole."""
        found, came_s = self._fleet.records(), []
        for agent in self._own:
            spooled = self._fleet.spooled(agent)
            at_home = [one for one, hub in found[agent] if hub == self._victim.name]
            came_s.append(min(one.at_s for one in at_home if spooled[one.epoch, one.seq] > healed_s))
        busiest, count = _busiest_second(came_s), len(came_s)
        spans = f"{min(came_s) - healed_s:.1f} to {max(came_s) - healed_s:.1f} s after"
        say(self._name, f"{count} came back {spans}, {busiest} of them in the busiest second")
        self._fleet.returns.append((busiest, count))
        assert busiest < count


def _counted(hubs: Iterable[str]) -> str:
    return ", ".join(f"{count} to {hub}" for hub, count in sorted(Counter(hubs).items()))


def _busiest_second(times_s: Sequence[float]) -> int:
    return max(sum(1 for other_s in times_s if at_s <= other_s < at_s + 1) for at_s in times_s)
