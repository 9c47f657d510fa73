"""What can go wrong between us and a Kubernetes API, so that callers decide by type and never read a message.

::

    KubeError
    ├── ConfigError              kubeconfig or credentials cannot be used; a person must act
    ├── NotLeading               another process may write now; nothing was sent                 (retryable)
    ├── TransportError           no usable answer: refused, reset, timed out, cut short          (retryable)
    │   ├── Silent               a watch that did not end when it should have                    (retryable)
    │   └── MalformedAnswer      an answer that is not what the API promises, or too long        (retryable)
    └── APIError                 the server answered with a Status
        ├── BadRequest           400
        ├── Unauthorized         401                                                             (retryable)
        ├── Forbidden            403
        ├── NotFound             404
        ├── AlreadyExists        409, on create
        ├── Conflict             409: a stale resourceVersion or another uid; read again          (retryable)
        ├── Gone                 410: history is compacted; list again                           (retryable)
        ├── Invalid              422
        ├── TooManyRequests      429                                                             (retryable)
        └── ServerFailure        5xx                                                             (retryable)

``retryable`` says whether the same request may succeed later without anybody changing something on purpose.
Unauthorized is, because tokens rotate under us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec


class KubeError(Exception):
    """The root of the tree."""

    retryable: ClassVar[bool] = False
    retry_after: float | None = None
    """Seconds the server asked us to wait, where it did."""


class ConfigError(KubeError):
    """Connection settings that cannot be used: ``where`` (file or variable), ``field`` in it, and the remedy."""

    def __init__(self, problem: str, *, where: str, field: str = "", remedy: str = "") -> None:
        self.where = where
        self.field = field
        self.remedy = remedy
        place = f"{where}: {field}" if field else where
        super().__init__(f"{place}: {problem}" + (f"; {remedy}" if remedy else ""))


class NotLeading(KubeError):
    """This process does not lead, or not any more, so it may not write; nothing was sent."""

    retryable = True


class TransportError(KubeError):
    """No usable answer came; whether the server acted on the request is unknown."""

    retryable = True


class Silent(TransportError):
    """A watch did not end when its server was asked to end it, so what it said last may be long ago."""


class MalformedAnswer(TransportError):
    """Bytes came that are not what the API promises."""


class Cause(msgspec.Struct, frozen=True):
    """One entry of a Status's ``details.causes``: what is wrong with which field."""

    reason: str = ""
    message: str = ""
    field: str = ""


class APIError(KubeError):
    """The server refused or failed the request.

    ``status`` is the HTTP code, ``reason`` the API's machine-readable word for it, ``causes`` what is wrong where.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after
        super().__init__(f"{message} ({status} {reason})")


class BadRequest(APIError):
    """400: the server could not make sense of the request."""


class Unauthorized(APIError):
    """401: the credentials were not accepted."""

    retryable = True


class Forbidden(APIError):
    """403: the credentials do not allow this; a Role or a quota stands in the way."""


class NotFound(APIError):
    """404: no such object, or the server does not know the resource."""


class AlreadyExists(APIError):
    """409 on create: an object of that name exists."""


class Conflict(APIError):
    """409: the object is not the one the request was about any more."""

    retryable = True


class Gone(APIError):
    """410: the resourceVersion or continue token is too old; only a new list helps."""

    retryable = True


class Invalid(APIError):
    """422: the object breaks the schema or an admission rule; ``causes`` say where."""


class TooManyRequests(APIError):
    """429: the server sheds load; ``retry_after`` says for how long, where it knows."""

    retryable = True


class ServerFailure(APIError):
    """5xx: the server, or something behind it such as an admission webhook, failed."""

    retryable = True


_BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


class _Details(msgspec.Struct, rename="camel"):
    causes: tuple[Cause, ...] | None = None
    retry_after_seconds: float | None = None


class _ErrorStatus(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_decode_status: Final = msgspec.json.Decoder(_ErrorStatus).decode
_WAIT_LIMIT: Final = 300.0


def api_error(status: int, body: msgspec.Raw | bytes, headers: Mapping[str, str] | None = None) -> APIError:
    """Turn an answer, or the object of a watch's ERROR event (``status`` 0: the body says), into its error.

    A body that is no Status, such as a proxy's page, becomes the message, cut short.
    """
    try:
        answer = _decode_status(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _ErrorStatus(message=bytes(body)[:200].decode(errors="replace").strip())
    code = status or answer.code or 500
    details = answer.details or _Details()
    retry_after = details.retry_after_seconds
    told: Any = (headers or {}).get("Retry-After", "")
    if str(told).isdecimal():
        retry_after = float(told)
    kind = _BY_STATUS.get(code, ServerFailure if code >= 500 else APIError)
    if answer.reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(
        code,
        answer.reason or kind.__name__,
        answer.message or "the server gave no reason",
        details.causes or (),
        None if retry_after is None else min(retry_after, _WAIT_LIMIT),
    )
