"""Writes docs/reference.md from the code: settings, commands, endpoints, own metrics. `--check` only compares.

What has no description in the code ends this program: nothing that users can touch stays undocumented.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import inspect
import sys
import tempfile
import typing
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio

from peerwatch.agent.config import AgentConfig
from peerwatch.agent.ship import Link
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.hub_app import HubApp
from peerwatch.cli.hub_role import HubRole
from peerwatch.cli.main import COMMANDS, make_parser
from peerwatch.model import SystemClock
from peerwatch.serve.gate import needed_scope
from peerwatch.settings import AgentHttpConfig, HubConfig, Settings
from peerwatch.telemetry import CollectorRegistry, configure_logging

PAGE = Path(__file__).parent / "reference.md"
ELSEWHERE = {"data": "~/.local/share/peerwatch", "name": "the host name"}  # defaults that depend on the machine

ENDPOINTS = {
    "/": "The dashboard.",
    "/graph": "The expression browser; takes Prometheus's links.",
    "/query": "The same.",
    "/assets/{name}": "The dashboard's files.",
    "/dashboard/panels": "What the dashboard shows.",
    "/dashboard/history": "The data of its charts, for a span of time.",
    "/dashboard/live": "The same as it comes in: server-sent events.",
    "/metrics": "The hub's own metrics, in the text format.",
    "/metrics/node": "Those of its libp2p node, where it has one.",
    "/health/live": "200 while the process answers.",
    "/health/ready": "200 when batches can be stored and queries answered, else 503 with the reason.",
    "/-/healthy": "As Prometheus: 200 while the process answers.",
    "/-/ready": "As Prometheus: 200 or 503.",
    "/api/v1/push": "Signed batches in; the answer holds signed acks.",
    "/api/v1/enrol": "A machine joins with its invite.",
    "/api/v1/roster": "What one hub asks of another: who belongs, as far as only one of them knows.",
    "/api/v1/membership": "The hubs and their certificates, signed by the fleet's root.",
    "/api/v1/agents": "Who reports, since when, how far behind; `revoked=1` adds those that were revoked.",
    "/api/v1/agents/{name}/metrics": "An agent's newest samples as text, as its own `/metrics` has them; "
    "`timestamps=1` adds their times. 503 when it is gone.",
    "/api/v1/sd/targets": "Prometheus `http_sd`: the live agents, at this hub or where they announce their port.",
    "/api/v1/bans": "What one hub says to another of whom it keeps out; signed, answered alike.",
    "/api/v1/admin/bans": "GET lists who is kept out, POST bans a member or a network, for a time or for ever.",
    "/api/v1/admin/bans/lift": "Let a member or a network in again.",
    "/api/v1/admin/peers": "Who is connected over libp2p: address, direction, since when, round trip, score.",
    "/api/v1/admin/invites": "GET lists the open invites, POST makes one.",
    "/api/v1/admin/revoke": "Put a member out for good, by name or peer id; or withdraw an invite.",
    "/api/v1/admin/root": "Certify a hub, or replace the root key; where that key is.",
    "/api/v1/admin/snapshot": "Write a consistent copy of the store.",
    "/api/v1/query": "As Prometheus: an instant query.",
    "/api/v1/query_range": "As Prometheus: a range query.",
    "/api/v1/query_exemplars": "As Prometheus; there are none, the answer is empty.",
    "/api/v1/labels": "As Prometheus: label names.",
    "/api/v1/label/{name}/values": "As Prometheus: the values of a label.",
    "/api/v1/series": "As Prometheus: the series that match.",
    "/api/v1/metadata": "As Prometheus: type, help and unit of metrics.",
    "/api/v1/format_query": "As Prometheus: a query, well laid out.",
    "/api/v1/parse_query": "As Prometheus: a query's syntax tree.",
    "/api/v1/write": "Remote write 1.0 and 2.0 in; answered when the samples are durable.",
    "/api/v1/read": "Remote read out, sampled responses.",
    "/federate": "As Prometheus: the newest sample of what matches `match[]`, as text.",
    "/api/v1/targets": "As Prometheus: the agents of the fleet.",
    "/api/v1/rules": "As Prometheus; there are none, the list is empty.",
    "/api/v1/alerts": "As Prometheus; there are none, the list is empty.",
    "/api/v1/alertmanagers": "As Prometheus; there are none, the lists are empty.",
    "/api/v1/status/runtimeinfo": "As Prometheus: since when it runs, retention, damage.",
    "/api/v1/status/flags": "As Prometheus: settings by their paths, none secret.",
    "/api/v1/status/config": "As Prometheus: intervals and retention as YAML.",
    "/api/v1/status/tsdb": "As Prometheus: which metrics and labels make most of the series.",
    "/api/v1/status/buildinfo": "As Prometheus: the version whose answers these are.",
}


class UndocumentedError(Exception):
    """Something that users can touch has no description."""


# ---- settings


def settings_table() -> str:
    """Every setting with its default and its meaning."""
    rows = [f"| `{path}` | {default} | {meaning} |" for path, default, meaning in _settings(Settings, "")]
    return "\n".join(["| path | default | meaning |", "|---|---|---|", *rows])


def _settings(kind: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    hints, words = typing.get_type_hints(kind), _words(kind)
    for field in dataclasses.fields(kind):
        path, hint = f"{prefix}{field.name}", hints[field.name]
        if path == "configured":
            continue
        if dataclasses.is_dataclass(hint):
            yield from _settings(hint, f"{path}.")
            continue
        if not words.get(field.name):
            place = f"{kind.__module__}: {kind.__name__}.{field.name}"
            raise UndocumentedError(f"{place} has neither comment nor docstring")
        yield path, _default(path, field), words[field.name]
        inner = [one for one in typing.get_args(hint) if dataclasses.is_dataclass(one)]
        for one in inner:
            yield from _settings(one, f"{path}{'[].' if typing.get_origin(hint) is tuple else '.<name>.'}")


def _default(path: str, field: dataclasses.Field[Any]) -> str:
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if field.default_factory is not dataclasses.MISSING:
        return "none" if not field.default_factory() else f"`{field.default_factory()}`"
    if field.default is dataclasses.MISSING:
        return "required"
    shown = getattr(field.default, "value", field.default)
    return "none" if shown in (None, "", ()) else f"`{str(shown).replace('|', chr(92) + '|')}`"


def _words(kind: Any) -> dict[str, str]:
    """Field name to meaning: the comment beside the field, or the docstring below it."""
    source = inspect.getsource(kind)
    lines = source.splitlines()
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    found: dict[str, str] = {}
    for one, following in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
            continue
        comment = lines[(one.end_lineno or one.lineno) - 1].partition("  # ")[2]
        below = following.value if isinstance(following, ast.Expr) else None
        text = below.value if isinstance(below, ast.Constant) and isinstance(below.value, str) else comment
        found[one.target.id] = " ".join(str(text).split()).replace("|", "\\|")
    return found


# ---- commands


def command_list() -> str:
    """Every command with its arguments and options."""
    chosen = _inner(make_parser())
    return "\n\n".join(_command(f"peerwatch {name}", chosen[name]) for name in COMMANDS)


def _inner(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a parser, by name."""
    tables = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(tables[0]) if tables else {}


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    inner = _inner(parser)
    if inner:
        return "\n\n".join(_command(f"{name} {key}", one) for key, one in inner.items())
    if not parser.description:
        raise UndocumentedError(f"{name} has no help")
    words = [f"### `{name}`\n\n{parser.description}\n"]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if not action.help:
            raise UndocumentedError(f"{name} {action.dest} has no help")
        title = ", ".join(action.option_strings) or str(action.metavar)
        words.append(f"- `{title}`: {' '.join(action.help.replace('%%', '%').split())}")
    return "\n".join(words)


