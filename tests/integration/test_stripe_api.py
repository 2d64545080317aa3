"""The one caller of Stripe against a server that answers by script: STRIPE 1, 2.4, 5; FAULTS 4.1, F65-F69, S15-S17."""

import ast
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.errors import (
    BadInput,
    StripeBadRequest,
    StripeKeyRefused,
    StripeNotFound,
    StripePermissionMissing,
    StripeRateLimited,
    StripeStopped,
    StripeTrouble,
    StripeUnreachable,
)
from models.settings import PINNED_API_VERSION
from tests.support.scripted_http import DATE, Scripted, cut, hang, listing, refuse, reply, reset
from workers import stripe_http
from workers.stripe_api import Cursor, Patience, StripeApi

ROOT = Path(__file__).resolve().parents[2]
KEY = "rk_test_canary51"
QUICK = Patience(attempts=3, seconds=30.0, throttled_s=30.0)


@pytest.fixture
def stripe():
    server = Scripted()
    yield server
    server.close()


class NoWaiting(threading.Event):
    """Pauses take no time; what they would have taken is noted."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return self.is_set()


@pytest.fixture
def no_waiting(api):
    return api._stop.pauses


def open_at(base, **options):
    options = {"patience": QUICK, "stop": NoWaiting(), **options}
    return StripeApi(SimpleNamespace(id=7, api_base=base, api_version=PINNED_API_VERSION), KEY, **options)


@pytest.fixture
def api(stripe):
    counts = Counter()
    with open_at(stripe.base, count=lambda purpose, endpoint: counts.update([(purpose, endpoint)])) as api:
        api.counts = counts
        yield api


def test_a_read_sends_the_pinned_version_the_key_and_gives_plain_exact_json(stripe, api):
    stripe.then(reply('{"id": "co_1", "percent_off": 12.5, "amount": 9007199254740993, "metadata": {"a": "b"}}'))
    read = api.read("/v1/coupons/co_1", {"expand": ["applies_to"], "created": {"gte": 5}}, "reference")
    assert read.data == {"id": "co_1", "percent_off": Decimal("12.5"), "amount": 9007199254740993, "metadata": {"a": "b"}}
    assert type(read.data) is dict
    assert type(read.data["percent_off"]) is Decimal
    (request,) = stripe.requests
    assert request["headers"]["Stripe-Version"] == PINNED_API_VERSION
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    assert request["query"] == [("expand[0]", "applies_to"), ("created[gte]", "5")]
    assert "X-Stripe-Client-Telemetry" not in request["headers"]
    assert api.counts == {("reference", "/v1/coupons/{id}"): 1}


def test_bounds_of_a_read_come_from_the_date_header_and_the_time_it_took(stripe, api):
    read = api.read("/v1/customers")
    assert read.hi_ms == DATE * 1000 + 1000
    assert DATE * 1000 - 2000 < read.lo_ms < DATE * 1000


def test_the_time_of_retries_is_part_of_the_bounds(stripe, api):
    stripe.then(hang(0.3), refuse(500))
    assert api.read("/v1/customers").lo_ms <= DATE * 1000 - 300
    assert stripe_http.read_bounds({"Date": "Thu, 01 Jan 1970 00:16:40 GMT"}, 2.5) == (1_000_000 - 2_501, 1_001_000)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Nov 2026 11:06:40 GMT"])
def test_a_read_without_a_usable_date_has_no_bounds(date):
    assert stripe_http.read_bounds({} if date is None else {"Date": date}, 1.0) == (None, None)


def test_an_answer_without_a_date_header_is_unbounded(stripe, api):
    stripe.then(reply({"id": "cus_1"}, date=None))
    read = api.fetch("customer", "cus_1", "refetch")
    assert (read.lo_ms, read.hi_ms, read.has_date) == (None, None, False)


@pytest.mark.fault("F66")
@pytest.mark.parametrize(
    "trouble",
    [
        refuse(500),
        refuse(502),
        reply("<html>bad gateway</html>", 503),
        reply("<html>hello</html>"),
        reply("[1]"),
        reply(""),
        reply(b'{"a": "\xff"}'),
        reply("[" * 100_000),
        cut,
        reset,
        reply("<html>404</html>", 404),
        refuse(409),
    ],
    ids=[
        "500",
        "502",
        "503 html",
        "200 html",
        "a list",
        "empty",
        "not utf-8",
        "nesting",
        "partial",
        "reset",
        "404 html",
        "409",
    ],
)
def test_passing_trouble_is_tried_again_and_then_given_up_as_unreachable(stripe, api, trouble):
    stripe.then(trouble, trouble)
    assert api.read("/v1/customers", {}, "backfill").data["data"] == []
    assert api.counts == {("backfill", "/v1/customers"): 3}
    stripe.then(trouble, trouble, trouble)
    with pytest.raises(StripeUnreachable) as caught:
        api.read("/v1/customers", {}, "backfill")
    assert caught.value.passing
    assert api.counts == {("backfill", "/v1/customers"): 6}


@pytest.mark.fault("F66")
def test_a_server_that_hangs_costs_the_time_out_and_no_more(stripe, monkeypatch):
    with open_at(stripe.base, patience=Patience(attempts=1)) as api:
        api._courier.transport._timeout = (1.0, 0.05)
        stripe.then(hang(0.5))
        with pytest.raises(StripeUnreachable, match="ReadTimeout"):
            api.read("/v1/customers")


@pytest.mark.fault("F66")
def test_nobody_listening_is_unreachable():
    server = Scripted()
    server.close()
    with open_at(server.base) as api, pytest.raises(StripeUnreachable, match="ConnectionError"):
        api.read("/v1/customers")


@pytest.mark.fault("F66")
def test_the_breaker_leaves_stripe_alone_after_three_failed_reads_and_hears_it_come_back(stripe):
    with open_at(stripe.base, patience=Patience(attempts=1)) as api:
        stripe.then(*[refuse(500)] * 3)
        for _ in range(3):
            with pytest.raises(StripeUnreachable):
                api.read("/v1/customers")
        with pytest.raises(StripeUnreachable, match="left alone"):
            api.read("/v1/customers")
        assert len(stripe.requests) == 3
        api._breaker._closed_at = 0.0
        assert api.read("/v1/customers").data["data"] == []
        assert api.read("/v1/customers").data["data"] == []


def test_refusals_that_say_something_do_not_trip_the_breaker(stripe, api):
    stripe.then(*[refuse(404, "resource_missing")] * 5)
    for _ in range(5):
        with pytest.raises(StripeNotFound):
            api.fetch("customer", "cus_1", "refetch")
    assert api.read("/v1/customers").data["data"] == []


@pytest.mark.fault("F65")
def test_a_429_is_waited_out_with_backoff_counted_by_reason_and_never_ends_in_no_data(stripe, api, no_waiting):
    stripe.then(
        refuse(429, headers={"Stripe-Rate-Limited-Reason": "endpoint-rate"}),
        refuse(429, "lock_timeout"),
        refuse(429),
        refuse(400, "rate_limit"),
        *[refuse(429, headers={"Stripe-Rate-Limited-Reason": "global-concurrency"})] * 3,
        listing([{"id": "cus_1"}]),
    )
    assert api.read("/v1/customers", {}, "backfill").data["data"] == [{"id": "cus_1"}]
    assert api.counts == {
        ("backfill", "/v1/customers"): 8, ("429:endpoint-rate", "/v1/customers"): 1, ("429:lock_timeout", "/v1/customers"): 1,
        ("429:no reason given", "/v1/customers"): 1, ("429:rate_limit", "/v1/customers"): 1,
        ("429:global-concurrency", "/v1/customers"): 3,
    }  # fmt: skip
    assert len(no_waiting) == 7
    assert no_waiting[-1] > no_waiting[0]
    assert len(set(no_waiting)) == 7, "jitter"


@pytest.mark.fault("F65")
def test_retry_after_is_obeyed(stripe, api, no_waiting):
    stripe.then(refuse(429, headers={"Retry-After": "3"}))
    api.read("/v1/customers")
    assert no_waiting == [3.0]


@pytest.mark.fault("F65")
def test_a_429_that_does_not_end_is_given_up_with_its_reason_after_the_patience(stripe):
    stripe.last = refuse(429, headers={"Retry-After": "31", "Stripe-Rate-Limited-Reason": "global-rate"})
    with open_at(stripe.base) as api, pytest.raises(StripeRateLimited, match="global-rate") as caught:
        api.read("/v1/customers")
    assert caught.value.passing


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (refuse(401), StripeKeyRefused, "revoked"),
        (refuse(403, message="... Having the 'rak_product_read' permission would allow ..."), StripePermissionMissing,
         "rak_product_read"),
        (refuse(404, "resource_missing", param="id"), StripeNotFound, "no such object"),
        (refuse(404), StripeBadRequest, "404"),
        (refuse(400, "parameter_unknown", param="expand[0]"), StripeBadRequest, r"parameter_unknown, expand\[0\]"),
        (refuse(402), StripeBadRequest, "402"),
        (reply({}, 302, headers={"Location": "http://127.0.0.1:9/"}), StripeBadRequest, "redirect"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_once_in_our_words_and_not_repeated(stripe, api, answer, error, text):
    stripe.then(answer)
    with pytest.raises(error, match=text) as caught:
        api.read("/v1/products")
    assert len(stripe.requests) == 1
    assert not caught.value.passing


@pytest.mark.fault("F67")
@pytest.mark.fault("S23")
@pytest.mark.parametrize("answer", [refuse(s) for s in (400, 401, 402, 403, 404, 409, 429, 500)] + [reply("jane@acme.com")])
def test_no_error_carries_the_key_the_body_or_stripes_words(stripe, answer, caplog):
    caplog.set_level("DEBUG")
    stripe.last = answer
    with open_at(stripe.base, patience=Patience(attempts=1, throttled_s=0)) as api, pytest.raises(StripeTrouble) as caught:
        api.read("/v1/customers", {"customer": "cus_1"})
    seen, told = caught.value, ""
    while seen is not None:
        told += repr(seen) + repr(vars(seen))
        seen = seen.__context__ or seen.__cause__
    for canary in (KEY, "jane", "secret words"):
        assert canary not in told + caplog.text


@pytest.mark.fault("F68")
def test_the_missing_permission_is_named(stripe, api):
    stripe.then(refuse(403, message="Having the 'rak_coupon_read' permission would allow this request to continue."))
    with pytest.raises(StripePermissionMissing) as caught:
        api.read("/v1/coupons")
    assert caught.value.permission == "rak_coupon_read"


@pytest.mark.fault("S16")
def test_redirects_are_not_followed(stripe, api):
    other = Scripted()
    try:
        for status in (301, 302, 303, 307, 308):
            stripe.then(reply({}, status, headers={"Location": f"{other.base}/v1/customers"}))
            with pytest.raises(StripeBadRequest):
                api.read("/v1/customers")
        assert other.requests == []
    finally:
        other.close()


@pytest.mark.fault("S15")
def test_only_get_can_be_sent(stripe, api):
    import stripe as sdk

    client = api._client
    for act in (
        lambda: client.v1.customers.create({"name": "x"}),
        lambda: client.v1.customers.delete("cus_1"),
        lambda: client.raw_request("post", "/v1/customers", name="x"),
        lambda: client.raw_request("delete", "/v1/customers/cus_1"),
    ):
        with pytest.raises((StripeBadRequest, sdk.StripeError)):
            act()
    assert stripe.requests == []
    assert stripe.connections == 0


@pytest.mark.fault("S15")
def test_no_other_module_can_reach_the_network_to_stripe():
    """Only these modules may import an HTTP client or the SDK, and the transport has one verb."""
    allowed = {"workers/stripe_http.py": {"requests"}, "workers/stripe_api.py": {"stripe"}}
    for folder in ("models", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            names = set()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add((node.module or "").split(".")[0])
            found = names & {"requests", "stripe", "httpx", "urllib3", "aiohttp"}
            assert found <= allowed.get(str(path.relative_to(ROOT)), set()), path
    tree = ast.parse((ROOT / "workers/stripe_http.py").read_text())
    verbs = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not verbs & {"post", "put", "patch", "delete", "request"}


@pytest.mark.fault("S15")
@pytest.mark.fault("S17")
@pytest.mark.parametrize("path", ["@evil.example/v1/customers", "//evil.example/v1", "https://evil.example/v1", ".evil/v1"])
def test_no_path_leads_to_another_host(stripe, api, path):
    with pytest.raises(StripeBadRequest):
        api.read(path)
    assert stripe.requests == []


@pytest.mark.fault("S17")
@pytest.mark.parametrize("base", ["http://api.stripe.com", "http://169.254.169.254", "ftp://x", "https://u:p@h", "file:///etc"])
def test_a_base_that_is_neither_https_nor_loopback_is_refused(base):
    with pytest.raises(BadInput):
        open_at(base)


@pytest.mark.fault("S16")
def test_proxies_and_netrc_of_the_environment_are_ignored(stripe, api, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    api.read("/v1/customers")
    assert stripe.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.fault("S16")
def test_tls_is_verified_with_the_bundle_that_ships_with_the_sdk(api):
    import stripe as sdk

    assert api._courier.transport._verify == sdk.ca_bundle_path
    assert Path(sdk.ca_bundle_path).exists()


def test_an_endless_answer_is_cut_off(stripe, monkeypatch):
    monkeypatch.setattr(stripe_http, "LARGEST_ANSWER", 1000)
    stripe.last = reply("x" * 2000)
    with open_at(stripe.base) as api, pytest.raises(StripeUnreachable, match="too large"):
        api.read("/v1/customers")


def test_connections_are_reused_within_a_thread(stripe, api):
    for _ in range(5):
        api.read("/v1/customers")
    assert stripe.connections == 1


def test_waiting_ends_when_the_process_stops(stripe):
    stop = threading.Event()
    stop.set()
    with open_at(stripe.base, stop=stop) as api, pytest.raises(StripeStopped):
        api.read("/v1/customers")
    assert stripe.requests == []


def test_the_limiter_is_asked_before_each_request_and_waited_for(stripe):
    asked, waits = [], [0.2, 0.1, 0.0, 0.0]
    limiter = SimpleNamespace(take=lambda endpoint: asked.append(endpoint) or waits.pop(0), close=lambda: None)
    stripe.then(refuse(500))
    with open_at(stripe.base, limiter=limiter) as api:
        api.read("/v1/subscriptions/sub_1")
    assert asked == ["/v1/subscriptions/{id}"] * 4
    assert len(stripe.requests) == 2


# --- lists -------------------------------------------------------------------------------------------


def test_pages_follow_the_cursor_to_the_end(stripe, api):
    first = [{"id": "a", "created": 3}, {"id": "b", "created": 2}]
    stripe.then(listing(first, more=True), listing([{"id": "c", "created": 1}]))
    pages = list(api.pages("/v1/subscriptions", {"status": "all"}, "backfill"))
    assert [row["id"] for page in pages for row in page.data["data"]] == ["a", "b", "c"]
    assert [dict(request["query"]) for request in stripe.requests] == [
        {"limit": "100", "status": "all"}, {"limit": "100", "status": "all", "starting_after": "b"},
    ]  # fmt: skip


@pytest.mark.fault("F72")
@pytest.mark.parametrize("status", [400, 404])
def test_a_cursor_whose_object_was_deleted_goes_on_at_its_second(stripe, api, status):
    stripe.then(refuse(status, "resource_missing", param="starting_after"), listing([{"id": "x"}]))
    cursor = Cursor("cus_gone", 1000)
    read = api.page("/v1/customers", {"created": {"gte": 5, "lt": 2000}}, "backfill", cursor)
    assert read.data["data"] == [{"id": "x"}]
    assert dict(stripe.requests[1]["query"]) == {"limit": "100", "created[gte]": "5", "created[lte]": "1000"}


def test_a_page_that_says_more_but_shows_nothing_ends_the_list(stripe, api):
    stripe.last = listing([], more=True)
    assert len(list(api.pages("/v1/customers", {}, "backfill"))) == 1


# --- objects -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path", "expands"),
    [
        ("customer", "/v1/customers/x_1", ["discount.source.coupon"]),
        ("subscription", "/v1/subscriptions/x_1", ["discounts.source.coupon", "items.data.discounts", "items.data.price.tiers",
                                                   "items.data.price.currency_options"]),
        ("invoice", "/v1/invoices/x_1", ["payments.data.payment.payment_intent"]),
        ("price", "/v1/prices/x_1", ["tiers", "currency_options"]),
        ("product", "/v1/products/x_1", []),
        ("coupon", "/v1/coupons/x_1", ["applies_to", "currency_options"]),
    ],
)  # fmt: skip
def test_an_object_is_fetched_with_what_the_rules_need_at_most_four_deep(stripe, api, kind, path, expands):
    stripe.then(reply({"id": "x_1"}))
    assert api.fetch(kind, "x_1", "refetch").data == {"id": "x_1"}
    assert stripe.requests[0]["path"] == path
    assert [value for _, value in stripe.requests[0]["query"]] == expands
    assert all(name.count(".") <= 3 for name in expands)


@pytest.mark.fault("F24")
def test_truncated_items_are_paged_until_the_list_is_whole(stripe, api):
    def item(number):
        return {"id": f"si_{number}"}

    stripe.then(
        reply({"id": "sub_1", "items": {"data": [item(0)], "has_more": True}}, date=DATE),
        listing([item(n) for n in range(100)], more=True, date=DATE + 1),
        listing([item(n) for n in range(99, 137)], date=DATE + 9),
    )
    read = api.fetch("subscription", "sub_1", "refetch")
    assert [row["id"] for row in read.data["items"]["data"]] == [f"si_{n}" for n in range(137)]
    assert read.data["items"]["has_more"] is False
    assert read.lo_ms < DATE * 1000
    assert read.hi_ms == (DATE + 10) * 1000
    assert dict(stripe.requests[1]["query"])["subscription"] == "sub_1"
    assert "has_more': True" not in str(read.data)


@pytest.mark.fault("F24")
def test_truncated_payments_are_paged_and_lines_are_left_out(stripe, api):
    stripe.then(
        reply({"id": "in_1", "lines": {"data": [], "has_more": True}, "payments": {"data": [], "has_more": True}}),
        listing([{"id": "inpay_1"}], date=None),
    )
    read = api.fetch("invoice", "in_1", "failure_reason")
    assert read.data == {"id": "in_1", "payments": {"data": [{"id": "inpay_1"}], "has_more": False}}
    assert read.has_date is False, "one page without a Date leaves the whole without bounds"


@pytest.mark.parametrize("bad", ["", ".", "..", "a\nb", "x" * 600])
def test_ids_that_cannot_stand_in_a_path_are_refused(stripe, api, bad):
    with pytest.raises(BadInput):
        api.fetch("coupon", bad, "reference")
    assert stripe.requests == []


def test_ids_chosen_by_the_account_are_escaped(stripe, api):
    stripe.then(reply({"id": "x"}))
    api.fetch("coupon", "50% off/../é?", "reference")
    assert stripe.requests[0]["path"] == "/v1/coupons/50%25%20off%2F..%2F%C3%A9%3F"


@pytest.mark.fault("F68")
def test_an_expansion_the_key_may_not_see_is_left_out_from_then_on(stripe, api):
    missing = refuse(403, message="Having the 'rak_coupon_read' permission would allow this request to continue.")
    stripe.then(missing, reply({"id": "sub_1"}), reply({"id": "sub_2"}))
    api.fetch("subscription", "sub_1", "refetch")
    api.fetch("subscription", "sub_2", "refetch")
    asked = [[value for _, value in request["query"]] for request in stripe.requests]
    assert "discounts.source.coupon" in asked[0]
    assert "discounts.source.coupon" not in asked[1]
    assert "discounts" in asked[1]
    assert asked[2] == asked[1]
    assert api.missing == {"rak_coupon_read"}


@pytest.mark.fault("F68")
def test_an_unnamed_refusal_of_the_endpoint_itself_is_told_and_keeps_the_expansions_of_others(stripe, api):
    stripe.then(*[refuse(403)] * 3)
    with pytest.raises(StripePermissionMissing):
        api.fetch("subscription", "sub_1", "refetch")
    assert len(stripe.requests) == 3
    stripe.then(reply({"id": "co_1"}))
    api.fetch("coupon", "co_1", "reference")
    assert [value for _, value in stripe.requests[-1]["query"]] == ["applies_to", "currency_options"]
    assert api.missing == set()


def test_several_threads_read_at_once_without_mixing_answers(stripe, api):
    stripe.last = lambda handler: reply({"id": handler.path.rsplit("/", 1)[1].split("?")[0]})(handler)
    wrong, started = [], time.monotonic()

    def read_some(name):
        for number in range(25):
            object_id = f"prod_{name}_{number}"
            if api.fetch("product", object_id, "reference").data["id"] != object_id:
                wrong.append(object_id)

    threads = [threading.Thread(target=read_some, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert sum(api.counts.values()) == 100
    assert time.monotonic() > started
