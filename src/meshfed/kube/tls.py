"""TLS towards a Kubernetes API, held to the same rules as client-go, and rebuilt when files are replaced.

Cluster CAs and client certificates are rotated under running processes; a controller that read them once stops
working on that day, months later.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meshfed.kube.credentials import ClientCertificate, Pem
from meshfed.kube.errors import ConfigError

_PERIOD: Final = 60.0
"""Seconds between looks at the files."""


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """How the server is verified: by ``ca`` (the system's roots where absent), as ``server_name`` where given."""

    ca: Pem | None = field(default=None, repr=False)
    server_name: str | None = None
    insecure: bool = False


class ContextSource:
    """The TLS context for the present CA and client certificate; another object only when one of them changed."""

    def __init__(self, config: TLSConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._made_of: tuple[bytes | None, bytes | None, bytes | None] | None = None
        self._certificate: ClientCertificate | None = None
        self._looked_at = 0.0

    async def get(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """The context to connect with. ``ConfigError`` names the file or field that cannot be used."""
        fresh = self._clock() - self._looked_at < _PERIOD
        if self._context is not None and fresh and certificate is self._certificate:
            return self._context
        parts = (
            _read(self._config.ca),
            _read(certificate.certificate if certificate else None),
            _read(certificate.key if certificate else None),
        )
        if self._context is None or parts != self._made_of:
            self._context = await asyncio.to_thread(_build, self._config, *parts)
            self._made_of = parts
        self._certificate = certificate
        self._looked_at = self._clock()
        return self._context


def _read(pem: Pem | None) -> bytes | None:
    if not isinstance(pem, Path):
        return pem
    try:
        return pem.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=str(pem), remedy="check the path and its permissions"
        ) from error


def _build(config: TLSConfig, ca: bytes | None, certificate: bytes | None, key: bytes | None) -> ssl.SSLContext:
    # The default context comes with the system's roots, which must not vouch for a cluster that has its own CA. Nor are
    # they read for nothing, which takes long.
    context = ssl.create_default_context() if ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python 3.13 demands key identifiers that many cluster CAs (kubeadm's among them) never had, and Python before
    # it refuses an intermediate as the root of trust; Go, and so every other Kubernetes client, does neither.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if config.insecure and ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ca is not None:
        try:
            context.load_verify_locations(cadata=ca.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(
                f"holds no CA certificates: {error}",
                where=str(config.ca) if isinstance(config.ca, Path) else "kubeconfig",
                field="certificate-authority",
                remedy="it must hold PEM certificates",
            ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None and key is not None:
        _load_certificate(context, certificate, key)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL's binding takes certificates from files alone; this one exists, for us alone, for a moment.
    handle, name = tempfile.mkstemp(prefix="meshfed-", suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"certificate and key cannot be used together: {error}",
            where="client certificate",
            field="client-certificate, client-key",
            remedy="they must be PEM, belong together, and the key must not be encrypted",
        ) from error
    finally:
        Path(name).unlink()
