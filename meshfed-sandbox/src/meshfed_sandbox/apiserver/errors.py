"""What the API server answers when it refuses: Status objects, in the words clients parse and people search for.

One error tree, because whatever goes wrong below the handlers ends as one HTTP answer::

    StatusError                 code, reason, message, details: everything a Status object holds
    └── InvalidError            422, made of causes; kept apart so that causes can be gathered from several rooms

The wording follows apimachinery's ``api/errors`` and ``util/validation/field`` packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from meshfed_sandbox.apiserver.causes import Cause, go_quote
from meshfed_sandbox.apiserver.managed_fields import ApplyConflict
from meshfed_sandbox.apiserver.patch_errors import PatchError

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
        super().__init__(422, "Invalid", f"{qualified} {go_quote(name)} is invalid: {listed}", details)


def _named(group: str, plural: str, name: str) -> JSONObject:
    details: JSONObject = {"name": name}
    if group:
        details["group"] = group
    return {**details, "kind": plural}


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: no such object."""
    message = f"{_qualified(group, plural)} {go_quote(name)} not found"
    return StatusError(404, "NotFound", message, _named(group, plural, name))


def no_such_resource() -> StatusError:
    """404: the group, version or resource is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: creation of what exists."""
    message = f"{_qualified(group, plural)} {go_quote(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _named(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """409: a write based on something that is no longer so."""
    message = f"Operation cannot be fulfilled on {_qualified(group, plural)} {go_quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _named(group, plural, name))


def stale(group: str, plural: str, name: str) -> StatusError:
    """409: the write carries an old resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(group, plural, name, why)


def apply_conflict(refused: ApplyConflict) -> StatusError:
    """409: a server-side apply that touches what others own."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": conflict.field}
        for conflict, manager in zip(refused.conflicts, refused.managers, strict=True)
    ]
    return StatusError(409, "Conflict", str(refused), {"causes": causes})


def refused_patch(error: PatchError) -> StatusError:
    """400, 422 or 500: a patch that is none, that does not fit the object, or that cannot be merged."""
    return StatusError(error.status, {400: "BadRequest", 422: "Invalid"}.get(error.status, ""), error.public)


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403: understood, and not allowed. ``name`` is empty for a collection, ``plural`` for what is no resource."""
    what = _qualified(group, plural) + (f" {go_quote(name)}" if name else "")
    message = f"{what} is forbidden: {why}" if plural else f"forbidden: {why}"
    details = {key: value for key, value in _named(group, plural, name).items() if value}
    return StatusError(403, "Forbidden", message, details)


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
