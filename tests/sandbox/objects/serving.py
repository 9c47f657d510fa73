"""What a server does around the object logic when it is written to, in its shortest form."""

from __future__ import annotations

import copy
from typing import Any

from meshfed_sandbox.apiserver.builtin_defaults import BUILTIN_SCHEMAS, complete
from meshfed_sandbox.apiserver.managed_fields import ApplyConflict, apply, update
from meshfed_sandbox.apiserver.patches import PatchError, json_patch, merge_patch, strategic_merge_patch
from meshfed_sandbox.apiserver.schema import Schema
from tests.sandbox.objects.cases import JsonObject, Step


class Life:
    """One object through its writes; equal to what a real server stores but for what that allocates."""

    def __init__(self, kind_key: str, schema: Schema | None = None) -> None:
        self.kind_key = kind_key
        self.schema = schema or Schema.compile(BUILTIN_SCHEMAS[kind_key])
        self.api_version = kind_key.rpartition("/")[0].removeprefix("/")
        self.stored: JsonObject | None = None
        self._clock = 0

    def write(self, step: Step) -> JsonObject:
        """The stored object, or what was answered to a write that is refused."""
        self._clock += 1
        before = copy.deepcopy((self.stored, step.body))
        try:
            written = self._written(step)
        except ApplyConflict as conflict:
            shown = zip(conflict.managers, conflict.conflicts, strict=True)
            causes = [[f"conflict with {manager}", found.field] for manager, found in shown]
            return {"status": 409, "message": str(conflict), "causes": causes}
        except PatchError as error:
            return {"status": error.status, "message": error.public}
        finally:
            assert (self.stored, step.body) == before, "arguments are never changed"
        self.stored = written
        return {"object": written}

    def _written(self, step: Step) -> JsonObject:
        now = f"2024-01-01T00:00:{self._clock:02d}Z"
        common: Any = {"manager": step.manager, "schema": self.schema, "api_version": self.api_version, "now": now}
        live, body = self.stored, copy.deepcopy(step.body)
        if step.verb in ("apply", "force"):
            return self.finish(apply(live, step.body, force=step.verb == "force", **common))
        match step.verb:
            case "create":
                new = body
            case "put":
                assert live is not None
                new = live | body
            case "json":
                assert live is not None
                new = json_patch(live, step.body)
            case "merge":
                assert live is not None
                new = merge_patch(live, step.body)
            case _:
                assert live is not None
                new = strategic_merge_patch(live, step.body, self.schema)
        return update(live, self.finish(new), **common)

    def finish(self, obj: JsonObject) -> JsonObject:
        """Pruned, defaulted and completed, as it is stored."""
        obj = copy.deepcopy(obj)
        self.schema.prune(obj)
        self.schema.default(obj)
        complete(self.kind_key, obj)
        return obj
