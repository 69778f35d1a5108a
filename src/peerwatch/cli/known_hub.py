"""KnownHub: by which hub a machine joined, and how it is recognised."""

from __future__ import annotations

from pathlib import Path

import msgspec

from peerwatch.errors import ConfigError
from peerwatch.fleet.files import read_private, write_private


class KnownHub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`certificate_pem` pins the hub's own certificate; empty where the system's authorities decide.

    `link` is how the machine delivers, `multiaddrs` where hubs are reached over libp2p: its own, then spare ones. `hub`
    is the peer id of the hub that let the machine in; empty in older files.
    """

    addresses: tuple[str, ...]
    certificate_pem: str = ""
    link: str = "https"
    multiaddrs: tuple[str, ...] = ()
    hub: str = ""


def load_known_hub(folder: Path) -> KnownHub:
    """The hub in a joined machine's folder. Raises ConfigError when the machine has not joined."""
    path = folder / "hub.json"
    try:
        return msgspec.json.decode(read_private(path), type=KnownHub)
    except FileNotFoundError:
        raise ConfigError(
            f"this machine has joined no fleet ({path} is not there): on the hub run `peerwatch invite`, "
            "then here `peerwatch join TOKEN`"
        ) from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is damaged: {error}; join again") from error


def save_known_hub(folder: Path, hub: KnownHub) -> None:
    """Remember the hub."""
    write_private(folder / "hub.json", msgspec.json.format(msgspec.json.encode(hub)))
