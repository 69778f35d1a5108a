"""The systemd unit of a joined agent."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from peerwatch.cli.systemd import install, unit_name, unit_text
from peerwatch.errors import ConfigError

UNIT = unit_name("agent")


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_unit_restarts_for_ever_and_writes_only_its_folder() -> None:
    """The hardening that a read-only agent can afford."""
    unit = _parsed(unit_text(["/usr/bin/python3", "-m", "peerwatch", "agent"], Path("/var/lib/peerwatch")))
    service = dict(unit["Service"])
    assert service["ExecStart"] == "/usr/bin/python3 -m peerwatch agent"
    assert (service["Restart"], service["ReadWritePaths"]) == ("always", "/var/lib/peerwatch")
    assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
    assert int(service["TimeoutStopSec"]) > 10, "SIGTERM may take 10 s"
    assert int(service["LimitNOFILE"]) >= 65536  # B106
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_paths_are_quoted_as_systemd_reads_them() -> None:
    """Spaces, quotes, percent and dollar signs stay what they are."""
    text = unit_text(["/opt/my python/bin/python", "100%", "$HOME", 'a"b'], Path("/data/50% full"))
    assert 'ExecStart="/opt/my python/bin/python" "100%%" "$$HOME" "a\\"b"\n' in text
    assert 'ReadWritePaths="/data/50%% full"\n' in text


def test_installing_writes_the_unit_and_says_what_is_left_to_do(tmp_path: Path) -> None:
    """Where systemd does not run, the command that starts it is named."""
    said = install(tmp_path / "data", None, tmp_path / "units")
    assert said.startswith(f"wrote {tmp_path}/units/{UNIT}; ") and f"systemctl enable --now {UNIT}" in said
    service = _parsed((tmp_path / "units" / UNIT).read_text())["Service"]
    assert service["ExecStart"].endswith(f"-m peerwatch agent --data {tmp_path}/data")


def test_a_lone_node_has_a_unit_of_its_own(tmp_path: Path) -> None:
    """Beside an agent's on the same machine; started as what it joined as."""
    said = install(tmp_path / "data", None, tmp_path / "units", role="node", more=["--bootstrap"])
    assert "systemctl enable --now peerwatch-node.service" in said
    unit = _parsed((tmp_path / "units" / "peerwatch-node.service").read_text())
    assert unit["Unit"]["Description"] == "peerwatch node"
    assert unit["Service"]["ExecStart"].endswith(f"-m peerwatch node --data {tmp_path}/data --bootstrap")


def test_a_folder_that_cannot_be_written_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A file in the way, for example."""
    (tmp_path / "units").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot write .*peerwatch-agent.service"):
        install(tmp_path / "data", None, tmp_path / "units" / "deeper")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.servers
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts every line."""
    path = tmp_path / UNIT
    path.write_text(unit_text(["/bin/true"], Path("/tmp")))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert UNIT not in done.stderr, done.stderr
