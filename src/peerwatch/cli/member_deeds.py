"""MemberDeeds: what a push over libp2p says of the member that sent it, for its node to hold against it."""

from __future__ import annotations

from peerwatch.collector.collector import PushResult
from peerwatch.node.messages import DeedCount, Delivered
from peerwatch.node.reputation import Deed
from peerwatch.wire.push import RefusalReason

_PROVED = {
    RefusalReason.SIGNATURE: Deed.BAD_SIGNATURE,
    RefusalReason.MALFORMED: Deed.MALFORMED,
    RefusalReason.CLONED: Deed.REPLAY,
}
"""The other refusals prove nothing: quotas and clocks are the hub's view, and whoever has joined again may have batches
of its former self in its spool."""


def delivered(result: PushResult, sender: bytes) -> Delivered:
    """The answer, with each kind of deed once: a request with many bad batches is one bad request."""
    deeds = [_PROVED[reason] for reason in sorted(result.refused) if reason in _PROVED]
    if result.repeated - {sender}:  # batches of another that are stored already: it has no business with them
        deeds.append(Deed.REPLAY)
    if not deeds:
        return Delivered(body=result.reply)
    return Delivered(body=result.reply, deeds=[DeedCount(deed.value) for deed in dict.fromkeys(deeds)])
