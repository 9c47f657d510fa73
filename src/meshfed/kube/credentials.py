"""Who we are towards a Kubernetes API: what goes into each request's headers, and the client certificate.

Tokens rotate under a running process (projected service account tokens every hour, cloud tokens every few
minutes), so the client asks before every request and says when an answer was 401. No secret appears in a
``repr``, a log line or an error.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed.kube.errors import ConfigError

_log = logging.getLogger(__name__)

_TOKEN_PERIOD: Final = 60.0
"""Seconds a token read from a file is used before it is read again; client-go's period."""
_EXPIRY_LEEWAY: Final = 30.0
_PLUGIN_TIMEOUT: Final = 60.0
_INTERACTIVE_TIMEOUT: Final = 600.0
EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

Pem = Path | bytes
"""PEM text, or the file that holds it and may be replaced at any time."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate (with its chain) and its private key."""

    certificate: Pem = field(repr=False)
    key: Pem = field(repr=False)


class Credentials:
    """Nobody in particular: no header and no certificate. The others derive from this."""

    def __init__(self, *, certificate: ClientCertificate | None = None) -> None:
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def authorization(self) -> str | None:
        """The Authorization header of the next request. ``ConfigError`` where it cannot be had."""
        return None

    async def certificate(self) -> ClientCertificate | None:
        """The certificate to connect with. ``ConfigError`` where it cannot be had."""
        return self._certificate

    async def rejected(self, used: str | None) -> bool:
        """Take note that a request with the header ``used`` was answered 401; whether trying once more may help."""
        return False


class Static(Credentials):
    """A header that never changes: a bearer token, or a user name and password."""

    def __init__(self, header: str, *, certificate: ClientCertificate | None = None) -> None:
        super().__init__(certificate=certificate)
        self._header = header

    @classmethod
    def token(cls, token: str, *, certificate: ClientCertificate | None = None) -> Static:
        """A bearer token."""
        return cls(f"Bearer {token}", certificate=certificate)

    @classmethod
    def basic(cls, username: str, password: str, *, certificate: ClientCertificate | None = None) -> Static:
        """A user name and password (RFC 7617)."""
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        return cls(f"Basic {pair}", certificate=certificate)

    async def authorization(self) -> str | None:
        """The header."""
        return self._header


