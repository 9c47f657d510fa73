"""Kubernetes objects out of YAML and JSON text and into YAML, as kubectl reads it.

PyYAML's own loader differs from kubectl's where it matters: it takes the last of two equal keys in silence, makes
dates of timestamps and numbers of ``1:30``. So nodes are composed by PyYAML and turned into JSON values here. In the
other direction it leaves a text such as ``n`` without quotes, which kubectl reads as false.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from meshfed.api.errors import InvalidDocument, NotAnObject, shown

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_TRUE = re.compile("y|yes|true|on", re.IGNORECASE)
_BOOL = re.compile("y|yes|true|on|n|no|false|off", re.IGNORECASE)
_INT = re.compile("[-+]?(?:0b[01]+|0o[0-7]+|0[0-7]+|0x[0-9a-f]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[.][0-9]+|[0-9]+(?:[.][0-9]*)?)(?:e[-+]?[0-9]+)?")
_MISSED = re.compile(r"^[-+]?(?:0o[0-7_]+|0[0-9]*[89][0-9]*|[.][0-9]+|[0-9.]+e[-+]?[0-9]+)$", re.IGNORECASE)
"""Numbers for kubectl that PyYAML takes for texts."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DEEPEST = 100
_SHORT = 2000
"""Characters of a text that cannot be nested more deeply than a stack is high."""
_LONGEST = 400
"""Digits of a number; a float has room for fewer."""
_SHOWN = 80
"""Characters of a number that a message shows."""
_MOST = 500_000
"""Values that may be more than a text has characters: a few aliases may stand for billions, in each document anew."""


def decode_documents(text: str, source: str) -> list[dict[str, Any]]:
    """The objects in ``text``, YAML documents or JSON, with Lists flattened, in their order.

    ``source`` names the file in errors. Raises InvalidDocument.
    """
    documents = _json(text, source) if text.lstrip()[:1] == "{" else None
    if documents is None:
        documents = _yaml(text, source)
    return [item for document in documents for item in _flattened(document, source)]


def encode_documents(objects: Iterable[dict[str, Any]]) -> str:
    """``objects`` as YAML documents, keys in their order, in the form that kubectl reads back as it was."""
    return "".join(f"---\n{encode_document(obj)}" for obj in objects)


def encode_document(obj: dict[str, Any], *, sort_keys: bool = False) -> str:
    """One of them, without the line that separates documents."""
    return yaml.dump(obj, Dumper=_Dumper, sort_keys=sort_keys, width=120)


class _Dumper(yaml.SafeDumper):
    """Quotes what kubectl would take for a boolean or a number, and writes out in each place what stands in several."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _MISSED, list("+-.0123456789"))


def _flattened(document: object, source: str) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise NotAnObject(source, f"a document is {shown(document)}, not a Kubernetes object")
    kind, items = document.get("kind"), document.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list | None):
        yield document
        return
    for item in items or []:
        # Items of a typed list, as the API serves them, leave out what the list says already.
        inherited = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")}
        yield from _flattened(inherited | item if isinstance(item, dict) and kind != "List" else item, source)


def _json(text: str, source: str) -> list[Any] | None:
    """JSON documents one after another; ``None`` where it is not JSON, so may be YAML in flow style."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise InvalidDocument(source, f"the key {shown(key)} stands twice in one object: remove one")
            values[key] = value
        return values

    def number(text: str) -> int | float:
        value = float(text)
        if not math.isfinite(value):
            raise InvalidDocument(source, f"{text[:_SHOWN]} is not a number JSON knows")
        return int(value) if value.is_integer() else value

    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_float=number, parse_constant=number)
    documents, position = [], 0
    try:
        while position < len(text.rstrip()):
            start = position + len(text[position:]) - len(text[position:].lstrip())
            document, position = decoder.raw_decode(text, start)
            documents.append(document)
    except json.JSONDecodeError:
        return None
    except ValueError:
        raise InvalidDocument(source, "a number in it has too many digits") from None
    except RecursionError:
        raise InvalidDocument(source, "it is nested too deeply to be a Kubernetes object") from None
    if _SURROGATE.search(text):
        try:
            json.dumps(documents, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidDocument(source, "a text in it has half of a character (\\ud800 to \\udfff)") from None
    return documents


def not_yaml(error: Exception) -> tuple[str, int]:
    """What a parser says of text that is not YAML, in one line, and the number of the text's line (0: unknown)."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"not YAML: {' '.join(str(error).split())}", 0
    mark = error.problem_mark or error.context_mark
    reason = " ".join(part for part in (error.context, error.problem) if part)
    return f"not YAML: {reason}", mark.line + 1 if mark else 0


def _yaml(text: str, source: str) -> list[Any]:
    try:
        _refuse_depth(text, source)
        nodes = list(yaml.compose_all(text, Loader=_LOADER))
    except (yaml.YAMLError, RecursionError) as error:
        problem, line = not_yaml(error)
        raise InvalidDocument(source, problem, line=line) from None
    left = iter(range(_MOST + len(text)))
    values = [_value(node, source, 0, left) for node in nodes]
    return [value for value in values if value is not None]


def _refuse_depth(text: str, source: str) -> None:
    """Refuse what is nested so deeply that a parser in C, which composes by recursion, would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER) if len(text) > _SHORT else ():
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise InvalidDocument(source, "it is nested too deeply to be a Kubernetes object")


