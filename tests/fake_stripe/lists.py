"""Lists: newest first, exclusive cursors, filters (STRIPE 5.3)."""

from itertools import islice

import msgspec

from tests.fake_stripe import render_billing
from tests.fake_stripe.collection import ANY, Row, Test, Window
from tests.fake_stripe.errors import ApiError, missing
from tests.fake_stripe.expand import Tree
from tests.fake_stripe.params import Params
from tests.fake_stripe.records import Event, Record
from tests.fake_stripe.render import Context, render
from tests.fake_stripe.routes import Route
from tests.fake_stripe.vast_collection import Ghost, VastCollection

EVENTS_KEPT = 30 * 86400
CLOCKED = frozenset({"customer", "subscription", "invoice"})
_ENCODE = msgspec.json.Encoder().encode


def answer_list(ctx: Context, route: Route, id_: str | None, params: Params, tree: Tree, sees: Test | None = None) -> bytes:
    """The page that was asked for, encoded. `sees`: what the key may see of it."""
    limit = params.limit()
    data: list[bytes]
    if route.what == "list":
        rows, more = _page(ctx, route, params, limit, sees)
        data = _shown(ctx, route, rows, tree)
    elif route.what == "items":
        rows, more = _slice(_items(ctx, params), params, limit, route.kind)
        data = [_ENCODE(render_billing.subscription_item(ctx, row, tree)) for row in rows]
    else:
        invoice = ctx.get("invoice", id_)
        if invoice is None:
            raise missing("invoice", id_ or "")
        rows, more = _slice(invoice.lines, params, limit, route.kind)
        data = [_ENCODE(render_billing.line_item(ctx, row, tree, invoice)) for row in rows]
    url = route.label.replace(":id", id_ or "").encode()
    end = b'],"has_more":%b,"url":"%b"}' % (b"true" if more else b"false", url)
    return b"".join((b'{"object":"list","data":[', b",".join(data), end))


def _shown(ctx: Context, route: Route, rows: list[Row], tree: Tree) -> list[bytes]:
    """Each row in JSON: an event as it was made, what nobody has touched from its mould, the rest rendered."""
    collection = ctx.state.of(route.kind)
    cast = collection.caster(ctx, tree) if isinstance(collection, VastCollection) else None
    data = []
    for row in rows:
        if isinstance(row, Ghost):
            data.append(_ENCODE(render(ctx, row.record(), tree)) if cast is None else cast(row.number))
        else:
            data.append(row.body() if isinstance(row, Event) else _ENCODE(render(ctx, row, tree)))
    return data


def event_body(event: Event) -> msgspec.Raw:
    """An event as `/v1/events` shows it: in the version it was made in, for ever."""
    return msgspec.Raw(event.body())


def _items(ctx: Context, params: Params) -> list[Record]:
    wanted = params.get("subscription")
    if wanted is None:
        raise ApiError(400, "Missing required param: subscription.", code="parameter_missing", param="subscription")
    owner = ctx.get("subscription", wanted)
    if owner is None:
        raise missing("subscription", wanted, "subscription")
    return owner.items


def _page(ctx: Context, route: Route, params: Params, limit: int, sees: Test | None) -> tuple[list[Row], bool]:
    window = _window(ctx, route, params)
    tests = route.filters(params) if route.filters else ()
    window.tests = (*tests, *((sees,) if sees is not None else ()))
    found = list(islice(ctx.state.of(route.kind).rows(window, ctx.seen), limit + 1))
    rows = found[:limit]
    return (rows[::-1] if window.before is not None else rows), len(found) > limit


def _window(ctx: Context, route: Route, params: Params) -> Window:
    after, before = (_cursor(ctx, route.kind, params, name) for name in ("starting_after", "ending_before"))
    if after is not None and before is not None:
        raise ApiError(400, "You cannot parameterize both starting_after and ending_before.", param="ending_before")
    created = dict(params.created())
    if route.kind == "event":
        created["gte"] = max(created.get("gte", 0), ctx.state.clock.now() - EVENTS_KEPT)
    owner = _owner(ctx, route, params)
    asked_for = params.get("customer") or params.get("subscription")
    hidden = route.kind in CLOCKED and asked_for is None  # what is on a test clock
    return Window(created, after, before, owner, params.get("test_clock") if hidden else ANY)


def _owner(ctx: Context, route: Route, params: Params) -> str | None:
    """Whose objects are asked for, as far as that narrows the walk."""
    state = ctx.state
    customer = params.get("customer")
    if customer is not None and state.get("customer", customer) is None and customer not in state.deleted:
        raise ApiError(400, f"No such customer: '{customer}'", code="resource_missing", param="customer")
    if (account := params.get("customer_account")) is not None:
        customer = next((c.id for c in state.of("customer") if c.account == account), account)
    if customer is None and route.kind == "invoice":
        subscription = state.get("subscription", params.get("subscription"))
        return None if subscription is None else subscription.customer
    if route.kind == "invoice_payment":
        intent = state.get("payment_intent", params.get("payment[payment_intent]"))
        return params.get("invoice") or (None if intent is None else intent.invoice)
    return customer


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
