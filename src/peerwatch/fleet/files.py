"""Files that must be whole and private: keys and membership."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from peerwatch.errors import ConfigError, StoreError

_PRIVATE = 0o600


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` atomically and durably by a file that only its owner can read. Raises StoreError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _PRIVATE)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), _PRIVATE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """The content of a private file. Raises ConfigError when others could read it, FileNotFoundError when absent."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} has mode {mode:04o}; a secret must be 0600: chmod 600 {path}")
        return file.read()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
