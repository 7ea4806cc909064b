"""A private certificate authority for servers of tests, made anew for every run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass(frozen=True, slots=True)
class Certificate:
    """Hold the PEM files of one server: its certificate and its key."""

    file: Path
    key_file: Path

    def server_side(self) -> ssl.SSLContext:
        """Give what a server in this process speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


class Authority:
    """Vouch for servers. `file` is what a client must trust.

    Parameters:
        folder: where its files and those of its servers lie; one authority each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"authority of {folder.name}")])
        own = self._builder(self._name, self._key.public_key(), ca=True).sign(self._key, SHA256())
        self.file = folder / "ca.pem"
        self.file.write_bytes(own.public_bytes(Encoding.PEM))

    def issue(self, host: str) -> Certificate:
        """Make a certificate for a host name or an IP address, and for no other."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        builder = self._builder(name, key.public_key(), ca=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        made = Certificate(self._folder / f"{host}.pem", self._folder / f"{host}-key.pem")
        made.file.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(self._name, name, key, x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
