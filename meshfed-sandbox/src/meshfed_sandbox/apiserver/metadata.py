"""What holds for the metadata of every object, whatever its kind: names, labels, owners, finalizers.

Rules and wording follow apimachinery's ``api/validation`` and ``util/validation``.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver.causes import Cause, forbidden, go_quote, invalid, required

JSONObject = dict[str, Any]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

_LABEL_RE = re.compile(_LABEL)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN)
_LABEL_1035_RE = re.compile(_LABEL_1035)
_QUALIFIED_RE = re.compile(_QUALIFIED)
_VALUE_RE = re.compile(_VALUE)

_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character "
    f"(e.g. 'my-name',  or 'abc-123', regex used for validation is '{_LABEL_1035}')"
)
_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
_QUALIFIED_MESSAGE = f"name part {_QUALIFIED_RULE}"
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
    f"regex used for validation is '{_VALUE}')"
)

ANNOTATIONS_LIMIT: Final = 256 * 1024
"""The most bytes all annotations of an object may have together."""

_LABEL_NAMED: Final = frozenset({("", "Namespace")})
_LABEL_1035_NAMED: Final = frozenset({("", "Service")})
_PATH_NAMED_GROUP: Final = "rbac.authorization.k8s.io"


def name_problems(group: str, kind: str, name: str) -> list[str]:
    """What is wrong with ``name`` for an object of ``kind``, in sentences; empty where nothing is."""
    if group == _PATH_NAMED_GROUP:
        if name in {".", ".."}:
            return [f"may not be '{name}'"]
        return [f"may not contain '{char}'" for char in "/%" if char in name]
    if (group, kind) in _LABEL_NAMED:
        return _dns_label(name)
    if (group, kind) in _LABEL_1035_NAMED:
        problems = [] if len(name) <= 63 else ["must be no more than 63 characters"]
        return problems if _LABEL_1035_RE.fullmatch(name) else [*problems, _LABEL_1035_MESSAGE]
    problems = [] if len(name) <= 253 else ["must be no more than 253 characters"]
    return problems if _SUBDOMAIN_RE.fullmatch(name) else [*problems, _SUBDOMAIN_MESSAGE]


def _dns_label(name: str) -> list[str]:
    problems = [] if len(name) <= 63 else ["must be no more than 63 characters"]
    return problems if _LABEL_RE.fullmatch(name) else [*problems, _LABEL_MESSAGE]


def _qualified_problems(key: str) -> list[str]:
    prefix, slash, name = key.rpartition("/")
    if key.count("/") > 1:
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {_QUALIFIED_RULE} {optional}"]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash and not (_SUBDOMAIN_RE.fullmatch(prefix) and len(prefix) <= 253):
        problems.append(f"prefix part {_SUBDOMAIN_MESSAGE}")
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 characters")
    if not _QUALIFIED_RE.fullmatch(name):
        problems.append(_QUALIFIED_MESSAGE)
    return problems


def label_causes(labels: JSONObject, field: str) -> list[Cause]:
    """What is wrong with a set of labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += [invalid(field, key, problem) for problem in _qualified_problems(key)]
        if len(value) > 63:
            causes.append(invalid(field, value, "must be no more than 63 bytes"))
        if not _VALUE_RE.fullmatch(value):
            causes.append(invalid(field, value, _VALUE_MESSAGE))
    return causes


def _annotation_causes(annotations: JSONObject) -> list[Cause]:
    field = "metadata.annotations"
    causes = [invalid(field, key, problem) for key in annotations for problem in _qualified_problems(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes", field))
    return causes


def _owner_causes(owners: list[JSONObject]) -> list[Cause]:
    causes: list[Cause] = []
    field = "metadata.ownerReferences"
    for owner in owners:
        causes += [
            invalid(f"{field}.{name}", owner.get(name, ""), "must not be empty")
            for name in ("apiVersion", "kind", "name", "uid")
            if not owner.get(name)
        ]
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        names = " and ".join(str(owner.get("name")) for owner in controllers[:2])
        message = f'Only one reference can have Controller set to true. Found "true" in references for {names}'
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {message}", field))
    return causes


def causes_on_create(group: str, kind: str, metadata: JSONObject) -> list[Cause]:
    """What is wrong with an object's metadata."""
    name = metadata.get("name", "")
    causes: list[Cause] = []
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += [invalid("metadata.name", name, problem) for problem in name_problems(group, kind, name)]
    return causes + _common_causes(metadata)


def _common_causes(metadata: JSONObject) -> list[Cause]:
    causes: list[Cause] = []
    if labels := metadata.get("labels"):
        causes += label_causes(labels, "metadata.labels")
    if annotations := metadata.get("annotations"):
        causes += _annotation_causes(annotations)
    if owners := metadata.get("ownerReferences"):
        causes += _owner_causes(owners)
    for finalizer in metadata.get("finalizers") or ():
        causes += [invalid("metadata.finalizers", finalizer, p) for p in _qualified_problems(finalizer)]
    return causes


def causes_on_update(new: JSONObject, old: JSONObject) -> list[Cause]:
    """What is wrong with a change from the metadata ``old`` to ``new``."""
    causes = _common_causes(new)
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            shown = ", ".join(go_quote(finalizer) for finalizer in added)
            causes.append(
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{shown}}}",
                )
            )
    return causes


class _OwnerReference(msgspec.Struct):
    api_version: str = msgspec.field(name="apiVersion", default="")
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = msgspec.field(name="blockOwnerDeletion", default=None)


class _ObjectMeta(msgspec.Struct):
    """The types of ObjectMeta's fields; nothing is ever made of it."""

    name: str = ""
    generate_name: str = msgspec.field(name="generateName", default="")
    namespace: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    creation_timestamp: str = msgspec.field(name="creationTimestamp", default="")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[_OwnerReference] = msgspec.field(name="ownerReferences", default=[])


def normalise(metadata: JSONObject) -> str:
    """Drop what is empty from ``metadata``, in place, as Go's ObjectMeta would.

    Returns what makes it undecodable; empty where nothing does.
    """
    for key in [key for key, value in metadata.items() if value is None or value in ("", {}, [])]:
        del metadata[key]
    try:
        msgspec.convert(metadata, _ObjectMeta)
    except msgspec.ValidationError as error:
        return f"json: cannot unmarshal into Go struct field ObjectMeta.metadata: {error}"
    return ""
