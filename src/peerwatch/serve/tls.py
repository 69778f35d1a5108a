"""TLS: the hub's own certificate, made at the first start, or the operator's. The one door to the X.509 library."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from peerwatch.errors import ConfigError
from peerwatch.fleet.files import write_private

_LIFE_DAYS = 3650  # members pin the certificate itself; its date is not what protects them


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
        _make(files, hosts)
    return files


def _make(files: TlsFiles, hosts: tuple[str, ...]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peerwatch hub")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_LIFE_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(
        files.key,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    write_private(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def check_files(files: TlsFiles) -> None:
    """Raise ConfigError, with what to do, when the pair cannot be used."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"hub.tls_cert {files.certificate} and hub.tls_key {files.key} are not a usable pair: {error}"
        ) from error
