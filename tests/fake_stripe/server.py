"""`FakeStripe`: the account, its API on loopback, its changes and its deliveries, in one object."""

from contextlib import ExitStack
from itertools import islice
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.fake_stripe import timers, versions
from tests.fake_stripe.api import Api, Request, Response
from tests.fake_stripe.changes import Changes
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.delivery import Deliveries
from tests.fake_stripe.endpoint import DEAUTHORIZED, RECOMMENDED, Endpoint, Send
from tests.fake_stripe.events import Recorder
from tests.fake_stripe.expand import read_tree
from tests.fake_stripe.faults import Faults, Limits, Reads
from tests.fake_stripe.http import HttpServer
from tests.fake_stripe.keys import Keys
from tests.fake_stripe.records import Event, WebhookEndpoint
from tests.fake_stripe.render import Json, render
from tests.fake_stripe.sending import HttpSender
from tests.fake_stripe.state import State


class FakeStripe:
    """One Stripe account in one mode. `with FakeStripe() as fake:` serves `fake.url`; without `with`, ask `fake.request`."""

    def __init__(
        self,
        *,
        seed: int = 1,
        clock: Clock | None = None,
        livemode: bool = True,
        version: str = versions.PINNED,
        limits: Limits | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._seed = seed
        self.clock = clock or Clock()
        self.state = State(seed=seed, clock=self.clock, livemode=livemode)
        self.version = version
        self.keys = Keys(self.state.account_id)
        mode = "live" if livemode else "test"
        self.api_key = f"rk_{mode}_{self.state.new_id('charge')[4:]}"
        self.keys.add(self.api_key)
        self.webhook_secret = f"whsec_{self.state.new_id('charge')[4:]}"
        self.faults = Faults(seed)
        self.limits = limits or Limits()
        self.api = Api(self.state, self.keys, self.faults, self.limits, default_version=version)
        self.deliveries: list[Deliveries] = []
        self.recorder = Recorder(self.state, self.api.context, self._versions)
        self.recorder.listeners.append(self._offer)
        self.change = Changes(self.state, self.recorder)
        self.api.oauth.on_deauthorized = self._deauthorized
        self._twin: FakeStripe | None = None
        self._address = (host, port)
        self._server: HttpServer | None = None

    def __enter__(self) -> "FakeStripe":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Serve the API."""
        host, port = self._address
        self._server = HttpServer(self.api.handle, host=host, port=port)
        self._server.on_start, self._server.on_end = self.api.enter, self.api.leave
        self._server.start()

    def stop(self) -> None:
        """End the API and all deliveries."""
        for fake in (self, self._twin):
            for deliveries in fake.deliveries if fake is not None else ():
                deliveries.stop()
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def server(self) -> HttpServer:
        """The HTTP server (its `latency`, how many requests run at once)."""
        assert self._server is not None, "not started"
        return self._server

    @property
    def url(self) -> str:
        """The API's base address."""
        host, port = self.server.address
        return f"http://{host}:{port}"

    @property
    def reads(self) -> Reads:
        """What was asked of the API."""
        return self.api.reads

    @property
    def account_id(self) -> str:
        """`acct_…`."""
        return self.state.account_id

    # --- without HTTP -------------------------------------------------------------------------------

    def request(
        self,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        version: str | None = None,
        account: str | None = None,
    ) -> Response:
        """Ask the API in this process. Lists in `params` become `name[]`, dictionaries `name[key]`; `account`: the
        `Stripe-Account` header."""
        pairs: list[tuple[str, str]] = []
        for name, value in (params or {}).items():
            if isinstance(value, list | tuple):
                pairs += [(f"{name}[]", str(v)) for v in value]
            elif isinstance(value, dict):
                pairs += [(f"{name}[{k}]", str(v)) for k, v in value.items()]
            else:
                pairs.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
        target = path + ("?" + urlencode(pairs) if pairs else "")
        headers = {"authorization": f"Bearer {key or self.api_key}", "stripe-version": version or self.version}
        if account is not None:
            headers["stripe-account"] = account
        return self.api.handle(Request("GET", target, headers))

    def get(self, path: str, params: dict[str, Any] | None = None, **how: Any) -> Json:
        """The JSON of an answer that must be 200."""
        response = self.request(path, params, **how)
        assert response.status == 200, response.body.decode()
        return response.json()

    def current_objects(self, version: str | None = None) -> dict[str, list[Json]]:
        """Everything as the API would show it now, whole (no truncated list), with what the rules need expanded: the
        `customers`, `subscriptions`, `invoices`, `prices`, `products` and `coupons` of an `explain` document."""
        version = version or self.version
        day = versions.day(version)
        payments = ["payments.data.payment.payment_intent"] if day >= versions.BASIL else ["payment_intent"]
        source = ["discounts.source.coupon"] if day >= versions.CLOVER else ["discounts"]
        expands = {
            "customer": ["discount.source.coupon"] if day >= versions.CLOVER else [],
            "subscription": [*source, "items.data.discounts"],
            "invoice": payments,
            "price": ["tiers", "currency_options"],
            "product": [],
            "coupon": ["applies_to", "currency_options"],
        }
        with self.state.lock:
            ctx = self.api.context(version)
            ctx.items = ctx.lines = ctx.payments = 1_000_000
            return {
                f"{kind}s": [render(ctx, record, read_tree(paths, kind, day, is_list=False)) for record in self.state.of(kind)]
                for kind, paths in expands.items()
            }

    # --- deliveries ---------------------------------------------------------------------------------

    def deliver_to(
        self,
        target: str | Send,
        secret: str | None = None,
        *,
        version: str | None = None,
        auto: bool = True,
        concurrency: int = 4,
        types: frozenset[str] | None = RECOMMENDED,
        timeout: float = 10,
        thin: bool = False,
        connect: bool = False,
    ) -> Deliveries:
        """Send events made from now on to a URL, or to a function `(body, headers) -> status`. `auto=False`: only when a test
        calls `step` or `deliver_due`. `connect`: a platform's endpoint, whose events name the account."""
        send = HttpSender(target, timeout) if isinstance(target, str) else target
        endpoint = Endpoint(send, secret or self.webhook_secret, version or self.version, types=types, timeout=timeout)
        endpoint.thin, endpoint.account = thin, self.account_id if connect else None
        deliveries = Deliveries(
            endpoint, self.clock, self._event, livemode=self.state.livemode, seed=len(self.deliveries), on_taken=self._taken
        )
        with self.state.lock:
            self.deliveries.append(deliveries)
            endpoint.id = f"we_{self.account_id[5:]}_{len(self.deliveries)}"
            url = target if isinstance(target, str) else "https://in-this-process.example/hook"
            record = WebhookEndpoint(id=endpoint.id, created=self.clock.now(), url=url, endpoint=endpoint)
            self.state.of("webhook_endpoint").add(record)
        if auto:
            deliveries.start(concurrency)
        return deliveries

    def delete_endpoint(self, deliveries: Deliveries) -> None:
        """The endpoint is gone: nothing new is sent to it, nor what waits for a retry."""
        with self.state.lock:
            deliveries.endpoint.deleted = True
            deliveries.clear()
            self.deliveries.remove(deliveries)
            self.state.remove(self.state.get("webhook_endpoint", deliveries.endpoint.id))
        deliveries.stop()

    def other_mode(self) -> "FakeStripe":
        """The same account in its other mode: objects, events and endpoints of its own, at the same address for keys of that
        mode (its `api_key`)."""
        if self._twin is None:
            twin = FakeStripe(seed=self._seed + 1, clock=self.clock, livemode=not self.state.livemode, version=self.version)
            twin.state.lock, twin.state.account_id, twin.state.account_name = (
                self.state.lock,
                self.state.account_id,
                self.state.account_name,
            )
            self.keys.add(twin.api_key)
            self.api.twin, self._twin = twin.api, twin
        return self._twin

    def month_start(self, subscriptions: int, seconds: float) -> int:
        """So many active subscriptions renew in this second; their events reach the endpoints evenly over so many seconds. How
        many there were."""
        with ExitStack() as held:
            held.enter_context(self.state.lock)
            for deliveries in self.deliveries:
                held.enter_context(deliveries.holding())
            active = (s for s in self.state.of("subscription").some() if s.status == "active")
            chosen = list(islice(active, subscriptions))
            for subscription in chosen:
                self.change.renew(subscription)
            for deliveries in self.deliveries:
                deliveries.spread(seconds)
        return len(chosen)

    def pass_time(self) -> int:
        """What Stripe does by itself when time has passed (`timers`); how many things happened."""
        return timers.run(self)

    def finalize_due(self) -> int:
        """Only the drafts of `pass_time`."""
        return timers.finalize_drafts(self)

    def wait_idle(self, timeout: float = 30) -> bool:
        """Until every delivery that is due has been made."""
        return all(d.wait_idle(timeout) for d in self.deliveries)

    def _event(self, id_: str) -> Event | None:
        return self.state.get("event", id_)

    def _offer(self, event: Event) -> None:
        plans = [(deliveries, deliveries.plan(event)) for deliveries in self.deliveries]
        event.pending_webhooks = sum(plan is not None for _, plan in plans)
        for deliveries, plan in plans:
            if plan is not None:
                deliveries.enqueue(event, plan)

    def _taken(self, event: Event) -> None:
        with self.state.lock:
            event.pending_webhooks = max(0, event.pending_webhooks - 1)

    def _deauthorized(self) -> None:
        self.recorder.emit_application(DEAUTHORIZED, self.api.oauth.client_id)

    def _versions(self) -> tuple[str, ...]:
        """Endpoints' versions first (the first endpoint's is the one `/v1/events` shows), without one the account's."""
        found = dict.fromkeys(d.endpoint.version for d in self.deliveries)
        return tuple(found) or (self.version,)
