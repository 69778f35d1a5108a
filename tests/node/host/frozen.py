"""A peer in a process of its own, for being frozen: dials the address in argv, says so, waits."""

from __future__ import annotations

import sys

import anyio
from anyio import to_thread

from peerwatch.wire.identity import public_key_of
from tests.node.host.kit import node


async def _main(address: str) -> None:
    one = node(listen=False)
    async with one.host:
        await one.host.dial(public_key_of(address.rpartition("/")[2]), [address])
        sys.stdout.write(one.host.peer_id + "\n")
        sys.stdout.flush()
        await to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], backend="trio")
