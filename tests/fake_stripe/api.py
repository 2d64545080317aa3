"""The API that our workers read: one pure answer per request, over the state. The HTTP around it is `http.py`."""

from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple

import msgspec

from tests.fake_stripe import render_billing, versions
from tests.fake_stripe.errors import ApiError, foreign_account, lock_timeout, missing, rate_limited
from tests.fake_stripe.events import thin_changes, thin_event
from tests.fake_stripe.expand import Tree, kinds_in, read_tree
from tests.fake_stripe.faults import HTML_404, Fault, Faults, Limits, Reads
from tests.fake_stripe.keys import ApiKey, Keys, may_read
from tests.fake_stripe.lists import EVENTS_KEPT, answer_list, event_body
from tests.fake_stripe.oauth import OAuth
from tests.fake_stripe.params import Params
from tests.fake_stripe.records import KIND, Event, Record
from tests.fake_stripe.render import Context, Json, render
from tests.fake_stripe.routes import Route, find
from tests.fake_stripe.state import State

_ENCODE = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """`headers` by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class Response(NamedTuple):
    """`fault`: how the HTTP around it shall break the answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: Fault | None = None

    def json(self) -> Json:
        """The body as plain values."""
        return msgspec.json.decode(self.body)


class Sizes(msgspec.Struct):
    """How long embedded lists get before `has_more`. Items and payments: [verify], Stripe doesn't say (STRIPE 11)."""

    items: int = 20
    lines: int = 10
    payments: int = 10


