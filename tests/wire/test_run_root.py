"""A run is believed when its sender signed the root and the leaves hash to it; nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.model import Dropped
from peerwatch.wire import merkle
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.run_root import MAX_RUN_BATCHES, is_first_format, open_run, sign_run
from peerwatch.wire.signed import Domain, sign_message

KEY = PrivateKey(bytes(range(32)))
FLEET = b"F" * 16
LEAVES = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=70)


def _sign(leaves: list[bytes], first: int = 3) -> bytes:
    return sign_run(KEY, FLEET, KEY.public, (7, first), leaves, (7, 1))


@settings(max_examples=50)
@given(LEAVES, st.data())
def test_a_part_is_proved_without_the_rest(leaves: list[bytes], data: st.DataObject) -> None:
    """A leaf, its path and the signed root are enough; no other leaf passes in its place."""
    run = open_run(_sign(leaves), Verifier(KEY.public))
    assert run.leaves == tuple(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    path = merkle.path(merkle.levels([merkle.leaf_hash(leaf) for leaf in run.leaves]), at)
    assert len(path) <= 7
    assert merkle.climb(merkle.leaf_hash(leaves[at]), at, path) == run.root.root
    other = data.draw(st.binary(min_size=16, max_size=16))
    assert (merkle.climb(merkle.leaf_hash(other), at, path) == run.root.root) == (other == leaves[at])


@settings(max_examples=100)
@given(LEAVES, st.data())
def test_a_changed_bit_never_passes(leaves: list[bytes], data: st.DataObject) -> None:
    """Flip any bit: it is refused, or it means exactly the same."""
    raw = bytearray(_sign(leaves))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        run = open_run(bytes(raw), Verifier(KEY.public))
    except PeerError:
        return
    assert run == open_run(_sign(leaves), Verifier(KEY.public))


@given(st.binary(max_size=300))
def test_junk_is_refused(raw: bytes) -> None:
    """Any bytes: an error of the peer's, nothing else."""
    with pytest.raises(PeerError):
        open_run(raw, Verifier(KEY.public))


def _signed(**changes: object) -> bytes:
    fields = {
        "fleet": FLEET,
        "sender": KEY.public,
        "epoch": 7,
        "first_seq": 0,
        "last_seq": 1,
        "root": merkle.root([merkle.leaf_hash(bytes(16))] * 2),
        **changes,
    }
    return sign_message(KEY, Domain.RUN_ROOT, pb.RunRoot(**fields).SerializeToString())


@pytest.mark.parametrize(
    ("signed", "leaves", "kind", "words"),
    [
        (_signed(), b"", DecodeError, "run with 0 bytes of leaves"),
        (_signed(), bytes(31), DecodeError, "run with 31 bytes of leaves"),
        (_signed(), bytes(16 * (MAX_RUN_BATCHES + 1)), DecodeError, "run with 4112 bytes of leaves"),
        (_signed(), bytes(48), DecodeError, "run 7/0..1 has 3 leaves"),
        (_signed(last_seq=(1 << 64) - 1), bytes(32), DecodeError, "outside what numbers"),
        (_signed(first_seq=2), bytes(32), DecodeError, "run 7/2..1 has 2 leaves"),
        (_signed(epoch=0), bytes(32), DecodeError, "outside what numbers"),
        (_signed(sender=b"x"), bytes(32), DecodeError, "a sender of 1 bytes"),
        (_signed(before_epoch=7), bytes(32), DecodeError, "follows 7/0"),
        (_signed(root=bytes(32)), bytes(32), SignatureError, "do not hash to the signed root"),
        (_signed(), bytes(31) + b"x", SignatureError, "do not hash to the signed root"),
        (_signed(dropped=[pb.Dropped(epoch=1)] * 65), bytes(32), DecodeError, "65 dropped stretches, limit 64"),
        (_signed(dropped=[pb.Dropped()]), bytes(32), DecodeError, "dropped 0/0..0: outside"),
        (_signed(dropped=[pb.Dropped(epoch=1, first_seq=2)]), bytes(32), DecodeError, "dropped 1/2..0: outside"),
        (_signed(dropped=[pb.Dropped(epoch=1, last_seq=1 << 63)]), bytes(32), DecodeError, "outside what numbers"),
        (_signed(dropped=[pb.Dropped(epoch=1, receivers=["a"] * 17)]), bytes(32), DecodeError, "17 receivers, limit"),
        (_signed(dropped=[pb.Dropped(epoch=1, receivers=["a" * 201])]), bytes(32), DecodeError, "of 200 bytes"),
        (b"\xff", bytes(32), DecodeError, "is not protobuf"),
    ],
)
def test_what_a_run_may_not_be(signed: bytes, leaves: bytes, kind: type[PeerError], words: str) -> None:
    """Signed or not, its numbers and sizes are within bounds."""
    with pytest.raises(kind, match=words):
        open_run(pb.Run(signed=signed, leaves=leaves).SerializeToString(), Verifier(KEY.public))


def test_what_the_sender_dropped_is_signed_with_it() -> None:
    """As it was told; a reader of before passes over it, and the signature is over it all the same."""
    dropped = (Dropped(6, 0, 900, ("12D3Koo",)), Dropped(7, 1, 1, ()))
    raw = sign_run(KEY, FLEET, KEY.public, (7, 3), [bytes(16)], (7, 1), dropped)
    assert open_run(raw, Verifier(KEY.public)).root.dropped == dropped
    run = pb.Run.FromString(raw)
    message = pb.SignedMessage.FromString(run.signed)
    told = pb.RunRoot.FromString(message.payload)
    told.ClearField("dropped")
    message.payload = told.SerializeToString()
    run.signed = message.SerializeToString()
    with pytest.raises(SignatureError):
        open_run(run.SerializeToString(), Verifier(KEY.public))


def test_a_field_of_a_later_version_is_passed_over() -> None:
    """A store that a newer agent wrote into can be read."""
    leaves = [bytes(16)] * 2
    payload = pb.SignedMessage.FromString(_signed()).payload + b"\xfa\x07\x03new"  # field 127
    raw = pb.Run(signed=sign_message(KEY, Domain.RUN_ROOT, payload), leaves=b"".join(leaves)).SerializeToString()
    assert open_run(raw, Verifier(KEY.public)).leaves == tuple(leaves)


def test_a_run_of_another_key_or_purpose_is_refused() -> None:
    """A batch's signature is no run's."""
    with pytest.raises(SignatureError):
        open_run(_sign([bytes(16)]), Verifier(PrivateKey.generate().public))
    message = pb.SignedMessage.FromString(_signed())
    wrong = sign_message(KEY, Domain.BATCH, message.payload)
    with pytest.raises(SignatureError):
        open_run(pb.Run(signed=wrong, leaves=bytes(32)).SerializeToString(), Verifier(KEY.public))


def test_a_root_of_the_first_format_is_told_from_a_forged_one() -> None:
    """Only its sender can have signed it; what it was over cannot be made again."""
    old = sign_message(KEY, Domain.RUN_ROOT_1, b"any root")
    assert is_first_format(old, Verifier(KEY.public))
    assert not is_first_format(old, Verifier(PrivateKey.generate().public))
    assert not is_first_format(_sign([bytes(16)]), Verifier(KEY.public))
    assert not is_first_format(b"\xff", Verifier(KEY.public))
