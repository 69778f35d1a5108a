"""Memory that requests take is shared out: neither slow senders nor large requests keep a small one out."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest

from peerwatch.errors import QuotaError
from peerwatch.node.held import Held

A, B, C = b"a", b"b", b"c"


def _story(story) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        with ExitStack() as stack:
            story(stack)

    anyio.run(main)


def test_a_member_has_a_share() -> None:
    """However many requests it makes; the others have room."""

    def story(stack: ExitStack) -> None:
        held = Held(100, 40)
        first, second, other = (stack.enter_context(held.share(one)) for one in (A, A, B))
        first.add(30)
        with pytest.raises(QuotaError, match="41 bytes of one member in memory, limit 40") as error:
            second.add(11)
        assert error.value.wait_s == 1.0
        second.add(10)
        other.add(40)
        assert held.bytes == 80 and not first.lost

    _story(story)


def test_whoever_holds_most_that_is_not_whole_gives_way() -> None:
    """Its oldest request, and no more of them than are needed."""

    def story(stack: ExitStack) -> None:
        held = Held(100, 60)
        old, new, small, comer = (stack.enter_context(held.share(one)) for one in (A, A, B, C))
        old.add(30)
        new.add(30)
        small.add(35)
        comer.add(20)
        assert [one.lost for one in (old, new, small, comer)] == [True, False, False, False]
        assert old.scope.cancel_called and not new.scope.cancel_called
        assert (held.bytes, held.lost) == (85, 1)

    _story(story)


def test_nobody_gives_way_to_somebody_who_holds_more() -> None:
    """Nor for requests that are whole: they are being answered."""

    def story(stack: ExitStack) -> None:
        held = Held(100, 60)
        small, large, whole = (stack.enter_context(held.share(one)) for one in (A, B, C))
        small.add(20)
        whole.add(50)
        whole.settle()
        with pytest.raises(QuotaError, match="110 bytes in memory, limit 100"):
            large.add(40)
        assert not small.lost and not whole.lost and held.bytes == 70

    _story(story)


def test_what_was_held_is_given_back() -> None:
    """At the end of a request, however it ends, and once."""

    def story(stack: ExitStack) -> None:
        held = Held(100, 100)
        with pytest.raises(QuotaError), held.share(A) as share:
            share.add(101)
        with held.share(B) as share:
            share.add(80)
            with held.share(C) as other:
                other.add(60)
                assert share.lost
            assert held.bytes == 0
        assert held.bytes == 0

    _story(story)
