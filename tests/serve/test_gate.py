"""The auth row of the interface table, row by row: who may ask what."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.serve.credentials import Credentials, Scope
from peerwatch.serve.gate import AsgiScope, Gate, Receive, Refused, Send, bearer_token, judge, needed_scope

HERE = {b"host": b"127.0.0.1:9480"}
OPEN = ["/api/v1/push", "/api/v1/enrol", "/api/v1/membership", "/api/v1/roster", "/health/live", "/health/ready"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        *(("POST", path, Scope.NONE) for path in OPEN),
        ("GET", "/", Scope.READ),
        ("GET", "/metrics", Scope.READ),
        ("GET", "/metrics/node", Scope.READ),
        ("GET", "/api/v1/query", Scope.READ),
        ("POST", "/api/v1/query", Scope.READ),
        ("POST", "/api/v1/query_range", Scope.READ),
        ("POST", "/api/v1/series", Scope.READ),
        ("GET", "/api/v1/agents", Scope.READ),
        ("GET", "/api/v1/agents/web-1/metrics", Scope.READ),
        ("GET", "/api/v1/sd/targets", Scope.READ),
        ("HEAD", "/-/ready", Scope.READ),
        ("POST", "/api/v1/read", Scope.READ),
        ("POST", "/api/v1/parse_query", Scope.READ),
        ("GET", "/federate", Scope.READ),
        ("GET", "/api/v1/status/config", Scope.READ),
        ("POST", "/api/v1/write", Scope.WRITE),
        ("GET", "/api/v1/admin/anything", Scope.ADMIN),
        ("POST", "/api/v1/admin/invites", Scope.ADMIN),
        ("POST", "/nobody/knows/this", Scope.ADMIN),
        ("DELETE", "/api/v1/query", Scope.READ),
        ("PUT", "/api/v1/agents", Scope.ADMIN),
        ("BREW", "/", Scope.ADMIN),
    ],
)
def test_what_a_request_needs(method: str, path: str, scope: Scope) -> None:
    """Reading needs read, remote write needs write, all that changes something else or is unknown needs admin."""
    assert needed_scope(method, path) is scope


@pytest.mark.parametrize("path", ["/", "/api/v1/query", "/metrics", *OPEN])
def test_loopback_is_open_to_this_machine(path: str) -> None:
    """No credential, own Host, no Origin or an own one: it passes."""
    assert judge("GET", path, HERE, None, loopback=True) is None
    assert judge("GET", path, HERE | {b"origin": b"http://localhost:9480"}, None, loopback=True) is None
    assert judge("GET", path, {}, None, loopback=True) is None  # HTTP/1.0 names no host


@pytest.mark.parametrize(
    "headers",
    [
        {b"host": b"evil.example"},
        {b"host": b"evil.example:9480"},
        {b"host": b"127.0.0.1.evil.example"},
        {b"host": b"localhost.evil.example"},
        {b"host": b"192.168.1.9:9480"},
        {b"host": b""},
        {b"host": b"[2001:db8::1]:9480"},
        {b"host": b"\xff\xfe"},
        HERE | {b"origin": b"https://evil.example"},
        HERE | {b"origin": b"null"},
        HERE | {b"origin": b"http://localhost.evil.example"},
        HERE | {b"origin": b"http://[broken"},
        HERE | {b"origin": b""},
        HERE | {b"x-forwarded-for": b"127.0.0.1"},
        HERE | {b"x-forwarded-host": b"localhost"},
        HERE | {b"x-forwarded-proto": b"https"},
        HERE | {b"x-real-ip": b"127.0.0.1"},
        HERE | {b"forwarded": b"for=127.0.0.1"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/query", "/api/v1/push", "/health/ready"])
def test_loopback_refuses_foreign_pages_and_proxies(path: str, headers: Mapping[bytes, bytes]) -> None:
    """Anybody could be behind them: 403 with the way out, unless the request carries a credential."""
    refused = judge("GET", path, headers, None, loopback=True)
    assert refused is not None and refused.status == 403 and "peerwatch token create" in refused.message
    assert judge("GET", path, headers, Scope.READ, loopback=True) is None


def test_administration_on_loopback_needs_a_credential_or_the_socket() -> None:
    """Any local user reaches the port; only the hub's owner reaches its socket."""
    refused = judge("POST", "/api/v1/admin/invites", HERE, None, loopback=True)
    expected = "administration needs a credential with scope admin, or the hub's Unix socket"
    assert refused == Refused(401, expected)


