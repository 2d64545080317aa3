"""Events that break our code: they end as `dead`, block nobody, and come back when they are told to. On both databases."""

import json
import subprocess
import sys
from collections.abc import Iterator

import psycopg.errors
import pytest
from sqlalchemy.exc import OperationalError

from models.settings import AppSettings
from models.store import failpoints
from models.store.keys import Keyring
from models.store.session import Database
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, lifted, rows
from tests.support.environment import environment
from tests.support.pipeline import Pipeline
from tests.support.web_process import ROOT
from workers import recompute
from workers.apply import Draft

BACKOFF_S = [2, 4, 8, 16, 32, 64, 128]


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        yield fake


@pytest.fixture
def line(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    found = Pipeline(database, lifted(settings), keyring, fake)
    yield found
    found.close()


def two_failing(line: Pipeline, fake: FakeStripe) -> dict[str, int]:
    """Two customers who failed to pay, drained. Then, waiting: what the first owed was voided, and both changed their seats."""
    ids = line.add_customers("acme.com", "globex.com")
    deliveries = fake.deliver_to(lambda body, headers: 200, auto=False)
    change = fake.change
    change.step_seconds = 1
    price = change.create_price(change.create_product("Growth"), 9900)
    both = [change.subscribe(change.create_customer(f"ap@{domain}"), price) for domain in ("acme.com", "globex.com")]
    for subscription in both:
        fake.clock.advance(3)
        change.fail_payment(subscription)
    bodies = [deliveries.signed(deliveries.take().event_id)[0] for _ in deliveries.pending()]
    fake.clock.advance(5)
    line.receive(bodies)
    line.drain_all()
    assert {one["payment_status"] for one in line.stored().values()} == {"failing"}
    fake.clock.advance(5)
    change.void(next(i for i in fake.state.of("invoice") if i.subscription == both[0].id and i.status == "open"))
    for subscription in both:
        fake.clock.advance(3)
        change.change_quantity(subscription, 3)
    bodies = [deliveries.signed(deliveries.take().event_id)[0] for _ in deliveries.pending()]
    told = {json.loads(body)["type"]: body for body in bodies}
    assert "invoice.voided" in told
    line.receive([body for body in bodies if body != told.get("invoice.updated")])  # the same facts as the event that breaks
    fake.clock.advance(5)
    return ids


@pytest.mark.fault("F59")
def test_a_poison_event_is_tried_eight_times_then_dead_while_its_neighbours_apply_and_comes_back(
    line: Pipeline, fake: FakeStripe, settings: AppSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = two_failing(line, fake)
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "_points", failpoints.parse_failpoints("apply_invoice.voided=raise"))
        waits = []
        for attempt in range(1, 9):
            line.drain()
            ((kind, status, attempts, error),) = line.problems()
            assert (kind, attempts, error) == ("invoice.voided", attempt, "FailpointError")
            line.drain()  # before its time: nothing
            assert line.problems()[0][2] == attempt
            if status == "pending":
                ((due,),) = rows(line, "SELECT next_attempt_ms FROM inbox WHERE status = 'pending'")
                waits.append(due // 1000 - fake.clock.now())
                fake.clock.advance(waits[-1] + 1)
        assert status == "dead"
        assert waits == BACKOFF_S
        shown, right = line.stored(), line.expected()
        assert shown[str(ids["globex.com"])] == right[str(ids["globex.com"])], "another customer"
        own = str(ids["acme.com"])
        assert shown[own]["mrr"] == right[own]["mrr"] == 29700, "its own customer's other events"
        assert shown != right
        assert line.counts()["dead"] == 1
    command = [sys.executable, "-m", "webhook_app", "events", "retry", "--all"]
    subprocess.run(command, env=environment(settings), check=True, cwd=ROOT, capture_output=True)
    line.drain_all()
    assert line.stored() == line.expected()
    assert "dead" not in line.counts()


@pytest.mark.fault("F59")
def test_an_event_that_only_breaks_when_it_is_written_is_found_by_halving_and_stays_alone(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_failing(line, fake)
    real = Draft.write

    def write(draft: Draft, connection: object) -> None:
        if any(getattr(value, "status", None) == "void" for value in draft.values.values()):
            raise ValueError("a value the database doesn't take")
        real(draft, connection)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "write", write)
        line.drain()
        ((kind, status, attempts, error),) = line.problems()
        assert (kind, status, attempts, error) == ("invoice.voided", "pending", 1, "ValueError")
    line.drain_all()
    assert line.stored() == line.expected()


@pytest.mark.fault("F59", "I3")
def test_a_customer_whose_figures_cant_be_computed_stops_no_other_and_is_tried_again(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = two_failing(line, fake)
    real = recompute.summarize

    def summarize(snapshot, *rest):
        if snapshot.customer_id == str(ids["acme.com"]):
            raise ZeroDivisionError
        return real(snapshot, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(recompute, "summarize", summarize)
        line.drain_all()
        assert line.stored()[str(ids["globex.com"])] == line.expected()[str(ids["globex.com"])]
        assert line.stored() != line.expected()
    fake.clock.advance(301)  # it was put off, ever longer, at most 5 min
    line.drain_all()
    assert line.stored() == line.expected()


@pytest.mark.fault("F43")
def test_a_deadlock_or_a_busy_database_is_tried_again_within_the_same_batch(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_failing(line, fake)
    troubles = [psycopg.errors.DeadlockDetected(), psycopg.errors.SerializationFailure(), Exception("database is locked")]
    real = Draft.write

    def write(draft: Draft, connection: object) -> None:
        real(draft, connection)  # type: ignore[arg-type]
        if troubles:
            raise OperationalError("UPDATE", {}, troubles.pop())

    monkeypatch.setattr(Draft, "write", write)
    line.drain()
    assert not troubles
    assert line.problems() == []
    assert line.stored() == line.expected()
