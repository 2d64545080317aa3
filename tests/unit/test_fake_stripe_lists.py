"""The fake's lists in all their windows, also while they change under the walk (STRIPE.md 5.3, 5.5, 10.5 to 10.10)."""

import pytest

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.expand import FIELDS
from tests.fake_stripe.records import Subscription

START = 1_790_000_000
DAY = 86_400
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(START))


@pytest.fixture
def sold(fake: FakeStripe) -> list[Subscription]:
    """Six customers with a subscription and an invoice each, ten seconds apart."""
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900, lookup_key="growth_monthly")
    subscriptions = []
    for n in range(6):
        subscriptions.append(fake.change.subscribe(fake.change.create_customer(f"billing@company{n}.com"), price))
        fake.clock.advance(10)
    return subscriptions


def ids(fake: FakeStripe, path: str, params: dict | None = None, **how: object) -> list[str]:
    return [row["id"] for row in fake.get(path, {"limit": 100} | (params or {}), **how)["data"]]


def walk(fake: FakeStripe, path: str, params: dict, *, backwards: bool = False) -> list[str]:
    """All pages, by cursor."""
    seen: list[str] = []
    cursor = "ending_before" if backwards else "starting_after"
    while True:
        page = fake.get(path, params | ({cursor: seen[-1]} if seen else {}))
        rows = [row["id"] for row in page["data"]]
        seen += rows[::-1] if backwards else rows
        if not page["has_more"]:
            return seen


@pytest.mark.parametrize("kind", ["customers", "subscriptions", "invoices", "events"])
def test_every_bound_of_created_is_kept_on_every_list_that_has_it(fake: FakeStripe, sold: list, kind: str) -> None:
    at = {row["id"]: row["created"] for row in fake.get(f"/v1/{kind}", {"limit": 100})["data"]}
    middle = START + 20
    for name, keeps in (
        ("gt", lambda created: created > middle),
        ("gte", lambda created: created >= middle),
        ("lt", lambda created: created < middle),
        ("lte", lambda created: created <= middle),
    ):
        found = ids(fake, f"/v1/{kind}", {"created": {name: middle}})
        assert found == [one for one, created in at.items() if keeps(created)], name
        assert found
    window = ids(fake, f"/v1/{kind}", {"created": {"gte": middle, "lt": middle + 20}})
    assert window == [one for one, created in at.items() if middle <= created < middle + 20]
    assert ids(fake, f"/v1/{kind}", {"created": middle}) == [one for one, created in at.items() if created == middle]


def test_windows_by_created_add_up_to_the_whole_list_page_by_page(fake: FakeStripe, sold: list) -> None:
    halves = [{"created": {"gte": START + 30}}, {"created": {"lt": START + 30}}]
    found = [one for half in halves for one in walk(fake, "/v1/invoices", half | {"limit": 2})]
    assert found == ids(fake, "/v1/invoices")


@pytest.mark.parametrize("kind", ["customers", "subscriptions", "invoices", "invoice_payments", "payment_intents", "events"])
def test_a_walk_in_either_direction_meets_everything_once(fake: FakeStripe, sold: list, kind: str) -> None:
    everything = ids(fake, f"/v1/{kind}")
    assert walk(fake, f"/v1/{kind}", {"limit": 2}) == everything
    oldest = everything[-1]
    found = fake.get(f"/v1/{kind}", {"limit": 2, "ending_before": oldest})["data"]
    upwards = [row["id"] for row in found[::-1]]
    while (page := fake.get(f"/v1/{kind}", {"limit": 2, "ending_before": upwards[-1]}))["data"]:
        upwards += [row["id"] for row in page["data"][::-1]]
    assert upwards == everything[-2::-1]


def test_both_cursors_at_once_and_other_impossible_questions_are_refused(fake: FakeStripe, sold: list) -> None:
    everything = ids(fake, "/v1/customers")
    for path, params, named in (
        ("/v1/customers", {"starting_after": everything[0], "ending_before": everything[1]}, "ending_before"),
        ("/v1/invoices", {"customer": "cus_nobody"}, "customer"),
        ("/v1/invoices", {"created": {"gte": "yesterday"}}, "created[gte]"),
        ("/v1/prices", {"active": "perhaps"}, "active"),
        ("/v1/subscription_items", {}, "subscription"),
        ("/v1/events", {"type": "customer.*", "types": ["customer.created"]}, "type"),
        ("/v1/invoices", {"status": "failed"}, "status"),
    ):
        answer = fake.request(path, params)
        assert (answer.status, answer.json()["error"]["param"]) == (400, named), path


