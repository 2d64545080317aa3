"""The rarer parts of the fake: connecting by OAuth, thin events, Connect endpoints, drafts held back; and
that the shapes of every version mean the same to the product's own rules."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import stripe

from tests import fake_stripe
from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.api import Request
from tests.fake_stripe.generate import generate
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import company
from tests.fake_stripe.versions import RENDERED
from webhook_app.explain import explain

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(1_790_000_000))


def test_every_version_means_the_same_to_the_rules(fake: FakeStripe) -> None:
    generator = generate(fake.state, seed=3)
    ours = [{"id": f"c{n}", "name": one.name, "domain": one.domain} for n, one in enumerate(generator.companies)]
    frame = {
        "now": fake.clock.now(),
        "our_customers": ours,
        "fx": {"date": "2026-09-20", "usd_per": {"EUR": "1.1", "GBP": "1.3", "JPY": "0.0066"}},
    }
    told = {version: explain(frame | fake.current_objects(version)) for version in RENDERED}
    newest = told[RENDERED[-1]]
    assert newest["flags"] == []
    assert {c["payment_status"] for c in newest["customers"]} == {"paid", "failing", "past_due", "none"}
    assert not [flag for c in newest["customers"] for flag in c["flags"] if flag.startswith("mrr_unknown")]
    for version in RENDERED:
        assert told[version] == newest, version


def test_a_life_goes_on_and_every_event_loads_in_the_sdk(fake: FakeStripe) -> None:
    generator = generate(fake.state, seed=3)
    life = Life(fake, generator, [company(5_000 + n, generator.rng) for n in range(20)], seed=4)
    deliveries = fake.deliver_to(lambda body, headers: bool(json.loads(body)) and 200, auto=False)
    told, sent = [], 0
    for _ in range(400):
        told.append(life.tick())
        sent += deliveries.deliver_due()
    assert len({line.split(" ")[-1] for line in told}) > 5
    assert sent == len(deliveries.acked) > 400
    for event in list(fake.state.of("event"))[::20]:
        body = next(iter(event.bodies.values()))
        assert (
            stripe.Event.construct_from(json.loads(body), None).data.object.object
            == json.loads(body)["data"]["object"]["object"]
        )


def test_every_turn_that_a_life_can_take_is_taken(fake: FakeStripe) -> None:
    generator = generate(fake.state, seed=3)
    life = Life(fake, generator, [company(5_000 + n, generator.rng) for n in range(40)], seed=4)
    left = dict.fromkeys(act.__name__ for act in life.acts)
    for _ in range(20):
        for name in list(left):
            if getattr(life, name)() is not None:
                del left[name]
        for _ in range(5):
            life.tick()
    assert list(left) == []
    told = {event.type for event in fake.state.of("event")}
    assert {"customer.deleted", "price.updated", "product.updated", "invoice.voided", "invoice.marked_uncollectible",
            "invoice.deleted", "customer.subscription.paused", "customer.subscription.resumed",
            "customer.discount.created", "customer.discount.deleted"} <= told  # fmt: skip


def test_two_endpoints_get_the_same_event_in_their_own_version(fake: FakeStripe) -> None:
    got: list[dict] = []
    for version in ("2020-08-27", fake.version):
        fake.deliver_to(lambda body, headers: got.append(json.loads(body)) or 200, auto=False, version=version)
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    fake.change.subscribe(fake.change.create_customer("a@acme.com"), price)
    for deliveries in fake.deliveries:
        deliveries.deliver_due()
    made = [e for e in got if e["type"] == "customer.subscription.created"]
    assert made[0]["id"] == made[1]["id"]
    assert ["plan" in e["data"]["object"] for e in made] == [True, False]


def test_a_thin_event_names_only_where_to_look(fake: FakeStripe) -> None:
    got: list[dict] = []
    fake.deliver_to(lambda body, headers: got.append(json.loads(body)) or 200, auto=False).endpoint.thin = True
    customer = fake.change.create_customer("a@acme.com")
    fake.deliveries[0].deliver_due()
    [thin] = got
    assert (thin["object"], thin["type"]) == ("v2.core.event", "v1.customer.created")
    assert thin["related_object"] == {"id": customer.id, "type": "customer", "url": f"/v1/customers/{customer.id}"}
    assert "data" not in thin
    snapshot = fake.get("/v2/core/events/" + thin["id"])["snapshot_event"]
    assert fake.get(f"/v1/events/{snapshot}")["type"] == "customer.created"


def test_a_connect_endpoint_names_the_account(fake: FakeStripe) -> None:
    got: list[dict] = []
    fake.deliver_to(lambda body, headers: got.append(json.loads(body)) or 200, auto=False).endpoint.account = fake.account_id
    fake.change.create_customer("a@acme.com")
    fake.deliveries[0].deliver_due()
    assert got[0]["account"] == fake.account_id


def test_a_disabled_endpoint_gets_nothing_while_the_api_shows_the_change(fake: FakeStripe) -> None:
    deliveries = fake.deliver_to(lambda body, headers: 200, auto=False)
    deliveries.endpoint.disabled = True
    fake.change.create_customer("a@acme.com")
    assert deliveries.pending() == []
    assert len(fake.get("/v1/events")["data"]) == 1


@pytest.mark.parametrize(("types", "hours"), [(None, 72), (frozenset({"invoice.paid"}), 1)])
def test_only_an_endpoint_that_asks_for_invoice_created_holds_drafts_back(
    fake: FakeStripe, types: frozenset | None, hours: int
) -> None:
    deliveries = fake.deliver_to(lambda body, headers: 500, auto=False, types=types)
    invoice = fake.change.create_invoice(fake.change.create_customer("a@acme.com"), 5000, finalize=False)
    deliveries.deliver_due()
    fake.clock.advance(hours * 3600 - 1)
    assert fake.finalize_due() == 0
    fake.clock.advance(1)
    assert fake.finalize_due() == 1
    assert invoice.status == "open"


def test_new_heads_and_flips_between_pages_show_as_stripe_would_show_them(fake: FakeStripe) -> None:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    subscriptions = []
    for n in range(6):
        subscriptions.append(fake.change.subscribe(fake.change.create_customer(f"a@company{n}.com"), price))
        fake.clock.advance(1)
    first = fake.get("/v1/subscriptions", {"status": "active", "limit": 3})["data"]
    fake.change.set_status(subscriptions[0], "past_due")
    fake.change.subscribe(fake.change.create_customer("new@late.com"), price)
    rest = fake.get("/v1/subscriptions", {"status": "active", "limit": 100, "starting_after": first[-1]["id"]})["data"]
    seen = {s["id"] for s in first + rest}
    assert seen == {s.id for s in subscriptions[1:]}
    assert len(fake.get("/v1/subscriptions", {"status": "all", "limit": 100})["data"]) == 7


def post(fake: FakeStripe, path: str, body: str, key: str) -> tuple[int, dict]:
    answer = fake.api.handle(Request("POST", path, {"authorization": f"Bearer {key}"}, body.encode()))
    return answer.status, answer.json()


def test_an_oauth_code_works_once_and_its_token_reads_until_deauthorized(fake: FakeStripe) -> None:
    oauth = fake.api.oauth
    query = f"response_type=code&client_id={oauth.client_id}&scope=read_only&state=abc&redirect_uri=https://us.example/back"
    sent = fake.api.handle(Request("GET", f"/oauth/authorize?{query}", {}))
    back = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
    assert (sent.status, back["state"], back["scope"]) == (302, "abc", "read_only")
    asked = f"grant_type=authorization_code&code={back['code']}"
    status, token = post(fake, "/oauth/token", asked, oauth.platform_key)
    assert (status, token["stripe_user_id"], token["livemode"]) == (200, fake.account_id, True)
    assert fake.request("/v1/customers", key=token["access_token"]).status == 200
    assert post(fake, "/oauth/token", asked, oauth.platform_key)[1]["error"] == "invalid_grant"
    assert post(fake, "/oauth/token", asked, "sk_live_wrong")[0] == 401
    again = post(fake, "/oauth/token", f"grant_type=refresh_token&refresh_token={token['refresh_token']}", oauth.platform_key)
    assert again[0] == 200
    ended = post(
        fake, "/oauth/deauthorize", f"client_id={oauth.client_id}&stripe_user_id={fake.account_id}", oauth.platform_key
    )
    assert ended == (200, {"stripe_user_id": fake.account_id})
    assert fake.request("/v1/customers", key=token["access_token"]).status == 401


def test_an_oauth_code_expires(fake: FakeStripe) -> None:
    """[verify] after five minutes."""
    oauth = fake.api.oauth
    sent = fake.api.handle(Request("GET", f"/oauth/authorize?response_type=code&client_id={oauth.client_id}", {}))
    code = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))["code"]
    fake.clock.advance(301)
    assert (
        post(fake, "/oauth/token", f"grant_type=authorization_code&code={code}", oauth.platform_key)[1]["error"]
        == "invalid_grant"
    )


def test_nothing_can_be_written_and_attempts_are_counted(fake: FakeStripe) -> None:
    assert post(fake, "/v1/customers", "email=a@acme.com", fake.api_key)[0] == 404
    assert fake.reads.writes == 1


def test_the_readme_names_tests_that_exist() -> None:
    readme = (Path(fake_stripe.__file__).parent / "README.md").read_text()
    named = 0
    for line in readme[readme.index("| STRIPE.md 10 |") : readme.index("## What it assumes")].splitlines()[2:]:
        shown = line.rpartition(" | ")[2]
        for file, names in re.findall(r"(?:^|; )([a-z, ]+): ([^;]*)", shown):
            found = [path.read_text() for one in file.split(", ") if (path := HERE / f"test_fake_stripe_{one}.py").exists()]
            assert found, line
            for name in re.findall(r"`([a-z0-9_]+)…?`", names):
                assert any(f"def test_{name}" in text for text in found), (file, name)
                named += 1
    assert named > 60
