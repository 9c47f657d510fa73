"""Why a patch could not be applied.

PatchError
├── MalformedPatchError      the patch is not one (400)
├── PatchDoesNotApplyError   it is well-formed, but not for this object: a missing path, a failed `test` (422)
└── PatchNotMergeableError   a strategic merge patch contradicts itself or the schema (500, as the real server has it)
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["MalformedPatchError", "PatchDoesNotApplyError", "PatchError", "PatchNotMergeableError"]


class PatchError(Exception):
    """A patch was refused; the object is as it was.

    Attributes:
        status: the HTTP status the API server answers with.
        public: what the API server tells the client; for a patch that does not apply it keeps the details to itself.
    """

    status: ClassVar[int] = 400

    @property
    def public(self) -> str:
        """The message of the answer's Status."""
        return str(self)


class MalformedPatchError(PatchError):
    """The body is no patch of the kind its media type says."""


class PatchDoesNotApplyError(PatchError):
    """A JSON patch names what is not there, or tests for what is not so."""

    status = 422

    @property
    def public(self) -> str:
        """The real server does not pass on the detail."""
        return "the server rejected our request due to an error in our request"


class PatchNotMergeableError(PatchError):
    """A strategic merge patch cannot be merged with the object."""

    status = 500
