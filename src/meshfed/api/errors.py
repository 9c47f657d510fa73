"""What is wrong with input, for the person who wrote it.

    InvalidInput
    ├── InvalidDocument   a file that is not YAML or JSON, or holds something else than Kubernetes objects
    │   └── NotAnObject   the latter
    ├── InvalidObject     an object that the API server would refuse
    └── InvalidFlag       one of the reference's JSON flags

None of them is worth a retry.
"""

from __future__ import annotations

import json

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a value: ``path`` as ``spec.import.rules[0].action``, empty for the whole.

    ``value`` is what is there, as JSON cut to a readable length, empty where nothing is; ``reason`` says what is wrong
    with it and the remedy.
    """

    path: str
    reason: str
    value: str = ""

    def __str__(self) -> str:
        subject = f"{self.path} is {self.value}" if self.value and self.path else self.path
        return f"{subject}: {self.reason}" if subject else self.reason


class InvalidInput(Exception):
    """Input that cannot be used."""


class InvalidDocument(InvalidInput):
    """A text that holds no Kubernetes objects; ``line`` counts from 1, 0 where it is not known."""

    def __init__(self, source: str, reason: str, *, line: int = 0) -> None:
        self.source, self.reason, self.line = source, reason, line
        super().__init__(f"{source}:{line}: {reason}" if line else f"{source}: {reason}")


class NotAnObject(InvalidDocument):
    """A text that is sound YAML or JSON, and no Kubernetes object."""


class InvalidObject(InvalidInput):
    """An object that the API server would refuse, with everything that is wrong with it; a line for each."""

    def __init__(self, source: str, kind: str, name: str, problems: tuple[Problem, ...]) -> None:
        self.source, self.kind, self.name, self.problems = source, kind, name, problems
        where = f"{source}: " if source else ""
        super().__init__("\n".join(f"{where}{kind} {name}: {problem}" for problem in problems))


class InvalidFlag(InvalidInput):
    """A flag of the reference whose JSON cannot be used; paths are JSON paths within it; a line for each problem."""

    def __init__(self, flag: str, problems: tuple[Problem, ...]) -> None:
        self.flag, self.problems = flag, problems
        super().__init__("\n".join(f"{flag}: {problem}" for problem in problems))


def shown(value: object) -> str:
    """``value`` as JSON of at most 80 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
