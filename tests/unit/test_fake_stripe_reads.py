"""The fake Stripe's lists and retrieves behave as STRIPE.md sections 2.4, 5 and 6 say Stripe's do."""

import pytest

from tests.fake_stripe import Clock, FakeStripe, Limits
from tests.fake_stripe.keys import ALL_READS

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(1_790_000_000))


def sell(fake: FakeStripe, customers: int = 1, **how: object) -> list:
    product = fake.change.create_product("Growth")
    price = fake.change.create_price(product, 9900, lookup_key="growth_monthly")
    subscriptions = []
    for n in range(customers):
        subscriptions.append(fake.change.subscribe(fake.change.create_customer(f"billing@company{n}.com"), price, 2, **how))
        fake.clock.advance(1)
    return subscriptions


def refused(fake: FakeStripe, path: str, params: dict | None = None, **how: object) -> tuple[int, dict]:
    response = fake.request(path, params, **how)
    return response.status, response.json()["error"]


def test_lists_are_newest_first_and_ten_long_by_default(fake: FakeStripe) -> None:
    sell(fake, 12)
    page = fake.get("/v1/customers")
    assert [c["email"] for c in page["data"]][:2] == ["billing@company11.com", "billing@company10.com"]
    assert len(page["data"]) == 10
    assert page["has_more"] is True