class Api:
    """Answers requests. `default_version` counts where a request names none. `twin`: the account's other mode."""

    def __init__(
        self, state: State, keys: Keys, faults: Faults, limits: Limits, *, default_version: str = versions.PINNED
    ) -> None:
        self.state, self.keys, self.faults, self.limits = state, keys, faults, limits
        self.default_version = default_version
        self.sizes = Sizes()
        self.reads = Reads()
        self.date_skew = 0.0
        self.send_date = True
        self.pretty = False  # Stripe indents; on the wire it is compressed, so the plain form is nearer in cost
        self.hides_events = False  # [verify] whether a restricted key sees events of types it can't read (STRIPE 5.5)
        self.oauth = OAuth(state, keys)
        self.twin: Api | None = None
        self._contexts: dict[str, Context] = {}

    def enter(self, request: Request) -> None:
        """A request begins: it counts against concurrency until it has been answered."""
        self.limits.running[label_of(request)] += 1

    def leave(self, request: Request) -> None:
        """And ends."""
        self.limits.running[label_of(request)] -= 1

    def handle(self, request: Request) -> Response:
        """The answer, faults and limits included."""
        path, _, query = request.target.partition("?")
        found = find(path)
        label = found[0].label if found else path
        with self.state.lock:
            request_id = self.state.new_id("request")
            fault = self.faults.next(label)
            try:
                self._gate(label, query, fault)
                status, headers, body = self._dispatch(request, path, query, found)
            except ApiError as error:
                status, headers, body = error.status, dict(error.headers), _ENCODE(error.body(request_id))
            self.reads.count(request.method, label, request.target, status)
            for action in self.faults.happened(label):
                action()
        headers |= {
            "Request-Id": request_id,
            "Content-Type": "application/json",
            "Stripe-Version": request.headers.get("stripe-version", self.default_version),
        }
        if fault is not None and fault.kind == "html":
            status, body, headers["Content-Type"] = fault.status if fault.status != 500 else 404, HTML_404, "text/html"
        elif self.pretty:
            body = msgspec.json.format(body, indent=2)
        if self.send_date:
            headers["Date"] = formatdate(int(self.state.clock.time() + self.date_skew), usegmt=True)
        return Response(status, headers, body, fault)

    def _gate(self, label: str, query: str, fault: Fault | None) -> None:
        """Faults and limits come before anything is read."""
        if fault is not None and fault.kind == "lock_timeout":
            raise lock_timeout()
        expands = "expand%5B" in query or "expand[" in query
        ordered = fault is not None and fault.kind == "rate_limit"
        reason = fault.reason if ordered else self.limits.refuse(label, expands=expands and ":id" not in label)
        if reason is not None:
            raise rate_limited(reason)
        if fault is not None and fault.kind == "status":
            raise ApiError(fault.status, "An unknown error occurred", type_="api_error")

    def _dispatch(
        self, request: Request, path: str, query: str, found: tuple[Route, str | None] | None
    ) -> tuple[int, dict[str, str], bytes]:
        authorization = request.headers.get("authorization", "")
        if path.startswith("/oauth/"):
            status, headers, given = self.oauth.answer(request.method, path, query, request.body, authorization)
            return status, headers, _ENCODE(given)
        if request.method != "GET" or (found is None and not path.startswith("/v2/core/events/")):
            raise ApiError(404, f"Unrecognized request URL ({request.method}: {path}).")
        key = self.keys.find(authorization)
        foreign = self._foreign(key, request.headers.get("stripe-account"))
        api = self.twin if self.twin is not None and key.livemode != self.state.livemode else self
        if found is None:
            return 200, {}, _ENCODE(api._thin(key, path.rpartition("/")[2]))
        version = request.headers.get("stripe-version", self.default_version)
        return 200, {}, api._answer(key, version, foreign, *found, query)

    def _foreign(self, key: ApiKey, account: str | None) -> bool:
        """Whether it asks about another account than this one: a platform's key does so until it names this one.

        Raises:
            ApiError: 403 for an account that the key has no access to.
        """
        if key.platform:
            if account is not None and account not in self.oauth.connected:
                raise foreign_account(account)
            return account is None
        if account not in {None, self.state.account_id}:
            raise foreign_account(account)
        return False

    def _answer(self, key: ApiKey, version: str, foreign: bool, route: Route, id_: str | None, query: str) -> bytes:
        if not versions.known(version):
            raise ApiError(400, f"Invalid Stripe API version: {version}")
        params = Params(query, route.params)
        self.keys.check(key, route.kind)
        tree = read_tree(
            params.lists.get("expand", []), route.kind, versions.day(version), is_list=route.what in {"list", "items", "lines"}
        )
        for kind in kinds_in(tree, route.kind):  # [verify] unknown whether the whole request fails (STRIPE 6.1): assumed
            self.keys.check(key, kind)
        if route.what == "account":
            return _ENCODE(self._account(foreign))
        if foreign or key.livemode != self.state.livemode:
            return _ENCODE(self._nothing(key, route, id_))
        ctx = self._context(version)
        if route.what == "one":
            return _ENCODE(self._one(ctx, route, id_ or "", tree))
        return answer_list(ctx, route, id_, params, tree, self._sees(key, route))

    def _sees(self, key: ApiKey, route: Route) -> Callable[[Record], bool] | None:
        """What of a list the key may see, where that isn't everything."""
        if route.kind != "event" or not self.hides_events:
            return None
        return lambda event: may_read(key, event.object_kind)

    def _context(self, version: str) -> Context:
        behind = self.faults.stale_by()
        sizes = msgspec.structs.asdict(self.sizes)
        if behind is not None:
            return Context(self.state, version, as_of=self.state.clock.time() - behind, **sizes)
        ctx = self._contexts.get(version)
        if ctx is None:
            ctx = self._contexts[version] = Context(self.state, version)
            ctx.encoded = True
        ctx.items, ctx.lines, ctx.payments = self.sizes.items, self.sizes.lines, self.sizes.payments
        return ctx

    def context(self, version: str) -> Context:
        """A fresh look at the state in a version's shape."""
        return Context(self.state, version, **msgspec.structs.asdict(self.sizes))

    def _thin(self, key: ApiKey, id_: str) -> Json:
        """A thin event; which permission it takes is unknown (STRIPE 11): that of events is assumed [verify]."""
        self.keys.check(key, "event")
        event = self.state.get("event", Event.snapshot_id(id_))
        if not isinstance(event, Event) or key.livemode != self.state.livemode:
            raise missing("event", id_)
        return thin_event(event, self.state.livemode) | {"changes": thin_changes(event), "snapshot_event": event.id}

    def _account(self, platform: bool) -> Json:
        name = "A platform" if platform else self.state.account_name
        return {
            "id": self.oauth.platform_account if platform else self.state.account_id,
            "object": "account",
            "business_profile": {"name": name, "url": None},
            "charges_enabled": True,
            "country": "US",
            "created": 1_500_000_000,
            "default_currency": "usd",
            "details_submitted": True,
            "email": None,
            "metadata": {},
            "payouts_enabled": True,
            "settings": {"dashboard": {"display_name": name, "timezone": "Etc/UTC"}},
            "type": "standard",
        }

    def _nothing(self, key: ApiKey, route: Route, id_: str | None) -> Json:
        """A key of the wrong mode, or of a platform that names no account, sees an account with nothing in it."""
        if route.what == "list":
            return {"object": "list", "data": [], "has_more": False, "url": route.label}
        here = self.state.get(route.kind, id_) is not None if route.kind in self.state.collections else False
        wrong_mode = here and key.livemode != self.state.livemode
        raise missing(route.kind, id_ or "", elsewhere=("live" if self.state.livemode else "test") if wrong_mode else None)

    def _one(self, ctx: Context, route: Route, id_: str, tree: Tree) -> Json | msgspec.Raw:
        if route.kind == "subscription_item":
            return self._item(ctx, id_, tree)
        record = ctx.get(route.kind, id_)
        if record is None:
            gone = self.state.deleted.get(id_)
            if gone is not None and KIND[type(gone)] == route.kind == "customer":
                return {"id": id_, "object": "customer", "deleted": True}
            raise missing(route.kind, id_)
        if isinstance(record, Event):
            if record.created < self.state.clock.now() - EVENTS_KEPT:
                raise missing("event", id_)
            return event_body(record)
        return render(ctx, record, tree)

    def _item(self, ctx: Context, id_: str, tree: Tree) -> Json:
        owner = ctx.get("subscription", self.state.subscription_of(id_))
        for item in owner.items if owner else ():
            if item.id == id_:
                return render_billing.subscription_item(ctx, item, tree)
        raise missing("subscription_item", id_)


def label_of(request: Request) -> str:
    """The endpoint that Stripe rations."""
    path = request.target.partition("?")[0]
    found = find(path)
    return found[0].label if found else path
