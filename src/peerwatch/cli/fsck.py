"""`peerwatch fsck`: look for damage on disk, and set it aside."""

from __future__ import annotations

from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.parameters import Option
from peerwatch.store.fsck import fsck as check


def fsck(
    repair: Annotated[bool, Option("--repair", help="Set aside what is damaged; delete nothing.")] = False,
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Check every file of the store, while no hub runs with it; exit with 1 when something is damaged."""
    settings = options.settings_from(config, data=data)
    report = check(settings.folder / "store", repair=repair)
    for finding in report.findings:
        print(f"{finding.path}: {finding.what}{f'; {finding.action}' if finding.action else ''}")
    segments = f"{report.segments} WAL segments with {report.records} records"
    checked = f"{report.blocks} blocks, {segments}, {report.series} series"
    print(f"checked {checked}: {'nothing is damaged' if report.clean else f'{len(report.findings)} damaged places'}")
    if not report.clean and not repair:
        print("set them aside with: peerwatch fsck --repair")
    raise SystemExit(0 if report.clean else 1)
