"""What a service account is granted, cell by cell, against what it asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apiserver.access import Use
from meshfed_sandbox.apiserver.rbac import Attributes, permits


class Permission(NamedTuple):
    """One cell of a rule, and the namespace that its binding is in; none for the whole cluster."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    def allows(self, asked: Attributes) -> bool:
        names = {"resourceNames": [self.name]} if self.name else {}
        rule = {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb]} | names
        return self.namespace in {"", asked.namespace} and permits(rule, asked)


def granted(server: APIServer, namespace: str, account: str) -> list[Permission]:
    """What the roles grant the account now; what two rules grant is there twice."""
    return list(_granted(server, namespace, account))


def _granted(server: APIServer, namespace: str, account: str) -> Iterator[Permission]:
    roles = {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role["rules"]
        for role in server.snapshot("clusterroles", "roles")
    }
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    for binding in server.snapshot("clusterrolebindings", "rolebindings"):
        if subject not in binding["subjects"]:
            continue
        place = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        for rule in roles[reference["kind"], place if reference["kind"] == "Role" else "", reference["name"]]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", [""]):
                            yield Permission(place, group, resource, verb, name)


def idle(cells: list[Permission], uses: Iterable[Use]) -> list[Permission]:
    """The cells without which everything would have been allowed all the same."""
    needed: set[int] = set()
    for use in uses:
        allowing = [number for number, cell in enumerate(cells) if cell.allows(use.asked)]
        if len(allowing) == 1:
            needed.update(allowing)
    return [cell for number, cell in enumerate(cells) if number not in needed]


def refused(uses: Iterable[Use]) -> list[Attributes]:
    """What was asked for in vain."""
    return [use.asked for use in uses if not use.allowed]
