"""The kubelet's certificate, and whose certificate it asks for.

Owns the TLS context of the server. Without configured files it serves with a
certificate that it signs itself: the API server checks a kubelet's certificate only
where ``--kubelet-certificate-authority`` is set.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

LIFETIME: Final = timedelta(days=365)


def server_context(
    *, cert_file: str, key_file: str, client_ca_file: str, node_name: str, address: str
) -> ssl.SSLContext:
    """A context that asks for a client certificate and verifies the one it gets.

    Who sends none is refused later, by :mod:`.server`, with a sentence.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if client_ca_file:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
        return context
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kubelet.pem"
        path.touch(0o600)
        path.write_bytes(self_signed(node_name, address))
        context.load_cert_chain(path)
    return context


def self_signed(node_name: str, address: str) -> bytes:
    """PEM of a new key and its certificate, named as a kubelet's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"[:64]),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(node_name), _general(address)]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ) + certificate.public_bytes(Encoding.PEM)


def _general(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