def test_a_page_that_ends_with_the_last_object_has_no_more(fake: FakeStripe, sold: list) -> None:
    assert fake.get("/v1/customers", {"limit": 5})["has_more"] is True
    assert fake.get("/v1/customers", {"limit": 6})["has_more"] is False
    assert fake.get("/v1/coupons") == {"object": "list", "data": [], "has_more": False, "url": "/v1/coupons"}


@pytest.mark.parametrize("kind", ["customers", "subscriptions", "invoices"])
def test_a_new_object_appears_at_the_head_and_a_walk_that_has_passed_misses_it(
    fake: FakeStripe, sold: list[Subscription], kind: str
) -> None:
    before = ids(fake, f"/v1/{kind}")
    price = sold[0].items[0].price
    fake.faults.meanwhile(lambda: fake.change.subscribe(fake.change.create_customer("new@late.com"), price), f"/v1/{kind}")
    assert walk(fake, f"/v1/{kind}", {"limit": 2}) == before
    assert len(ids(fake, f"/v1/{kind}")) == 7


def test_a_cursor_that_was_deleted_is_an_error(fake: FakeStripe, sold: list[Subscription]) -> None:
    """[verify] for other objects than customers (STRIPE.md 5.3)."""
    newest = ids(fake, "/v1/customers")
    fake.faults.meanwhile(lambda: fake.change.delete_customer(newest[1]), "/v1/customers", skip=1)
    first = fake.get("/v1/customers", {"limit": 2})
    assert fake.get("/v1/customers", {"limit": 2, "starting_after": first["data"][0]["id"]})["data"][0]["id"] == newest[1]
    answer = fake.request("/v1/customers", {"limit": 2, "starting_after": newest[1]})
    assert (answer.status, answer.json()["error"]["code"]) == (400, "resource_missing")
    assert answer.json()["error"]["param"] == "starting_after"


def test_what_flips_its_status_between_two_pages_is_missed_by_a_filter_and_met_by_all(
    fake: FakeStripe, sold: list[Subscription]
) -> None:
    for status, missed in (("active", 1), ("all", 0)):
        oldest = sold[0] if status == "active" else sold[1]
        fake.faults.meanwhile(lambda oldest=oldest: fake.change.set_status(oldest, "past_due"), "/v1/subscriptions")
        before = ids(fake, "/v1/subscriptions", {"status": status})[:]
        fake.change.set_status(oldest, "active")
        fake.faults.meanwhile(lambda oldest=oldest: fake.change.set_status(oldest, "past_due"), "/v1/subscriptions")
        assert len(walk(fake, "/v1/subscriptions", {"status": status, "limit": 2})) == len(before) - missed


def many(fake: FakeStripe, count: int) -> Subscription:
    product = fake.change.create_product("Seats")
    prices = [(fake.change.create_price(product, 100 + n), 1) for n in range(count)]
    return fake.change.subscribe(fake.change.create_customer("a@acme.com"), prices)


@pytest.mark.parametrize("count", [1, 10, 11, 20, 21, 137])
def test_lists_inside_events_are_truncated_as_inside_answers_and_every_line_can_be_paged(fake: FakeStripe, count: int) -> None:
    """The size of embedded items and payments is a guess [verify]; lines have 10 [verify]."""
    subscription = many(fake, count)
    told = {e["type"]: e["data"]["object"] for e in fake.get("/v1/events", {"limit": 100})["data"]}
    shown = told["customer.subscription.created"]["items"]
    assert (len(shown["data"]), shown["has_more"], shown["total_count"]) == (min(count, 20), count > 20, count)
    lines = told["invoice.paid"]["lines"]
    assert (len(lines["data"]), lines["has_more"], lines["total_count"]) == (min(count, 10), count > 10, count)
    path = f"/v1/invoices/{subscription.latest_invoice}/lines"
    expected = [line.id for line in fake.state.get("invoice", subscription.latest_invoice).lines]
    assert walk(fake, path, {"limit": 50}) == expected
    if count > 1:
        backwards = fake.get(path, {"limit": 3, "ending_before": expected[-1]})
        assert [row["id"] for row in backwards["data"]] == expected[:-1][-3:]
        assert backwards["has_more"] == (count - 1 > 3)


