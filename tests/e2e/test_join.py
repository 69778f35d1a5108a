"""A second machine joins with one command and reports under its name; a token is good once, here and now."""

from __future__ import annotations

import dataclasses
import json
import time

import httpx
import pytest

from peerwatch.fleet.invite import Invite, decode_token, encode_token
from peerwatch.links.https import pinned_context
from tests.e2e.processes import QUICK, Processes, Running, ask, eventually, value

pytestmark = pytest.mark.e2e


def _invite(processes: Processes, *arguments: str, hub: str = "hub") -> str:
    answer = processes.run("invite", "--data", str(processes.folder / hub), "--json", *arguments)
    assert answer.returncode == 0, answer.stderr
    token: str = json.loads(answer.stdout)["token"]
    return token


def _join(processes: Processes, token: str, data: str = "second", *arguments: str) -> Running:
    free = ["--data", str(processes.folder / data), "--metrics-port", "0"]
    return processes.start("join", token, *free, *arguments, extra=QUICK)


def _refusal(processes: Processes, token: str, data: str = "other") -> str:
    """What a join that must fail says on standard error."""
    done = processes.run("join", token, "--no-run", "--data", str(processes.folder / data))
    assert done.returncode != 0 and done.stdout == "" and done.stderr.startswith("peerwatch: "), done
    return done.stderr


def test_a_second_machine_joins_over_plain_http_and_reports_under_its_name(processes: Processes) -> None:
    """Its samples bear the name that it joined with; `agents` lists it; its token is spent."""
    url = processes.up().url()
    token = _invite(processes)
    second = _join(processes, token, "second", "--name", "second")
    assert second.wait_for(r"joined as (\S+), reporting to (\S+)").groups() == ("second", url)
    eventually(lambda: value(url, 'node_boot_time_seconds{instance="second"}'), "the second machine is shown", 40)
    assert len(ask(url, "node_boot_time_seconds")) == 2
    listed = json.loads(processes.run("agents", "--json", "--data", str(processes.folder / "hub")).stdout)
    assert {row["name"]: row["up"] for row in listed}["second"] is True
    assert "this invite has been used" in _refusal(processes, token)
    assert second.stop() == 0


def test_a_joined_machine_goes_on_with_peerwatch_agent(processes: Processes) -> None:
    """`join --no-run` only enrols; `agent` then reports; the same machine may repeat its join."""
    url = processes.up().url()
    token = _invite(processes, "--name", "third")
    folder = str(processes.folder / "third")
    for _ in range(2):  # the answer may get lost: the same machine asks again and gets the same name
        done = processes.run("join", token, "--no-run", "--data", folder)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"joined as third, reporting to {url}"), done
    processes.start("agent", "--data", folder, "--metrics-port", "0", extra=QUICK)
    eventually(lambda: value(url, 'node_boot_time_seconds{instance="third"}'), "the third machine is shown", 40)


def test_joining_over_tls_trusts_the_pinned_certificate_only(processes: Processes) -> None:
    """hub.tls=always: a token pins the hub's own certificate, and with another pin nothing is sent."""
    running = processes.up("hub", extra={"PEERWATCH_HUB_TLS": "always"})
    url = running.url()
    assert url.startswith("https://")
    token = _invite(processes)
    wrong = encode_token(dataclasses.replace(decode_token(token), tls_pin=b"\x07" * 32))
    assert "shows another certificate than the token names" in _refusal(processes, wrong)
    _join(processes, token, "second", "--name", "second").wait_for("joined as second")
    context = pinned_context((processes.folder / "hub/tls/hub.crt").read_text())

    def reported() -> bool:
        parameters = {"query": 'node_boot_time_seconds{instance="second"}'}
        response = httpx.get(f"{url}/api/v1/query", params=parameters, verify=context, trust_env=False)
        return bool(response.json()["data"]["result"])

    eventually(reported, "the second machine reports over TLS", 40)


def test_a_token_that_is_no_good_says_why(processes: Processes) -> None:
    """Not a token, cut off, mistyped, expired, unknown to the hub, for another fleet: each has its message."""
    processes.up()
    token = _invite(processes)
    invite = decode_token(token)
    assert "not a peerwatch token" in _refusal(processes, "hello")
    assert "cut off or mistyped" in _refusal(processes, token[:-7])
    assert "cut off or mistyped" in _refusal(processes, token[:20] + ("A" if token[20] != "A" else "B") + token[21:])
    past = int(time.time() * 1000) - 1
    assert "has expired" in _refusal(processes, encode_token(dataclasses.replace(invite, expires_ms=past)))
    assert "this invite is unknown here" in _refusal(processes, encode_token(_with_new_key(invite)))
    other = encode_token(dataclasses.replace(invite, fleet=b"\x01" * 16))
    assert "enrolment is for fleet" in _refusal(processes, other)
    nowhere = encode_token(dataclasses.replace(invite, addresses=("http://127.0.0.1:1",)))
    assert "no hub could be reached" in _refusal(processes, nowhere)
    assert "joined as" in processes.run("join", token, "--no-run", "--data", str(processes.folder / "good")).stdout


def _with_new_key(invite: Invite) -> Invite:
    from peerwatch.wire.identity import PrivateKey

    return dataclasses.replace(invite, key=PrivateKey.generate())


def test_a_machine_of_one_fleet_does_not_join_another_by_accident(processes: Processes) -> None:
    """Joining a second fleet with the same data folder is refused with the way out."""
    processes.up("first")
    processes.up("other")
    folder = str(processes.folder / "machine")
    token = _invite(processes, hub="first")
    assert processes.run("join", token, "--no-run", "--data", folder).returncode == 0
    assert "belongs to another fleet" in _refusal(processes, _invite(processes, hub="other"), "machine")


def test_an_agent_that_never_joined_says_how_to(processes: Processes) -> None:
    """`peerwatch agent` on a machine without a fleet names the two commands."""
    done = processes.run("agent", "--data", str(processes.folder / "new"))
    assert done.returncode == 2 and "peerwatch invite" in done.stderr and "peerwatch join TOKEN" in done.stderr


def test_of_two_machines_that_race_for_the_last_use_one_wins(processes: Processes) -> None:
    """Both start at once with a token for one; the other is told that it has been used."""
    processes.up()
    token = _invite(processes)
    racers = [
        processes.start("join", token, "--no-run", "--data", str(processes.folder / name), "--name", name)
        for name in ("left", "right")
    ]
    codes = [one.end(40) for one in racers]
    assert sorted(codes) == [0, 2], [one.log for one in racers]
    assert "this invite has been used" in racers[codes.index(2)].log
