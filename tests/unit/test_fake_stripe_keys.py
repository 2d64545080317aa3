"""Who may ask the fake what: keys, modes, permissions, accounts and Connect (STRIPE.md sections 6 and 10.9 to 10.12)."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.api import Request
from tests.fake_stripe.keys import EVERYTHING, RECOMMENDED
from tests.fake_stripe.records import Subscription
from tests.fake_stripe.routes import PERMISSION, ROUTES

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(1_790_000_000))


@pytest.fixture
def sold(fake: FakeStripe) -> Subscription:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    coupon = fake.change.create_coupon(percent_off=10)
    fake.deliver_to(lambda body, headers: 200, auto=False)
    return fake.change.subscribe(fake.change.create_customer("ann@acme.com"), price, coupon=coupon)


def paths(fake: FakeStripe, sold: Subscription) -> dict[str, str]:
    """A path that answers, for each route (by label)."""
    first = {kind: next(iter(fake.state.of(kind))).id for kind in fake.state.collections if len(fake.state.of(kind))}
    first |= {"subscription_item": sold.items[0].id, "line_item": sold.latest_invoice}
    return {route.label: route.label.replace(":id", first.get(route.kind, "?")) for route in ROUTES}


def asked(fake: FakeStripe, path: str, sold: Subscription, key: str | None = None) -> tuple[int, dict]:
    """Status and JSON."""
    needs = {"subscription": sold.id} if path == "/v1/subscription_items" else {}
    answer = fake.request(path, needs, key=key)
    return answer.status, answer.json()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.label)
def test_each_endpoint_takes_one_permission_and_the_403_names_it(fake: FakeStripe, sold: Subscription, route: object) -> None:
    path, needed = paths(fake, sold)[route.label], PERMISSION[route.kind]
    fake.keys.add("rk_live_only", permissions=frozenset({needed}))
    fake.keys.add("rk_live_lacks", permissions=EVERYTHING - {needed})
    assert asked(fake, path, sold, "rk_live_only")[0] == 200
    status, body = asked(fake, path, sold, "rk_live_lacks")
    assert status == 403
    assert f"Having the '{needed}' permission would allow this request to continue" in body["error"]["message"]
    assert "rk_live_lacks" not in body["error"]["message"]


def test_the_recommended_permissions_read_all_that_we_read(fake: FakeStripe, sold: Subscription) -> None:
    fake.keys.add("rk_live_ours", permissions=RECOMMENDED)
    refused = [label for label, path in paths(fake, sold).items() if asked(fake, path, sold, "rk_live_ours")[0] == 403]
    assert refused == ["/v1/webhook_endpoints", "/v1/webhook_endpoints/:id", "/v1/account"]


def test_expanding_an_object_takes_its_permission_too(fake: FakeStripe, sold: Subscription) -> None:
    """[verify] whether the whole request fails (STRIPE.md 6.1)."""
    fake.keys.add("rk_live_narrow", permissions=frozenset({"rak_subscription_read"}))
    path = f"/v1/subscriptions/{sold.id}"
    for expand, permission in (
        ("customer", "rak_customer_read"),
        ("latest_invoice", "rak_invoice_read"),
        ("items.data.price.product", "rak_product_read"),
        ("discounts.source.coupon", "rak_coupon_read"),
    ):
        answer = fake.request(path, {"expand": [expand]}, key="rk_live_narrow")
        assert answer.status == 403, expand
        assert permission in answer.json()["error"]["message"]
    assert fake.request(path, {"expand": ["items.data.discounts"]}, key="rk_live_narrow").status == 200


def test_secret_keys_read_everything_and_unknown_missing_or_revoked_ones_nothing(fake: FakeStripe, sold: Subscription) -> None:
    fake.keys.add("sk_live_all")
    for path in paths(fake, sold).values():
        assert asked(fake, path, sold, "sk_live_all")[0] == 200, path
    for key in ("rk_live_unknown", "pk_live_public"):
        status, body = asked(fake, "/v1/customers", sold, key)
        assert (status, body["error"]["type"]) == (401, "invalid_request_error")
        assert key not in body["error"]["message"] or len(key) < 13
    assert fake.api.handle(Request("GET", "/v1/customers", {})).status == 401
    fake.keys.revoke("sk_live_all")
    assert asked(fake, "/v1/customers", sold, "sk_live_all")[1]["error"]["code"] == "api_key_expired"


def test_a_key_of_the_wrong_mode_sees_empty_lists_and_404_for_every_id(fake: FakeStripe, sold: Subscription) -> None:
    fake.keys.add("rk_test_other")
    for label, path in paths(fake, sold).items():
        if label in {"/v1/account", "/v1/webhook_endpoints", "/v1/webhook_endpoints/:id"}:
            continue
        status, body = asked(fake, path, sold, "rk_test_other")
        if path in {f"/v1/{kind}s" for kind in fake.state.collections}:
            assert (status, body["data"], body["has_more"]) == (200, [], False), path
        else:
            assert (status, body["error"]["code"]) == (404, "resource_missing"), path
    told = asked(fake, f"/v1/customers/{sold.customer}", sold, "rk_test_other")[1]["error"]["message"]
    assert told.endswith("a similar object exists in live mode, but a test mode key was used to make this request.")


def test_both_modes_of_an_account_answer_at_one_address_each_to_its_own_keys(fake: FakeStripe, sold: Subscription) -> None:
    test = fake.other_mode()
    made = test.change.create_customer("dev@acme.com")
    assert (test.account_id, test.state.livemode) == (fake.account_id, False)
    [shown] = fake.get("/v1/customers", key=test.api_key)["data"]
    assert (shown["id"], shown["livemode"]) == (made.id, False)
    assert [c["id"] for c in fake.get("/v1/customers")["data"]] == [sold.customer]
    assert fake.request(f"/v1/customers/{sold.customer}", key=test.api_key).status == 404
    assert fake.request(f"/v1/customers/{made.id}").status == 404
    assert fake.other_mode() is test


def test_only_this_account_can_be_named_and_any_other_is_403(fake: FakeStripe, sold: Subscription) -> None:
    assert fake.request("/v1/customers", account=fake.account_id).status == 200
    answer = fake.request("/v1/customers", account="acct_1somebodyelse")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "account_invalid")


def test_deleted_and_foreign_ids_are_404_but_a_deleted_customer_leaves_a_stub(fake: FakeStripe, sold: Subscription) -> None:
    price = fake.change.create_price(fake.change.create_product("Old"), 100)
    coupon = fake.change.create_coupon(percent_off=5)
    draft = fake.change.create_invoice(sold.customer, 100, finalize=False)
    fake.change.delete_price(price)
    fake.change.delete_product(price.product)
    fake.change.delete_coupon(coupon)
    fake.change.delete_draft(draft)
    for path in (f"prices/{price.id}", f"products/{price.product}", f"coupons/{coupon.id}", f"invoices/{draft.id}",
                 "customers/cus_NffrFeUfNV2Hib", "subscriptions/sub_1MowQVLkdIwHu7ixeRlqHVzs"):  # fmt: skip
        answer = fake.request(f"/v1/{path}")
        assert (answer.status, answer.json()["error"]["code"]) == (404, "resource_missing"), path
        assert answer.json()["error"]["message"].startswith("No such "), path
    fake.change.delete_customer(sold.customer)
    assert fake.get(f"/v1/customers/{sold.customer}") == {"id": sold.customer, "object": "customer", "deleted": True}
    shown = fake.get(f"/v1/subscriptions/{sold.id}", {"expand": ["customer"]})
    assert shown["customer"] == {"id": sold.customer, "object": "customer", "deleted": True}


def test_errors_have_the_envelope_and_every_answer_a_request_id_of_its_own(fake: FakeStripe, sold: Subscription) -> None:
    answers = [fake.request(path) for path in ("/v1/customers", "/v1/customers/cus_nobody", "/v1/nothing", "/v1/customers")]
    assert [answer.status for answer in answers] == [200, 404, 404, 200]
    assert len({answer.headers["Request-Id"] for answer in answers}) == 4
    assert all(answer.headers["Request-Id"].startswith("req_") for answer in answers)
    error = answers[1].json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "resource_missing", "id")
    assert error["message"] == "No such customer: 'cus_nobody'"
    assert error["request_log_url"].endswith(answers[1].headers["Request-Id"])
    unknown = answers[2].json()["error"]
    assert (unknown["type"], "code" in unknown) == ("invalid_request_error", False)


def test_the_version_asked_for_counts_and_is_told_back_and_without_one_the_accounts_does() -> None:
    fake = FakeStripe(version="2024-06-20")
    answer = fake.request("/v1/customers", version="2020-08-27")
    assert answer.headers["Stripe-Version"] == "2020-08-27"
    default = fake.api.handle(Request("GET", "/v1/customers", {"authorization": f"Bearer {fake.api_key}"}))
    assert default.headers["Stripe-Version"] == "2024-06-20"
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    fake.change.subscribe(fake.change.create_customer("ann@acme.com"), price)
    for headers, old in (({}, True), ({"stripe-version": "2025-03-31.basil"}, False)):
        asked = Request("GET", "/v1/subscriptions", headers | {"authorization": f"Bearer {fake.api_key}"})
        assert ("current_period_end" in fake.api.handle(asked).json()["data"][0]) == old


def test_a_restricted_key_may_be_shown_fewer_events_than_there_are(fake: FakeStripe, sold: Subscription) -> None:
    """[verify] whether Stripe does so (STRIPE.md 5.5): off unless a test turns it on."""
    fake.keys.add("rk_live_events", permissions=frozenset({"rak_event_read", "rak_customer_read"}))
    everything = {e["type"] for e in fake.get("/v1/events", {"limit": 100}, key="rk_live_events")["data"]}
    assert "invoice.paid" in everything
    fake.api.hides_events = True
    shown = fake.get("/v1/events", {"limit": 100}, key="rk_live_events")
    assert {e["type"] for e in shown["data"]} == {"customer.created", "customer.updated", "customer.discount.created"}
    assert {e["type"] for e in fake.get("/v1/events", {"limit": 100})["data"]} == everything


def post(fake: FakeStripe, path: str, body: str, key: str) -> tuple[int, dict]:
    answer = fake.api.handle(Request("POST", path, {"authorization": f"Bearer {key}"}, body.encode()))
    return answer.status, answer.json()


def connected(fake: FakeStripe) -> dict:
    """An admin has agreed: the token."""
    oauth = fake.api.oauth
    sent = fake.api.handle(Request("GET", f"/oauth/authorize?response_type=code&client_id={oauth.client_id}", {}))
    code = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))["code"]
    return post(fake, "/oauth/token", f"grant_type=authorization_code&code={code}", oauth.platform_key)[1]


def test_a_platforms_key_sees_the_connected_account_only_when_it_names_it(fake: FakeStripe, sold: Subscription) -> None:
    key = fake.api.oauth.platform_key
    assert fake.request("/v1/customers", key=key, account=fake.account_id).status == 403
    connected(fake)
    assert len(fake.get("/v1/customers", key=key, account=fake.account_id)["data"]) == 1
    assert fake.get("/v1/customers", key=key)["data"] == []
    assert fake.get("/v1/account", key=key)["id"] != fake.account_id
    assert fake.get("/v1/account", key=key, account=fake.account_id)["id"] == fake.account_id
    assert fake.request(f"/v1/customers/{sold.customer}", key=key).status == 404


def test_what_oauth_refuses_it_refuses_by_name(fake: FakeStripe) -> None:
    oauth = fake.api.oauth
    token = connected(fake)
    for path, body, error in (
        ("/oauth/token", "grant_type=authorization_code&code=ac_wrong", "invalid_grant"),
        ("/oauth/token", "grant_type=refresh_token&refresh_token=rt_wrong", "invalid_grant"),
        ("/oauth/token", "grant_type=password", "unsupported_grant_type"),
        ("/oauth/deauthorize", f"client_id=ca_other&stripe_user_id={fake.account_id}", "invalid_client"),
        ("/oauth/deauthorize", f"client_id={oauth.client_id}&stripe_user_id=acct_other", "invalid_client"),
        ("/oauth/other", "", "invalid_request"),
    ):
        assert post(fake, path, body, oauth.platform_key)[1]["error"] == error, (path, body)
    sent = fake.api.handle(Request("GET", "/oauth/authorize?response_type=code&client_id=ca_other", {}))
    assert (sent.status, sent.json()["error"]) == (400, "invalid_request")
    again = post(fake, "/oauth/token", f"grant_type=refresh_token&refresh_token={token['refresh_token']}", oauth.platform_key)[
        1
    ]
    assert again["access_token"] != token["access_token"]
    assert fake.request("/v1/customers", key=again["access_token"]).status == 200


def test_deauthorizing_ends_tokens_and_the_platforms_access_and_tells_its_endpoint(fake: FakeStripe) -> None:
    got: list[bytes] = []
    platform = fake.deliver_to(lambda body, headers: got.append(body) or 200, auto=False, connect=True)
    own = fake.deliver_to(lambda body, headers: got.append(body) or 200, auto=False, types=None)
    token = connected(fake)
    left = f"client_id={fake.api.oauth.client_id}&stripe_user_id={fake.account_id}"
    assert post(fake, "/oauth/deauthorize", left, fake.api.oauth.platform_key)[0] == 200
    assert (platform.deliver_due(), own.deliver_due()) == (1, 0)
    assert b'"account.application.deauthorized"' in got[0]
    assert fake.account_id.encode() in got[0]
    assert fake.request("/v1/customers", key=token["access_token"]).status == 401
    assert fake.request("/v1/customers", key=fake.api.oauth.platform_key, account=fake.account_id).status == 403
    refresh = f"grant_type=refresh_token&refresh_token={token['refresh_token']}"
    assert post(fake, "/oauth/token", refresh, fake.api.oauth.platform_key)[1]["error"] == "invalid_grant"
