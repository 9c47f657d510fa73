"""Asks a real API server what the tables in `cases` ask, and writes down its answers.

    python -m tests.sandbox.objects.record https://127.0.0.1:6443 TOKEN

The server needs an authorizer that lets the token do anything, and nothing of value in it. Tests use only what is
written down.
"""

from __future__ import annotations

import copy
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.sandbox.objects import cases
from tests.sandbox.objects.cases import GROUP, JsonObject, Step, custom

_MEDIA = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "force": "application/apply-patch+yaml",
}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SYSTEM = ("uid", "creationTimestamp", "resourceVersion", "generation", "namespace", "selfLink")
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
_LAX = ("x-kubernetes-validations", "enum", "minimum", "maxLength")


class _Server:
    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    def ask(self, method: str, path: str, body: Any = None, media: str = "application/json") -> tuple[int, JsonObject]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": media, "User-Agent": "record"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, context=self._tls) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def install(self, kind: str, schema: JsonObject) -> None:
        """Serves `kind` with `schema`, from now on."""
        name = f"{_plural(kind)}.{GROUP}"
        status, found = self.ask("GET", f"{_CRDS}/{name}")
        if status == 404:
            self.ask("POST", _CRDS, _crd(kind, schema))
        else:
            found["spec"] = _crd(kind, schema)["spec"]
            self.ask("PUT", f"{_CRDS}/{name}", found)
        time.sleep(3)  # the server serves a changed schema a little later, and says nowhere that it does


def _crd(kind: str, schema: JsonObject) -> JsonObject:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{_plural(kind)}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": _plural(kind)},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _plural(kind: str) -> str:
    return {"NetworkPolicy": "networkpolicies", "Endpoints": "endpoints"}.get(kind, kind.lower() + "s")


def _path(obj: JsonObject) -> str:
    version, kind = obj["apiVersion"], obj["kind"]
    root = "/apis/" if "/" in version else "/api/"
    inside = "" if kind == "Namespace" else "/namespaces/default"
    return f"{root}{version}{inside}/{_plural(kind)}"


def _causes(status: int, answer: JsonObject) -> list[list[str]]:
    if status == 422:
        found = {(c["reason"], c["message"], c["field"]) for c in answer["details"].get("causes", [])}
        return [list(cause) for cause in sorted(found)]
    if status not in (200, 201):
        raise RuntimeError(f"{status}: {answer.get('message')}")
    return []


def _stored(obj: JsonObject) -> JsonObject:
    """Without what differs from one run to the next."""
    obj = copy.deepcopy(obj)
    for key in _SYSTEM:
        obj["metadata"].pop(key, None)
    for entry in obj["metadata"].get("managedFields", []):
        entry["time"] = "time" in entry
    if obj["kind"] == "Service":
        for key in _ALLOCATED:
            obj["spec"].pop(key, None)
        for port in obj["spec"]["ports"]:
            port.pop("nodePort", None)
    return obj


def _lax(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _lax(value) for key, value in schema.items() if key not in _LAX or not _is_constraint(key, value)}
    return [_lax(item) for item in schema] if isinstance(schema, list) else schema


def _is_constraint(key: str, value: Any) -> bool:
    return isinstance(value, list) if key in ("enum", "x-kubernetes-validations") else isinstance(value, int)


def _values(server: _Server) -> list[JsonObject]:
    server.install("Values", cases.schema("values"))
    answers = []
    for spec in cases.SPECS:
        body = custom("Values", spec) | ({"spec": None} if spec is None else {})
        status, answer = server.ask("POST", f"{_path(body)}?dryRun=All&fieldValidation=Ignore", body)
        causes = _causes(status, answer)
        answers.append({"causes": causes} if causes else {"spec": answer.get("spec")})
    return answers


def _rules(server: _Server) -> list[Any]:
    server.install("Rules", cases.schema("rules"))
    answers = []
    for spec in cases.RULE_SPECS:
        body = custom("Rules", spec)
        answers.append(_causes(*server.ask("POST", f"{_path(body)}?dryRun=All", body)))
    return answers