# ---- endpoints and metrics, of a hub and an agent that are put together and never started


def endpoint_table(hub: HubApp) -> str:
    """Every endpoint with its methods, what it needs, and its meaning."""
    served = dict(hub.routes)
    described = dict(ENDPOINTS)
    rows = []
    for path, methods in served.items():
        meaning = described.pop(path, None)
        if meaning is None:
            raise UndocumentedError(f"endpoint {path} is not described in {__file__}")
        scopes = {needed_scope(method, path).name.lower() for method in methods}
        rows.append(f"| `{path}` | {', '.join(methods)} | {', '.join(sorted(scopes))} | {meaning} |")
    if described:
        raise UndocumentedError(f"described in {__file__}, but not served: {', '.join(described)}")
    return "\n".join(["| path | methods | needs | meaning |", "|---|---|---|---|", *sorted(rows)])


def metric_table(*registries: CollectorRegistry) -> str:
    """Every own metric with its type and help."""
    rows = {}
    for registry in registries:
        for metric in registry.collect():
            name = metric.name + ("_total" if metric.type == "counter" else "")
            if not metric.documentation:
                raise UndocumentedError(f"metric {name} has no help")
            rows[name] = f"| `{name}` | {metric.type} | {metric.documentation} |"
    return "\n".join(["| name | type | meaning |", "|---|---|---|", *(rows[name] for name in sorted(rows))])


