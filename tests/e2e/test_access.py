"""Who may ask what, over real sockets: the auth row of the interface table."""

from __future__ import annotations

import socket
import stat

import httpx
import pytest

from peerwatch.links.https import pinned_context
from tests.e2e.processes import Processes

pytestmark = pytest.mark.e2e


def _status(url: str, method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.request(method, url, headers=named, trust_env=False).status_code


def test_loopback_is_open_to_this_machine_and_closed_to_foreign_pages_and_proxies(processes: Processes) -> None:
    """Foreign Host, foreign Origin and forwarded headers: 403, on every path; with a credential they pass."""
    url = processes.up().url()
    query = f"{url}/api/v1/query?query=up"
    assert _status(query) == 200
    assert _status(query, Host="evil.example") == 403
    assert _status(query, Origin="https://evil.example") == 403
    assert _status(query, Origin="null") == 403
    assert _status(query, X_Forwarded_For="127.0.0.1") == 403
    assert _status(query, Forwarded="for=127.0.0.1") == 403
    assert _status(f"{url}/", Host="evil.example") == 403
    assert _status(f"{url}/health/ready", Host="evil.example") == 403
    token = processes.run("token", "create", "proxy", "--data", str(processes.folder / "hub")).stdout.strip()
    assert _status(query, Host="evil.example", Authorization=f"Bearer {token}") == 200


def test_administration_needs_the_socket_or_an_admin_credential(processes: Processes) -> None:
    """On TCP: 401 without, 403 with less, 200 with admin; a removed token is worthless at once."""
    running = processes.up()
    path = f"{running.url()}/api/v1/admin/invites"
    data = str(processes.folder / "hub")
    assert _status(path, "POST") == 401
    tokens = {
        scope: processes.run("token", "create", scope, "--scope", scope, "--data", data).stdout.strip()
        for scope in ("read", "write", "admin")
    }
    assert _status(path, "POST", Authorization=f"Bearer {tokens['read']}") == 403
    assert _status(path, "POST", Authorization=f"Bearer {tokens['write']}") == 403
    assert _status(path, "POST", Authorization="Bearer wrong") == 401
    assert _status(path, "POST", Authorization=f"Bearer {tokens['admin']}") == 200
    assert processes.run("token", "remove", "admin", "--data", data).returncode == 0
    assert _status(path, "POST", Authorization=f"Bearer {tokens['admin']}") == 401
    assert processes.run("token", "list", "--data", data).stdout == "read\tread\nwrite\twrite\n"


def test_any_other_address_is_https_with_a_credential_that_is_shown_once(processes: Processes) -> None:
    """--listen 0.0.0.0: HTTPS, a printed admin token, 401 without it, 200 with it; the second start prints none."""
    data = str(processes.folder / "hub")
    arguments = ["hub", "--data", data, "--listen", "0.0.0.0:0"]
    running = processes.start(*arguments)
    port = running.wait_for(r"https://\S+:(\d+)")[1]
    token = running.wait_for(r"shown only this once\): (\S+)")[1]
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        verify=pinned_context((processes.folder / "hub/tls/hub.crt").read_text()),
        trust_env=False,
    ) as client:
        assert client.get("/api/v1/query?query=1").status_code == 401
        assert client.get("/health/live").status_code == 200
        assert client.get("/api/v1/query?query=1", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/api/v1/query?query=1", auth=("any", token)).status_code == 200
        assert client.post("/api/v1/write").status_code == 401
        reader = processes.run("token", "create", "reader", "--scope", "read", "--data", data).stdout.split()[-1]
        writer = processes.run("token", "create", "writer", "--scope", "write", "--data", data).stdout.split()[-1]
        reading, writing = ({"authorization": f"Bearer {one}"} for one in (reader, writer))
        assert client.post("/api/v1/write", content=b"\x00", headers=reading).status_code == 403
        assert client.post("/api/v1/write", content=b"\x00", headers=writing).status_code == 204
        assert client.post("/api/v1/read", content=b"\x00", headers=reading).status_code == 200
    assert running.stop() == 0
    again = processes.start(*arguments)
    again.url()
    assert "credential" not in again.out
    assert again.stop() == 0
    for name in ("first", "reader", "writer"):
        assert processes.run("token", "remove", name, "--data", data).returncode == 0
    refused = processes.run(*arguments)
    assert refused.returncode == 2
    assert "there is no credential: peerwatch token create NAME --scope admin, or listen on 127.0.0.1" in refused.stderr


def test_secrets_on_disk_belong_to_their_owner_alone(processes: Processes) -> None:
    """Keys, credentials and the socket: no access for group or others."""
    processes.up(extra={"PEERWATCH_HUB_TLS": "always"})
    data = processes.folder / "hub"
    processes.run("token", "create", "x", "--data", str(data))
    private = [data / "hub.sock", data / "credentials.json", data / "tls/hub.key", *(data / "fleet").glob("*.key")]
    assert len(private) >= 5
    assert [path.name for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_start_that_fails_does_not_use_up_the_credential(processes: Processes) -> None:
    """It is shown once, by the first start that gets as far as serving."""
    data = str(processes.folder / "hub")
    with socket.create_server(("0.0.0.0", 0)) as owner:
        taken = owner.getsockname()[1]
        failed = processes.run("hub", "--data", data, "--listen", f"0.0.0.0:{taken}")
        assert failed.returncode == 2 and "credential" not in failed.stdout + failed.stderr
    running = processes.start("hub", "--data", data, "--listen", "0.0.0.0:0")
    running.wait_for(r"shown only this once\): pwt_")
