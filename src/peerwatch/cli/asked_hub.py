"""AskedHub: the options of every command that asks a running hub: which one, and by what right."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient


@dataclass(frozen=True, slots=True)
class AskedHub:
    """A command that has a parameter of this type takes all of these options."""

    data: options.Data = None
    url: options.Url = ""
    token: options.Token = ""
    ca: options.CaFile = ""
    config: options.Config = None

    def open(self) -> HubClient:
        """To be used as a context manager. Raises ConfigError for what is no URL, certificate or settings file."""
        folder = options.settings_from(self.config, data=self.data).folder
        return HubClient(self.url, folder, self.token, self.ca)
