"""`peerwatch invite`: a token that lets one machine in."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient
from peerwatch.cli.parameters import Option


def invite(
    name: Annotated[str, Option("--name", help="What the machine will be called. [default: its host name]")] = "",
    hours: Annotated[float, Option("--expires", metavar="HOURS", help="How long the token is good for.")] = 24.0,
    address: Annotated[
        list[str] | None, Option("--address", metavar="URL", help="How the machine reaches this hub.")
    ] = None,
    data: options.Data = None,
    url: options.Url = "",
    token: options.Token = "",
    ca: options.CaFile = "",
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Print a token; on the new machine: peerwatch join TOKEN. It is good once."""
    settings = options.settings_from(config, data=data)
    asked = {"name": name, "life_s": hours * 3600, "addresses": address or []}
    with HubClient(url, settings.folder, token, ca) as hub:
        answer = hub.post("/api/v1/admin/invites", asked)
    if json:
        print(jsonlib.dumps(answer))
        return
    print(answer["token"])
    print(f"On the new machine, within {hours:g} h: peerwatch join TOKEN", file=sys.stderr)
    print(f"It will look for this hub at {', '.join(answer['addresses'])}", file=sys.stderr)
    if all("127.0.0.1" in one or "localhost" in one for one in answer["addresses"]):
        print("Only this machine reaches that. For others: peerwatch up --listen 0.0.0.0:9480", file=sys.stderr)
