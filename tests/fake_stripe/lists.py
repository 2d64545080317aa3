"""Lists: newest first, exclusive cursors, filters (STRIPE 5.3)."""

import msgspec

from tests.fake_stripe import render_billing
from tests.fake_stripe.errors import ApiError, missing
from tests.fake_stripe.expand import Tree
from tests.fake_stripe.params import Params
from tests.fake_stripe.records import Event, Record
from tests.fake_stripe.render import Context, Json, render
from tests.fake_stripe.routes import Route

EVENTS_KEPT = 30 * 86400


def answer_list(ctx: Context, route: Route, id_: str | None, params: Params, tree: Tree) -> Json:
    """The page that was asked for."""
    limit = params.limit()
    if route.what == "list":
        rows, more = _page(ctx, route, params, limit)
        data = [event_body(row) if isinstance(row, Event) else render(ctx, row, tree) for row in rows]
    elif route.what == "items":
        rows, more = _slice(_items(ctx, params), params, limit, route.kind)
        data = [render_billing.subscription_item(ctx, row, tree) for row in rows]
    else:
        invoice = ctx.get("invoice", id_)
        if invoice is None:
            raise missing("invoice", id_ or "")
        rows, more = _slice(invoice.lines, params, limit, route.kind)
        data = [render_billing.line_item(ctx, row, tree, invoice) for row in rows]
    return {"object": "list", "data": data, "has_more": more, "url": route.label.replace(":id", id_ or "")}


def event_body(event: Event) -> msgspec.Raw:
    """An event as `/v1/events` shows it: in the version it was made in, for ever."""
    return msgspec.Raw(next(iter(event.bodies.values())))


def _items(ctx: Context, params: Params) -> list[Record]:
    wanted = params.get("subscription")
    if wanted is None:
        raise ApiError(400, "Missing required param: subscription.", code="parameter_missing", param="subscription")
    owner = ctx.get("subscription", wanted)
    if owner is None:
        raise missing("subscription", wanted, "subscription")
    return owner.items


def _page(ctx: Context, route: Route, params: Params, limit: int) -> tuple[list[Record], bool]:
    state = ctx.state
    collection = state.of(route.kind)
    after, before = (_cursor(ctx, route.kind, params, name) for name in ("starting_after", "ending_before"))
    if after is not None and before is not None:
        raise ApiError(400, "You cannot parameterize both starting_after and ending_before.", param="ending_before")
    customer = params.get("customer")
    if customer is not None and state.get("customer", customer) is None and customer not in state.deleted:
        raise ApiError(400, f"No such customer: '{customer}'", code="resource_missing", param="customer")
    created = dict(params.created())
    if route.kind == "event":
        created["gte"] = max(created.get("gte", 0), state.clock.now() - EVENTS_KEPT)
    keys = collection.between(created, after, before, customer)
    tests = tuple(route.filters(params)) if route.filters else ()
    found: list[Record] = []
    for _, _, id_ in keys if before is not None else reversed(keys):
        record = ctx.seen(collection.by_id[id_])
        if record is not None and all(test(record) for test in tests):
            found.append(record)
            if len(found) > limit:
                break
    rows = found[:limit]
    return (rows[::-1] if before is not None else rows), len(found) > limit


def _cursor(ctx: Context, kind: str, params: Params, name: str) -> Record | None:
    id_ = params.get(name)
    if id_ is None:
        return None
    record = ctx.state.get(kind, id_)
    if record is None:  # [verify] also for a deleted one
        raise ApiError(400, f"No such {kind}: '{id_}'", code="resource_missing", param=name)
    return record


def _slice(parts: list[Record], params: Params, limit: int, kind: str) -> tuple[list[Record], bool]:
    """A page of an object's own list, in its own order."""
    position = {part.id: n for n, part in enumerate(parts)}
    start, end = 0, len(parts)
    for name in ("starting_after", "ending_before"):
        id_ = params.get(name)
        if id_ is not None and id_ not in position:
            raise ApiError(400, f"No such {kind}: '{id_}'", code="resource_missing", param=name)
        if id_ is not None and name == "starting_after":
            start = position[id_] + 1
        elif id_ is not None:
            end = position[id_]
    if params.get("ending_before") is not None:
        return parts[max(start, end - limit) : end], end - limit > start
    return parts[start : start + limit][: end - start], end - start > limit
