"""Every agent delivers to every hub of its fleet: each hub has all samples, whatever becomes of the others."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from peerwatch.fleet.keys import load_key
from peerwatch.wire.identity import peer_id
from tests.e2e.hubs import CATCH_UP_S, Hubs, cursors
from tests.e2e.processes import Processes, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
_NO_LIBP2P = pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra p2p is not installed: make p2p")
both_roads = pytest.mark.parametrize("link", ["https", pytest.param("p2p", marks=_NO_LIBP2P)])
FRESH_S = 5.0  # one sample a second, reported at once; the machine may be busy


def _meanwhile(hubs: Hubs, name: str, seconds: float) -> float:
    """The oldest that the newest sample of any agent gets at a hub within these seconds."""
    deadline_s = time.monotonic() + seconds
    worst_s = 0.0
    while time.monotonic() < deadline_s:
        worst_s = max(worst_s, hubs.stale_s(name))
        time.sleep(0.2)
    return worst_s


def _timed(action: Callable[[], object]) -> float:
    began_s = time.monotonic()
    action()
    return time.monotonic() - began_s


@both_roads
def test_hubs_that_join_die_freeze_and_leave(processes: Processes, link: str) -> None:
    """A hub is served without a restart of any agent; one that is away delays nothing and is caught up; one that is
    revoked is forgotten. What the agents took is on every hub, once, as it was."""
    hubs = Hubs(processes, ("one", "two"), link)
    for name in ("a", "b"):
        hubs.agent(name)
    hubs.serves("one")
    hubs.join("two")
    hubs.start("two")
    served_s = _timed(lambda: hubs.serves("two"))

    hubs["two"].running.kill()
    dead_s = _meanwhile(hubs, "one", 10)
    hubs.start("two")
    back_s = _timed(lambda: hubs.serves("two"))
    after_s = _meanwhile(hubs, "one", 3)

    hubs["one"].running.signal(signal.SIGSTOP)
    frozen_s = _meanwhile(hubs, "two", 10)
    hubs["one"].running.signal(signal.SIGCONT)
    thawed_s = _timed(lambda: hubs.serves("one"))

    verdicts = hubs.compare()
    print(  # noqa: T201
        f"{link}: served {served_s:.1f} s after its start; newest at one while two was dead {dead_s:.1f} s old, "
        f"two served again after {back_s:.1f} s, one meanwhile {after_s:.1f} s; while one was frozen, at two "
        f"{frozen_s:.1f} s, one served again after {thawed_s:.1f} s; {verdicts}"
    )
    assert all(one.good for one in verdicts.values()), verdicts
    assert max(dead_s, after_s, frozen_s) < FRESH_S
    _leaves(processes, hubs)


def _leaves(processes: Processes, hubs: Hubs) -> None:
    """A hub that is revoked is left, and nothing is kept for it."""
    names = {name: peer_id(load_key(hubs[name].folder / "fleet" / "peer.key").public) for name in ("one", "two")}
    for agent in hubs.agents:
        assert cursors(processes.folder / agent) == {*names.values(), "newcomers"}
    assert processes.run("revoke", "two", "--data", str(hubs["one"].folder)).returncode == 0
    wanted = [{names["one"], "newcomers"}] * len(hubs.agents)
    eventually(
        lambda: [cursors(processes.folder / one) for one in hubs.agents] == wanted, "it is forgotten", CATCH_UP_S
    )
    hubs.serves("one")
    assert all(agent.stop() == 0 for agent in hubs.agents.values())


@both_roads
def test_a_hub_that_begins_with_a_snapshot_has_all_that_the_first_one_has(processes: Processes, link: str) -> None:
    """Nothing lacks, nothing is twice: of an agent that knew of it late, and of one that was away, too."""
    hubs = Hubs(processes, ("one", "two"), link)
    hubs.agent("a", PEERWATCH_SHIP_MEMBERSHIP_GAP_S="12")  # so that it looks once at first, and then late
    hubs.agent("b")
    hubs.serves("one")
    hubs.agents["b"].kill()
    target = processes.folder / "snapshot"
    done = processes.run("snapshot", str(target), "--data", str(hubs["one"].folder))
    assert done.returncode == 0, done
    hubs.join("two")
    (hubs["two"].folder / "store").parent.mkdir(exist_ok=True)
    target.rename(hubs["two"].folder / "store")
    time.sleep(3)  # what is taken now is in no snapshot, and the first hub has it before any agent knows of the second
    hubs.start("two")
    hubs.agent("b")
    hubs.serves("two")
    verdicts = hubs.compare()
    print(f"{link}: {verdicts}")  # noqa: T201
    assert all(one.good for one in verdicts.values()), verdicts
