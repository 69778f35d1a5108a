"""A member sends another's batch, captured on its way, again and again."""

from __future__ import annotations

from tests.hostile.knocking import as_member, push
from tests.hostile.plan import Plan


async def attack(plan: Plan) -> None:
    """Signature and numbers are right; it is stored once."""
    await as_member(plan, lambda open_stream: push(open_stream, plan.captured))
