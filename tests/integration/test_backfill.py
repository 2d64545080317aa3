"""Backfill of a generated account from the fake Stripe, on both databases: STRIPE 5.4; FAULTS F60, F65-F69, F72, F73, F86."""

import random
import threading
from collections.abc import Iterator

import pytest

from models.settings import AppSettings
from models.store import bulk, runs
from models.store.connections import load_connection
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.generate import Shape
from tests.fake_stripe.keys import ALL_READS
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, backfill, fill, lifted, on_first, rows
from tests.support.pipeline import Pipeline, expected_figures
from workers import backfill_stages, backfill_writer, walk_readers, walks
from workers.stripe_api import Patience


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        yield fake


@pytest.fixture
def pipeline(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, lifted(settings), keyring, fake)
    yield line
    line.close()


def permit(fake: FakeStripe, *without: str) -> None:
    fake.keys.find(f"Bearer {fake.api_key}").permissions = ALL_READS - set(without)


def record_of(line: Pipeline):
    with session_scope(line.database) as connection:
        return load_connection(connection, line.record.id)


@pytest.mark.fault("I3")
def test_a_backfill_gives_every_customer_what_explain_gives(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    told: list[tuple[str, int, int | None]] = []
    result = backfill(pipeline, progress=lambda *step: told.append(step))
    assert (result.state, result.error, result.exit_code) == ("complete", None, 0)
    assert pipeline.stored() == pipeline.expected()
    counts = result.counts
    assert counts["matched"] + counts["unmatched"] + counts["skipped"] == counts["stripe_customers"] == 59
    assert {word: sum(found.values()) for word, found in counts["reasons"].items()} == {
        word: counts[word] for word in ("matched", "unmatched", "skipped")
    }
    assert counts["ambiguous"] > 0
    assert told[-1] == ("recomputing", 59, 59)
    assert result.objects > 250
    assert result.to_json()["matched"] == counts["matched"]
    assert (record_of(pipeline).backfilled_at, record_of(pipeline).caught_up_to) == (START - 1, START - 1)
    ((stored, calls, objects),) = rows(pipeline, "SELECT counts, calls, objects FROM sync_runs")
    assert '"matched"' in stored
    assert (calls, objects) == (result.calls, result.objects)
    assert result.calls == fake.reads.total
    counted = dict(rows(pipeline, "SELECT name, n FROM counters WHERE name LIKE ?", "stripe_calls:%"))
    assert sum(counted.values()) == result.calls
    assert set(counted) >= {f"stripe_calls:{pipeline.record.id}:{purpose}" for purpose in ("backfill", "probe")}


def test_the_first_import_is_no_news_and_a_second_one_changes_nothing(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    first = backfill(pipeline)
    kinds = {kind for (kind,) in rows(pipeline, "SELECT DISTINCT kind FROM customer_changes WHERE field = 'mrr'")}
    assert kinds == {"baseline"}
    before = rows(pipeline, "SELECT count(*) FROM customer_changes"), pipeline.stored()
    fake.clock.advance(3600)
    fake.reads.reset()
    second = backfill(pipeline)
    assert second.state == "complete"
    assert (rows(pipeline, "SELECT count(*) FROM customer_changes"), pipeline.stored()) == before
    assert fake.reads["/v1/subscriptions/:id"] + fake.reads["/v1/customers/:id"] == 0, "what was listed isn't read again"
    assert second.calls <= first.calls
    assert rows(pipeline, "SELECT count(*) FROM sync_seen") == [(0,)]


def test_an_empty_account_is_complete_with_zero_counts(pipeline: Pipeline, fake: FakeStripe) -> None:
    result = backfill(pipeline)
    assert (result.state, result.objects) == ("complete", 0)
    assert {name: result.counts[name] for name in ("stripe_customers", "matched", "unmatched", "skipped", "ambiguous")} == {
        "stripe_customers": 0, "matched": 0, "unmatched": 0, "skipped": 0, "ambiguous": 0,
    }  # fmt: skip


@pytest.mark.fault("F24")
@pytest.mark.parametrize("count", [20, 21, 137])
def test_truncated_items_are_read_to_the_end(pipeline: Pipeline, fake: FakeStripe, count: int) -> None:
    pipeline.add_customers("acme.com")
    product = fake.change.create_product("Seats")
    prices = [fake.change.create_price(product, 100 + n) for n in range(count)]
    subscription = fake.change.subscribe(fake.change.create_customer("ap@acme.com"), prices[0])
    for price in prices[1:]:
        fake.change.add_item(subscription, price)
    fake.clock.advance(60)
    assert backfill(pipeline).state == "complete"
    assert pipeline.stored() == pipeline.expected()
    assert rows(pipeline, "SELECT count(*) FROM stripe_subscription_items") == [(count,)]


@pytest.mark.fault("F27")
@pytest.mark.parametrize("scope", ["products", "lookup_keys"])
def test_with_a_narrow_scope_older_invoices_are_found_too(pipeline: Pipeline, fake: FakeStripe, scope: str) -> None:
    made = fill(fake, pipeline)
    price = next(price for price in fake.state.of("price") if price.lookup_key)
    values = [price.product] if scope == "products" else [price.lookup_key]
    import msgspec

    settings = msgspec.json.encode({"livemode": True, "scope": {"kind": scope, "values": values}}).decode()
    with session_scope(pipeline.database, write=True) as connection:
        bulk.run(connection, "UPDATE connections SET settings = ?", [settings])
    assert made
    assert backfill(pipeline).state == "complete"
    assert pipeline.stored() == expected_figures(
        pipeline.database, fake, fake.clock.now(), scope={"kind": scope, "values": values}
    )


def test_older_invoices_come_in_bulk_where_that_costs_fewer_reads(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline, Shape(ours=30, unmatched=0, personal=0, no_email=0, collisions=0, subdomains=0))
    domains = [f"old{n}.com" for n in range(120)]
    pipeline.add_customers(*domains)
    with fake.change.silently():
        for domain in domains:  # one-off invoices, paid long ago: no list but the old ones shows them
            invoice = fake.change.create_invoice(fake.change.create_customer(f"ap@{domain}"), 5000)
            fake.change.pay(invoice)
    fake.clock.advance(40 * 86400)
    result = backfill(pipeline)
    assert result.state == "complete"
    assert pipeline.stored() == pipeline.expected()
    counted = dict(rows(pipeline, "SELECT name, n FROM counters"))
    assert counted.get(f"stripe_calls:{pipeline.record.id}:older_invoices", 0) == 0
    assert result.calls < 60


# --- what a walk doesn't show ------------------------------------------------------------------------


def test_what_changed_without_an_event_is_found_by_the_next_backfill(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    backfill(pipeline)
    change, rng = fake.change, random.Random(5)
    fake.clock.advance(50 * 86400)
    with change.silently():
        for customer in rng.sample([*fake.state.of("customer")], 6):
            change.delete_customer(customer)
        for invoice in [i for i in fake.state.of("invoice") if i.status == "open"][:6]:
            rng.choice([change.pay, change.void, change.mark_uncollectible])(invoice)
        change.rename_product(next(iter(fake.state.of("product"))), "New name")
    fake.clock.advance(60)
    assert backfill(pipeline).state == "complete"
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F69")
def test_a_404_is_believed_the_second_time_only(pipeline: Pipeline, fake: FakeStripe) -> None:
    customer = fake.change.create_customer("ap@acme.com")
    draft = fake.change.create_invoice(customer, 100, finalize=False)
    pipeline.add_customers("acme.com")
    fake.clock.advance(60)
    backfill(pipeline)
    fake.clock.advance(40 * 86400)
    with fake.change.silently():
        fake.change.delete_draft(draft)
    kinds = []
    for _ in range(3):
        assert backfill(pipeline).state == "complete"
        kinds.append(rows(pipeline, "SELECT kind, final FROM stripe_invoices"))
        fake.clock.advance(61)
    assert [found[0][0] for found in kinds] == ["read", "tombstone", "tombstone"]
    assert rows(pipeline, "SELECT count(*) FROM sync_log WHERE stripe_id = ?", draft.id) == [(1,)]


@pytest.mark.fault("F86")
@pytest.mark.fault("F69")
def test_a_key_that_suddenly_shows_nothing_fails_the_run_and_deletes_nothing(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    backfill(pipeline)
    before = pipeline.stored()
    fake.keys.find(f"Bearer {fake.api_key}").livemode = False  # a wrong-mode key sees an empty account
    fake.clock.advance(3600)
    result = backfill(pipeline)
    assert (result.state, result.exit_code) == ("failed", 1)
    assert "lists no customer while 59 are known" in str(result.error)
    assert pipeline.stored() == before


# --- racing with life --------------------------------------------------------------------------------


@pytest.mark.fault("F72")
@pytest.mark.fault("F73")
@pytest.mark.parametrize("seed", range(3))
def test_events_that_race_the_pages_lose_nothing(
    pipeline: Pipeline, fake: FakeStripe, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fill(fake, pipeline, seed=seed)
    assert made
    fake.deliver_to(lambda body, headers: 200, auto=False)
    rng, sent = random.Random(seed), [0]
    monkeypatch.setattr(backfill_stages, "BATCH", 1)

    def live(*_step: object) -> None:
        act(fake, rng)
        fake.clock.advance(rng.choice([0, 0, 1, 3]))
        waiting = fake.deliveries[0].pending()
        bodies = [fake.deliveries[0].signed(one.event_id)[0] for one in waiting[sent[0] :]]
        if rng.random() < 0.6:
            sent[0] = len(waiting)
            pipeline.receive(bodies)
        if rng.random() < 0.5:
            pipeline.drain(0.2)

    assert backfill(pipeline, progress=live).state == "complete"
    waiting = fake.deliveries[0].pending()
    pipeline.receive([fake.deliveries[0].signed(one.event_id)[0] for one in waiting[sent[0] :]])
    fake.clock.advance(5)
    pipeline.drain_all()
    assert pipeline.stored() == pipeline.expected()


def act(fake: FakeStripe, rng: random.Random) -> None:
    """One change of somebody's subscription, customer or invoice."""
    change = fake.change
    paying = (s for s in fake.state.of("subscription") if s.status in ("active", "past_due"))
    alive = [s for s in paying if s.customer not in fake.state.deleted]
    subscription = rng.choice(alive)
    what = rng.choice(["quantity", "cancel", "fail", "recover", "delete", "new"])
    if what == "quantity":
        change.change_quantity(subscription, rng.randint(1, 9))
    elif what == "cancel":
        change.cancel(subscription)
    elif what == "fail":
        change.fail_payment(subscription)
    elif what == "recover" and subscription.status == "past_due":
        change.recover(subscription)
    elif what == "delete" and rng.random() < 0.3:
        change.delete_customer(subscription.customer)
    elif what == "new":
        price = next(price for price in fake.state.of("price") if price.active and price.type == "recurring")
        change.subscribe(change.create_customer(f"new@stranger{rng.randrange(99)}.com"), price)


@pytest.mark.fault("F72")
def test_a_cursor_whose_object_is_deleted_while_it_is_walked_loses_nobody(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake.change.silently():
        for number in range(250):
            fake.change.create_customer(f"ap@firm{number}.com")
            fake.clock.advance(60 if number % 3 else 0)
    pipeline.add_customers(*[f"firm{n}.com" for n in range(250)])
    newest = sorted(fake.state.of("customer"), key=lambda c: (c.created, c.seq), reverse=True)
    page = fake.api.handle

    def handle(request):  # the object a page ended with is deleted before the next page is asked for
        if "starting_after=" + newest[99].id in request.target and newest[99].id not in fake.state.deleted:
            with fake.change.silently():
                fake.change.delete_customer(newest[99])
        return page(request)

    monkeypatch.setattr(fake.server, "_answer", handle)
    result = backfill(pipeline)
    assert result.state == "complete"
    assert newest[99].id in fake.state.deleted, "the test deleted the cursor's object"
    assert result.counts["stripe_customers"] in (249, 250)
    known = {key for (key,) in rows(pipeline, "SELECT id FROM stripe_customers")}
    assert {customer.id for customer in fake.state.of("customer")} <= known


@pytest.mark.parametrize("date", [True, False])
def test_windows_of_a_list_are_walked_by_several_readers_without_a_gap(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch, date: bool
) -> None:
    monkeypatch.setattr(walks, "WORTH_CUTTING", 20)
    monkeypatch.setattr(walk_readers, "AT_LEAST", 8)
    fill(fake, pipeline, Shape(ours=330, unmatched=20, personal=5, no_email=2, collisions=3, subdomains=3))
    fake.server.latency = 0.03
    fake.api.send_date = date
    result = backfill(pipeline)
    assert result.state == "complete"
    assert pipeline.stored() == pipeline.expected()
    narrowed = [target for _, target in fake.reads.requests if "created%5Blt%5D" in target and "limit=100" in target]
    assert len(narrowed) > 5, "the lists were cut into windows"


# --- trouble -----------------------------------------------------------------------------------------


@pytest.mark.fault("F65")
@pytest.mark.fault("F66")
def test_passing_trouble_is_survived(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    fake.faults.order("rate_limit", skip=2, count=2)
    fake.faults.order("lock_timeout", skip=4)
    for status in (500, 502, 503):
        fake.faults.order("status", status=status, skip=3)
    for kind in ("reset", "truncate", "html"):
        fake.faults.order(kind, skip=5)
    result = backfill(pipeline, patience=Patience(attempts=12, seconds=60.0, throttled_s=60.0))
    assert (result.state, result.error) == ("complete", None)
    assert pipeline.stored() == pipeline.expected()
    refused = dict(rows(pipeline, "SELECT name, n FROM counters WHERE name LIKE ?", "stripe_429:%"))
    assert sum(refused.values()) == 3


@pytest.mark.fault("F65")
@pytest.mark.fault("F86")
@pytest.mark.parametrize("kind", ["rate_limit", "status", "reset"])
@pytest.mark.fault("F66")
def test_trouble_that_does_not_pass_fails_the_run_with_its_reason_and_the_next_goes_on(
    pipeline: Pipeline, fake: FakeStripe, kind: str
) -> None:
    fill(fake, pipeline)
    fake.faults.order(kind, skip=8, count=None)
    result = backfill(pipeline)
    assert (result.state, result.exit_code) == ("failed", 1)
    assert "429" in str(result.error) if kind == "rate_limit" else "Stripe" in str(result.error)
    assert rows(pipeline, "SELECT state, error FROM sync_runs") == [("failed", result.error)]
    assert record_of(pipeline).backfilled_at is None
    assert rows(pipeline, "SELECT level FROM sync_log") == [("error",)]
    fake.faults.clear()
    again = backfill(pipeline)
    assert (again.state, again.resumed, again.run_id) == ("complete", True, result.run_id)
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F86")
@pytest.mark.parametrize("skip", [0, 1])
def test_429_at_the_very_start_is_no_empty_success(pipeline: Pipeline, fake: FakeStripe, skip: int) -> None:
    fill(fake, pipeline)
    fake.faults.order("rate_limit", skip=skip, count=None)
    result = backfill(pipeline)
    assert (result.state, result.exit_code, result.objects) == ("failed", 1, 0)
    fake.faults.clear()
    assert backfill(pipeline).state == "complete"
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F65", "F86")
def test_429_for_longer_than_the_lease_lasts_is_told_as_429(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_writer, "BEAT_S", 0.02)
    throttled = fake.faults.order("rate_limit", count=None)
    result = backfill(pipeline, now_ms=lambda: START * 1000 + throttled.hits * runs.LEASE_MS // 2)
    assert throttled.hits > 2, "less than a lease has passed"
    assert (result.state, result.exit_code) == ("failed", 1)
    assert result.error is not None
    assert "429" in result.error
    assert rows(pipeline, "SELECT state, error FROM sync_runs") == [("failed", result.error)]


@pytest.mark.fault("F67")
@pytest.mark.parametrize("late", [False, True])
def test_a_revoked_key_stops_the_run_and_keeps_the_data(pipeline: Pipeline, fake: FakeStripe, late: bool) -> None:
    fill(fake, pipeline)
    key = fake.keys.find(f"Bearer {fake.api_key}")

    def revoke() -> None:
        key.revoked = True

    if not late:
        revoke()
    result = backfill(pipeline, progress=on_first(revoke))
    assert result.state == "failed"
    assert "refused the key (401)" in str(result.error)
    assert record_of(pipeline).state == "disconnected"
    assert bool(rows(pipeline, "SELECT 1 FROM stripe_customers")) <= late
    asked = fake.reads.total
    key.revoked = False
    assert backfill(pipeline).state == "complete"
    assert record_of(pipeline).state == "active"
    assert pipeline.stored() == pipeline.expected()
    assert fake.reads.total > asked


@pytest.mark.fault("F68")
@pytest.mark.parametrize("permission", ["rak_customer_read", "rak_subscription_read"])
def test_without_customers_or_subscriptions_there_is_no_sync(pipeline: Pipeline, fake: FakeStripe, permission: str) -> None:
    fill(fake, pipeline)
    permit(fake, permission)
    result = backfill(pipeline)
    assert (result.state, result.exit_code) == ("failed", 1)
    assert permission in str(result.error)


@pytest.mark.fault("F68")
@pytest.mark.parametrize("permission", sorted(ALL_READS - {"rak_customer_read", "rak_subscription_read"}))
def test_another_missing_permission_is_named_and_the_rest_runs(pipeline: Pipeline, fake: FakeStripe, permission: str) -> None:
    fill(fake, pipeline)
    permit(fake, permission)
    result = backfill(pipeline)
    assert (result.state, result.error) == ("complete", None)
    asked = permission not in {"rak_event_read", "rak_account_read"}
    assert result.counts["missing_permissions"] == ([permission] if asked else [])
    assert record_of(pipeline).missing_permissions == ((permission,) if asked else ())
    assert result.counts["matched"] == 46
    permit(fake)
    fake.clock.advance(60)
    assert backfill(pipeline).counts["missing_permissions"] == []
    assert record_of(pipeline).missing_permissions == ()
    assert pipeline.stored() == pipeline.expected()


def test_disconnecting_stops_it(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)

    def disconnect() -> None:
        with session_scope(pipeline.database, write=True) as connection:
            bulk.run(connection, "UPDATE connections SET state = 'removed'")

    result = backfill(pipeline, progress=on_first(disconnect))
    assert (result.state, result.error) == ("failed", "the connection was disconnected meanwhile")


@pytest.mark.fault("F63")
def test_a_stopping_process_leaves_off_and_the_next_goes_on(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    stop = threading.Event()
    result = backfill(pipeline, stop=stop, progress=on_first(stop.set))
    assert (result.state, result.exit_code) == ("stopped", 1)
    again = backfill(pipeline)
    assert (again.state, again.resumed, again.run_id) == ("complete", True, result.run_id)
    assert pipeline.stored() == pipeline.expected()


def test_an_object_that_cannot_be_read_is_named_and_the_others_go_on(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake, pipeline)
    bad = next(iter(fake.state.of("customer"))).id
    answer = fake.api.handle

    def handle(request):
        response = answer(request)
        return response._replace(body=response.body.replace(b'"id":"%s","object":"customer"' % bad.encode(),
                                                            b'"id":"%s","object":"weird"' % bad.encode()))  # fmt: skip

    monkeypatch.setattr(fake.server, "_answer", handle)
    result = backfill(pipeline)
    assert result.state == "complete"
    assert rows(pipeline, "SELECT DISTINCT stripe_id, level FROM sync_log WHERE stripe_id = ?", bad) == [(bad, "warning")]
