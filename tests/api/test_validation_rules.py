from __future__ import annotations

import ipaddress
from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed.api.checks import check
from meshfed.api.crds import KINDS
from meshfed.api.objects import manifest_schema
from meshfed.api.validation_rules import ADDRESS, RULES, Rule

from .cases import BAD, GOOD, Bad

_RESERVED = frozenset({"as", "import", "in", "namespace", "package", "true", "false", "null"})


def _escaped(value: Any) -> Any:
    """``value`` as CEL sees it in Kubernetes, where fields named as words of CEL are escaped."""
    match value:
        case dict():
            return {f"__{key}__" if key in _RESERVED else key: _escaped(inner) for key, inner in value.items()}
        case list():
            return [_escaped(inner) for inner in value]
        case _:
            return value


def _by_cel(rule: Rule, self: Any) -> bool:
    result: bool = cel.evaluate(rule.cel, {"self": _escaped(self)})
    return result


def _subjects(schema: dict[str, Any], value: Any) -> list[tuple[str, Any]]:
    """Each rule's text with each value in ``value`` that it is about."""
    found = [(rule["rule"], value) for rule in schema.get("x-kubernetes-validations", ())]
    match value:
        case dict():
            properties = schema.get("properties", {})
            inner = [(properties[key], item) for key, item in value.items() if key in properties]
        case list():
            inner = [(schema["items"], item) for item in value]
        case _:
            inner = []
    return [*found, *(subject for item_schema, item in inner for subject in _subjects(item_schema, item))]


SCHEMAS = {kind.name: manifest_schema(kind.type) for kind in KINDS}
BY_CEL = {rule.cel: rule for rule in RULES}


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_cel_and_python_let_good_objects_pass(obj: dict[str, Any]) -> None:
    filled, _ = check(obj, SCHEMAS[obj["kind"]])
    for text, self in _subjects(SCHEMAS[obj["kind"]], filled):
        assert (_by_cel(BY_CEL[text], self), BY_CEL[text].holds(self)) == (True, True)


@pytest.mark.parametrize("case", [case for case in BAD if case.cel], ids=lambda case: case.id)
def test_cel_and_python_refuse_the_same(case: Bad) -> None:
    schema = SCHEMAS[case.obj["kind"]]
    filled, _ = check(case.obj, schema)
    subjects = _subjects(schema, filled)
    by_cel = [(text, self) for text, self in subjects if not _by_cel(BY_CEL[text], self)]
    by_python = [(text, self) for text, self in subjects if not BY_CEL[text].holds(self)]
    assert by_cel == by_python
    assert len(by_cel) == len(case.problems)


def test_every_rule_refuses_something() -> None:
    broken = {
        text
        for case in BAD
        if case.cel
        for text, self in _subjects(SCHEMAS[case.obj["kind"]], check(case.obj, SCHEMAS[case.obj["kind"]])[0])
        if not BY_CEL[text].holds(self)
    }
    assert broken == {rule.cel for rule in RULES}


def _is_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4 or "." not in text  # IPv4 within IPv6 is left to IPv4
    except ValueError:
        return False


@given(st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:.]{2,20}", fullmatch=True))
def test_what_looks_like_an_ip_is_taken_where_it_is_one(text: str) -> None:
    assert ADDRESS.holds(text) == _by_cel(ADDRESS, text)
    has_port = text.count(":") == 1
    is_name = text[-1:].isalpha() or (text.rpartition(".")[2][:1].isalpha() and ":" not in text)
    if not has_port and not is_name:
        assert ADDRESS.holds(text) == _is_ip(text)


@given(
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map("[{}]".format)
    | st.sampled_from(["gw.example", "1.2", "[gw]"]),
    st.integers(0, 70000).map(str) | st.sampled_from(["", "080", "http", "-1"]),
)
def test_an_address_may_have_a_port(host: str, port: str) -> None:
    text = f"{host}:{port}"
    is_host = host == "gw.example" or _is_ip(host.strip("[]"))
    is_port = port.isdecimal() and port == str(int(port)) and 1 <= int(port) <= 65535
    assert ADDRESS.holds(text) == _by_cel(ADDRESS, text) == (is_host and is_port)
