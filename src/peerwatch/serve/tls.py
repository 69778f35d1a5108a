"""TLS: the hub's own certificate, made at the first start, or the operator's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from peerwatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate and key in PEM files. `pinned`: members must know this very certificate (it is our own)."""

    certificate: Path
    key: Path
    pinned: bool

    def pin(self) -> bytes:
        """SHA-256 of the certificate (DER); empty where the system's authorities decide."""
        if not self.pinned:
            return b""
        return sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text("ascii"))).digest()


def own_certificate(folder: Path, hosts: tuple[str, ...]) -> TlsFiles:
    """The self-signed certificate in `folder`, made at the first start for these names and addresses."""
    files = TlsFiles(folder / "hub.crt", folder / "hub.key", pinned=True)
    if not (files.certificate.exists() and files.key.exists()):
        from peerwatch.serve.certificate import make_certificate  # its library takes 8 MB, this once

        make_certificate(files.certificate, files.key, hosts)
    return files


def check_files(files: TlsFiles) -> None:
    """Raise ConfigError, with what to do, when the pair cannot be used."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"hub.tls_cert {files.certificate} and hub.tls_key {files.key} are not a usable pair: {error}"
        ) from error
