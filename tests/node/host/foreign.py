"""Peers of other libp2p implementations: built once, kept in `.env`, told what to do line by line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from peerwatch.wire.identity import PrivateKey, public_key_of

_HERE = Path(__file__).parent
_CACHE = Path(__file__).parents[3] / ".env"
_BUILD_S = 600  # from nothing, with what the registries give: js 10 s, Go a minute on two cores


@dataclass(frozen=True, slots=True)
class Kind:
    """An implementation: what builds it, and the command that runs it in its folder."""

    name: str
    needs: tuple[str, ...]
    files: tuple[str, ...]
    build: Sequence[str]
    command: tuple[str, ...]


JS = Kind(
    "js",
    ("node", "npm"),
    ("package.json",),
    ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"),
    ("node", "peer.js"),
)
GO = Kind("go", ("go",), ("go.mod", "go.sum", "main.go", "relay.go"), ("go", "build", "-o", "peer", "."), ("./peer",))

PARAMETERS = [
    pytest.param(JS, id="js", marks=pytest.mark.skipif(not all(map(shutil.which, JS.needs)), reason="needs Node.js")),
    pytest.param(
        GO, id="go", marks=[pytest.mark.go, pytest.mark.skipif(not all(map(shutil.which, GO.needs)), reason="needs Go")]
    ),
]
"""For `pytest.mark.parametrize("kind", …)`: what is not there is skipped with words."""


def built(kind: Kind) -> Path:
    """The folder where it runs; it is built again when a file that counts for that has changed."""
    folder = _CACHE / f"{kind.name}-libp2p"
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for path in (_HERE / kind.name).iterdir() if path.is_file())
    wanted = "\n".join((_HERE / kind.name / name).read_text() for name in kind.files)
    for source in sources:
        shutil.copy(source, folder)
    done = folder / "built"
    if not done.exists() or done.read_text() != wanted:
        done.unlink(missing_ok=True)
        made = subprocess.run(kind.build, cwd=folder, timeout=_BUILD_S, capture_output=True, text=True, check=False)
        assert made.returncode == 0, f"{kind.name}: {made.stdout[-2000:]}{made.stderr[-4000:]}"
        done.write_text(wanted)
    return folder


class ForeignPeer:
    """The process; it answers one line per line."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.address = ""

    @property
    def member(self) -> bytes:
        """Its key."""
        return public_key_of(self.address.rpartition("/")[2])

    def start(self) -> None:
        """Until it listens."""
        self.address = self._line()["addresses"][0]

    def tell(self, *words: object) -> Any:
        """Its answer."""
        assert self._child.stdin is not None
        self._child.stdin.write(" ".join(map(str, words)) + "\n")
        self._child.stdin.flush()
        return self._line()

    async def do(self, *words: object) -> Any:
        """The same without holding the event loop."""
        return await to_thread.run_sync(lambda: self.tell(*words), abandon_on_cancel=True)

    def _line(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "the foreign peer ended"
        return json.loads(line)

    def end(self) -> None:
        """Its process is gone."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.kill()
        self._child.wait(10)
        self._child.stdin.close()
        self._child.stdout.close()


def spawn(kind: Kind, key: PrivateKey | None = None, *arguments: str) -> ForeignPeer:
    """One that is started; `start` waits for it, `end` ends it. Its program says which arguments it takes."""
    command = [*kind.command, *(["--seed", key.seed.hex()] if key is not None else []), *arguments]
    return ForeignPeer(
        subprocess.Popen(command, cwd=built(kind), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    )


@asynccontextmanager
async def foreign(kind: Kind, *arguments: str) -> AsyncIterator[ForeignPeer]:
    """One that listens, gone afterwards."""
    peer = spawn(kind, None, *arguments)
    try:
        await to_thread.run_sync(peer.start, abandon_on_cancel=True)
        yield peer
    finally:
        peer.end()
