"""What a hub answers to members that ask over libp2p."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from peerwatch.cli.hub_role import HubRole
from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.model import SystemClock
from peerwatch.node.messages import Inbound
from peerwatch.settings import load_settings
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.protocols import MEMBERSHIP, PUSH


def _answer(folder: Path, protocol: str) -> tuple[bytes | str, bytes]:
    """(what a new hub answers, or why it does not; its membership)."""

    async def ask() -> tuple[bytes | str, bytes]:
        settings = load_settings(None, {}, {"data": str(folder), "hub.listen": "127.0.0.1:0"})
        role = HubRole(settings, SystemClock(), CollectorRegistry(), samples_itself=False)
        stop = anyio.Event()
        answer: bytes | str
        async with anyio.create_task_group() as tasks:
            await tasks.start(role.run, stop)
            inbound = Inbound(peer="p", address="/ip4/127.0.0.1/tcp/1", protocol=protocol, body=b"")
            try:
                answer = (await role.answer_member(inbound)).body
            except LinkError as error:
                answer = str(error)
            stop.set()
        membership = role.authority.membership.welcome(b"")
        role.close()
        return answer, membership

    return anyio.run(ask)


def test_who_the_hubs_are_is_answered(tmp_path: Path) -> None:
    """Signed, as over HTTP."""
    answer, membership = _answer(tmp_path, MEMBERSHIP)
    assert answer == membership


def test_an_unknown_protocol_is_not_answered(tmp_path: Path) -> None:
    """With words."""
    assert _answer(tmp_path, "/other/1")[0] == "nobody answers /other/1 here"


def test_a_hub_that_was_revoked_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its acks count nowhere: whoever sends must keep what it has."""
    monkeypatch.setattr(Authority, "is_revoked", property(lambda _: True))
    assert _answer(tmp_path, PUSH)[0] == "this hub was revoked by its fleet"