@pytest.mark.parametrize("count", [1, 10, 11, 20, 21, 137])
def test_payments_inside_an_invoice_are_truncated_and_the_list_of_payments_has_them_all(fake: FakeStripe, count: int) -> None:
    invoice = fake.change.create_invoice(fake.change.create_customer("a@acme.com"), 100_000)
    for _ in range(count - 1):  # the one that waits for the rest counts too
        fake.change.pay_part(invoice, 10)
    shown = fake.get(f"/v1/invoices/{invoice.id}", {"expand": ["payments"]})["payments"]
    assert (len(shown["data"]), shown["has_more"]) == (min(count, 10), count > 10)
    found = walk(fake, "/v1/invoice_payments", {"invoice": invoice.id, "limit": 30})
    assert found == list(reversed(invoice.payments))
    assert len(ids(fake, "/v1/invoice_payments", {"status": "paid"})) == min(100, count - 1)
    intent = fake.state.get("invoice_payment", invoice.payments[-1]).payment_intent
    asked = {"payment": {"type": "payment_intent", "payment_intent": intent}}
    assert ids(fake, "/v1/invoice_payments", asked) == [invoice.payments[-1]]


def test_the_sizes_of_embedded_lists_can_be_set(fake: FakeStripe) -> None:
    fake.api.sizes.items, fake.api.sizes.lines = 3, 2
    subscription = many(fake, 5)
    shown = fake.get(f"/v1/subscriptions/{subscription.id}", {"expand": ["latest_invoice"]})
    assert (len(shown["items"]["data"]), len(shown["latest_invoice"]["lines"]["data"])) == (3, 2)


def test_what_is_on_a_test_clock_is_listed_only_when_the_clock_or_the_customer_is_given() -> None:
    fake = FakeStripe(clock=Clock(START), livemode=False)
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    owner = fake.change.create_customer("a@acme.com", test_clock="clock_1")
    subscription = fake.change.subscribe(owner, price)
    for kind, one in (("customers", owner.id), ("subscriptions", subscription.id)):
        assert ids(fake, f"/v1/{kind}") == []
        assert ids(fake, f"/v1/{kind}", {"test_clock": "clock_1"}) == [one]
        assert fake.get(f"/v1/{kind}/{one}")["test_clock"] == "clock_1"
    assert ids(fake, "/v1/invoices") == []
    assert ids(fake, "/v1/invoices", {"customer": owner.id}) == [subscription.latest_invoice]
    assert ids(fake, "/v1/subscriptions", {"customer": owner.id}) == [subscription.id]


def test_periods_and_due_dates_filter_by_the_earliest_item(fake: FakeStripe, sold: list[Subscription]) -> None:
    fake.change.add_item(sold[2], fake.change.create_price(sold[2].items[0].price and next(iter(fake.state.of("product"))), 5))
    sold[2].items[1].period_end = START + 5
    soon = ids(fake, "/v1/subscriptions", {"current_period_end": {"lt": START + 1000}})
    assert soon == [sold[2].id]
    sent = fake.change.create_invoice(sold[0].customer, 5000, days_until_due=30)
    due = fake.clock.now() + 30 * DAY
    assert ids(fake, "/v1/invoices", {"due_date": {"lte": due}}) == [sent.id]
    assert ids(fake, "/v1/invoices", {"due_date": {"gt": due}}) == []


def test_events_of_the_last_30_days_only_and_by_what_became_of_their_delivery(fake: FakeStripe) -> None:
    answers: dict[str, int] = {}
    good = fake.deliver_to(lambda body, headers: 200, auto=False)
    bad = fake.deliver_to(lambda body, headers: answers.get("bad", 500), auto=False)
    fake.change.create_customer("a@acme.com")
    [made] = fake.get("/v1/events")["data"]
    assert made["pending_webhooks"] == 2
    for deliveries in (good, bad):
        deliveries.deliver_due()
    assert fake.get(f"/v1/events/{made['id']}")["pending_webhooks"] == 1
    assert ids(fake, "/v1/events", {"delivery_success": False}) == [made["id"]]
    assert ids(fake, "/v1/events", {"delivery_success": True}) == []
    answers["bad"] = 200
    fake.clock.advance(10)
    bad.deliver_due()
    assert ids(fake, "/v1/events", {"delivery_success": True}) == [made["id"]]
    fake.clock.advance(30 * DAY - 10)
    assert ids(fake, "/v1/events") == [made["id"]]
    fake.clock.advance(1)
    assert ids(fake, "/v1/events") == []
    assert fake.request(f"/v1/events/{made['id']}").status == 404


