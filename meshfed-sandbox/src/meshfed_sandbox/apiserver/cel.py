"""Validation rules of a schema (`x-kubernetes-validations`), in CEL.

Rules are compiled once, with the schema; one that does not compile is refused there, as the API server refuses the
CustomResourceDefinition. Handing a value to CEL means copying it, which costs far more than the rule itself. So a rule
is given only those fields of `self` that it mentions, and all rules of a level share one copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import cel
import msgspec

from meshfed_sandbox.apiserver.causes import OMITTED, Cause, duplicate, forbidden, invalid, required
from meshfed_sandbox.apiserver.cel_functions import BUILT_IN, EXTENSION, MATCHES
from meshfed_sandbox.apiserver.cel_values import Convert, conversion, escape, unescape
from meshfed_sandbox.apiserver.schema_check import same
from meshfed_sandbox.apiserver.schema_node import JsonObject, Node

__all__ = ["RuleTree", "compile_rules"]

_REMEMBERED: Final = 1024
_LARGEST_REMEMBERED: Final = 512
_CALL_OF_MATCHES: Final = re.compile(r"\bmatches(?=\s*\()")
_BOUND: Final = re.compile(r"\.(?:all|exists|exists_one|existsOne|map|filter)\(\s*(\w+)\s*,")
_GLOBALS: Final = frozenset(
    [
        "self",
        "oldSelf",
        "bool",
        "bytes",
        "double",
        "duration",
        "google",
        "int",
        "list",
        "map",
        "optional",
        "string",
        "timestamp",
        "type",
        "uint",
    ]
)
_SELF: Final = re.compile(r"\b(?:oldSelf|self)\b(?:\.([A-Za-z_]\w*)(?!\w*\s*\())?")


@dataclass(slots=True, frozen=True, eq=False)
class _Rule:
    text: str
    program: cel.Program
    message_program: cel.Program | None
    message: str
    reason: str
    field_path: str
    uses_old: bool
    optional_old: bool


@dataclass(slots=True, eq=False)
class RuleTree:
    """The rules of one level of a schema and of everything below it."""

    node: Node
    rules: list[_Rule] = field(default_factory=list)
    fields: tuple[tuple[str, str], ...] | None = None
    functions: frozenset[str] = frozenset()
    converts: dict[str, Convert] = field(default_factory=dict)
    convert: Convert | None = None
    properties: dict[str, RuleTree] = field(default_factory=dict)
    additional: RuleTree | None = None
    items: RuleTree | None = None
    uses_old: bool = False
    accepted: set[bytes] = field(default_factory=set)

    def validate(self, value: Any, old: Any, path: str = "", *, unchanged: bool = False) -> Iterator[Cause]:
        """What the rules have against `value`, given that it was `old` before (None: it was not)."""
        if value is None:
            return
        if self.rules:
            yield from self._evaluate(value, old, path, unchanged)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for key, tree in self.properties.items():
                if key in value:
                    yield from tree.validate(
                        value[key], before.get(key), f"{path}.{key}" if path else key, unchanged=unchanged
                    )
            if self.additional:
                for key, item in value.items():
                    if key not in self.node.properties:
                        yield from self.additional.validate(
                            item, before.get(key), f"{path}[{key}]", unchanged=unchanged
                        )
        elif isinstance(value, list) and self.items:
            keyed = self.node.list_type == "map" and isinstance(old, list)
            unchanged = unchanged or (old is not None and same(value, old))
            for index, item in enumerate(value):
                before_item = _keyed(self.node, item, old) if keyed else None
                yield from self.items.validate(item, before_item, f"{path}[{index}]", unchanged=unchanged)

    def _evaluate(self, value: Any, old: Any, path: str, unchanged: bool) -> Iterator[Cause]:
        """What the rules of this level say. Remembers what they found good, since the same values come again."""
        shown = self._shown(value)
        key = b"" if self.uses_old else msgspec.json.encode(shown)
        if key and key in self.accepted:
            return
        faults = list(self._run_all(value, shown, old, path))
        if not faults and 0 < len(key) <= _LARGEST_REMEMBERED:
            if len(self.accepted) >= _REMEMBERED:
                self.accepted.clear()
            self.accepted.add(key)
        forgiven = unchanged or (bool(faults) and old is not None and same(value, old))
        yield from (fault for rule, fault in faults if rule.uses_old or not forgiven)

    def _run_all(self, value: Any, shown: Any, old: Any, path: str) -> Iterator[tuple[_Rule, Cause]]:
        context: cel.Context | None = None
        for rule in self.rules:
            if rule.uses_old and old is None and not rule.optional_old:
                continue
            if rule.optional_old:
                before = cel.OptionalValue.none() if old is None else cel.OptionalValue.of(self._shown(old))
                used = self._context(shown, before)
            else:
                used = context = context or self._context(shown, None if old is None else self._shown(old))
            fault = self._run(rule, used, value, path)
            if fault:
                yield rule, fault

    def _context(self, shown: Any, before: Any) -> cel.Context:
        variables = {"self": shown} | ({"oldSelf": before} if self.uses_old and before is not None else {})
        return cel.Context(variables=variables, functions={name: EXTENSION[name] for name in self.functions})

    def _shown(self, value: Any) -> Any:
        if self.fields is not None and isinstance(value, dict):
            value = {name: value[key] for name, key in self.fields if key in value}
            for name, convert in self.converts.items():
                if name in value:
                    value[name] = convert(value[name])
            return value
        return self.convert(value) if self.convert else value

    def _run(self, rule: _Rule, context: cel.Context, value: Any, path: str) -> Cause | None:
        try:
            result = rule.program.execute(context)
        except (KeyError, IndexError, ValueError, RuntimeError, TypeError, ArithmeticError) as error:
            return invalid(path, self.node.raw.get("type", ""), _failure(error, rule.message or rule.text))
        if result is True:
            return None
        where = path + rule.field_path if path else rule.field_path.removeprefix(".")
        message = self._message(rule, context)
        shown = OMITTED if isinstance(value, dict | list) else value
        match rule.reason:
            case "FieldValueForbidden":
                return forbidden(where, message)
            case "FieldValueRequired":
                return required(where, message)
            case "FieldValueDuplicate":
                return duplicate(where, shown)
            case _:
                return invalid(where, shown, message)

    def _message(self, rule: _Rule, context: cel.Context) -> str:
        if rule.message_program:
            try:
                text = rule.message_program.execute(context)
            except (KeyError, IndexError, ValueError, RuntimeError, TypeError, ArithmeticError):
                text = ""
            if isinstance(text, str) and text.strip() and "\n" not in text.strip():
                return text.strip()
        return rule.message or f"failed rule: {rule.text}"


def _failure(error: Exception, shown: str) -> str:
    match error:
        case KeyError():
            return f"no such key: {error.args[0]} evaluating rule: {shown}"
        case TypeError():
            return (
                "'no such overload': call arguments did not match a supported operator, function or macro signature "
                f"for rule: {shown}"
            )
        case ZeroDivisionError():
            return f"division by zero evaluating rule: {shown}"
        case _:
            return f"{error} evaluating rule: {shown}"


def _keyed(node: Node, item: Any, old: list[Any]) -> Any:
    if not isinstance(item, dict):
        return None
    key = [item.get(k) for k in node.list_keys]
    return next((o for o in old if isinstance(o, dict) and [o.get(k) for k in node.list_keys] == key), None)


def compile_rules(node: Node, path: str, problems: list[Cause]) -> RuleTree | None:
    """Compiles the rules at and below `node`; None where there are none.

    Args:
        node: the schema.
        path: where it is in the CustomResourceDefinition, for causes.
        problems: takes a cause for each rule that does not compile.
    """
    tree = RuleTree(node)
    sources: list[tuple[str, JsonObject]] = []
    for owner, where in [(node, path), *((n, f"{path}.allOf[{i}]") for i, n in enumerate(node.all_of))]:
        for index, raw in enumerate(owner.raw.get("x-kubernetes-validations") or ()):
            sources.append((f"{where}.x-kubernetes-validations[{index}]", raw))
    tree.rules = [rule for where, raw in sources if (rule := _compile_rule(node, raw, where, problems))]
    for name, prop in node.properties.items():
        if below := compile_rules(prop, f"{path}.properties[{name}]", problems):
            tree.properties[name] = below
    if isinstance(node.additional, Node):
        tree.additional = compile_rules(node.additional, f"{path}.additionalProperties", problems)
    if node.items:
        tree.items = compile_rules(node.items, f"{path}.items", problems)
    if not (tree.rules or tree.properties or tree.additional or tree.items):
        return None
    _prepare(tree)
    return tree


def _prepare(tree: RuleTree) -> None:
    names = {
        m.group(1)
        for rule in tree.rules
        for text in (rule.text, rule.message_program.source if rule.message_program else "")
        for m in _SELF.finditer(text)
    }
    programs = [p for rule in tree.rules for p in (rule.program, rule.message_program) if p]
    tree.uses_old = any(rule.uses_old or rule.optional_old for rule in tree.rules)
    tree.functions = frozenset(f for p in programs for f in p.functions() if f in EXTENSION)
    if None in names or "object" not in tree.node.types or not tree.node.properties:
        tree.convert = conversion(tree.node)
        return
    tree.fields = tuple((name, unescape(name)) for name in names if name)
    for name, key in tree.fields:
        prop = tree.node.child(key)
        if prop and (convert := conversion(prop)):
            tree.converts[name] = convert


def _compile_rule(node: Node, raw: JsonObject, where: str, problems: list[Cause]) -> _Rule | None:
    text = raw.get("rule", "").strip()
    if not text:
        problems.append(required(f"{where}.rule", "rule is not specified"))
        return None
    program = _compile(node, raw, "rule", where, problems)
    message = _compile(node, raw, "messageExpression", where, problems) if raw.get("messageExpression") else None
    if program is None:
        return None
    return _Rule(
        text=text,
        program=program,
        message_program=message,
        message=raw.get("message", "").strip(),
        reason=raw.get("reason", ""),
        field_path=raw.get("fieldPath", ""),
        uses_old="oldSelf" in program.variables(),
        optional_old=raw.get("optionalOldSelf") is True,
    )


def _compile(node: Node, raw: JsonObject, key: str, where: str, problems: list[Cause]) -> cel.Program | None:
    text = raw[key].strip()
    where = f"{where}.{key}"
    prefix = "compilation failed" if key == "rule" else "messageExpression compilation failed"
    try:
        program = cel.compile(text)
    except ValueError as error:
        _, _, syntax = str(error).partition("ERROR: ")
        problems.append(_uncompiled(where, raw, f"{prefix}: ERROR: " + syntax.replace("\n| ", "\n | ")))
        return None
    undeclared = [n for n in program.functions() if n not in EXTENSION and n not in BUILT_IN and n[0] not in "_!-@"]
    undeclared += set(program.variables()) - _GLOBALS - set(_BOUND.findall(text)) - EXTENSION.keys()
    for name in undeclared:
        column = text.find(name) + (len(name) if name in program.functions() else 0)
        detail = _at(text, column, f"undeclared reference to '{name}' (in container '')")
        problems.append(_uncompiled(where, raw, f"{prefix}: {detail}"))
        return None
    known = {escape(name) for name in node.properties} | node.properties.keys()
    if node.embedded:
        known |= {"apiVersion", "kind", "metadata"}
    for match in _SELF.finditer(text):
        name = match.group(1)
        closed = node.properties and not node.preserve_unknown and node.additional is None
        if name and closed and name not in known:
            detail = _at(text, match.start(1) - 1, f"undefined field '{name}'")
            problems.append(_uncompiled(where, raw, f"{prefix}: {detail}"))
            return None
    return cel.compile(_CALL_OF_MATCHES.sub(MATCHES, text)) if "matches" in program.functions() else program


def _at(text: str, column: int, what: str) -> str:
    return f"ERROR: <input>:1:{column + 1}: {what}\n | {text}\n | {'.' * column}^"


def _uncompiled(where: str, raw: JsonObject, detail: str) -> Cause:
    """The cause shows the whole rule, as the API server does."""
    shown = {
        "Rule": raw.get("rule", ""),
        "Message": raw.get("message", ""),
        "MessageExpression": raw.get("messageExpression", ""),
        "Reason": raw.get("reason"),
        "FieldPath": raw.get("fieldPath", ""),
        "OptionalOldSelf": raw.get("optionalOldSelf"),
    }
    return invalid(where, shown, detail)
