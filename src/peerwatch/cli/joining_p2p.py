"""Joining over Noise: the key of the invite is a member for as long as the invite is open, and gets this far only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from peerwatch.cli.node_process import NodeProcess
from peerwatch.cli.node_start import node_start
from peerwatch.errors import ConfigError, DecodeError, LinkError, QuotaError
from peerwatch.fleet.invite import Invite
from peerwatch.fleet.keys import save_key
from peerwatch.fleet.roster import AGENT, RosterEntry
from peerwatch.model import Clock
from peerwatch.node.address import parse_address
from peerwatch.settings import Settings
from peerwatch.wire.identity import PrivateKey, public_key_of
from peerwatch.wire.protocols import ENROL

_TRIES = 8  # a relay hears of a new invite within 5 s; machines that join by one token take each other's connection
_AGAIN_S = 1.0
_OPEN_S = 15.0


class _Named:
    """Whom a joining machine speaks with: the peers that its token names, hubs and relays (`roster_view.Members`)."""

    version = 1
    changes = 1

    def __init__(self, members: Sequence[bytes]) -> None:
        self._entries = [RosterEntry(one, one, "token", (AGENT,), 0, 1, revoked=False) for one in members]

    def __iter__(self) -> Iterator[RosterEntry]:
        return iter(self._entries)

    def may_act(self, entry: RosterEntry, now_ms: int) -> bool:
        """As the token says."""
        return True


async def enrol_over_p2p(
    invite: Invite, own: PrivateKey, request: bytes, settings: Settings, clock: Clock
) -> tuple[str, bytes]:
    """(multiaddr, answer) of the first hub of the token that lets this machine in.

    Each hub is asked with the key of the invite, then with the machine's own: an answer that got lost has spent the
    invite, and made this machine a member. Raises ConfigError when a hub says no, LinkError when none is reached.
    """
    hubs, everybody = _named(invite)
    failures: dict[str, None] = {}
    for key in (invite.key, own):
        with TemporaryDirectory(prefix="peerwatch-join-") as folder:
            node = _node(Path(folder), key, settings, everybody, clock)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(node.run)
                answer = await _ask_all(node, hubs, request, failures)
                tasks.cancel_scope.cancel()
        if isinstance(answer, ConfigError):  # raised in there, it would come out inside a group
            raise answer
        if answer is not None:
            return answer
    raise LinkError(
        "no hub let this machine in over libp2p. Is the token used up, expired or withdrawn (on a hub `peerwatch "
        "invites` lists those that are open), or are its addresses not reached from here? Ask for a new one: peerwatch "
        "invite --link p2p. It was tried:\n  " + "\n  ".join(failures)
    )


def _node(folder: Path, key: PrivateKey, settings: Settings, named: Sequence[bytes], clock: Clock) -> NodeProcess:
    """A node with this key and no address, for a moment."""
    save_key(folder / "peer.key", key)
    quiet = replace(settings.log, level="error")
    dials_only = replace(settings.p2p, listen=(), external=(), bootstrap=False)
    start = node_start(replace(settings, p2p=dials_only, log=quiet), folder, folder / "peer.key", "agent")
    members = _Named(named)
    return NodeProcess(start, lambda: members, clock)


def _named(invite: Invite) -> tuple[Mapping[bytes, list[str]], list[bytes]]:
    """The hubs by their multiaddrs, and with them the relays on the way."""
    hubs: dict[bytes, list[str]] = {}
    everybody: dict[bytes, None] = {}
    for text in invite.multiaddrs:
        try:
            found = parse_address(text)
            hubs.setdefault(public_key_of(found.peer), []).append(text)
            everybody |= {public_key_of(one): None for one in (found.peer, found.relay) if one}
        except DecodeError as error:
            raise ConfigError(f"the token names an address that is none: {error}") from error
    if not hubs:
        raise ConfigError("the token names no address over libp2p; ask for one by `peerwatch invite --link p2p`")
    return hubs, list(everybody)


async def _ask_all(
    node: NodeProcess, hubs: Mapping[bytes, list[str]], request: bytes, failures: dict[str, None]
) -> tuple[str, bytes] | ConfigError | None:
    for attempt in range(_TRIES):
        for hub, addresses in hubs.items():
            try:
                await node.open_peer(hub, addresses, _OPEN_S)
                return addresses[0], await node.deliver(hub, ENROL, request)
            except QuotaError as error:
                return ConfigError(str(error))
            except (LinkError, DecodeError) as error:
                failures[f"{addresses[0]}: {error}"] = None
        if attempt + 1 < _TRIES:
            await anyio.sleep(_AGAIN_S)
    return None
