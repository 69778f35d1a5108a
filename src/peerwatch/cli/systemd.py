"""A systemd unit for an agent or a lone node: restarted for ever, able to write its data folder and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from peerwatch.errors import ConfigError

Role = Literal["agent", "node"]
_SYSTEM_FOLDER = Path("/etc/systemd/system")


def unit_name(role: Role) -> str:
    """How systemd calls it."""
    return f"peerwatch-{role}.service"


def unit_text(command: list[str], data: Path, role: Role = "agent") -> str:
    """The unit. Hardened: it reads the machine and writes only its own folder."""
    return f"""[Unit]
Description=peerwatch {role}
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={" ".join(_quoted(word) for word in command)}
Restart=always
RestartSec=5
TimeoutStopSec=15
LimitNOFILE=65536
ReadWritePaths={_quoted(str(data))}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """systemd's quoting: percent signs are specifiers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word else word


def install(
    data: Path, config: Path | None, folder: Path = _SYSTEM_FOLDER, *, role: Role = "agent", more: Sequence[str] = ()
) -> str:
    """Write the unit and start it; what was done, for the operator. Raises ConfigError with what to do instead.

    `more` are words that the command takes after the folder.
    """
    unit = unit_name(role)
    if os.geteuid() != 0 and folder == _SYSTEM_FOLDER:
        raise ConfigError(f"writing {folder / unit} needs root: run the same command with sudo")
    command = [sys.executable, "-m", "peerwatch", role, "--data", str(data.resolve()), *more]
    if config is not None:
        command += ["--config", str(config.resolve())]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / unit).write_text(unit_text(command, data.resolve(), role))
    except OSError as error:
        raise ConfigError(f"cannot write {folder / unit}: {error.strerror}") from error
    return f"wrote {folder / unit}; {_enable(folder, unit)}"


def _enable(folder: Path, unit: str) -> str:
    systemctl = shutil.which("systemctl")
    if systemctl is None or folder != _SYSTEM_FOLDER or not Path("/run/systemd/system").is_dir():
        return f"systemd does not run here; where it does: systemctl enable --now {unit}"
    for arguments in (["daemon-reload"], ["enable", "--now", unit]):
        done = subprocess.run([systemctl, *arguments], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise ConfigError(f"systemctl {' '.join(arguments)} failed: {done.stderr.strip()[:500]}")
    return "enabled and started"
