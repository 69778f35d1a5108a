"""Who is told to a Prometheus, where it is scraped, and under which labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peerwatch.collector.member import AgentStatus
from peerwatch.collector.targets import Said, TargetGroup, Targets, TargetsConfig
from peerwatch.errors import ConfigError
from peerwatch.model import Labels
from peerwatch.wire.self_report import AGENT_INFO, STOP_TIME

NOW = 1_800_000_000_000
WEB = AgentStatus("web-1", "12D3x", ("agent",), False, True, NOW - 9000, NOW - 1000, NOW - 1000, 0, 300, 0)
HUB = "https://hub:9480"


def _targets(started_ms: int = NOW - 3_600_000, **config: object) -> Targets:
    return Targets(TargetsConfig(**config), "node", started_ms)  # type: ignore[arg-type]  # what a test says


def _said(time_ms: int = NOW, **labels: str) -> Said:
    return Said(time_ms, Labels.of(labels))


def test_an_agent_is_listed_at_the_hub_under_its_own_instance() -> None:
    """Address and path are the hub's, `instance` is the agent's name, and relabelling sees the rest."""
    said = {"web-1": _said(os="linux", arch="x86_64", version="0.1.0")}
    assert _targets().groups([WEB], said, HUB, NOW) == [
        TargetGroup(
            ("hub:9480",),
            {
                "__meta_peerwatch_name": "web-1",
                "__meta_peerwatch_peer_id": "12D3x",
                "__meta_peerwatch_roles": ",agent,",
                "__meta_peerwatch_job": "node",
                "__meta_peerwatch_os": "linux",
                "__meta_peerwatch_arch": "x86_64",
                "__meta_peerwatch_version": "0.1.0",
                "__meta_peerwatch_via": "hub",
                "__scheme__": "https",
                "instance": "web-1",
                "__metrics_path__": "/api/v1/agents/web-1/metrics",
            },
        )
    ]


def test_a_hub_behind_a_path_is_scraped_below_it() -> None:
    """hub.addresses may name a proxy's URL."""
    [group] = _targets().groups([WEB], {}, "https://example.org/watch/", NOW)
    assert (group.targets, group.labels["__metrics_path__"]) == (
        ("example.org",),
        "/watch/api/v1/agents/web-1/metrics",
    )


def test_an_announced_address_counts_only_where_the_operator_says_so() -> None:
    """A member must not choose where a Prometheus sends its credential, unless that is wanted."""
    said = {"web-1": _said(address="10.0.0.7:9100", scheme="https")}
    [guarded] = _targets().groups([WEB], said, HUB, NOW)
    assert (guarded.targets, guarded.labels["__meta_peerwatch_via"]) == (("hub:9480",), "hub")
    assert guarded.labels["__meta_peerwatch_address"] == "10.0.0.7:9100"
    [direct] = _targets(direct=True).groups([WEB], said, HUB, NOW)
    assert (direct.targets, direct.labels["__scheme__"]) == (("10.0.0.7:9100",), "https")
    assert "__metrics_path__" not in direct.labels and direct.labels["__meta_peerwatch_via"] == "direct"


@pytest.mark.parametrize("address", ["", "10.0.0.7", "http://x:1", "a b:1", "x:1/path", "u@x:1", "x:1?q", "[::1:9100"])
def test_an_address_that_is_none_is_not_listed(address: str) -> None:
    """The hub shows the samples instead."""
    said = {"web-1": _said(address=address, scheme="https")}
    assert _targets(direct=True).groups([WEB], said, HUB, NOW)[0].targets == ("hub:9480",)


def test_a_silent_agent_is_gone_after_the_configured_time() -> None:
    """To the millisecond: at the limit it is there, past it it is not."""
    at_limit = replace(WEB, last_seen_ms=NOW - 30_000)
    assert len(_targets().groups([at_limit], {}, HUB, NOW)) == 1
    assert _targets().groups([at_limit], {"web-1": _said()}, HUB, NOW + 1) == []
    assert _targets(gone_after_s=5).groups([at_limit], {}, HUB, NOW) == []


def test_a_hub_that_has_just_started_goes_by_what_it_stored() -> None:
    """A restart must not end every series of a Prometheus; a sample from the future does not help beyond the start."""
    unseen = replace(WEB, last_seen_ms=0)
    just_started = _targets(NOW)
    assert just_started.groups([unseen], {}, HUB, NOW) == []
    assert len(just_started.groups([unseen], {"web-1": _said(NOW - 10_000)}, HUB, NOW)) == 1
    assert just_started.groups([unseen], {"web-1": _said(NOW + 500_000)}, HUB, NOW + 30_001) == []


def test_only_an_agent_itself_says_what_it_is() -> None:
    """Not a page that it scrapes; of two versions the newer one counts."""

    def info(time_ms: int, **labels: str) -> tuple[Labels, int]:
        return Labels.of(labels, __name__=AGENT_INFO, instance="web-1"), time_ms

    old, new = info(5, job="node", version="1"), info(7, job="node", version="2")
    scraped, other = info(9, job="node", target="x:1", version="3"), info(9, job="y", version="4")
    assert _targets().said_by([old, new, scraped, other]) == {"web-1": Said(7, new[0])}
    assert _targets().said_by([new, old]) == {"web-1": Said(7, new[0])}


def test_an_agent_that_says_that_it_stops_is_gone_at_once_and_back_with_its_next_word() -> None:
    """By the agent's own clock; nobody else says it for it, and a hub that has just started believes what it stored."""

    def word(metric: str, time_ms: int, **labels: str) -> tuple[Labels, int]:
        return Labels.of({"job": "node", **labels}, __name__=metric, instance="web-1"), time_ms

    def is_listed(*words: tuple[Labels, int]) -> bool:
        return bool(_targets().groups([WEB], _targets().said_by(words), HUB, NOW))

    info, stop = word(AGENT_INFO, NOW - 3000), word(STOP_TIME, NOW - 2000)
    assert is_listed(info) and not is_listed(info, stop) and not is_listed(stop, info) and not is_listed(stop)
    assert is_listed(info, stop, word(AGENT_INFO, NOW - 1000, version="2"))
    assert is_listed(info, word(STOP_TIME, NOW - 2000, target="x:1"), word(STOP_TIME, NOW - 2000, job="y"))
    assert is_listed(word(STOP_TIME, NOW - 5000), info)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 86_401.0, float("nan")])
def test_a_limit_that_cannot_work_is_refused(seconds: float) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=r"http_sd\.gone_after_s"):
        TargetsConfig(gone_after_s=seconds)
