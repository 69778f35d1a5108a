"""A member signs another's batch with its own key, so as to speak in its name."""

from __future__ import annotations

from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.signed import Domain, sign_message, split_message
from tests.hostile.knocking import as_member, push
from tests.hostile.plan import Plan


async def attack(plan: Plan) -> None:
    """Everything but the signature is as it was."""
    request = pb.PushRequest.FromString(plan.captured)
    payload, _, number = split_message(request.envelopes[0])
    request.envelopes[0] = sign_message(plan.key, Domain.BATCH, payload, number)
    forged = request.SerializeToString()
    await as_member(plan, lambda open_stream: push(open_stream, forged))
