"""Watches: from the events of one collection to the lines of one connection.

A watcher hears of an event synchronously, as it happens, and only queues its line; a task of the connection sends
what is queued. So no reader ever waits for another: one that cannot keep up overflows its queue and is cut off, and
its client lists again, as with a real server.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import msgspec
from aiohttp import web

from meshfed_sandbox.apiserver import rendering
from meshfed_sandbox.apiserver.errors import StatusError
from meshfed_sandbox.apiserver.reads import ListOptions
from meshfed_sandbox.apiserver.rendering import Form
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.selectors import Predicate
from meshfed_sandbox.apiserver.store import Collection, Event

JSONObject = dict[str, Any]

QUEUE_LIMIT: Final = 8192
"""How many lines a watcher may be behind."""


class Watcher:
    """One watch: what it selects, and the lines it has not sent yet."""

    def __init__(
        self, resource: Resource, form: Form, *, namespace: str, selects: Predicate | None, half_line: bool
    ) -> None:
        self.resource = resource
        self.form = form
        self._namespace = namespace
        self._selects = selects
        self._lines: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._half_line = half_line
        self._ended = False

    def begin(self, collection: Collection, options: ListOptions) -> None:
        """Queue what comes before the first event still to happen: what there is, or what was since a version.

        A version too far back is answered as a real server does: an ERROR event, and the end.
        """
        if options.initial_events or (options.initial_events is None and not options.version):
            items = collection.items(self._namespace)
            if self._selects is not None:
                items = [stored for stored in items if self._selects(stored.object)]
            lines = [rendering.watch_line("ADDED", self.form.one(self.resource, stored)) for stored in items]
            self._lines.append(b"".join(lines))
            if options.initial_events:
                self.bookmark(collection.latest, initial_end=True)
        elif options.version:
            try:
                past = collection.since(options.version)
            except StatusError as error:
                self.send(rendering.watch_line("ERROR", msgspec.json.encode(error.status())))
                self._ended = True
            else:
                for event in past:
                    self.offer(event)

    def offer(self, event: Event) -> None:
        """Queue ``event`` where it concerns what this watch selects."""
        if self._namespace and event.key.namespace != self._namespace:
            return
        kind = self._kind(event)
        if kind:
            self.send(rendering.event_line(self.resource, self.form, event, kind))

    def send(self, line: bytes) -> None:
        """Queue ``line``; cut the connection where too many are queued already."""
        if len(self._lines) >= QUEUE_LIMIT:
            self.cut()
            return
        self._lines.append(line)
        self._wake.set()

    def bookmark(self, version: int, *, initial_end: bool = False) -> None:
        """Queue a bookmark at ``version``."""
        meta: JSONObject = {"resourceVersion": str(version)}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        self.send(rendering.watch_line("BOOKMARK", self.form.bookmark(self.resource, meta)))

    def cut(self) -> None:
        """Close the connection hard, whatever is still queued."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()
        self._wake.set()

    def _kind(self, event: Event) -> str:
        """What ``event`` is to one who sees only what is selected; empty where it is nothing."""
        was = event.before is not None and (self._selects is None or self._selects(event.before.object))
        now = event.after is not None and (self._selects is None or self._selects(event.after.object))
        if now:
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else ""

    async def run(
        self, request: web.BaseRequest, collection: Collection, *, lifetime: float, bookmark_every: float
    ) -> web.StreamResponse:
        """Send what is queued until ``lifetime`` seconds are over or the client leaves.

        ``bookmark_every`` seconds, and at the end, a bookmark is sent; 0: never.
        """
        self._transport = request.transport
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        end = loop.time() + lifetime
        next_bookmark = loop.time() + bookmark_every if bookmark_every else end + 1
        while self._lines or not (self._ended or loop.time() >= end):
            if self._lines:
                await self._flush(response)
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout_at(min(end, next_bookmark)):
                    await self._wake.wait()
            except TimeoutError:
                if bookmark_every:
                    next_bookmark = loop.time() + bookmark_every
                    self.bookmark(collection.latest)
        await response.write_eof()
        return response

    async def _flush(self, response: web.StreamResponse) -> None:
        data = b"".join(self._lines)
        self._lines.clear()
        if self._half_line:
            await response.write(data[: len(data) // 2])
            self.cut()
            return
        await response.write(data)