def _value(node: yaml.Node, source: str, depth: int, left: Iterator[int]) -> Any:
    if depth > _DEEPEST:  # an alias may contain itself
        raise InvalidDocument(source, "it is nested too deeply to be a Kubernetes object", line=_line(node))
    if next(left, None) is None:
        raise InvalidDocument(source, "its aliases (*) make too much of it: write out what they stand for")
    match node:
        case yaml.ScalarNode():
            return _scalar(node, source)
        case yaml.SequenceNode():
            return [_value(item, source, depth + 1, left) for item in node.value]
        case yaml.MappingNode():
            return _mapping(node, source, depth, left)
        case _:
            raise InvalidDocument(source, f"an unknown kind of YAML node: {node.tag}", line=_line(node))


def _mapping(node: yaml.MappingNode, source: str, depth: int, left: Iterator[int]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        value = _value(value_node, source, depth + 1, left)
        if key_node.tag.endswith(":merge"):
            for other in value if isinstance(value, list) else [value]:
                if not isinstance(other, dict):
                    raise InvalidDocument(source, "<< must be followed by a mapping", line=_line(key_node))
                merged = other | merged
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise InvalidDocument(source, "a key must be a text", line=_line(key_node))
        if key_node.value in own:
            raise InvalidDocument(
                source, f"the key {shown(key_node.value)} stands twice in one mapping: remove one", line=_line(key_node)
            )
        own[key_node.value] = value
    return merged | own


def _scalar(node: yaml.ScalarNode, source: str) -> Any:
    text, tag = node.value, node.tag.rpartition(":")[2]
    if tag == "str" and node.style not in {"'", '"', "|", ">"}:
        tag = "bool" if _BOOL.fullmatch(text) else "float" if _MISSED.fullmatch(text) else tag
    match tag:
        case "null":
            return None
        case "bool":
            return _TRUE.fullmatch(text) is not None
        case "int" | "float":
            return _number(text.replace("_", "").lower(), node, source)
        case "binary":
            raise InvalidDocument(source, "!!binary has no place in a Kubernetes object", line=_line(node))
        case _:
            return text


def _number(digits: str, node: yaml.ScalarNode, source: str) -> int | float | str:
    if _INT.fullmatch(digits):
        if len(digits) > _LONGEST:
            raise InvalidDocument(source, f"{shown(node.value)} has too many digits", line=_line(node))
        octal = re.fullmatch("([-+]?)0([0-7]+)", digits)
        return int(octal.expand(r"\g<1>0o\g<2>") if octal else digits, 0)
    if not _FLOAT.fullmatch(digits):
        if ":" in digits:
            return str(node.value)  # PyYAML counts 1:30 in sixties
        raise InvalidDocument(source, f"{node.value} is not a number JSON knows", line=_line(node))
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidDocument(source, f"{node.value} is not a number JSON knows", line=_line(node))
    return int(number) if number.is_integer() else number


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0