async def _served() -> tuple[str, str]:
    """(endpoints, metrics). In an event loop, since that is where a hub is put together."""
    clock, hub_registry, agent_registry = SystemClock(), CollectorRegistry(), CollectorRegistry()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data=folder, name="x", hub=HubConfig(listen="127.0.0.1:0"), agent_http=AgentHttpConfig(enabled=False)
        )
        role = HubRole(settings, clock, hub_registry, samples_itself=True)
        agent = _agent(role, settings, clock, agent_registry)
        found = endpoint_table(HubApp(role.parts())), metric_table(hub_registry, agent_registry)
        agent.close()
        role.close()
    return found


def render() -> str:
    """The page."""
    configure_logging("error")
    endpoints, metrics = anyio.run(_served)
    return "\n".join(
        [
            "# Reference",
            "",
            "Made by `docs/make_reference.py` from the code; a test fails when it is not up to date.",
            "",
            "## Settings",
            "",
            "`peerwatch.toml` < environment < flags. A path such as `hub.listen` is `listen` in the table `[hub]` of",
            "the file and `PEERWATCH_HUB_LISTEN` in the environment; lists there are separated by commas.",
            "`P2P_METRICS_PORT`, `P2P_DATA_DIR` and `P2P_LOG_LEVEL` are other names of `agent_http.port`, `data` and",
            "`log.level`. Whatever is unknown is an error.",
            "",
            settings_table(),
            "",
            "## Commands",
            "",
            command_list(),
            "",
            "## Endpoints of the hub",
            "",
            "On loopback only `admin` needs a credential (or the Unix socket); elsewhere everything but `none` does.",
            "",
            endpoints,
            "",
            "## Own metrics",
            "",
            "The names of host metrics are node_exporter's.",
            "",
            metrics,
            "",
        ]
    )


def _agent(role: HubRole, settings: Settings, clock: SystemClock, registry: CollectorRegistry) -> AgentRole:
    def open_link(_: bytes) -> AbstractAsyncContextManager[Link]:
        raise AssertionError("never started")

    identity = AgentIdentity(
        role.authority.member, role.authority.keys.signing, role.authority.membership, settings.folder / "epoch.json"
    )
    return AgentRole(settings, AgentConfig(), identity, open_link, clock, registry)


def main() -> int:
    """Write the page, or say how the committed one differs."""
    wanted = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted)
        return 0
    there = PAGE.read_text() if PAGE.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(there.splitlines(True), wanted.splitlines(True), str(PAGE), "the code"))
    return int(there != wanted)


if __name__ == "__main__":
    sys.exit(main())
