"""Single faults of FAULTS 5 and 7 that belong to nobody else: full disks, readers beside a recompute, huge accounts, waits for
the rate limit, addresses that can't be guessed, payloads that are cut, dependencies that are locked."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from models.settings import AppSettings
from models.store import bulk
from models.store.connections import ConnectionRecord
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support import only_sqlite
from tests.support.backfilled import START, Shape, backfill, fill, lifted, rows
from tests.support.deliveries import body_of, sign
from tests.support.deliveries import event as an_event
from tests.support.pipeline import Pipeline
from webhook_app import create_app
from workers import walk_readers
from workers.schedule import retain
from workers.stripe_objects import Read
from workers.walk_readers import AHEAD, THREADS, WalkReaders
from workers.walks import Plan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        fake.deliver_to(lambda _body, _headers: 200, auto=False)
        yield fake


@pytest.fixture
def line(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, lifted(settings), keyring, fake)
    yield line
    line.close()


@only_sqlite
@pytest.mark.fault("F44")
def test_a_full_disk_is_503_at_the_endpoint_while_the_pages_can_be_read(
    settings: AppSettings, connection_record: ConnectionRecord
) -> None:
    app = create_app(settings)
    database: Database = app.extensions["pivotal"].database
    client = app.test_client()
    full = True

    @event.listens_for(database.engine, "begin")
    def _limit(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if full else 2**30
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    body = body_of(an_event("evt_large", padding="x" * 400_000))
    statuses = [client.post(connection_record.webhook_path, data=body, headers={"Stripe-Signature": sign(body)}).status_code]
    statuses.append(client.get("/sign-in").status_code)
    full = False
    statuses.append(
        client.post(connection_record.webhook_path, data=body, headers={"Stripe-Signature": sign(body)}).status_code
    )
    database.dispose()
    assert statuses == [503, 200, 200]


@pytest.mark.fault("F80")
def test_who_reads_while_it_is_recomputed_sees_one_state_or_the_other(line: Pipeline, fake: FakeStripe) -> None:
    line.add_customers("acme.com")
    change = fake.change
    kinds = (("One", 1_000), ("Two", 2_000))
    plans = [change.create_price(change.create_product(name), amount, lookup_key=name.lower()) for name, amount in kinds]
    subscription = change.subscribe(change.create_customer("ap@acme.com"), plans[0])
    seen: set[tuple[Any, ...]] = set()
    over = threading.Event()

    def read() -> None:
        sql = "SELECT plan_label, mrr, headline FROM customers"
        while not over.is_set():
            with session_scope(line.database) as connection:
                seen.update(tuple(row) for row in bulk.run(connection, sql))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(20):
            fake.clock.advance(5)
            change.change_price(subscription, plans[(turn + 1) % 2])
            deliveries = fake.deliveries[0]
            line.receive([deliveries.signed(deliveries.take().event_id)[0] for _ in deliveries.pending()])
            line.drain_all()
    finally:
        over.set()
        for reader in readers:
            reader.join()
    whole = {(None, 0, "No plan, MRR $0, no invoices")}
    whole |= {(name, mrr, f"Plan: {name}, MRR ${mrr // 100}, paid") for name, mrr in kinds}
    assert len(seen) > 1
    assert {state for state in seen if "no invoices" not in state[2]} <= whole


class Endless:
    """An account whose lists never end; counts the pages it gave."""

    connection_id = 1
    pages = 0
    limits: set[Any]

    def page(self, path: str, params: Any, _purpose: str, cursor: Any = None) -> Read:
        """A page of 100 objects, each older than the one before."""
        self.pages += 1
        start = START - 10 * self.pages * 100
        data = [{"id": f"x_{self.pages}_{n}", "object": "price", "created": start - n} for n in range(100)]
        return Read({"data": data, "has_more": True}, START * 1000, START * 1000 + 1000)


@pytest.mark.fault("F60", "I10")
def test_readers_hold_a_few_pages_however_large_the_account(line: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_readers, "WRITE_S", 1e-9, raising=False)  # as if Stripe were slow: all of them read
    api = Endless()
    readers = WalkReaders(line.database, api, Plan(START), threading.Event())  # type: ignore[arg-type]
    readers.start()
    try:
        before, deadline = -1, time.monotonic() + 20
        while api.pages != before and time.monotonic() < deadline:
            before = api.pages
            time.sleep(0.5)  # nobody takes a page meanwhile
        assert 0 < api.pages <= AHEAD + THREADS
    finally:
        readers.close()


@pytest.mark.fault("F60")
def test_no_page_is_asked_for_with_more_than_a_hundred_objects(line: Pipeline, fake: FakeStripe) -> None:
    fill(fake, line, Shape(ours=8, unmatched=1, personal=1, no_email=1, collisions=1, subdomains=1))
    assert backfill(line).state == "complete"
    limits = {int(found[1]) for _, target in fake.reads.requests if (found := re.search(r"[?&]limit=(\d+)", target))}
    assert limits <= {1, 100}
    assert 100 in limits


@pytest.mark.fault("F87")
def test_waiting_for_the_rate_limit_asks_the_database_nothing(line: Pipeline, fake: FakeStripe, settings: AppSettings) -> None:
    fill(fake, line, Shape(ours=8, unmatched=1, personal=1, no_email=1, collisions=1, subdomains=1))
    begun = 0

    @event.listens_for(line.database.engine, "begin")
    def _count(_connection: Any) -> None:
        nonlocal begun
        begun += 1

    backfill(line)
    quick, begun = begun, 0
    line.tools.settings = settings.model_copy(update={name: 8.0 for name in AppSettings.model_fields if "calls_per" in name})
    fake.clock.advance(10)
    began = time.monotonic()
    result = backfill(line)
    waited = time.monotonic() - began
    assert result.state == "complete"
    assert waited > (result.calls - 6) / 8.0  # it did wait
    assert begun <= quick + result.calls


@pytest.mark.fault("S05")
def test_a_webhook_address_cannot_be_guessed_and_says_nothing(connection_record: ConnectionRecord) -> None:
    path = connection_record.webhook_path
    assert re.fullmatch(r"/webhooks/stripe/[A-Za-z0-9_-]{22,}", path)
    assert "live" not in path.rpartition("/")[2].lower()[:4]
    assert str(connection_record.id) != path.rpartition("/")[2]


@pytest.mark.fault("S57")
def test_payloads_are_cut_after_35_days(line: Pipeline, fake: FakeStripe) -> None:
    fake.change.create_customer("ap@acme.com")
    deliveries = fake.deliveries[0]
    line.receive([deliveries.signed(deliveries.take().event_id)[0]])
    line.drain_all()
    fake.clock.advance(34 * 86_400)
    retain(line.tools)
    assert rows(line, "SELECT body IS NULL FROM inbox") in ([(0,)], [(False,)])
    fake.clock.advance(2 * 86_400)
    retain(line.tools)
    assert rows(line, "SELECT body IS NULL FROM inbox") in ([(1,)], [(True,)])


@pytest.mark.fault("S61")
def test_every_dependency_is_locked_by_hashes() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        blocks = re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / name).read_text())
        packages = [block for block in blocks if re.match(r"[a-zA-Z0-9._-]+(\[[a-z0-9,-]+\])?==", block)]
        assert packages
        assert all("--hash=sha256:" in block for block in packages)
        assert "--index-url" not in "".join(blocks)