class TokenFile(Credentials):
    """A bearer token in a file that somebody else replaces, such as the kubelet.

    Once a token was read, a file that cannot be read for a while is no reason to stop using it.
    """

    def __init__(
        self,
        path: Path,
        *,
        initial: str = "",
        certificate: ClientCertificate | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(certificate=certificate)
        self._path = path
        self._token = initial
        self._clock = clock
        self._read_at: float | None = None

    async def authorization(self) -> str | None:
        """The token as last read, at most a minute ago."""
        if self._read_at is None or self._clock() - self._read_at >= _TOKEN_PERIOD:
            self._read()
        return f"Bearer {self._token}"

    async def rejected(self, used: str | None) -> bool:
        """Read the file again; worth another try where it holds another token now."""
        self._read()
        return f"Bearer {self._token}" != used

    def _read(self) -> None:
        try:
            token = self._path.read_text().strip()
            problem = "" if token else "is empty"
        except (OSError, UnicodeDecodeError) as error:
            token, problem = "", f"cannot be read: {error}"
        if token:
            self._token = token
        elif self._token:
            _log.warning("the token file %s %s; the last token stays in use", self._path, problem)
        else:
            raise ConfigError(
                problem,
                where=str(self._path),
                field="token",
                remedy="the file must hold a bearer token; check the path and that this process may read it",
            )
        self._read_at = self._clock()


class ExecSpec(msgspec.Struct, frozen=True, rename="camel"):
    """``users[].user.exec`` of a kubeconfig."""

    api_version: str
    command: str
    args: tuple[str, ...] | None = None
    env: tuple[dict[str, str], ...] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class _ExecStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _ExecStatus | None = None


def _now() -> float:
    return datetime.now(UTC).timestamp()


class ExecPlugin(Credentials):
    """Credentials that a program prints (``client.authentication.k8s.io``), run again when they expire or fail.

    ``cluster`` is what the program is told of the cluster, where the kubeconfig asks for it; ``clock`` gives Unix
    seconds.
    """

    def __init__(
        self,
        spec: ExecSpec,
        *,
        where: str,
        directory: Path,
        environ: Mapping[str, str],
        cluster: Mapping[str, Any] | None = None,
        certificate: ClientCertificate | None = None,
        clock: Callable[[], float] = _now,
    ) -> None:
        super().__init__(certificate=certificate)
        self._spec = spec
        self._where = where
        self._directory = directory
        self._environ = environ
        self._cluster = cluster
        self._clock = clock
        self._lock = asyncio.Lock()
        self._header: str | None = None
        self._issued: ClientCertificate | None = None
        self._valid_until: float | None = None
        self._held = False

    async def authorization(self) -> str | None:
        """The token the program gave, or nothing where it gave a certificate alone."""
        await self._ensure()
        return self._header

    async def certificate(self) -> ClientCertificate | None:
        """The certificate the program gave, else the kubeconfig's."""
        await self._ensure()
        return self._issued or self._certificate

    async def rejected(self, used: str | None) -> bool:
        """Have the program run again, unless somebody else already did since ``used`` was handed out."""
        if self._held and self._header == used:
            self._held = False
        return True

    async def _ensure(self) -> None:
        # One run serves all who wait: programs of this kind open browsers and count towards rate limits.
        async with self._lock:
            expired = self._valid_until is not None and self._clock() >= self._valid_until - _EXPIRY_LEEWAY
            if self._held and not expired:
                return
            status = self._parse(await self._run())
            self._header = f"Bearer {status.token}" if status.token else None
            self._issued = (
                ClientCertificate(status.client_certificate_data.encode(), status.client_key_data.encode())
                if status.client_certificate_data
                else None
            )
            expires = status.expiration_timestamp
            self._valid_until = None if expires is None else expires.timestamp()
            self._held = True

    async def _run(self) -> bytes:
        interactive = self._interactive()
        info: dict[str, Any] = {"interactive": interactive}
        if self._cluster is not None:
            info["cluster"] = self._cluster
        request = {"apiVersion": self._spec.api_version, "kind": "ExecCredential", "spec": info}
        environ = {
            **self._environ,
            **{pair.get("name", ""): pair.get("value", "") for pair in self._spec.env or ()},
            "KUBERNETES_EXEC_INFO": json.dumps(request),
        }
        command = self._spec.command
        if "/" in command:
            command = str(self._directory / command)
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                *(self._spec.args or ()),
                env=environ,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = self._spec.install_hint.strip()
            raise self._problem(
                f"the credential program {command!r} cannot be run: {error.strerror}",
                hint or "install it, or correct its path",
            ) from error
        try:
            async with asyncio.timeout(_INTERACTIVE_TIMEOUT if interactive else _PLUGIN_TIMEOUT):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise self._problem(
                f"the credential program {command!r} did not end in time", "run it by hand and see what it waits for"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise self._problem(
                f"the credential program {command!r} ended with code {process.returncode}",
                "its own messages are on standard error",
            )
        return output

    def _interactive(self) -> bool:
        terminal = sys.stdin is not None and sys.stdin.isatty()
        if self._spec.interactive_mode == "Always" and not terminal:
            raise self._problem(
                "interactiveMode is Always, and standard input is no terminal", "run this from a terminal"
            )
        return terminal and self._spec.interactive_mode != "Never"

    def _parse(self, output: bytes) -> _ExecStatus:
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._problem(
                f"the credential program printed no ExecCredential: {error}", "run it by hand and look at its output"
            ) from None
        if answer.kind != "ExecCredential" or answer.api_version != self._spec.api_version:
            raise self._problem(
                f"the credential program answered {answer.kind} of {answer.api_version}, "
                f"and ExecCredential of {self._spec.api_version} was asked for",
                "set the apiVersion that the program speaks",
            )
        status = answer.status
        if (
            status is None
            or bool(status.client_certificate_data) != bool(status.client_key_data)
            or not (status.token or status.client_certificate_data)
        ):
            raise self._problem(
                "the credential program gave neither a token nor a certificate with its key",
                "run it by hand and look at its `status`",
            )
        return status

    def _problem(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(problem, where=self._where, field="exec", remedy=remedy)
