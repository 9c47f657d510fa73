"""What a real server cannot be asked in a test: tokens that expire, and the record of what was asked for."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apiserver.access import Use, attributes
from meshfed_sandbox.apiserver.identities import Tokens
from meshfed_sandbox.apiserver.rbac import Attributes
from meshfed_sandbox.apiserver.store import Key, Store


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 31, 3, 12, 45, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def issued(tokens: Tokens, **spec: Any) -> str:
    answer: str = tokens.request("default", "robot", {"spec": spec})["status"]["token"]
    return answer


def accounts(clock: Clock) -> Tokens:
    store = Store()
    store.collection("", "serviceaccounts").put(Key("default", "robot"), {"metadata": {"name": "robot", "uid": "1"}})
    return Tokens(store, clock)


def test_a_token_expires() -> None:
    clock = Clock()
    tokens = accounts(clock)
    token = issued(tokens, expirationSeconds=600)
    clock.time += timedelta(seconds=599)
    user = tokens.user(token)
    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:default:robot", "1")
    clock.time += timedelta(seconds=1)
    assert tokens.user(token) is None


def test_a_token_for_others_or_of_another_server_is_nobodys() -> None:
    clock = Clock()
    tokens = accounts(clock)
    assert tokens.user(issued(tokens, audiences=["vault"])) is None
    assert accounts(clock).user(issued(tokens)) is None


def test_what_a_request_asks_for() -> None:
    assert attributes("GET", "/apis/apps/v1/namespaces/a/deployments/b/scale", {}) == Attributes(
        verb="get", group="apps", resource="deployments", subresource="scale", namespace="a", name="b"
    )
    assert attributes("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", {}) == Attributes(
        verb="create", resource="serviceaccounts", subresource="token", namespace="a", name="b"
    )
    assert attributes("PUT", "/api/v1/namespaces/a/status", {}) == Attributes(
        verb="update", resource="namespaces", subresource="status", namespace="a", name="a"
    )
    assert attributes("GET", "/api/v1/pods", {"fieldSelector": "spec.nodeName=n,metadata.name=a", "watch": "1"}) == (
        Attributes(verb="watch", resource="pods", name="a")
    )
    assert attributes("DELETE", "/api/v1/namespaces/a/pods", {}).verb == "deletecollection"
    assert attributes("GET", "/apis", {}) == Attributes(verb="get", path="/apis")
    assert attributes("GET", "/apis/apps/v1", {}) == Attributes(verb="get", path="/apis/apps/v1")


async def test_the_audit_says_who_asked_for_what() -> None:
    async with APIServer(authorization="RBAC") as server:
        context = ssl.create_default_context(cadata=server.ca.decode())
        admin = {"Authorization": f"Bearer {server.token}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            for headers in (admin, {}):
                async with session.get(f"{server.url}/api/v1/namespaces/default", headers=headers) as answer:
                    await answer.read()
        asked = Attributes(verb="get", resource="namespaces", namespace="default", name="default")
        assert server.audit == {Use("admin", asked, True): 1, Use("system:anonymous", asked, False): 1}
