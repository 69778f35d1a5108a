"""Failures: errors as messages, and back."""

from __future__ import annotations

from peerwatch.errors import DecodeError, LinkError, PeerError, PeerwatchError, QuotaError
from peerwatch.node.messages import Failed, Failure, Reply


def to_failed(error: PeerwatchError) -> Failed:
    """An error of ours, as the other side is told."""
    wait_s = getattr(error, "wait_s", None) or 0.0
    if isinstance(error, QuotaError):
        reason = Failure.BUSY if wait_s else Failure.DENIED
    elif isinstance(error, PeerError):
        reason = Failure.MALFORMED
    elif isinstance(error, LinkError):
        reason = Failure.BUSY if wait_s else Failure.UNREACHABLE
    else:
        reason = Failure.INTERNAL
    return Failed(reason=reason, message=str(error)[:1000], wait_ms=round(wait_s * 1000))


def checked_reply(reply: Reply | LinkError | None) -> Reply:
    """The reply, or the error it stands for: LinkError (with a wait, where it said one), DecodeError, QuotaError."""
    if isinstance(reply, Failed):
        words, wait_s = f"{reply.reason.value}: {reply.message}", reply.wait_ms / 1000 or None
        if reply.reason is Failure.MALFORMED:
            raise DecodeError(words)
        if reply.reason is Failure.DENIED:
            raise QuotaError(words)
        raise LinkError(words, wait_s)
    if isinstance(reply, LinkError):
        raise LinkError(str(reply)) from reply
    if reply is None:
        raise LinkError("the connection has ended")
    return reply
