"""TLS to the brokers: who is trusted, and how a client shows who it is itself. Host names are always checked."""

import functools
import ssl
from pathlib import Path


def require_certificates(path: Path) -> None:
    """Raise `ValueError` when `path` holds no certificates in PEM."""
    if not path.is_file():
        raise ValueError("there is no such file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"holds no PEM certificates: {_words(error)}") from None


@functools.cache
def client_context(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return the context of these files, read once in the life of the process: the system's own take 15 ms to load.

    Args:
        authorities: PEM file of those whose signature on a broker's certificate counts; the system's when `None`.
        certificate: PEM file with the client's certificate and those between it and its authority.
        key: PEM file with its private key, not encrypted.

    Raises:
        ValueError: the key is not readable, or is not that of the certificate.
    """
    context = ssl.create_default_context(cafile=authorities)
    if certificate and key:
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except OSError as error:
            raise ValueError(f"is not the PEM key of that certificate: {_words(error)}") from None
    return context


def _no_password() -> str:
    """Refuse an encrypted key; without this, OpenSSL would ask the terminal and wait."""
    raise ValueError("is encrypted; give the key without a password")


def _words(error: OSError) -> str:
    """Return what went wrong without the path, which the setting says already."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
