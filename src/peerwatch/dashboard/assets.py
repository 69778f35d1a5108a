"""Assets: the built page, as files that a browser may keep."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")  # one path segment, no leading dot
_HASHED = re.compile(r".+-[A-Za-z0-9_-]{8}\.[a-z0-9]+")  # Vite's name-hash.ext: other content, other name

FOREVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it goes out. `encoding` is gzip or empty; `cache_control` says how long it may be kept."""

    content: bytes
    media_type: str
    cache_control: str
    etag: str
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Assets:
    """The build in `folder`. Reads from disk each time, so a page built while the hub runs is there at once."""

    folder: Path

    def page(self, name: str, *, accepts_gzip: bool) -> Asset | None:
        """The page called `name`, such as index.html; None when it is not built."""
        return _read(self.folder / name, ASK_FIRST, accepts_gzip=accepts_gzip)

    def find(self, name: str, *, accepts_gzip: bool) -> Asset | None:
        """The asset called `name`; None when there is none, or when the name could lead out of the folder."""
        if _NAME.fullmatch(name) is None or name.endswith(".gz"):
            return None
        cache_control = FOREVER if _HASHED.fullmatch(name) else ASK_FIRST
        return _read(self.folder / "assets" / name, cache_control, accepts_gzip=accepts_gzip)


def _read(path: Path, cache_control: str, *, accepts_gzip: bool) -> Asset | None:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    choices = [(path.with_name(path.name + ".gz"), "gzip")] if accepts_gzip else []
    for candidate, encoding in [*choices, (path, "")]:
        try:
            content = candidate.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        etag = f'"{sha256(content).hexdigest()[:20]}"'
        return Asset(content, media_type, cache_control, etag, encoding)
    return None
