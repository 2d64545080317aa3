"""What the fake refuses or breaks on order: rate limits, locks, slow and broken answers, stale reads (STRIPE.md 5.2, 10.13 and
10.14)."""

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.fake_stripe import Clock, FakeStripe, Limits
from tests.fake_stripe.api import Request

pytestmark = pytest.mark.timeout(60)
REASON = "Stripe-Rate-Limited-Reason"


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(1_790_000_000))


@pytest.fixture
def served() -> Iterator[FakeStripe]:
    with FakeStripe(clock=Clock(1_790_000_000)) as fake:
        yield fake


def ask(fake: FakeStripe, path: str, timeout: float = 20) -> tuple[int, dict[str, str], bytes]:
    """One request over HTTP."""
    connection = http.client.HTTPConnection(*fake.server.address, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {fake.api_key}"})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "reason", ["global-rate", "endpoint-rate", "global-concurrency", "endpoint-concurrency", "resource-specific"]
)
def test_a_429_names_its_reason_and_says_nothing_of_when_to_come_back(fake: FakeStripe, reason: str) -> None:
    fake.faults.order("rate_limit", reason=reason)
    answer = fake.request("/v1/customers")
    assert (answer.status, answer.headers[REASON]) == (429, reason)
    assert not {"Retry-After", "Stripe-Should-Retry"} & set(answer.headers)
    assert answer.json()["error"]["code"] == "rate_limit"
    assert fake.request("/v1/customers").status == 200


def test_a_locked_object_is_429_with_a_code_of_its_own_and_no_reason(fake: FakeStripe) -> None:
    fake.faults.order("lock_timeout", route="/v1/customers/:id")
    answer = fake.request("/v1/customers/cus_1")
    assert (answer.status, answer.json()["error"]["code"], REASON in answer.headers) == (429, "lock_timeout", False)


def test_buckets_refill_with_time_and_every_endpoint_has_its_own() -> None:
    now = [0.0]
    fake = FakeStripe(limits=Limits(10, 4, clock=lambda: now[0]))
    told = [fake.request("/v1/customers").headers.get(REASON) for _ in range(5)]
    assert told == [None] * 4 + ["endpoint-rate"]
    assert fake.request("/v1/customers/cus_a").status == 404  # another endpoint, and all its ids are one
    for _ in range(3):
        assert fake.request("/v1/customers/cus_b").status == 404
    assert fake.request("/v1/customers/cus_c").headers[REASON] == "endpoint-rate"
    assert fake.request("/v1/invoices").headers[REASON] == "global-rate"  # ten requests, also those that were refused
    assert fake.limits.refused == {"endpoint-rate": 2, "global-rate": 1}
    now[0] += 0.5
    assert [fake.request("/v1/customers").status for _ in range(3)] == [200, 200, 429]
    now[0] += 60
    assert [fake.request("/v1/customers").status for _ in range(5)] == [200] * 4 + [429]


def test_stripes_own_figures() -> None:
    assert (Limits.live().per_second, Limits.live().per_endpoint) == (100, 25)
    assert Limits.sandbox().per_second == 25


def test_too_many_at_once_are_refused_and_expanding_lists_first(served: FakeStripe) -> None:
    """[verify] from which share of the concurrency on expanding lists are shed."""
    served.limits.concurrency = 5
    others = [Request("GET", "/v1/customers", {})] * 5
    for one in others[:4]:
        served.api.enter(one)  # four are running
    status, headers, _ = ask(served, "/v1/customers?expand[]=data.subscriptions")
    assert (status, headers[REASON]) == (429, "global-concurrency")
    assert ask(served, "/v1/customers")[0] == 200
    served.api.enter(others[4])
    assert ask(served, "/v1/invoices")[1][REASON] == "global-concurrency"
    served.limits.concurrency, served.limits.endpoint_concurrency = None, 5
    assert ask(served, "/v1/invoices")[0] == 200
    assert ask(served, "/v1/customers")[1][REASON] == "endpoint-concurrency"
    for one in others:
        served.api.leave(one)
    assert ask(served, "/v1/customers")[0] == 200
    assert served.limits.refused == {"global-concurrency": 2, "endpoint-concurrency": 1}


