"""Commands for people, and for programs with --json."""

from __future__ import annotations

import json

import pytest

from tests.e2e.processes import Processes, eventually, value

pytestmark = pytest.mark.e2e


def test_query_prints_a_table_for_people_and_json_for_programs(processes: Processes) -> None:
    """An instant query, a range with its sparkline, an empty answer, and a query that is wrong."""
    url = processes.up().url()
    data = str(processes.folder / "hub")
    eventually(lambda: value(url, "node_boot_time_seconds"), "samples come in", 30)
    table = processes.run("query", "node_boot_time_seconds", "--data", data)
    assert table.returncode == 0 and "node_boot_time_seconds{" in table.stdout and "value" in table.stdout
    found = json.loads(processes.run("query", "node_boot_time_seconds", "--json", "--data", data).stdout)
    assert found["resultType"] == "vector" and len(found["result"]) == 1
    ranged = processes.run("query", "node_load1", "--range", "5m", "--data", data)
    assert ranged.returncode == 0 and any(bar in ranged.stdout for bar in "▁▂▃▄▅▆▇█"), ranged.stdout
    matrix = json.loads(processes.run("query", "node_load1", "--range", "5m", "--json", "--data", data).stdout)
    assert matrix["resultType"] == "matrix"
    assert "no series matches" in processes.run("query", "nothing_is_called_this", "--data", data).stdout
    wrong = processes.run("query", "sum(", "--data", data)
    assert wrong.returncode == 2 and "parse error" in wrong.stderr, wrong
    head, *rows = processes.run(
        "query", "node_load1", "--range", "1m", "--step", "5s", "--format", "csv", "--data", data
    ).stdout.splitlines()
    assert head == "time,value,__name__,instance,job" and rows and all(",node_load1," in row for row in rows)
    chart = processes.run("query", "node_load1", "--range", "5m", "--format", "chart", "--data", data)
    assert chart.returncode == 0 and "│" in chart.stdout and "━ node_load1{" in chart.stdout, chart
    before = processes.run("query", "node_load1", "--at", "1h", "--format", "json", "--data", data)
    assert json.loads(before.stdout) == {"resultType": "vector", "result": []}
    length = processes.run("query", "up", "--range", "soon", "--data", data)
    assert length.returncode == 2 and "'soon'" in length.stderr


def test_query_reaches_a_hub_by_url(processes: Processes) -> None:
    """--url instead of the data folder; scalars and strings print as they are."""
    url = processes.up().url()
    assert processes.run("query", "1 + 1", "--url", url).stdout.strip() == "2"
    assert processes.run("query", '"text"', "--url", url).stdout.strip() == "text"


def test_agents_and_invite_speak_json(processes: Processes) -> None:
    """agents --json lists this machine with its numbers; invite --json holds token, expiry and addresses."""
    url = processes.up().url()
    data = str(processes.folder / "hub")
    eventually(lambda: value(url, "node_load1") is not None, "samples come in", 30)
    (row,) = json.loads(processes.run("agents", "--json", "--data", data).stdout)
    assert row["up"] and row["newest_sample_ms"] and row["active_series"] > 100
    assert row["name"] in processes.run("agents", "--data", data).stdout
    invited = json.loads(processes.run("invite", "--json", "--data", data).stdout)
    assert invited["addresses"] == [url] and invited["token"].startswith("pw1.") and invited["expires_ms"] > 0
    plain = processes.run("invite", "--data", data)
    assert plain.stdout.startswith("pw1.") and plain.stdout.count("\n") == 1, "only the token, so that it can be piped"
    for refused, word in (("soon", "--expires"), ("31d", "life_s"), ("59s", "life_s")):
        done = processes.run("invite", "--expires", refused, "--data", data)
        assert done.returncode == 2 and word in done.stderr, done
    wrong = processes.run("invite", "--expires", "0", "--data", data)
    assert wrong.returncode == 2 and "life_s" in wrong.stderr


def test_open_invites_are_listed_and_withdrawn(processes: Processes) -> None:
    """With what is left of each; a withdrawn token is useless, by its name or by itself."""
    processes.up()
    data = str(processes.folder / "hub")
    flags = ("--name", "rack", "--uses", "3", "--expires", "2h")
    made = json.loads(processes.run("invite", "--json", *flags, "--data", data).stdout)
    other = processes.run("invite", "--roles", "hub,agent", "--data", data).stdout.strip()
    rows = json.loads(processes.run("invites", "--json", "--data", data).stdout)
    told = [(row["roles"], row["uses_left"], row["uses"]) for row in rows]
    assert told == [(["agent"], 3, 3), (["hub", "agent"], 1, 1)]
    joined = processes.run("join", made["token"], "--no-run", "--data", str(processes.folder / "a"))
    assert joined.stdout.startswith("joined as rack,"), joined
    assert "2 of 3" in processes.run("invites", "--data", data).stdout
    assert processes.run("invite", "--revoke", "rack", "--data", data).stdout.startswith("withdrawn: rack")
    assert processes.run("invite", "--revoke", other, "--data", data).stdout.startswith("withdrawn: invite-")
    assert json.loads(processes.run("invites", "--json", "--data", data).stdout) == []
    late = processes.run("join", made["token"], "--no-run", "--data", str(processes.folder / "b"))
    assert late.returncode == 2 and "was withdrawn" in late.stderr
    for wrong in (("--revoke", "rack"), ("--uses", "0"), ("--roles", "king"), ("--link", "p2p")):
        assert processes.run("invite", *wrong, "--data", data).returncode == 2


def test_a_snapshot_is_a_store_that_fsck_finds_clean(processes: Processes) -> None:
    """A copy while the hub runs, checked afterwards; a second snapshot never overwrites the first."""
    url = processes.up().url()
    data = str(processes.folder / "hub")
    eventually(lambda: value(url, "node_load1") is not None, "samples come in", 30)
    target = processes.folder / "copy" / "store"
    target.parent.mkdir()
    done = processes.run("snapshot", str(target), "--data", data)
    assert done.returncode == 0, done.stderr
    assert processes.run("snapshot", str(target), "--data", data).returncode != 0
    checked = processes.run("fsck", "--data", str(target.parent))
    assert checked.returncode == 0, checked
