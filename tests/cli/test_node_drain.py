"""A machine that stops finishes what its peers have asked, and takes nothing more."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from peerwatch.cli import node_process
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import QuotaError
from peerwatch.fleet.authority import Authority
from peerwatch.model import SystemClock
from peerwatch.node.messages import Delivered, Inbound, Message
from peerwatch.node.start import NodeStart

ASKED = Inbound(peer="p", address="/ip4/192.0.2.1/tcp/1", protocol="/peerwatch/push/1", body=b"x")


def _process(folder: Path, gate: anyio.Event) -> NodeProcess:
    async def answer(_: Inbound) -> Delivered:
        await gate.wait()
        return Delivered(body=b"done")

    roster = Authority.open(folder, "hub", SystemClock()).membership.roster
    start = NodeStart(str(folder), str(folder / "key"), "hub", (), (), False, 0, (), (), "info", True)
    return NodeProcess(start, lambda: roster, SystemClock(), answer=answer)


def test_what_runs_is_answered_and_what_comes_later_is_sent_away(tmp_path: Path) -> None:
    """With a wait, so that who asked goes elsewhere or comes back."""

    async def story() -> None:
        gate, answers, drained = anyio.Event(), list[Message](), anyio.Event()
        process = _process(tmp_path, gate)

        async def ask() -> None:
            answers.append(await process.answer(ASKED))

        async def drain() -> None:
            await process.drain()
            drained.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(drain)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(QuotaError, match="stopping") as refusal:
                await process.answer(ASKED)
            assert refusal.value.wait_s and not drained.is_set() and not answers
            gate.set()
            await drained.wait()
        assert answers == [Delivered(body=b"done")]

    anyio.run(story)


def test_nobody_is_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds; here less."""
    monkeypatch.setattr(node_process, "_DRAIN_S", 0.05)

    async def story() -> None:
        process = _process(tmp_path, anyio.Event())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.answer, ASKED)
            await anyio.wait_all_tasks_blocked()
            await process.drain()
            tasks.cancel_scope.cancel()

    anyio.run(story)
