"""`peerwatch revoke`: put a member out of the fleet, for good."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Argument


def revoke(
    hub: AskedHub,
    who: Annotated[str, Argument(help="The member's name or peer id.")],
    json: options.Json = False,
) -> None:
    """Put a member out for good: from now on nothing is taken from it, and its keys never come back."""
    with hub.open() as client:
        gone = client.post("/api/v1/admin/revoke", {"who": who})
    if json:
        print(jsonlib.dumps(gone))
        return
    print(f"revoked {gone['name']} ({gone['peer_id']}); the name is free again, the keys never are")
