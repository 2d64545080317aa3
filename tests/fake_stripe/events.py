"""Changes become events: rendered at once in every version that somebody listens in, with `previous_attributes`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.fake_stripe.records import KIND, Event, Record, copy_of
from tests.fake_stripe.render import Context, Json, render
from tests.fake_stripe.state import State

Shapes = dict[str, Json]  # by version


def previous_attributes(before: Json, after: Json) -> Json:
    """What stood there before, for each property that differs: nested objects by property, arrays whole, new ones as null."""
    out: Json = {}
    for name, old in before.items():
        new = after.get(name)
        if old == new and name in after:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            out[name] = previous_attributes(old, new)
        else:
            out[name] = old
    for name in after:
        if name not in before:
            out[name] = None
    return out


def thin_event(event: Event, livemode: bool, context: str | None = None) -> Json:
    """The unversioned notice of an event (STRIPE 9): where to look, and nothing else. `context`: the account, on Connect."""
    kind = event.object_kind
    request = msgspec.json.decode(event.body())["request"]
    created = datetime.fromtimestamp(event.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "id": event.thin_id,
        "object": "v2.core.event",
        "type": f"v1.{event.type}",
        "created": created,
        "livemode": livemode,
        "context": context,
        "reason": None if request["id"] is None else {"type": "request", "request": request},
        "related_object": {"id": event.object_id, "type": kind, "url": f"/v1/{kind}s/{event.object_id}"},
    }


def thin_changes(event: Event) -> Json | None:
    """What `GET /v2/core/events/{id}` adds of an update: the properties that changed, before and after [verify]."""
    data = msgspec.json.decode(event.body())["data"]
    before = data.get("previous_attributes")
    return before and {"before": before, "after": {name: data["object"].get(name) for name in before}}


class Recorder:
    """Makes events. `versions` is asked each time; `listeners` are told of each new event, in order."""

    def __init__(self, state: State, context: Callable[[str], Context], versions: Callable[[], tuple[str, ...]]) -> None:
        self.state = state
        self._context = context
        self._versions = versions
        self.listeners: list[Callable[[Event], None]] = []
        self.silent = False
        self.copies = 1
        self.created: int | None = None  # a stamp other than the clock's
        self.request_id: str | None = None

    def shapes(self, record: Record) -> Shapes:
        """The object in every version listened in."""
        return {version: render(self._context(version), record) for version in self._versions()}

    def emit(self, type_: str, record: Record, before: Shapes | None = None, shapes: Shapes | None = None) -> None:
        """One event about an object as it is now (or as `shapes` says); with `before`, its `previous_attributes`."""
        if self.silent:
            return
        now_shapes = shapes or self.shapes(record)
        data: dict[str, Json] = {version: {"object": shape} for version, shape in now_shapes.items()}
        if before is not None:
            for version, shape in now_shapes.items():
                data[version]["previous_attributes"] = previous_attributes(before[version], shape)
        for _ in range(self.copies):
            self._record(type_, record, data)

    def emit_application(self, type_: str, client_id: str) -> None:
        """An event about a Connect application, whose object is the same in every version."""
        shown = {"id": client_id, "object": "application", "name": "Pivotal"}
        record = Record(id=client_id, created=self.state.clock.now())
        self._record(type_, record, {version: {"object": shown} for version in self._versions()}, kind="application")

    def _record(self, type_: str, record: Record, data: dict[str, Json], *, kind: str = "") -> None:
        state = self.state
        created = self.created if self.created is not None else state.clock.now()
        event = Event(id=state.new_id("event"), created=created, type=type_, object_id=record.id, bodies={})
        event.object_kind = kind or KIND[type(record)]
        request = {"id": self.request_id, "idempotency_key": None}
        for version, part in data.items():
            event.bodies[version] = msgspec.json.encode(
                {
                    "id": event.id,
                    "object": "event",
                    "api_version": version,
                    "created": created,
                    "data": part,
                    "livemode": state.livemode,
                    "pending_webhooks": 0,
                    "request": request,
                    "type": type_,
                }
            )
        event.seq = state.next_seq()
        state.of("event").add(event)
        for listener in self.listeners:
            listener(event)

    @contextmanager
    def changing(self, record: Any, type_: str | None) -> Iterator[None]:
        """Whatever the block changes on `record` becomes one `type_` event, if anything did (None: no event)."""
        self.state.remember(record.id, record)
        before = None if self.silent or type_ is None else self.shapes(record)
        old = copy_of(record)
        yield
        self.state.revision += 1
        if before is not None and type_ is not None and record != old:
            self.emit(type_, record, before)