@pytest.mark.parametrize("status", [500, 502, 503])
def test_errors_come_by_count_by_rate_and_by_route(fake: FakeStripe, status: int) -> None:
    fake.faults.order("status", status=status, route="/v1/invoices", count=2, skip=1)
    assert [fake.request("/v1/invoices").status for _ in range(5)] == [200, status, status, 200, 200]
    assert fake.request("/v1/customers").status == 200
    body = fake.request("/v1/customers").json()
    assert body["object"] == "list"
    order = fake.faults.order("status", status=status, rate=0.3, count=None)
    found = [fake.request("/v1/customers").status for _ in range(200)]
    assert 30 <= order.hits == found.count(status) <= 90
    fake.faults.clear()
    assert fake.request("/v1/customers").status == 200


def test_what_chance_hits_is_the_same_for_a_seed() -> None:
    def hits(seed: int) -> list[int]:
        fake = FakeStripe(seed=seed)
        fake.faults.order("status", rate=0.5, count=None)
        return [fake.request("/v1/customers").status for _ in range(40)]

    assert hits(3) == hits(3) != hits(4)


def test_a_slow_answer_is_whole_and_late_and_a_hanging_one_never_comes(served: FakeStripe) -> None:
    served.faults.order("slow", seconds=0.3)
    began = time.monotonic()
    status, _, body = ask(served, "/v1/customers")
    assert (status, body[:1], time.monotonic() - began >= 0.3) == (200, b"{", True)
    served.faults.order("hang", seconds=30)
    with pytest.raises(TimeoutError):
        ask(served, "/v1/customers", timeout=0.2)
    assert ask(served, "/v1/customers")[0] == 200


def test_reset_and_truncated_answers_break_on_the_wire(served: FakeStripe) -> None:
    served.change.create_customer("ann@acme.com")
    served.faults.order("reset")
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        ask(served, "/v1/customers")
    served.faults.order("truncate", route="/v1/customers")
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(served, "/v1/customers")
    assert cut.value.partial.startswith(b'{"object":"list"')
    assert ask(served, "/v1/customers")[0] == 200


def test_a_404_may_be_a_page_of_html(served: FakeStripe) -> None:
    served.faults.order("html", route="/v1/customers/:id")
    status, headers, body = ask(served, "/v1/customers/cus_1")
    assert (status, headers["Content-Type"], body[:6]) == (404, "text/html", b"<html>")


def test_a_connection_is_kept_and_takes_many_requests(served: FakeStripe) -> None:
    with socket.create_connection(served.server.address, 10) as client:
        for _ in range(3):
            client.sendall(f"GET /v1/prices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.api_key}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head or not head.endswith(b"}"):
                head += client.recv(65_536)
            assert head.startswith(b"HTTP/1.1 200 OK")
    assert served.reads["/v1/prices"] == 3


def test_stale_reads_come_by_rate_and_show_one_moment_throughout(fake: FakeStripe) -> None:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    subscription = fake.change.subscribe(fake.change.create_customer("ann@acme.com"), price, 2)
    fake.clock.advance(100)
    fake.change.fail_payment(subscription)
    fake.change.change_quantity(subscription, 9)
    fake.faults.stale_rate = 0.5
    path, expand = f"/v1/subscriptions/{subscription.id}", {"expand": ["latest_invoice"]}
    found = [fake.get(path, expand) for _ in range(60)]
    shown = {(s["items"]["data"][0]["quantity"], s["status"], s["latest_invoice"]["status"]) for s in found}
    assert shown == {(2, "active", "paid"), (9, "past_due", "open")}
    assert 15 <= sum(s["status"] == "active" for s in found) <= 45
    fake.faults.stale_rate = 1.0
    assert [v["status"] for v in fake.get("/v1/invoices")["data"]] == ["paid"]
    assert fake.get("/v1/invoices", {"status": "open"})["data"] == []
    fake.change.delete_customer(subscription.customer)
    assert fake.get(f"/v1/customers/{subscription.customer}")["email"] == "ann@acme.com"
    fake.clock.advance(11)
    assert fake.get(f"/v1/customers/{subscription.customer}")["deleted"] is True
    fake.faults.clear()
    assert fake.get(path)["status"] == "canceled"
