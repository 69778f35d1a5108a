"""What `peerwatch verify` prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from hashlib import sha256

from rich.console import Console
from rich.table import Table

from peerwatch.audit.report import AuditReport, Offence, Reason, Tally
from peerwatch.fleet.membership import Membership
from peerwatch.wire.identity import peer_id

_SHOWN_DAMAGE = 5
_FILE_COLUMNS = 120  # of what nobody sees on a screen: no line is folded that somebody may search
_COUNTED_AS_BATCHES = (Reason.GONE, Reason.MISSING)


def print_report(report: AuditReport, membership: Membership) -> None:
    """The table, then what cannot be proven and why, then what is broken, with the first offence of each agent."""
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)
    if not report.tallies:
        console.print("no stored sample matches")
    else:
        console.print(_table(report))
    for reason in Reason:
        counts = [one.unproven[reason] for one in report.tallies if one.unproven[reason]]
        if counts:
            agents = "1 agent" if len(counts) == 1 else f"{len(counts)} agents"
            console.print(f"not provable: {sum(counts):,} samples of {agents}: {reason.value}", highlight=False)
    for one in report.tallies:
        if one.open_batches:
            since = _time(one.open_from_ms)
            console.print(f"{one.name}: {one.open_batches:,} batches since {since} are under no signed root yet")
        if one.dropped_batches:
            console.print(
                f"{one.name}: {one.dropped_batches:,} batches are not here: the agent says that its spool dropped them"
            )
    for one in report.tallies:
        for reason, samples in sorted(one.broken.items(), key=lambda item: item[0].value):
            unit = "batches" if reason in _COUNTED_AS_BATCHES else "samples"
            console.print(f"[red]{one.name}: {samples:,} {unit}: {reason.value}[/]", highlight=False)
        if one.first_offence is not None:
            console.print(f"[red]{one.name}: first: {_words(one.first_offence)}[/]", highlight=False)
    for place in report.damage[:_SHOWN_DAMAGE]:
        console.print(f"[red]damaged: {place}[/]", highlight=False)
    if len(report.damage) > _SHOWN_DAMAGE:
        console.print(f"[red]and {len(report.damage) - _SHOWN_DAMAGE} more damaged places: peerwatch fsck[/]")
    console.print(f"fleet {membership.fleet.hex()}, root key {membership.trust.root.hex()}", highlight=False)
    console.print("[red]broken[/]" if report.broken else "nothing contradicts what was signed")


def _table(report: AuditReport) -> Table:
    table = Table(box=None)
    for name in ("agent", "key", "from, to"):
        table.add_column(name, overflow="fold")
    for name in ("samples", "proven", "not provable", "broken", "unsigned"):
        table.add_column(name, justify="right")
    for one in report.tallies:
        table.add_row(
            one.name,
            key_id(one.key),
            f"{_time(one.first_ms)}\n{_time(one.last_ms)}",
            f"{one.samples:,}",
            f"{one.proven:,}",
            f"{sum(one.unproven.values()):,}",
            f"[red]{broken_words(one)}[/]" if one.broken else "0",
            f"{one.unsigned:,}",
        )
    return table


def broken_words(one: Tally) -> str:
    """How much is broken: samples, and batches of which no sample is left."""
    batches = sum(one.broken[reason] for reason in _COUNTED_AS_BATCHES)
    samples = sum(one.broken.values()) - batches
    parts = [f"{samples:,}"] if samples or not batches else []
    return " + ".join([*parts, f"{batches:,} batches"] if batches else parts)


def key_id(key: bytes) -> str:
    """A short name of a public key: the first 16 digits of its SHA-256."""
    return sha256(key).hexdigest()[:16] if key else "unknown"


def _words(offence: Offence) -> str:
    batch = f"batch {offence.number[0]}/{offence.number[1]}, " if offence.number != (0, 0) else ""
    span = f"{_time(offence.first_ms)} to {_time(offence.last_ms)}, " if offence.first_ms else ""
    detail = f" ({offence.detail})" if offence.detail else ""
    return f"{batch}{span}{offence.reason.value}{detail}"


def _time(time_ms: int) -> str:
    if not time_ms:
        return "–"
    return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def as_json(report: AuditReport, membership: Membership) -> str:
    """Everything, with reasons by name."""
    return json.dumps(
        {
            "fleet": membership.fleet.hex(),
            "root_key": membership.trust.root.hex(),
            "broken": report.broken,
            "damage": report.damage,
            "agents": [_row(one) for one in report.tallies],
        }
    )


def _row(one: Tally) -> dict[str, object]:
    offence = one.first_offence
    return {
        "agent": one.name,
        "peer_id": peer_id(one.sender),
        "key": one.key.hex(),
        "key_id": key_id(one.key),
        "from_ms": one.first_ms,
        "to_ms": one.last_ms,
        "samples": one.samples,
        "proven": one.proven,
        "not_provable": {reason.name.lower(): samples for reason, samples in one.unproven.items()},
        "broken": {reason.name.lower(): count for reason, count in one.broken.items()},
        "unsigned": one.unsigned,
        "open_batches": one.open_batches,
        "open_from_ms": one.open_from_ms,
        "dropped_batches": one.dropped_batches,
        "first_offence": None
        if offence is None
        else {
            "reason": offence.reason.name.lower(),
            "epoch": offence.number[0],
            "seq": offence.number[1],
            "from_ms": offence.first_ms,
            "to_ms": offence.last_ms,
            "detail": offence.detail,
        },
    }
