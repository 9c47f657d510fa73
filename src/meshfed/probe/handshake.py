"""One handshake, which ends as soon as the certificate was seen and verified, and sends nothing of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from typing import Any, Final

import msgspec

from meshfed.model.identity import SpiffeID
from meshfed.model.probes import Answered, Broken, Finding, Link, Way

SECONDS: Final = 4.0
"""For the connection, and again for the handshake: longer than a packet that is lost and sent again, twice."""
_ALPN: Final = ["istio"]
"""By this a sidecar that also takes plaintext tells mutual TLS of the mesh from TLS of the application."""
_CERTIFICATE: Final = re.compile("-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]*-----END CERTIFICATE-----", re.ASCII)
_EXPIRED, _NOT_YET_VALID = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""

_TOO_NEW: Final = "TLSV1_ALERT_PROTOCOL_VERSION"
"""How OpenSSL calls the alert of a server that takes no TLS as new as 1.3."""


class Authority(msgspec.Struct, frozen=True):
    """A certificate authority: the SHA-256 of its certificate (DER), in hex, and until when it is valid, in seconds
    since 1970.
    """

    sha256: str
    not_after: float


class Roots:
    """The certificate authorities that this mesh trusts."""

    def __init__(self, text: str) -> None:
        """``text`` holds certificates as PEM, and whatever else; only they count.

        Raises:
            ValueError: there is none in it, or one cannot be read; the message says so.
        """
        found = _CERTIFICATE.findall(text)
        if not found:
            raise ValueError("no certificate as PEM is in it")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The certificate has a SPIFFE ID instead of a host name; whoever asked compares that.
        self.context.check_hostname = False
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        # As Envoy: an intermediate that is trusted is enough.
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.context.set_alpn_protocols(_ALPN)
        try:
            self.context.load_verify_locations(cadata="\n".join(found))
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"one of its {len(found)} certificates cannot be read: {error}") from error

    def authorities(self) -> tuple[Authority, ...]:
        """Return each of them once, sorted."""
        certificates = zip(self.context.get_ca_certs(binary_form=True), self.context.get_ca_certs(), strict=True)
        found = {
            Authority(hashlib.sha256(der).hexdigest(), float(ssl.cert_time_to_seconds(str(read["notAfter"]))))
            for der, read in certificates
        }
        return tuple(sorted(found, key=lambda one: one.sha256))


async def handshake(way: Way, ip: str, roots: Roots, seconds: float = SECONDS) -> Finding:
    """Shake hands by one way, at one IP of its gateway, and say what was seen.

    ``seconds`` for the connection, and again for the handshake.
    """
    try:
        way.name.encode("idna")
    except UnicodeError:
        return Broken(Link.SNI, "it cannot be a server name")
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(ip, way.gateway.port)
    except TimeoutError:
        return Broken(Link.ADDRESS, f"no answer within {seconds:g} s")
    except OSError as error:
        return Broken(Link.ADDRESS, os.strerror(error.errno).lower() if error.errno else "it cannot be reached")
    try:
        async with asyncio.timeout(seconds):
            await writer.start_tls(roots.context, server_hostname=way.name)
        return _answered(writer.get_extra_info("peercert") or {})
    except TimeoutError:
        return Broken(Link.WORKLOAD, f"no certificate within {seconds:g} s")
    except ssl.SSLCertVerificationError as error:
        link = Link.VALIDITY if error.verify_code in (_EXPIRED, _NOT_YET_VALID) else Link.ROOT
        return Broken(link, error.verify_message)
    except ssl.SSLEOFError:
        return Broken(Link.SNI)
    except ssl.SSLError as error:
        if error.reason == _TOO_NEW:
            return Broken(Link.VERSION)
        return Broken(Link.TLS, (error.reason or str(error)).lower().replace("_", " "))
    except ValueError:  # of which UnicodeError is one
        return Broken(Link.TLS, "the certificate cannot be read")
    except (OSError, EOFError):  # reset, or closed without a word
        return Broken(Link.SNI)
    finally:
        writer.transport.abort()


def _answered(certificate: dict[str, Any]) -> Answered:
    """Return who answered, as far as that is a SPIFFE ID: anything else could be of any length, and say anything."""
    uri = next((value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"), "")
    identity = SpiffeID.parse(uri)
    return Answered(
        str(identity) if identity is not None else "", float(ssl.cert_time_to_seconds(certificate["notAfter"]))
    )
