"""`peerwatch verify`: prove which agent signed what is stored."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from peerwatch.audit.audit import Audit, Question
from peerwatch.audit.claims import Signer
from peerwatch.audit.report import AuditReport
from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient, socket_path
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.cli.parameters import Argument, Option
from peerwatch.cli.query import moment_s
from peerwatch.errors import ConfigError, LinkError
from peerwatch.fleet.keys import load_key
from peerwatch.fleet.membership import Membership
from peerwatch.query.parser import parse_selector
from peerwatch.store.disk import Disk
from peerwatch.store.reader import StoreReader
from peerwatch.telemetry import configure_logging
from peerwatch.wire.identity import peer_id

_PREFIX = "verify-"
_LEFT_S = 86_400.0  # a copy of which the audit was killed goes at the first one a day later


def verify(
    selector: Annotated[
        str, Argument(help="Only these series, such as 'node_load1' or '{job=\"db\"}'. [default: all]")
    ] = "",
    agent: Annotated[str, Option("--agent", metavar="NAME", help="Only this agent.")] = "",
    since: Annotated[
        str,
        Option(
            "--from", metavar="TIME", help="Since 2026-05-01T12:00, Unix seconds, or 2h for as long ago. [default: all]"
        ),
    ] = "",
    to: Annotated[str, Option("--to", metavar="TIME", help="Until, in the same forms. [default: now]")] = "",
    store: Annotated[
        Path | None,
        Option("--store", metavar="DIR", help="A snapshot to look at. [default: the store in the data folder]"),
    ] = None,
    data: options.Data = None,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Recompute what is stored into what its agents signed; exit with 1 when it was changed or something is missing."""
    configure_logging("error", json=False)
    settings = options.settings_from(config, data=data)
    question = _question(selector, agent, since, to, time.time())
    membership = _membership(settings.folder / "fleet" / "membership.bin")
    signers = [Signer(one.name, one.member, one.signing_key) for one in membership.roster if not one.is_invite]
    if agent and agent not in {one.name for one in signers}:
        raise ConfigError(f"--agent {agent}: the roster knows no agent of that name; see: peerwatch agents --all")
    with _readable(settings.folder, store) as folder:
        reader = StoreReader(folder, envelope_decoder())
        progress = _show_progress if sys.stderr.isatty() and not json else _no_progress
        report = Audit(reader, membership.fleet, signers, question, progress, _own_hub(settings.folder)).run()
    _print(report, membership, json=json)
    raise SystemExit(1 if report.broken else 0)


def _print(report: AuditReport, membership: Membership, *, json: bool) -> None:
    from peerwatch.cli.verify_answer import as_json, print_report  # tables for people; a lean agent does without

    if json:
        print(as_json(report, membership))
    else:
        print_report(report, membership)


def _question(selector: str, agent: str, since: str, to: str, now_s: float) -> Question:
    bounds: dict[str, int] = {}
    if since:
        bounds["start_ms"] = round(moment_s("--from", since, now_s) * 1000)
    if to:
        bounds["end_ms"] = round(moment_s("--to", to, now_s) * 1000)
    question = Question(agent, parse_selector(selector) if selector else (), **bounds)
    if question.start_ms > question.end_ms:
        raise ConfigError(f"--from {since} is later than --to {to or 'now'}")
    return question


def _membership(path: Path) -> Membership:
    """Who signs by which key. Believed by its signatures, from the root on; which root that is, is printed."""
    try:
        return Membership.load(path, time.time_ns() // 1_000_000)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is not there: --data must name a hub's data folder, or one with a copy of its fleet/membership.bin"
        ) from error


def _own_hub(data: Path) -> str:
    """The peer id of the hub whose data folder it is; empty where only a copy of its membership is."""
    try:
        return peer_id(load_key(data / "fleet" / "peer.key").public)
    except FileNotFoundError:
        return ""


@contextmanager
def _readable(data: Path, store: Path | None) -> Iterator[Path]:
    """A store that nobody changes meanwhile: the snapshot, one that the running hub makes, or the locked store."""
    if store is not None:
        yield store
        return
    _sweep(data)
    if socket_path(data).exists():
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=data) as work:
            copy = (Path(work) / "store").resolve()
            if _copied(data, copy):
                yield copy
                return
    disk = Disk()
    if not (data / "store").is_dir():
        raise ConfigError(f"{data} holds no store: name a hub's data folder with --data, or a snapshot with --store")
    lock = disk.lock(data / "store" / "lock")
    try:
        yield data / "store"
    finally:
        disk.close(lock)


def _copied(data: Path, target: Path) -> bool:
    """Have the running hub write a snapshot; False when none runs after all."""
    with suppress(LinkError), HubClient("", data) as hub:
        hub.post("/api/v1/admin/snapshot", {"target": str(target)})
        return True
    return False


def _sweep(data: Path) -> None:
    """Copies that killed audits left: hard links, which keep files on the disk that retention has dropped."""
    for path in data.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFT_S:
                shutil.rmtree(path)


def _show_progress(done: int, of: int, samples: int) -> None:
    end = "\n" if done == of else ""
    print(f"\r{done} of {of} windows, {samples:,} samples", end=end, file=sys.stderr, flush=True)


def _no_progress(done: int, of: int, samples: int) -> None:
    """Nobody watches."""
