"""`peerwatch root`: the key that says who the hubs are."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Argument, Option
from peerwatch.errors import ConfigError
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.root import Root
from peerwatch.fleet.root_file import export_root, import_root, is_sealed
from peerwatch.model import SystemClock

ABOUT = "Export, import and replace the fleet's root key, and certify hubs with it."
_PassphraseFile = Annotated[
    Path | None,
    Option("--passphrase-file", metavar="FILE", help="Holds the passphrase (mode 0600). [default: it is asked for]"),
]


def export(
    file: Annotated[Path, Argument(help="A new file; keep it off this machine.")],
    plain: Annotated[
        bool, Option("--plain", help="Do without a passphrase: whoever reads the file owns the fleet.")
    ] = False,
    passphrase_file: _PassphraseFile = None,
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Write the root key to a file that its owner alone can read, sealed with a passphrase."""
    if plain and passphrase_file is not None:
        raise ConfigError("--plain and --passphrase-file: choose one")
    membership, root = _root(options.settings_from(config, data=data).folder / "fleet")
    key = root.needed()
    passphrase = "" if plain else _passphrase(passphrase_file, confirm=True)
    export_root(file, key, membership.fleet, passphrase)
    print(f"root key {key.public.hex()} written to {file}")


def import_(
    file: Annotated[Path, Argument(help="What `root export` wrote.")],
    passphrase_file: _PassphraseFile = None,
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Put the root key on this hub, where it renews certificates and certifies hubs. A running hub sees it at once."""
    _, root = _root(options.settings_from(config, data=data).folder / "fleet")
    key = import_root(file, _passphrase(passphrase_file, confirm=False) if is_sealed(file) else "")
    root.put(key)
    print(f"root key {key.public.hex()} is on this hub now")


def certify(
    hub: AskedHub,
    called: Annotated[str, Argument(help="Name or peer id of a hub that has joined.")],
) -> None:
    """Certify a hub for two years; the hub that is asked must have the root key."""
    with hub.open() as client:
        done = client.post("/api/v1/admin/root", {"certify": called})
    print(f"certified {done['name']} ({done['peer_id']}); it hears of that within seconds, or when it starts")


def rotate(
    hub: AskedHub,
) -> None:
    """Replace the root key by a new one, which the old one signs for; export it anew afterwards."""
    with hub.open() as client:
        done = client.post("/api/v1/admin/root", {"rotate": True})
    print(f"the root key is {done['root']} now; older exports are worthless: peerwatch root export FILE")


def _root(folder: Path) -> tuple[Membership, Root]:
    try:
        membership = Membership.load(folder / "membership.bin", SystemClock().now_ms())
    except FileNotFoundError:
        raise ConfigError(f"{folder} holds no fleet: run this on a hub, or name its data folder with --data") from None
    return membership, Root(folder, membership)


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    """The words; never empty."""
    if file is not None:
        found = _first_line(file)
    elif sys.stdin.isatty():
        found = getpass.getpass("Passphrase: ")
        if confirm and getpass.getpass("Again: ") != found:
            raise ConfigError("the two passphrases differ")
    else:
        raise ConfigError(
            "there is no terminal to ask for a passphrase: --passphrase-file FILE, or export with --plain"
        )
    if not found:
        raise ConfigError("the passphrase is empty; to export without one, say --plain")
    return found


def _first_line(file: Path) -> str:
    from peerwatch.fleet.files import read_private

    try:
        return read_private(file).decode().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--passphrase-file {file}: {error}") from error


commands = {"export": export, "import": import_, "certify": certify, "rotate": rotate}
