"""Stand-in."""

from __future__ import annotations
from typing import Any
from meshfed.sandbox.apiserver.schema import Schema


class PatchError(Exception):
    """Bad patch."""


def json_patch(doc: Any, ops: Any) -> Any:
    """Patch."""
    raise PatchError("not yet")


def merge_patch(doc: Any, patch: Any) -> Any:
    """Patch."""
    if not isinstance(patch, dict):
        return patch
    out = dict(doc) if isinstance(doc, dict) else {}
    for k, v in patch.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = merge_patch(out.get(k), v)
    return out


def strategic_merge_patch(doc: Any, patch: Any, schema: Schema) -> Any:
    """Patch."""
    return merge_patch(doc, patch)