@pytest.mark.parametrize("path", OPEN)
def test_what_carries_its_own_proof_or_tells_nothing_is_open_everywhere(path: str) -> None:
    """A push is signed by a member, an enrolment by an invite; health says only whether."""
    assert judge("POST", path, {b"host": b"hub.example"}, None, loopback=False) is None


def test_any_other_address_needs_a_credential() -> None:
    """Whatever the headers say: 401 with the scope and the command."""
    refused = judge("GET", "/api/v1/query", HERE, None, loopback=False)
    assert refused == Refused(401, "needs a credential with scope read: peerwatch token create")


@given(
    st.sampled_from(["GET", "POST", "PUT"]), st.sampled_from(["/", "/api/v1/write", "/api/v1/admin/x"]), st.booleans()
)
def test_a_credential_allows_its_scope_and_the_ones_below(method: str, path: str, loopback: bool) -> None:
    """admin ⊃ write ⊃ read: a credential passes exactly where its scope is at least the needed one."""
    needed = needed_scope(method, path)
    for held in (Scope.READ, Scope.WRITE, Scope.ADMIN):
        refused = judge(method, path, HERE, held, loopback=loopback)
        assert (refused is None) == (held >= needed)
        assert refused is None or refused.status == 403


@pytest.mark.parametrize("path", ["/", *OPEN])
def test_an_unknown_credential_is_refused_even_where_none_is_needed(path: str) -> None:
    """Who sends one means it: a mistake must not look like success."""
    assert judge("GET", path, HERE, Scope.NONE, loopback=True) == Refused(401, "unknown credential")


def test_a_token_comes_as_bearer_or_as_the_password_of_basic() -> None:
    """Grafana and promtool send Basic; anything else that calls itself authorization is an unknown credential."""
    basic = base64.b64encode(b"anybody:secret").decode()
    assert bearer_token({}) is None
    assert bearer_token({b"authorization": b"Bearer secret"}) == "secret"
    assert bearer_token({b"authorization": b"bearer  secret "}) == "secret"
    assert bearer_token({b"authorization": f"Basic {basic}".encode()}) == "secret"
    assert bearer_token({b"authorization": b"Basic !!!"}) == ""
    assert bearer_token({b"authorization": b"Digest x"}) == ""
    assert bearer_token({b"authorization": b""}) is None


async def _app(scope: AsgiScope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def _ask(credentials: Credentials, headers: list[tuple[bytes, bytes]], *, loopback: bool) -> tuple[int, bytes]:
    """(status, body) of a GET of `/` through a gate."""
    sent: list[Mapping[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: Mapping[str, object]) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        await Gate(_app, credentials, loopback=loopback)(scope, receive, send)  # type: ignore[arg-type]

    anyio.run(run)
    status, body = sent[0]["status"], sent[1]["body"]
    assert isinstance(status, int) and isinstance(body, bytes)
    return status, body


def test_the_gate_knows_the_tokens_of_its_file(tmp_path: Path) -> None:
    """A created token opens at once and a removed one closes at once, without a restart."""
    credentials = Credentials(tmp_path / "credentials.json")
    token = credentials.create("me", Scope.READ)
    bearer = [(b"authorization", f"Bearer {token}".encode())]
    assert _ask(credentials, bearer, loopback=False) == (200, b"inside")
    assert _ask(credentials, [], loopback=False)[0] == 401
    credentials.remove("me")
    assert _ask(credentials, bearer, loopback=False) == (401, b"unknown credential\n")


def test_a_damaged_credentials_file_opens_nothing(tmp_path: Path) -> None:
    """Every request with a credential is refused while the file cannot be read."""
    path = tmp_path / "credentials.json"
    credentials = Credentials(path)
    token = credentials.create("me", Scope.ADMIN)
    path.write_bytes(path.read_bytes()[:-5])
    bearer = [(b"authorization", f"Bearer {token}".encode())]
    assert _ask(credentials, bearer, loopback=False)[0] == 401
    assert _ask(credentials, bearer, loopback=True)[0] == 401


def test_the_last_word_of_a_repeated_header_does_not_hide_the_first() -> None:
    """Two Host headers, one of them foreign, in any order: refused."""
    for hosts in ([b"evil.example", b"localhost"], [b"localhost", b"evil.example"]):
        headers = [(b"host", host) for host in hosts]
        assert _ask(Credentials(Path("/nonexistent/credentials.json")), headers, loopback=True)[0] in (400, 403)
