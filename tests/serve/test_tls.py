"""TLS: the hub's own certificate, its pin, and pairs that do not work."""

from __future__ import annotations

import ssl
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509

from peerwatch.errors import ConfigError
from peerwatch.serve.tls import TlsFiles, check_files, own_certificate


def test_the_own_certificate_is_made_once_and_stays(tmp_path: Path) -> None:
    """Members pinned it: a restart, even with other names, must not change it."""
    first = own_certificate(tmp_path, ("localhost", "127.0.0.1"))
    pem = first.certificate.read_text()
    again = own_certificate(tmp_path, ("elsewhere",))
    assert again == first and again.certificate.read_text() == pem
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    check_files(first)


def test_the_pin_is_the_hash_of_the_certificate(tmp_path: Path) -> None:
    """SHA-256 over DER, as a token carries it; the operator's own certificate is not pinned."""
    files = own_certificate(tmp_path, ("localhost",))
    assert files.pin() == sha256(ssl.PEM_cert_to_DER_cert(files.certificate.read_text())).digest()
    assert TlsFiles(files.certificate, files.key, pinned=False).pin() == b""


def test_the_certificate_names_hosts_and_addresses(tmp_path: Path) -> None:
    """So that a browser that trusts it accepts each of them."""
    files = own_certificate(tmp_path, ("hub.example", "192.0.2.7", "::1"))
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["hub.example", "192.0.2.7", "::1"]


def test_a_pair_that_does_not_work_is_an_error_that_names_both_files(tmp_path: Path) -> None:
    """Another key, rubbish, or nothing there: found before anything listens."""
    one, other = own_certificate(tmp_path / "a", ("x",)), own_certificate(tmp_path / "b", ("x",))
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("hello")
    for certificate, key in (
        (one.certificate, other.key),
        (rubbish, one.key),
        (one.certificate, tmp_path / "not there"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_files(TlsFiles(certificate, key, pinned=False))
        assert str(caught.value).startswith(f"hub.tls_cert {certificate} and hub.tls_key {key} are not a usable pair: ")
