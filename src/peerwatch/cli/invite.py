"""`peerwatch invite`: a token that lets a machine in."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from typing import Annotated, Any, Literal

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Option
from peerwatch.errors import ConfigError

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 3600.0}


def invite(
    hub: AskedHub,
    name: Annotated[str, Option("--name", help="What the machine will be called. [default: its host name]")] = "",
    roles: Annotated[str, Option("--roles", help="What it becomes: agent, hub, hub,agent, or relay.")] = "agent",
    uses: Annotated[int, Option("--uses", metavar="N", help="How many machines the token lets in.")] = 1,
    expires: Annotated[
        str,
        Option("--expires", metavar="TIME", help="How long the token is good for: 30m, 24h, 7d; hours without unit."),
    ] = "24h",
    link: Annotated[
        Literal["https", "p2p"],
        Option("--link", help="How the machine joins and delivers; p2p needs the extra p2p there, p2p.listen here."),
    ] = "https",
    address: Annotated[
        list[str] | None, Option("--address", metavar="URL", help="How the machine reaches this hub.")
    ] = None,
    revoke: Annotated[
        str,
        Option("--revoke", metavar="INVITE", help="Make an open invite useless: its name in `invites`, or the token."),
    ] = "",
    json: options.Json = False,
) -> None:
    """Print a token; on the new machine: peerwatch join TOKEN. It is good once, or as often as --uses says."""
    with hub.open() as client:
        if revoke:
            gone = client.post("/api/v1/admin/revoke", {"who": revoke, "invite": True})
            print(jsonlib.dumps(gone) if json else f"withdrawn: {gone['name']}; who came by it stays: peerwatch revoke")
            return
        asked = {
            "name": name,
            "life_s": _life_s(expires),
            "addresses": address or [],
            "roles": [role.strip() for role in roles.split(",")],
            "uses": uses,
            "link": link,
        }
        answer = client.post("/api/v1/admin/invites", asked)
    if json:
        print(jsonlib.dumps(answer))
        return
    print(answer["token"])
    _explain(answer, expires)


def _explain(answer: dict[str, Any], expires: str) -> None:
    machine = "the new machine" if answer["uses"] == 1 else f"each of {answer['uses']} new machines"
    print(f"On {machine}, within {expires}: peerwatch join TOKEN", file=sys.stderr)
    if answer["link"] == "p2p":
        print(f"It will join and deliver over libp2p, at {', '.join(answer['multiaddrs'])}", file=sys.stderr)
        return
    print(f"It will look for this hub at {', '.join(answer['addresses'])}", file=sys.stderr)
    if all("127.0.0.1" in one or "localhost" in one for one in answer["addresses"]):
        print("Only this machine reaches that. For others: peerwatch up --listen 0.0.0.0:9480", file=sys.stderr)


def _life_s(text: str) -> float:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--expires: {text!r} is no time; allowed are 30m, 24h, 7d and the like")
    return float(match[1]) * _SECONDS[match[2]]
