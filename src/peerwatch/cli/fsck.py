"""`peerwatch fsck`: look for damage on disk, and set it aside."""

from __future__ import annotations

from typing import Annotated

import typer

from peerwatch.cli import options
from peerwatch.store.fsck import fsck as check


def fsck(
    repair: Annotated[bool, typer.Option("--repair", help="Set aside what is damaged; delete nothing.")] = False,
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Check every file of the store, while no hub runs with it; exit with 1 when something is damaged."""
    settings = options.settings_from(config, data=data)
    report = check(settings.folder / "store", repair=repair)
    typer.echo(str(report))
    raise typer.Exit(0 if report.clean else 1)