def _transitions(server: _Server) -> list[Any]:
    strict = cases.schema("rules")
    server.install("Rules", _lax(strict))
    for index, (old, _) in enumerate(cases.TRANSITIONS):
        body = custom("Rules", old, name=f"t{index}")
        server.ask("DELETE", f"{_path(body)}/t{index}")
        _causes(*server.ask("POST", _path(body), body))
    server.install("Rules", strict)
    answers = []
    for index, (_, new) in enumerate(cases.TRANSITIONS):
        where = f"{_path(custom('Rules'))}/t{index}"
        answers.append(_causes(*server.ask("PUT", where, server.ask("GET", where)[1] | {"spec": new})))
    return answers


def _schemas(server: _Server) -> dict[str, Any]:
    return {
        name: _causes(*server.ask("POST", f"{_CRDS}?dryRun=All", _crd("Candidate", schema)))
        for name, schema in cases.SCHEMAS.items()
    }


def _life(server: _Server, steps: list[Step]) -> list[JsonObject]:
    base = _path(steps[0].body)
    where = f"{base}/it"
    server.ask("PATCH", where, {"metadata": {"finalizers": None}}, _MEDIA["merge"])
    server.ask("DELETE", where, {"gracePeriodSeconds": 0})
    answers = []
    for step in steps:
        query = f"?fieldManager={step.manager}" + ("&force=true" if step.verb == "force" else "")
        if step.verb == "create":
            status, answer = server.ask("POST", base + query, step.body)
        elif step.verb == "put":
            status, answer = server.ask("PUT", where + query, server.ask("GET", where)[1] | step.body)
        else:
            status, answer = server.ask("PATCH", where + query, step.body, _MEDIA[step.verb])
        if status in (200, 201):
            answers.append({"object": _stored(answer)})
        else:
            causes = [[c["message"], c["field"]] for c in answer.get("details", {}).get("causes", [])]
            answers.append(
                {"status": status, "message": answer["message"]} | ({"causes": causes} if status == 409 else {})
            )
    return answers


def _misfits(server: _Server) -> list[str]:
    server.ask("DELETE", f"{_path(custom('Ownership'))}/it")
    answers = []
    for spec in cases.MISFITS:
        body = custom("Ownership", spec)
        status, answer = server.ask("PATCH", f"{_path(body)}/it?fieldManager=k", body, _MEDIA["apply"])
        answers.append(f"{status} {answer['message']}")
    return answers


def _builtins(server: _Server) -> list[JsonObject]:
    answers = []
    for body in cases.builtin_objects():
        where = f"{_path(body)}/{body['metadata']['name']}"
        server.ask("DELETE", where, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        status, answer = server.ask("POST", f"{_path(body)}?fieldManager=record&dryRun=All", body)
        _causes(status, answer)
        answers.append(_stored(answer))
    return answers


def _bad_builtins(server: _Server) -> list[Any]:
    return [_causes(*server.ask("POST", f"{_path(body)}?dryRun=All", body)) for body in cases.BAD_BUILTINS]


def main(url: str, token: str) -> None:
    server = _Server(url, token)
    answers: JsonObject = {
        "values": _values(server),
        "rules": _rules(server),
        "transitions": _transitions(server),
        "schemas": _schemas(server),
    }
    server.install("Ownership", cases.schema("ownership"))
    answers["misfits"] = _misfits(server)
    answers["lives"] = {name: _life(server, steps) for name, steps in cases.LIVES.items()}
    answers["builtins"] = _builtins(server)
    answers["bad_builtins"] = _bad_builtins(server)
    (Path(cases.__file__).parent / "recorded.json").write_text(_by_line(answers))


def _by_line(answers: JsonObject) -> str:
    """JSON with one answer per line, so that a difference between two recordings can be read."""

    def line(value: Any) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    tables = []
    for name, table in answers.items():
        if name == "lives":
            lives = [f"{line(key)}:[\n{_joined(map(line, steps))}\n]" for key, steps in table.items()]
            tables.append(f'"{name}":{{\n{_joined(lives)}\n}}')
        elif isinstance(table, dict):
            tables.append(f'"{name}":{{\n{_joined(f"{line(k)}:{line(v)}" for k, v in table.items())}\n}}')
        else:
            tables.append(f'"{name}":[\n{_joined(map(line, table))}\n]')
    return f"{{\n{_joined(tables)}\n}}\n"


def _joined(lines: Iterable[str]) -> str:
    return ",\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
