"""What hubs of one fleet say to one of its agents: real keys, certificates, envelopes and acks, without a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peerwatch.agent.seal import Sealed
from peerwatch.fleet.membership import Membership, new_membership
from peerwatch.fleet.trust import HubCertificate, certify_hub
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.ack import AckBody, sign_acks
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.push import Refusal, RefusalReason, ReplyDraft
from tests.collector.kit import Agent

_LATE_MS = 1 << 50


@dataclass(slots=True)
class Fleet:
    """Hubs with certificates, and an agent that knows them."""

    folder: Path
    key: PrivateKey
    """The agent's."""
    root: PrivateKey = field(default_factory=PrivateKey.generate)
    signing: dict[bytes, PrivateKey] = field(default_factory=dict)
    membership: Membership = field(init=False)
    agent: Agent = field(init=False)

    def __post_init__(self) -> None:
        self.membership = new_membership(self.folder / "membership.bin", self.root.public)
        self.agent = Agent(self.membership.fleet, key=self.key)

    def certify(self, hub: bytes, serial: int = 1) -> bytes:
        """A certificate for the key by which this hub signs from now on; nobody knows it yet."""
        key = self.signing[hub] = PrivateKey.generate()
        return certify_hub(self.root, self.membership.fleet, HubCertificate(hub, key.public, 0, _LATE_MS, serial))

    def know(self, hub: bytes) -> None:
        """Have the agent know it."""
        self.membership.trust.add_certificate(self.certify(hub), 1)

    def welcome(self, *certificates: bytes) -> bytes:
        """What a hub answers that is asked for the membership."""
        return pb.Membership(certificates=certificates, fleet=self.membership.fleet, format=2).SerializeToString()

    def sealed(self) -> tuple[Sealed, bytes]:
        """The agent's next batch, and the request with it."""
        one = self.agent.seal()
        return one, self.agent.request(one)

    def ack(self, hub: bytes, seqs: Sequence[int], *, by: PrivateKey | None = None) -> bytes:
        """A hub's reply that acknowledges these numbers."""
        fleet, sender, epoch = self.membership.fleet, self.agent.sender, self.agent.epoch
        body = AckBody(fleet, sender, epoch, tuple((seq, seq) for seq in seqs), 1)
        return ReplyDraft(0, hub, acks=sign_acks(by or self.signing[hub], [body])).encode()

    def refusal(self, hub: bytes, reason: RefusalReason, seq: int, wait_s: float = 0.0) -> bytes:
        """A hub's reply that refuses one."""
        return ReplyDraft(0, hub, refusals=[Refusal(self.agent.epoch, seq, reason, "no", wait_s)]).encode()

    def asks(self, hub: bytes) -> bytes:
        """A hub's reply that needs a schema."""
        return ReplyDraft(0, hub, need_schemas=[bytes(32)]).encode()

    def silence(self, hub: bytes) -> bytes:
        """A hub's reply that says nothing."""
        return ReplyDraft(0, hub).encode()
