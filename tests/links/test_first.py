"""Several ways to one hub: their order, what is passed over and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError, PeerwatchError, QuotaError
from peerwatch.links import first
from peerwatch.links.first import FirstLink
from peerwatch.links.p2p import P2pLink


class _Way:
    """Answers with its name, or raises what it was given, or never answers."""

    def __init__(self, name: bytes, error: PeerwatchError | None = None, *, hangs: bool = False) -> None:
        self.name = name
        self.error = error
        self.hangs = hangs
        self.asked = 0

    async def push(self, request: bytes) -> bytes:
        """As a link does."""
        self.asked += 1
        if self.hangs:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error
        return self.name + request

    async def membership(self) -> bytes:
        """As a link does."""
        return await self.push(b"")


def _pushes(ways: Sequence[_Way], times: int = 1) -> list[bytes]:
    async def push() -> list[bytes]:
        link = FirstLink(ways)
        return [await link.push(b"!") for _ in range(times)]

    return anyio.run(push)


def test_the_first_way_is_used_while_it_works() -> None:
    """The other is not touched."""
    ways = [_Way(b"a"), _Way(b"b")]
    assert _pushes(ways, 3) == [b"a!"] * 3
    assert [one.asked for one in ways] == [3, 0]


def test_a_way_that_failed_rests_while_another_works() -> None:
    """Three requests ask it once."""
    ways = [_Way(b"a", LinkError("gone")), _Way(b"b")]
    assert _pushes(ways, 3) == [b"b!"] * 3
    assert [one.asked for one in ways] == [1, 3]


def test_after_its_rest_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the first again, once it works."""
    monkeypatch.setattr(first, "_REST_S", 0.0)
    ways = [_Way(b"a", LinkError("gone")), _Way(b"b")]
    assert _pushes(ways) == [b"b!"]
    ways[0].error = None
    assert _pushes(ways) == [b"a!"]


def test_a_way_that_hangs_leaves_half_of_the_time_to_the_next() -> None:
    """With the same request; then it is passed over."""
    ways = [_Way(b"a", hangs=True), _Way(b"b")]

    async def push() -> None:
        link = FirstLink(ways)
        for asked in (1, 1):
            with anyio.fail_after(0.4):
                assert await link.push(b"!") == b"b!"
            assert ways[0].asked == asked

    anyio.run(push)


def test_a_way_on_which_the_caller_gave_up_rests() -> None:
    """Whoever cancels says nothing of a deadline; the next request goes by the other way at once."""
    ways = [_Way(b"a", hangs=True), _Way(b"b")]

    async def push() -> None:
        link = FirstLink(ways)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.push, b"!")
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(1.0):
            assert await link.push(b"!") == b"b!"

    anyio.run(push)
    assert ways[0].asked == 1


def test_one_that_hangs_again_and_again_rests_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try costs a delivery half of its time. Once it has answered it is as good as any."""
    monkeypatch.setattr(first, "_REST_S", 0.2)
    way = _Way(b"a", hangs=True)
    link = FirstLink([way, _Way(b"b")])

    async def asked_again_after_s() -> float:
        """How long it is passed over from now on."""
        began_s, asked = anyio.current_time(), way.asked
        while way.asked == asked:
            await anyio.sleep(0.01)
            with anyio.fail_after(0.02):
                await link.push(b"!")
        return anyio.current_time() - began_s

    async def story() -> None:
        await asked_again_after_s()
        assert await asked_again_after_s() >= 0.2
        assert await asked_again_after_s() >= 0.4
        way.hangs = False
        await asked_again_after_s()
        way.hangs = True
        await asked_again_after_s()
        assert 0.2 <= await asked_again_after_s() < 0.8, "it has been well in between"

    anyio.run(story)


def test_the_last_way_never_rests_and_all_failures_are_told() -> None:
    """So a hub that comes back is found at the next try."""
    ways = [_Way(b"a", LinkError("no node")), _Way(b"b", LinkError("refused"))]
    with pytest.raises(LinkError, match="no node; refused"):
        _pushes(ways)

    async def twice() -> None:
        link = FirstLink(ways)
        for expected in ("no node; refused", "^refused$"):
            with pytest.raises(LinkError, match=expected):
                await link.membership()

    anyio.run(twice)


@pytest.mark.parametrize("error", [LinkError("full", 3.0), DecodeError("unreadable")])
def test_what_the_hub_itself_said_is_not_asked_again_elsewhere(error: PeerwatchError) -> None:
    """It is the same hub."""
    ways = [_Way(b"a", error), _Way(b"b")]
    with pytest.raises(type(error)):
        _pushes(ways)
    assert ways[1].asked == 0


def test_the_way_by_libp2p_tells_a_refusal_as_trouble_of_the_link() -> None:
    """So that another way is tried: the node may not know yet that this machine is a member."""

    async def refuse(protocol: str, body: bytes) -> bytes:
        raise QuotaError(f"denied: {protocol}")

    async def push() -> None:
        await P2pLink(refuse).push(b"")

    with pytest.raises(LinkError, match="denied: /peerwatch/push/1"):
        anyio.run(push)
