"""Options that several commands share, with one meaning and one help text each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from peerwatch.cli.parameters import Option
from peerwatch.errors import ConfigError
from peerwatch.settings import Settings, load_settings

Data = Annotated[
    str | None,
    Option("--data", metavar="DIR", help="Data folder. [default: ~/.local/share/peerwatch]"),
]
Config = Annotated[
    Path | None,
    Option(
        "--config",
        metavar="FILE",
        envvar="PEERWATCH_CONFIG",
        help="Settings file. [default: ./peerwatch.toml if it is there]",
    ),
]
Listen = Annotated[
    str | None,
    Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where the hub listens. Anything but loopback means HTTPS and a credential. [default: 127.0.0.1:9480]",
    ),
]
Url = Annotated[
    str,
    Option("--url", metavar="URL", help="The hub to ask. [default: this machine's]"),
]
Token = Annotated[
    str,
    Option("--token", metavar="TOKEN", envvar="PEERWATCH_TOKEN", help="Credential."),
]
CaFile = Annotated[str, Option("--ca", metavar="FILE", help="Certificate (PEM) to trust at --url.")]
Json = Annotated[bool, Option("--json", help="Print JSON, for programs.")]
MetricsPort = Annotated[
    int | None,
    Option("--metrics-port", metavar="PORT", help="The agent's /metrics. [default: 9100]"),
]


def settings_from(config: Path | None, **flags: object) -> Settings:
    """The settings of a command: file, environment, then its flags (`hub__listen` is hub.listen; None is not given)."""
    return load_settings(config, os.environ, {name.replace("__", "."): value for name, value in flags.items()})


def check_writable(folder: Path) -> None:
    """Raise ConfigError, with what to do, when the data folder cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"data folder {folder}: {error.strerror}; choose another with --data") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"data folder {folder} is not writable; choose another with --data")
