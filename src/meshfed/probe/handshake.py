"""One handshake, which ends as soon as the certificate was seen and verified, and sends nothing of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any, Final

from meshfed.model.probes import Answered, Broken, Finding, Link, Way

SECONDS: Final = 4.0
"""For the connection, and again for the handshake: longer than a packet that is lost and sent again, twice."""
_ALPN: Final = ["istio"]
"""By this a sidecar that also takes plaintext tells mutual TLS of the mesh from TLS of the application."""
_EXPIRED, _NOT_YET_VALID = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""


class Roots:
    """The certificate authorities that this mesh trusts."""

    def __init__(self, pem: str) -> None:
        """``pem`` holds one certificate or several.

        Raises:
            ValueError: there is none in it, or one cannot be read; the message says so.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The certificate has a SPIFFE ID instead of a host name; whoever asked compares that.
        self.context.check_hostname = False
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(_ALPN)
        try:
            self.context.load_verify_locations(cadata=pem)
        except ssl.SSLError as error:
            raise ValueError(f"no certificates in PEM: {error.reason or error}") from error


async def handshake(way: Way, roots: Roots, seconds: float = SECONDS) -> Finding:
    """Shake hands by one way, and say what was seen; ``seconds`` for the connection, and again for the handshake."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(way.gateway.host, way.gateway.port)
    except socket.gaierror as error:
        return Broken(Link.NAME, error.strerror or str(error))
    except TimeoutError:
        return Broken(Link.ADDRESS, f"no answer within {seconds:g} s")
    except UnicodeError:
        return Broken(Link.NAME, "it cannot be a host name")
    except OSError as error:
        return Broken(Link.ADDRESS, os.strerror(error.errno).lower() if error.errno else str(error))
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
        return Broken(Link.TLS, (error.reason or str(error)).lower().replace("_", " "))
    except UnicodeError:
        return Broken(Link.SNI, "it cannot be a server name")
    except (OSError, EOFError):  # reset, or closed without a word
        return Broken(Link.SNI)
    finally:
        writer.transport.abort()


def _answered(certificate: dict[str, Any]) -> Answered:
    identity = next((value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"), "")
    return Answered(identity, float(ssl.cert_time_to_seconds(certificate["notAfter"])))
