"""Run an attack: `python -m tests.hostile.run NAME PLAN`, until its time is over or it is killed."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path

import anyio
import msgspec

from tests.hostile.plan import Plan


async def _main(name: str, plan: Plan) -> None:
    with anyio.move_on_after(plan.seconds):
        await import_module(f"tests.hostile.{name}").attack(plan)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # the library complains of each refusal
    anyio.run(_main, sys.argv[1], msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=Plan), backend="trio")
