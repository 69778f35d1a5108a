"""The patches are for one version, and what judges frames is a function of values."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
from libp2p.io.exceptions import IOException
from libp2p.io.utils import read_exactly

from peerwatch.errors import ConfigError
from peerwatch.node import hardening
from tests.node.host.kit import DATA, SYN, WINDOW, node, run

pytestmark = pytest.mark.p2p


def test_another_libp2p_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was mended, and what was tested, is 0.8.1."""
    monkeypatch.setattr(hardening, "version", lambda _: "0.9.0")
    with pytest.raises(ConfigError, match=r"0\.9\.0 is installed.*0\.8\.1"):
        node()


def test_the_end_of_a_connection_is_asked_for_once() -> None:
    """A thousand peers that leave at once cost a second, not five. (libp2p: a hundred and one times.)"""
    asked: list[int | None] = []

    class Ended:
        async def read(self, n: int | None = None) -> bytes:
            asked.append(n)
            return b""

    async def story() -> None:
        with pytest.raises(IOException):
            await read_exactly(hardening.Wire(Ended(), True, ""), 2)

    run(story)
    assert asked == [2]


@pytest.mark.parametrize(
    ("frame", "wrong"),
    [
        ((0, DATA, 0, 1, 100), ""),
        ((0, DATA, 0, 1, 101), "101 bytes on stream 1, window 100"),
        ((0, DATA, SYN, 3, 256 << 10), ""),
        ((0, DATA, SYN, 3, (256 << 10) + 1), "262145 bytes on stream 3, window 262144"),
        ((0, DATA, 0, 99, 1 << 20), ""),  # a stream that has just ended here
        ((0, DATA, 0, 99, (1 << 20) + 1), "1048577 bytes on stream 99, window 1048576"),
        ((0, WINDOW, SYN, 4, 0), "stream 4 opened, which is not the other side's to open"),
        ((0, WINDOW, SYN, 5, 0), "2 streams not ended, limit 2"),
        ((0, WINDOW, 0, 1, 0xFFFFFFFF), "window of stream 1 raised past 32 bits"),
        ((0, 2, 0, 0, 0xFFFFFFFF), ""),
        ((0, 4, 0, 0, 0), "frame of version 0, type 4"),
        ((1, DATA, 0, 1, 0), "frame of version 1, type 0"),
    ],
)
def test_a_frame_is_judged_before_its_body_is_read(frame: tuple[int, ...], wrong: str) -> None:
    """At exactly the window, and one byte past it."""
    one = SimpleNamespace(recv_window=100, send_window=1)
    streams = {1: one} if "limit 2" not in wrong else {1: one, 3: one}
    header = struct.pack("!BBHII", *frame)
    assert hardening.judge_frame(header, True, streams, 2) == wrong
