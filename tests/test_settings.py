"""Settings: file < environment < flags; whatever is wrong is named with its path, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from peerwatch.agent.aggregate import AggregationRule
from peerwatch.agent.config import ScrapeConfig, SourceSetting
from peerwatch.errors import ConfigError
from peerwatch.model.relabel import RelabelAction, RelabelRule
from peerwatch.settings import Settings, load_settings


def _load(tmp_path: Path, toml: str = "", environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    path = tmp_path / "peerwatch.toml"
    path.write_text(toml)
    return load_settings(path, environ or {}, {name.replace("__", "."): value for name, value in flags.items()})


def _error(tmp_path: Path, toml: str = "", environ: Mapping[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, toml, environ, **flags)
    return str(caught.value)


def test_nothing_needs_to_be_set(tmp_path: Path) -> None:
    """The defaults of the interface table."""
    settings = _load(tmp_path)
    assert (settings.hub.listen, settings.agent_http.host, settings.agent_http.port) == (
        "127.0.0.1:9480",
        "127.0.0.1",
        9100,
    )
    assert (settings.agent.sample_interval_s, settings.agent.report_interval_s) == (5.0, 10.0)
    assert settings.configured == frozenset()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """And `configured` holds exactly what somebody set."""
    toml = 'data = "/file"\n[hub]\nlisten = "127.0.0.1:1"\n[log]\nlevel = "error"\n'
    environ = {"PEERWATCH_HUB_LISTEN": "127.0.0.1:2", "PEERWATCH_DATA": "/environment"}
    settings = _load(tmp_path, toml, environ, data="/flag", hub__listen=None)
    assert (settings.data, settings.hub.listen, settings.log.level) == ("/flag", "127.0.0.1:2", "error")
    assert settings.configured == {"data", "hub.listen", "log.level"}


def test_p2p_names_are_understood(tmp_path: Path) -> None:
    """B71–B78: those of this version set something, those of the node say so, others are unknown."""
    environ = {"P2P_METRICS_PORT": "9200", "P2P_DATA_DIR": "/app/data", "P2P_LOG_LEVEL": "debug"}
    settings = _load(tmp_path, environ=environ)
    assert (settings.agent_http.port, settings.data, settings.log.level) == (9200, "/app/data", "debug")
    environ = {
        "P2P_LISTEN_ADDRS": "/ip4/0.0.0.0/tcp/4001,/ip6/::/tcp/4001",
        "P2P_EXTERNAL_ADDRS": "/ip4/192.0.2.7/tcp/4001",
        "P2P_BOOTSTRAP_PEERS": "/ip4/192.0.2.8/tcp/4001/p2p/peer",
        "P2P_BOOTSTRAP": "true",
        "P2P_MAX_CONNECTIONS": "500",
    }
    p2p = _load(tmp_path, environ=environ).p2p
    assert p2p.listen == ("/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001")
    assert (p2p.external, p2p.bootstrap_peers) == (("/ip4/192.0.2.7/tcp/4001",), ("/ip4/192.0.2.8/tcp/4001/p2p/peer",))
    assert (p2p.bootstrap, p2p.max_connections) == (True, 500)
    assert _error(tmp_path, environ={"P2P_METRIC_PORT": "1"}) == (
        "P2P_METRIC_PORT: unknown; known are P2P_BOOTSTRAP, P2P_BOOTSTRAP_PEERS, P2P_DATA_DIR, P2P_EXTERNAL_ADDRS, "
        "P2P_LISTEN_ADDRS, P2P_LOG_LEVEL, P2P_MAX_CONNECTIONS, P2P_METRICS_PORT"
    )


def test_an_environment_variable_names_a_path_with_underscores(tmp_path: Path) -> None:
    """The longest section that fits wins: agent_http before agent; other programs' variables are left alone."""
    environ = {
        "PEERWATCH_AGENT_HTTP_PORT": "1",
        "PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "1",
        "PEERWATCHFUL": "x",
        "A": "b",
    }
    settings = _load(tmp_path, environ=environ)
    assert (settings.agent_http.port, settings.agent.sample_interval_s) == (1, 1.0)
    assert _error(tmp_path, environ={"PEERWATCH_HUB_LISTENS": "x"}).startswith("PEERWATCH_HUB_LISTENS: unknown setting")


def test_lists_may_come_as_text(tmp_path: Path) -> None:
    """Separated by commas, from the environment or a flag; a list in the file stays one."""
    expected = ("https://a:1", "https://b:2")
    environ = {"PEERWATCH_HUB_ADDRESSES": " https://a:1, https://b:2 ,"}
    assert _load(tmp_path, environ=environ).hub.addresses == expected
    assert _load(tmp_path, '[hub]\naddresses = ["https://a:1", "https://b:2"]').hub.addresses == expected
    assert _load(tmp_path, environ={"PEERWATCH_HUB_ADDRESSES": ""}).hub.addresses == ()


