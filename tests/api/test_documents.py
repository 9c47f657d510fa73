from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed.api.documents import decode_documents, encode_documents
from meshfed.api.errors import InvalidDocument, shown

A = {"kind": "A", "metadata": {"name": "a"}}
LISTS = """
kind: List
items:
- kind: List
  items: [{kind: A, metadata: {name: a}}]
- {kind: B, metadata: {name: b}}
"""
B = {"kind": "B", "metadata": {"name": "b"}}


LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
"""A text of a few lines that stands for a billion values."""
LAUGHS_A_LITTLE = "\n".join([*LAUGHS.splitlines()[:5], ""])
"""One that stands for some ten thousand, which many of them may not."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---\n# only a comment\n---\n", []),
        ("kind: A\nmetadata: {name: a}\n---\n---\nkind: B\nmetadata: {name: b}\n", [A, B]),
        ('{"kind": "A", "metadata": {"name": "a"}}\n{"kind": "B", "metadata": {"name": "b"}}\n', [A, B]),
        ('{\n\t"kind": "A",\n\t"metadata": {"name": "a"}\n}', [A]),
        ("{kind: A, metadata: {name: a}}", [A]),
        (LISTS, [A, B]),
        ("kind: List\nitems:\n", []),
        (
            "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}]",
            [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}],
        ),
        ("a: &x {b: 1}\nc: *x", [{"a": {"b": 1}, "c": {"b": 1}}]),
        ("a: &x {b: 1, c: 1}\nd: {<<: *x, c: 2}", [{"a": {"b": 1, "c": 1}, "d": {"b": 1, "c": 2}}]),
        ("a: &x {b: 1}\nd: {<<: [*x, {b: 2, c: 2}]}", [{"a": {"b": 1}, "d": {"b": 1, "c": 2}}]),
    ],
)
def test_documents(text: str, expected: list[Any]) -> None:
    assert decode_documents(text, "a.yaml") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True),
        ("y", True),
        ("Off", False),
        ("n", False),
        ('"y"', "y"),
        ("'no'", "no"),
        ("null", None),
        ("~", None),
        ("15443", 15443),
        ("0x10", 16),
        ("010", 8),
        ("0o10", 8),
        ("1_000", 1000),
        ("-3", -3),
        ("1.5", 1.5),
        ("1.", 1),
        ("1e3", 1000),
        ("+.5", 0.5),
        ("089", 89),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
        ("2026-01-31", "2026-01-31"),
        ("=", "="),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("!!str 1", "1"),
    ],
)
def test_scalars_are_read_as_kubectl_reads_them(text: str, expected: object) -> None:
    assert decode_documents(f"a: {text}", "a.yaml") == [{"a": expected}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", 'a.yaml:3: the key "a" stands twice in one mapping: remove one'),
        ('{"a": {"b": 1, "b": 2}}', 'a.yaml: the key "b" stands twice in one object: remove one'),
        ("a: [", "a.yaml:2: not YAML: while parsing a flow node did not find expected node content"),
        ("a: 1\n b: 2", "a.yaml:2: not YAML: mapping values are not allowed in this context"),
        ("- a", 'a.yaml: a document is ["a"], not a Kubernetes object'),
        ("some text", 'a.yaml: a document is "some text", not a Kubernetes object'),
        ("kind: List\nitems: [1]", "a.yaml: a document is 1, not a Kubernetes object"),
        ("[a]: b", "a.yaml:1: a key must be a text"),
        ("{[a]: b}", "a.yaml:1: a key must be a text"),
        ("a: !!binary aGk=", "a.yaml:1: !!binary has no place in a Kubernetes object"),
        ("a: .inf", "a.yaml:1: .inf is not a number JSON knows"),
        ("a: 1e999", "a.yaml:1: 1e999 is not a number JSON knows"),
        ('{"a": NaN}', "a.yaml: NaN is not a number JSON knows"),
        ('{"a": -Infinity}', "a.yaml: -Infinity is not a number JSON knows"),
        ('{"a": 1e999}', "a.yaml: 1e999 is not a number JSON knows"),
        ("a: {<<: 1}", "a.yaml:1: << must be followed by a mapping"),
        ("a: &x [*x]", "a.yaml:1: it is nested too deeply to be a Kubernetes object"),
        ("a: " + "9" * 5000, f"a.yaml:1: {shown('9' * 5000)} has too many digits"),
        ('{"a": ' + "9" * 5000 + "}", "a.yaml: a number in it has too many digits"),
        (LAUGHS, "a.yaml: its aliases (*) make too much of it: write out what they stand for"),
        ("[" * 100_000, "a.yaml: it is nested too deeply to be a Kubernetes object"),
        ("- " * 100_000, "a.yaml: it is nested too deeply to be a Kubernetes object"),
        (
            "---\n".join([LAUGHS_A_LITTLE] * 50),
            "a.yaml: its aliases (*) make too much of it: write out what they stand for",
        ),
        ('{"a": "\\ud800"}', "a.yaml: a text in it has half of a character (\\ud800 to \\udfff)"),
        ('{"a": ' + "[" * 100_000, "a.yaml: it is nested too deeply to be a Kubernetes object"),
        ("a: \x00", "a.yaml: not YAML"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text: str, expected: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_documents(text, "a.yaml")
    assert str(caught.value).startswith(expected)


@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"%@ \n\tab01<.~?#", max_size=60))
def test_no_text_does_anything_else(text: str) -> None:
    try:
        documents = decode_documents(text, "a.yaml")
    except InvalidDocument:
        return
    assert all(isinstance(document, dict) for document in documents)


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "1e3", "1", "0o10", "089", "+.5", "1:30", "2026-01-31", "null", "~", "", " a", "*"]
)
def test_a_text_that_looks_like_something_else_is_written_in_quotes(text: str) -> None:
    assert decode_documents(encode_documents([{text: text}]), "a.yaml") == [{text: text}]
    assert encode_documents([{"a": text}]) in {f"---\na: '{text}'\n", f'---\na: "{text}"\n'}


def test_a_number_is_the_same_in_yaml_and_json() -> None:
    (of_json,), (of_yaml,) = (
        decode_documents(text, "a") for text in ('{"a": 90.0, "b": 1.5e3, "c": 0.5}', "a: 90.0\nb: 1.5e3\nc: 0.5")
    )
    assert (
        [repr(value) for value in of_json.values()]
        == [repr(value) for value in of_yaml.values()]
        == ["90", "1500", "0.5"]
    )


def test_what_stands_in_several_places_is_written_out() -> None:
    shared = {"c": [1]}
    assert encode_documents([{"b": shared, "a": shared}, {}]) == "---\nb:\n  c:\n  - 1\na:\n  c:\n  - 1\n---\n{}\n"


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.text("yn0123456789.+-eox_: ", max_size=8)))
def test_what_is_written_is_read_back(obj: dict[str, str]) -> None:
    assert decode_documents(encode_documents([obj]), "a.yaml") == [obj]