def test_cursors_are_exclusive_in_both_directions(fake: FakeStripe) -> None:
    sell(fake, 7)
    everything = [c["id"] for c in fake.get("/v1/customers", {"limit": 100})["data"]]
    after = fake.get("/v1/customers", {"limit": 2, "starting_after": everything[1]})
    before = fake.get("/v1/customers", {"limit": 2, "ending_before": everything[5]})
    assert [c["id"] for c in after["data"]] == everything[2:4]
    assert [c["id"] for c in before["data"]] == everything[3:5]
    assert after["has_more"]
    assert before["has_more"]
    assert not fake.get("/v1/customers", {"limit": 2, "starting_after": everything[4]})["has_more"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", ""])
def test_a_limit_outside_1_to_100_is_refused_by_name(fake: FakeStripe, limit: str) -> None:
    status, error = refused(fake, "/v1/customers", {"limit": limit})
    assert (status, error["param"]) == (400, "limit")


def test_an_unknown_parameter_is_refused_by_name(fake: FakeStripe) -> None:
    assert refused(fake, "/v1/invoices", {"colour": "red"})[1]["param"] == "colour"
    assert refused(fake, "/v1/customers", {"status": "all"})[1]["code"] == "parameter_unknown"


def test_an_unknown_cursor_is_an_error(fake: FakeStripe) -> None:
    status, error = refused(fake, "/v1/customers", {"starting_after": "cus_nobody"})
    assert (status, error["code"], error["param"]) == (400, "resource_missing", "starting_after")


def test_cancelled_subscriptions_are_listed_only_on_request(fake: FakeStripe) -> None:
    first, second = sell(fake, 2)
    fake.change.cancel(first)
    assert [s["id"] for s in fake.get("/v1/subscriptions")["data"]] == [second.id]
    assert len(fake.get("/v1/subscriptions", {"status": "all"})["data"]) == 2
    assert [s["id"] for s in fake.get("/v1/subscriptions", {"status": "canceled"})["data"]] == [first.id]
    assert refused(fake, "/v1/subscriptions", {"status": "cancelled"})[0] == 400


def test_subscriptions_of_deleted_customers_are_listed_and_the_customer_answers_as_a_stub(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    fake.change.delete_customer(subscription.customer)
    assert fake.get(f"/v1/customers/{subscription.customer}") == {
        "id": subscription.customer,
        "object": "customer",
        "deleted": True,
    }
    assert fake.get("/v1/customers")["data"] == []
    assert fake.get("/v1/subscriptions", {"status": "all"})["data"][0]["status"] == "canceled"


def test_filters_by_customer_status_email_active_and_created(fake: FakeStripe) -> None:
    subscriptions = sell(fake, 3)
    fake.change.fail_payment(subscriptions[1])
    owner = subscriptions[1].customer
    assert [v["status"] for v in fake.get("/v1/invoices", {"customer": owner})["data"]] == ["open", "paid"]
    assert len(fake.get("/v1/invoices", {"status": "open"})["data"]) == 1
    assert len(fake.get("/v1/invoices", {"subscription": subscriptions[0].id})["data"]) == 1
    assert fake.get("/v1/customers", {"email": "BILLING@company0.com"})["data"] == []
    assert len(fake.get("/v1/customers", {"email": "billing@company0.com"})["data"]) == 1
    assert len(fake.get("/v1/customers", {"created": {"gte": 1_790_000_001, "lt": 1_790_000_002}})["data"]) == 1
    price = fake.get("/v1/prices")["data"][0]["id"]
    fake.change.update_price(price, active=False)
    assert fake.get("/v1/prices")["data"] == []
    assert len(fake.get("/v1/prices", {"active": False})["data"]) == 1


def test_expanding_works_down_to_four_properties_and_no_further(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    one = fake.get(f"/v1/subscriptions/{subscription.id}", {"expand": ["items.data.price.product"]})
    assert one["items"]["data"][0]["price"]["product"]["name"] == "Growth"
    status, error = refused(fake, "/v1/subscriptions", {"expand": ["data.items.data.price.product"]})
    assert status == 400
    assert "more than 4 levels" in error["message"]


@pytest.mark.parametrize(
    "path", ["data.colour", "latest_invoice", "data.items", "data.latest_invoice.payment_intent", "data.status"]
)
def test_a_path_that_cannot_be_expanded_is_refused(fake: FakeStripe, path: str) -> None:
    assert refused(fake, "/v1/subscriptions", {"expand": [path]})[0] == 400


@pytest.mark.parametrize("count", [1, 10, 11, 20, 21, 137])
def test_embedded_items_and_lines_are_truncated_and_paged_elsewhere(fake: FakeStripe, count: int) -> None:
    """[verify] after how many: STRIPE.md 5.3 and 11."""
    product = fake.change.create_product("Seats")
    prices = [(fake.change.create_price(product, 100 + n), 1) for n in range(count)]
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), prices)
    items = fake.get(f"/v1/subscriptions/{subscription.id}")["items"]
    assert (len(items["data"]), items["has_more"], items["total_count"]) == (min(count, 20), count > 20, count)
    lines = fake.get(f"/v1/invoices/{subscription.latest_invoice}")["lines"]
    assert (len(lines["data"]), lines["has_more"]) == (min(count, 10), count > 10)
    seen: list[str] = []
    while True:
        page = fake.get(
            "/v1/subscription_items",
            {"subscription": subscription.id, "limit": 100} | ({"starting_after": seen[-1]} if seen else {}),
        )
        seen += [i["id"] for i in page["data"]]
        if not page["has_more"]:
            break
    assert seen == [i.id for i in subscription.items]
    assert len(fake.get(f"/v1/invoices/{subscription.latest_invoice}/lines", {"limit": 100})["data"]) == min(count, 100)


def test_payments_tiers_and_currency_options_come_only_when_expanded(fake: FakeStripe) -> None:
    product = fake.change.create_product("Usage")
    price = fake.change.create_price(
        product,
        None,
        tiers=[(10, 500, None), (None, "49.5", 100)],
        currency_options={"eur": {"unit_amount": None, "tiers": []}},
    )
    plain = fake.get(f"/v1/prices/{price.id}")
    whole = fake.get(f"/v1/prices/{price.id}", {"expand": ["tiers", "currency_options"]})
    assert "tiers" not in plain
    assert "currency_options" not in plain
    assert whole["tiers"][1] == {
        "up_to": None,
        "unit_amount": None,
        "unit_amount_decimal": "49.5",
        "flat_amount": 100,
        "flat_amount_decimal": "100",
    }
    assert set(whole["currency_options"]) == {"usd", "eur"}
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price, 12)
    assert "payments" not in fake.get(f"/v1/invoices/{subscription.latest_invoice}")
    paid = fake.get(f"/v1/invoices/{subscription.latest_invoice}", {"expand": ["payments.data.payment.payment_intent"]})
    assert paid["payments"]["data"][0]["payment"]["payment_intent"]["status"] == "succeeded"
    assert paid["total"] == 10 * 500 + 2 * 49.5 + 100


def test_a_missing_permission_is_403_and_names_it(fake: FakeStripe) -> None:
    """[verify] that expanding without it fails the whole request."""
    sell(fake)
    fake.keys.add("rk_live_narrow", permissions=ALL_READS - {"rak_product_read"})
    status, error = refused(fake, "/v1/products", key="rk_live_narrow")
    assert status == 403
    assert "Having the 'rak_product_read' permission would allow this request to continue" in error["message"]
    assert refused(fake, "/v1/prices", {"expand": ["data.product"]}, key="rk_live_narrow")[0] == 403
    assert fake.request("/v1/prices", key="rk_live_narrow").status == 200


