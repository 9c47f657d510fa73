"""Who asks: users and groups, and the tokens that service accounts prove themselves with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver import errors
from meshfed_sandbox.apiserver.causes import invalid
from meshfed_sandbox.apiserver.errors import InvalidError, StatusError
from meshfed_sandbox.apiserver.store import Key, Store, timestamp

JSONObject = dict[str, Any]

ISSUER: Final = "https://kubernetes.default.svc"
MASTERS: Final = "system:masters"
"""The group that may do everything."""
AUTHENTICATED: Final = "system:authenticated"
_PREFIX: Final = "system:serviceaccount:"
_DEFAULT_LIFETIME: Final = 3600
_SHORTEST, _LONGEST = 600, 1 << 32


class User(msgspec.Struct, frozen=True):
    """A user's name and groups."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""

    def info(self) -> JSONObject:
        """As reviews show a user."""
        return {"username": self.name, **({"uid": self.uid} if self.uid else {}), "groups": list(self.groups)}


ADMIN: Final = User("admin", (MASTERS, AUTHENTICATED))
ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


def service_account(namespace: str, name: str, uid: str = "") -> User:
    """The user that a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"{_PREFIX}{namespace}:{name}", groups, uid)


def as_service_account(user: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user's name says it is."""
    namespace, colon, name = user.removeprefix(_PREFIX).partition(":")
    return (namespace, name) if user.startswith(_PREFIX) and colon else None


class Tokens:
    """Issues and recognises JSON Web Tokens of the service accounts in ``store``; ``now`` says when they expire."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._accounts = store.collection("", "serviceaccounts")
        self._now = now
        self._key = secrets.token_bytes(32)

    def request(self, namespace: str, name: str, asked: Any) -> JSONObject:
        """Answer a TokenRequest.

        Raises:
            StatusError: 404, there is no such service account; 422, the lifetime is refused.
        """
        stored = self._accounts.get(Key(namespace, name))
        if stored is None:
            raise errors.not_found("", "serviceaccounts", name)
        asked = asked if isinstance(asked, dict) else {}
        spec = asked.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT_LIFETIME
        audiences = spec.get("audiences") or [ISSUER]
        field = "spec.expirationSeconds"
        causes = []
        if seconds < _SHORTEST:
            causes.append(invalid(field, seconds, "may not specify a duration less than 10 minutes"))
        if seconds > _LONGEST:
            causes.append(invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
        if causes:
            raise InvalidError("authentication.k8s.io", "TokenRequest", name, causes)
        issued = int(self._now().timestamp())
        claims = {
            "aud": audiences,
            "exp": issued + seconds,
            "iat": issued,
            "iss": ISSUER,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": stored.uid}},
            "nbf": issued,
            "sub": f"{_PREFIX}{namespace}:{name}",
        }
        expires = datetime.fromtimestamp(issued + seconds, UTC)
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": timestamp(self._now())},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": self._signed(claims), "expirationTimestamp": timestamp(expires)},
        }

    def user(self, token: str) -> User | None:
        """Whose token it is; ``None`` where it is nobody's, has expired, is for others, or its account is gone."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed)):
            return None
        try:
            claims = msgspec.json.decode(_unpacked(signed.partition(".")[2]))
        except (binascii.Error, msgspec.DecodeError):
            return None
        if claims["exp"] <= self._now().timestamp() or ISSUER not in claims["aud"]:
            return None
        namespace, account = claims["kubernetes.io"]["namespace"], claims["kubernetes.io"]["serviceaccount"]
        stored = self._accounts.get(Key(namespace, account["name"]))
        if stored is None or stored.uid != account["uid"]:
            return None
        return service_account(namespace, account["name"], stored.uid)

    def _signed(self, claims: JSONObject) -> str:
        header = {"alg": "HS256", "typ": "JWT"}
        parts = b".".join(_packed(msgspec.json.encode(part)) for part in (header, claims)).decode()
        return f"{parts}.{self._signature(parts).decode()}"

    def _signature(self, signed: str) -> bytes:
        return _packed(hmac.digest(self._key, signed.encode(), hashlib.sha256))


def _packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """Tells from a request's header who asks; ``token`` is the administrator's."""

    def __init__(self, tokens: Tokens, token: str) -> None:
        self._tokens = tokens
        self._token = token

    def user(self, authorization: str) -> User:
        """Who asks, by the Authorization header; ``StatusError`` 401 for a token that is nobody's."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return ANONYMOUS
        if hmac.compare_digest(token.encode(), self._token.encode()):
            return ADMIN
        user = self._tokens.user(token)
        if user is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return user


def impersonated(name: str, groups: Sequence[str]) -> User:
    """The user that somebody asks to act as; a service account without ``groups`` gets its own."""
    account = as_service_account(name)
    if account is not None and not groups:
        return service_account(*account)
    return User(name, (*groups, AUTHENTICATED) if AUTHENTICATED not in groups else tuple(groups))
