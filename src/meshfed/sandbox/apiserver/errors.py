"""What the API server answers when it refuses: Status objects, in the words clients parse and people search for.

One error tree, because whatever goes wrong below the handlers ends as one HTTP answer::

    StatusError                 code, reason, message, details: everything a Status object holds
    └── InvalidError            422, made of causes; kept apart so that causes can be gathered from several rooms

The wording follows apimachinery's ``api/errors`` and ``util/validation/field`` packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from meshfed.sandbox.apiserver.schema import Cause

JSONObject = dict[str, Any]

_FALLBACK_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class StatusError(Exception):
    """An answer other than success: ``status()`` is its body, ``code`` its HTTP status.

    ``continue_token`` is for a 410 to a chunked list: how to go on, if inconsistently.
    """

    def __init__(
        self, code: int, reason: str, message: str, details: JSONObject | None = None, *, continue_token: str = ""
    ) -> None:
        super().__init__(message)
        self.continue_token = continue_token
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> JSONObject:
        """The ``v1`` Status object."""
        body: JSONObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


class InvalidError(StatusError):
    """The object breaks its schema or its kind's rules; each cause names one field."""

    def __init__(self, group: str, kind: str, name: str, causes: Sequence[Cause]) -> None:
        texts = list(
            dict.fromkeys(f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes)
        )
        listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        details: JSONObject = {"name": name} if name else {}
        if group:
            details["group"] = group
        details |= {
            "kind": kind,
            "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes],
        }
        qualified = f"{kind}.{group}" if group else kind
        super().__init__(422, "Invalid", f"{qualified} {quoted(name)} is invalid: {listed}", details)


def quoted(text: str) -> str:
    """``text`` as Go's ``%q`` would print it, near enough for names and values."""
    return json.dumps(text, ensure_ascii=False)


def invalid_value(field: str, value: object, message: str) -> Cause:
    """A ``FieldValueInvalid`` cause, worded as ``field.Invalid`` does."""
    shown = quoted(value) if isinstance(value, str) else json.dumps(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {message}", field)


def required_value(field: str, message: str = "") -> Cause:
    """A ``FieldValueRequired`` cause."""
    return Cause("FieldValueRequired", f"Required value: {message}" if message else "Required value", field)


def forbidden_value(field: str, message: str) -> Cause:
    """A ``FieldValueForbidden`` cause."""
    return Cause("FieldValueForbidden", f"Forbidden: {message}", field)


def unsupported_value(field: str, value: object, supported: Iterable[str]) -> Cause:
    """A ``FieldValueNotSupported`` cause, listing what is supported."""
    shown = quoted(value) if isinstance(value, str) else json.dumps(value)
    listed = ", ".join(quoted(word) for word in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {listed}", field)


def _named(group: str, plural: str, name: str) -> JSONObject:
    details: JSONObject = {"name": name}
    if group:
        details["group"] = group
    return {**details, "kind": plural}


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: no such object."""
    message = f"{_qualified(group, plural)} {quoted(name)} not found"
    return StatusError(404, "NotFound", message, _named(group, plural, name))


def no_such_resource() -> StatusError:
    """404: the group, version or resource is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: creation of what exists."""
    message = f"{_qualified(group, plural)} {quoted(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _named(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """409: a write based on something that is no longer so."""
    message = f"Operation cannot be fulfilled on {_qualified(group, plural)} {quoted(name)}: {why}"
    return StatusError(409, "Conflict", message, _named(group, plural, name))


def stale(group: str, plural: str, name: str) -> StatusError:
    """409: the write carries an old resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(group, plural, name, why)


def apply_conflict(conflicts: Sequence[tuple[str, str]], api_version: str) -> StatusError:
    """409: a server-side apply that touches what others own; ``conflicts`` are (manager, field path)."""
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path)
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {quoted(manager)} using {api_version}",
            "field": path,
        }
        for manager, path in conflicts
    ]
    texts = [_manager_conflict(manager, paths, api_version) for manager, paths in by_manager.items()]
    plural = "s" if len(conflicts) > 1 else ""
    body = "\n".join(texts) if len(texts) > 1 else texts[0]
    head = f"Apply failed with {len(conflicts)} conflict{plural}: "
    return StatusError(409, "Conflict", head + ("conflicts " if len(texts) > 1 else "") + body, {"causes": causes})


def _manager_conflict(manager: str, paths: list[str], api_version: str) -> str:
    if len(paths) == 1:
        return f"conflict with {quoted(manager)} using {api_version}: {paths[0]}"
    lines = "".join(f"\n- {path}" for path in paths)
    return f"conflicts with {quoted(manager)} using {api_version}:{lines}"


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403: understood, and not allowed."""
    message = f"{_qualified(group, plural)} {quoted(name)} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _named(group, plural, name))


def expired(message: str, *, continue_token: str = "") -> StatusError:
    """410: what was asked for is in a past that was forgotten."""
    return StatusError(410, "Expired", message, continue_token=continue_token)


def too_large_version(asked: int, current: int) -> StatusError:
    """504: a resourceVersion from the future."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(504, "Timeout", message, details)


def method_not_allowed() -> StatusError:
    """405: the resource does not do that."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body's content type is not one of ``accepted``."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def generic(code: int, message: str = "") -> StatusError:
    """Any status, for faults injected by tests."""
    reason = _FALLBACK_REASONS.get(code, "")
    text = message or f"injected fault: {code} {HTTPStatus(code).phrase}"
    return StatusError(code, reason, text)