def test_the_agents_tables_are_read_whole(tmp_path: Path) -> None:
    """Sources, scrape targets with relabelling, and aggregation rules."""
    settings = _load(
        tmp_path,
        """
        [agent.sources.tcp]
        interval_s = 30.0
        [agent.sources.netclass]
        enabled = false
        [[agent.scrape]]
        url = "http://127.0.0.1:9187/metrics"
        job = "postgres"
        [[agent.scrape.metric_relabel]]
        source_labels = ["__name__"]
        regex = "pg_(.*)"
        action = "keep"
        [[agent.aggregation]]
        pattern = "node_network_.*"
        window_s = 60.0
        """,
    )
    assert settings.agent.sources == {
        "tcp": SourceSetting(interval_s=30.0),
        "netclass": SourceSetting(enabled=False),
    }
    (target,) = settings.agent.scrape
    assert target == ScrapeConfig("http://127.0.0.1:9187/metrics", "postgres", metric_relabel=target.metric_relabel)
    assert target.metric_relabel == (
        RelabelRule(source_labels=("__name__",), regex="pg_(.*)", action=RelabelAction.KEEP),
    )
    assert settings.agent.aggregation == (AggregationRule(pattern="node_network_.*", window_s=60.0),)


@pytest.mark.parametrize(
    ("toml", "path"),
    [
        ("liste = 1", "liste"),
        ("[hub]\nlisten_on = 1", "hub.listen_on"),
        ("[nothing]\nx = 1", "nothing"),
        ("[hub.listen]\nx = 1", "hub.listen"),
        ("[collector.limits]\nmax_lables = 1", "collector.limits.max_lables"),
        ("[agent.sources.tcp]\nintervall_s = 1.0", "agent.sources.tcp.intervall_s"),
        ('[[agent.scrape]]\nurl = "http://x"\njob = "x"\nhost = 1', "agent.scrape[0].host"),
        (
            '[[agent.scrape]]\nurl = "http://x"\njob = "x"\n[[agent.scrape.metric_relabel]]\nregexp = "x"',
            "agent.scrape[0].metric_relabel[0].regexp",
        ),
        ("configured = []", "configured"),
    ],
)
def test_an_unknown_key_is_an_error_with_its_path_at_any_depth(tmp_path: Path, toml: str, path: str) -> None:
    """A setting that is misspelt must not silently be a default."""
    message = _error(tmp_path, toml)
    assert path in message.split() or f"{path}:" in message.split(), message


@pytest.mark.parametrize(
    ("toml", "path", "value"),
    [
        ('[agent_http]\nport = "many"', "agent_http.port", "'many'"),
        ('[log]\nlevel = "loud"', "log.level", "'loud'"),
        ('[hub]\ntls = "never"', "hub.tls", "'never'"),
        ('[hub]\naddresses = [1, "x"]', "hub.addresses", "1"),
        ("[agent]\nsample_interval_s = 0.01", "agent.sample_interval_s", "0.01"),
        ("[agent]\nreport_interval_s = 1.0", "agent.report_interval_s", "1.0"),
        ("[agent.sources.tcp]\ninterval_s = 0.0", "agent.sources.tcp.interval_s", "0.0"),
        ("[store]\nretention_ms = 99999999999999", "store.retention_ms", "99999999999999"),
        ("[store]\nmax_disk_fraction = 2.0", "store.max_disk_fraction", "2.0"),
        ("[spool]\nmax_bytes = 0", "spool.max_bytes", "0"),
        ('[[agent.scrape]]\nurl = "ftp://x"\njob = "x"', "agent.scrape", "ftp://x"),
    ],
)
def test_a_bad_value_is_an_error_with_path_and_value(tmp_path: Path, toml: str, path: str, value: str) -> None:
    """And says what is allowed."""
    message = _error(tmp_path, toml)
    assert path in message and value in message, message
    assert len(message) > len(path) + len(value) + 8, f"what is allowed? {message}"


def test_a_file_that_is_named_must_be_there_and_be_toml(tmp_path: Path) -> None:
    """The default file may be absent; one that somebody named may not."""
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match="there is no such file"):
        load_settings(missing, {}, {})
    assert _error(tmp_path, "= broken").startswith(f"{tmp_path / 'peerwatch.toml'}: ")


def test_a_credential_is_not_shown_when_settings_are(tmp_path: Path) -> None:
    """Settings end up in logs and traces."""
    settings = _load(tmp_path, '[agent_http]\ncredential = "hunter2"')
    assert settings.agent_http.credential == "hunter2" and "hunter2" not in repr(settings)