def test_keys_unknown_revoked_or_of_the_other_mode(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    fake.keys.add("rk_test_other")
    assert refused(fake, "/v1/customers", key="rk_live_unknown")[0] == 401
    assert fake.get("/v1/customers", key="rk_test_other")["data"] == []
    status, error = refused(fake, f"/v1/customers/{subscription.customer}", key="rk_test_other")
    assert (status, error["code"]) == (404, "resource_missing")
    fake.keys.add("rk_live_old").revoked = True
    assert refused(fake, "/v1/customers", key="rk_live_old")[1]["code"] == "api_key_expired"


def test_date_runs_on_the_virtual_clock_can_be_skewed_and_left_out(fake: FakeStripe) -> None:
    assert fake.request("/v1/customers").headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
    fake.api.date_skew = 61
    assert fake.request("/v1/customers").headers["Date"] == "Mon, 21 Sep 2026 14:14:21 GMT"
    fake.api.send_date = False
    assert "Date" not in fake.request("/v1/customers").headers


def test_the_buckets_answer_429_with_their_name_and_no_retry_headers() -> None:
    fake = FakeStripe(limits=Limits(100, 3))
    answers = [fake.request("/v1/customers") for _ in range(5)]
    assert [a.status for a in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert not {"Retry-After", "Stripe-Should-Retry"} & set(answers[-1].headers)
    assert fake.request("/v1/invoices").status == 200
    narrow = FakeStripe(limits=Limits(1, 25))
    assert [narrow.request("/v1/customers").headers.get("Stripe-Rate-Limited-Reason") for _ in range(2)] == [
        None,
        "global-rate",
    ]


def test_reads_are_counted_by_endpoint(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    fake.get("/v1/customers")
    fake.get(f"/v1/subscriptions/{subscription.id}")
    fake.request("/v1/subscriptions/sub_nobody")
    assert fake.reads.total == 3
    assert fake.reads["/v1/subscriptions/:id"] == 2
    assert fake.reads.by_status == {200: 2, 404: 1}


def test_faults_come_in_the_order_and_number_that_was_ordered(fake: FakeStripe) -> None:
    fake.faults.order("status", status=503, route="/v1/customers", count=2, skip=1)
    assert [fake.request("/v1/customers").status for _ in range(4)] == [200, 503, 503, 200]
    fake.faults.order("lock_timeout")
    locked = fake.request("/v1/customers")
    assert (locked.status, locked.json()["error"]["code"]) == (429, "lock_timeout")
    assert "Stripe-Rate-Limited-Reason" not in locked.headers
    fake.faults.order("html")
    page = fake.request("/v1/customers")
    assert (page.status, page.headers["Content-Type"]) == (404, "text/html")


def test_a_stale_read_shows_a_little_earlier(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    fake.clock.advance(100)
    fake.change.change_quantity(subscription, 9)
    late = fake.change.create_customer("new@late.com")
    fake.faults.stale_rate = 1.0
    assert fake.get(f"/v1/subscriptions/{subscription.id}")["items"]["data"][0]["quantity"] == 2
    assert late.id not in [c["id"] for c in fake.get("/v1/customers")["data"]]
    fake.clock.advance(11)
    assert fake.get(f"/v1/subscriptions/{subscription.id}")["items"]["data"][0]["quantity"] == 9


def test_events_go_back_30_days_and_filter_by_type(fake: FakeStripe) -> None:
    [subscription] = sell(fake)
    fake.clock.advance(29 * 86_400)
    fake.change.cancel(subscription)
    kinds = {e["type"] for e in fake.get("/v1/events", {"limit": 100})["data"]}
    assert {"customer.created", "customer.subscription.deleted"} <= kinds
    assert {e["type"] for e in fake.get("/v1/events", {"type": "customer.subscription.*", "limit": 100})["data"]} == {
        "customer.subscription.created",
        "customer.subscription.deleted",
    }
    chosen = fake.get("/v1/events", {"types": ["customer.created", "invoice.paid"], "limit": 100})["data"]
    assert {e["type"] for e in chosen} == {"customer.created", "invoice.paid"}
    fake.clock.advance(2 * 86_400)
    assert {e["type"] for e in fake.get("/v1/events", {"limit": 100})["data"]} == {"customer.subscription.deleted"}
    assert refused(fake, "/v1/events", {"types": ["a"] * 21})[0] == 400
