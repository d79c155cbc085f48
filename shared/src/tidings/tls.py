"""TLS: the files of a client, checked before they are used. Host names are always checked."""

import functools
import os
import ssl
from pathlib import Path


def require_file(path: Path) -> None:
    """Raise `ValueError` when `path` is not a file; also when nothing can have such a path, which is too long."""
    if not os.path.isfile(path):  # noqa: PTH113  # pathlib's raises an OSError for some wrong paths
        raise ValueError("there is no such file")


def require_certificates(path: Path) -> None:
    """Raise `ValueError` when `path` holds no certificates in PEM."""
    require_file(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"holds no PEM certificates: {_words(error)}") from None


def require_key(certificate: Path | None, key: Path | None) -> None:
    """Raise `ValueError` unless a client can show its certificate: its key is in `key`, or else in the same file.

    A client that has neither is fine.
    """
    if certificate:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    elif key:
        raise ValueError("is set, and the certificate of that key is not")


@functools.cache
def client_context(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return the context of these files, read once in the life of the process: the system's own take 15 ms to load.

    Args:
        authorities: PEM file of those whose signature on a server's certificate counts; the system's when `None`.
        certificate: PEM file with the client's certificate and those between it and its authority.
        key: PEM file with its private key, not encrypted.

    Raises:
        ValueError: the key is not readable, or is not that of the certificate.
    """
    context = ssl.create_default_context(cafile=authorities)
    if certificate and key:
        _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    if key:
        require_file(key)
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except OSError as error:
        if key:
            raise ValueError(f"is not the PEM key of that certificate: {_words(error)}") from None
        raise ValueError(
            f"is not set, and the file of the certificate does not hold its key: {_words(error)}"
        ) from None


def _no_password() -> str:
    """Refuse an encrypted key; without this, OpenSSL would ask the terminal and wait."""
    raise ValueError("is encrypted; give the key without a password")


def _words(error: OSError) -> str:
    """Return what went wrong without the path, which the setting says already."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