@pytest.mark.parametrize("wildcard", ["customer.*", "*", "invoice.*", "customer.subscription.*", "*.updated"])
def test_a_wildcard_matches_as_many_dots_as_it_likes(fake: FakeStripe, sold: list, wildcard: str) -> None:
    begin, _, end = wildcard.partition("*")
    found = {e["type"] for e in fake.get("/v1/events", {"type": wildcard, "limit": 100})["data"]}
    known = {e.type for e in fake.state.of("event")}
    assert found == {name for name in known if name.startswith(begin) and name.endswith(end)} != set()


def test_twenty_types_are_the_most(fake: FakeStripe, sold: list) -> None:
    types = ["customer.created", *(f"a.type.{n}" for n in range(19))]
    assert len(ids(fake, "/v1/events", {"types": types})) == 6
    assert fake.request("/v1/events", {"types": [*types, "one.more"]}).status == 400


def test_no_path_of_more_than_four_properties_can_be_expanded_on_lists_or_objects(fake: FakeStripe, sold: list) -> None:
    def allowed(path: str, expand: list[str]) -> int:
        return fake.request(path, {"expand": expand}).status

    one = f"/v1/subscriptions/{sold[0].id}"
    for path, on_list, on_one in (  # the table of STRIPE.md 2.4
        ("items.data.price.product", 400, 200),
        ("items.data.price.tiers", 400, 200),
        ("discounts.source.coupon", 200, 200),
        ("items.data.discounts", 200, 200),
        ("items.data.discounts.source.coupon", 400, 400),
        ("latest_invoice", 200, 200),
        ("latest_invoice.payments", 200, 200),
    ):
        assert (allowed("/v1/subscriptions", [f"data.{path}"]), allowed(one, [path])) == (on_list, on_one), path
    assert allowed("/v1/invoices", ["data.payments.data.payment.payment_intent"]) == 400
    assert allowed(f"/v1/invoices/{sold[0].latest_invoice}", ["payments.data.payment.payment_intent"]) == 200
    assert allowed("/v1/invoice_payments", ["data.payment.payment_intent"]) == 200
    assert allowed("/v1/prices", ["data.tiers"]) == 200
    for kind in ("customer", "subscription", "invoice", "price", "coupon", "product"):
        assert allowed(f"/v1/{kind}s", ["data.nothing_like_this"]) == 400
        assert "nothing_like_this" not in FIELDS[kind]


def test_what_is_by_expand_only_since_may_2026_is_there_when_asked_for(fake: FakeStripe, sold: list[Subscription]) -> None:
    path = f"/v1/subscriptions/{sold[0].id}"
    shown = fake.get(path, {"expand": ["items.data.billed_until"]})["items"]["data"][0]
    assert shown["billed_until"] == shown["current_period_end"]
    assert "billed_until" not in fake.get(path)["items"]["data"][0]
    assert fake.request(path, {"expand": ["items.data.billed_until"]}, version="2026-03-25.dahlia").status == 400
    part = fake.change.pay_part(fake.change.create_invoice(sold[0].customer, 900), 300, by="payment_record")
    asked = fake.get(f"/v1/invoices/{part.id}", {"expand": ["amount_paid_off_stripe"]})
    assert (asked["amount_paid_off_stripe"], asked["amount_paid"], asked["amount_remaining"]) == (300, 300, 600)


def test_the_account_and_its_endpoints_can_be_read(fake: FakeStripe) -> None:
    account = fake.get("/v1/account")
    assert (account["id"], account["object"]) == (fake.account_id, "account")
    assert account["settings"]["dashboard"]["display_name"] == fake.state.account_name
    deliveries = fake.deliver_to(lambda body, headers: 200, auto=False, version="2024-06-20", types=frozenset({"invoice.paid"}))
    key = fake.keys.add("sk_live_all").secret
    [shown] = fake.get("/v1/webhook_endpoints", key=key)["data"]
    assert (shown["api_version"], shown["enabled_events"], shown["status"]) == ("2024-06-20", ["invoice.paid"], "enabled")
    deliveries.endpoint.disabled = True
    assert fake.get(f"/v1/webhook_endpoints/{shown['id']}", key=key)["status"] == "disabled"
    fake.delete_endpoint(deliveries)
    assert fake.get("/v1/webhook_endpoints", key=key)["data"] == []
    assert fake.request(f"/v1/webhook_endpoints/{shown['id']}", key=key).status == 404
