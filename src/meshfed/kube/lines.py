"""Lines of a stream: only a newline byte ends one, whatever else Unicode calls a line break.

Readers of text lines also split on U+0085 and U+2028, which are legal inside a JSON string, so that anyone who may
annotate a Service could break every watch of it.
"""

from __future__ import annotations

from typing import Final

from meshfed.kube.errors import MalformedAnswer

LINE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes in a line at most. etcd refuses objects over about 1.5 MB, so that nothing real comes near."""


class LineSplitter:
    """Cuts the chunks it is fed into lines, in time that grows with the bytes alone."""

    def __init__(self, *, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, without their newlines, empty ones left out.

        Raises ``MalformedAnswer`` once a line is longer than the limit.
        """
        first, *rest = chunk.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > self._limit:
            raise MalformedAnswer(f"a line of the stream is longer than {self._limit} bytes")
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts = [rest[-1]]
        self._size = len(rest[-1])
        return [line for line in lines if line]
